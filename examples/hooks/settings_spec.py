"""Settings of a plugin's own: `[plugins.example] greeting = "hello"`, checked before anything starts."""

from dataclasses import dataclass, field

from pgbeam_core import hookimpl


@dataclass(frozen=True)
class ExampleSettings:
    """What `[plugins.example]` may hold."""

    greeting: str = field(default="hello", metadata={"help": "what is said", "choices": ("hello", "good evening")})


@hookimpl
def settings_spec() -> type:
    return ExampleSettings
