"""What plugins think of a variable that a client sets."""

from __future__ import annotations

from pgbeam_core.api.results import Refusal
from pgbeam_core.firing import Hooks
from pgbeam_core.session.session import Session


class Asking:
    """Asks the plugins about a variable of a session. Not a method of the client's, which a session may outlive."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self.session: Session | None = None

    def ask(self, name: str, value: str | None) -> str | Refusal | None:
        hooks = self._hooks
        found = hooks.variable(self.session, name, value)
        while found is not None:
            plugin, answer = found
            if isinstance(answer, str | Refusal):
                return answer
            hooks.unfit("variable", plugin, answer, "a str, a Refusal, or None")
            found = hooks.variable.after(plugin, self.session, name, value)
        return None
