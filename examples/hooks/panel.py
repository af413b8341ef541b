"""A panel for the TUI: whatever rich can print."""

from rich.text import Text

from pgbeam_core import hookimpl

_clients = 0


@hookimpl
def authenticated() -> None:
    global _clients
    _clients += 1


@hookimpl
def panel() -> Text:
    return Text(f"{_clients} logins so far", style="bold")
