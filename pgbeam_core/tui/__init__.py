"""What is going on in a PgBeam, live, in a terminal: `pgbeam run --tui`, and `pgbeam top` for one that runs elsewhere.

`telemetry.samples` looks at a service once a second and gives a `View`; `picture` draws a view, at any size, and
knows of nothing else. `browser` knows which view is chosen, what was typed and what was asked for it; `lists` draws
that; `plain` prints one look where there is no terminal. `terminal` reads keys, which `keys` names, and writes text
without ever waiting; `show` puts all of it together. `asking` is where it comes from: this process, a control socket,
or the API of a dashboard; `remote` follows a PgBeam in another process, which tells with `seen` how it is.
"""

from pgbeam_core.tui.show import run_tui

__all__ = ["run_tui"]
