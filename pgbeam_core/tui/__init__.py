"""What is going on in a PgBeam, live, in the terminal it was started in: `pgbeam run --tui`.

`telemetry.samples` looks at a service once a second and gives a `View`; `picture` draws a view, at any size, and
knows of nothing else; `terminal` reads keys and writes text without ever waiting; `show` puts the three together.
"""

from pgbeam_core.tui.show import run_tui

__all__ = ["run_tui"]
