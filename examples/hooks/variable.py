"""`SET pgbeam.colour = 'green'`: a variable of one session, with RESET, SET LOCAL and rollback for free."""

from pgbeam_core import Refusal, hookimpl

COLOURS = ("red", "green", "blue")


@hookimpl
def variable(name: str, value: str | None) -> str | Refusal | None:
    if name != "colour":
        return None
    if value is None:
        return COLOURS[0]  # what SHOW says of one that nobody has set
    if value in COLOURS:
        return value
    return Refusal("22023", f'invalid value for parameter "pgbeam.colour": "{value}"', hint=f"One of {COLOURS}.")
