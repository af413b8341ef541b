"""Session variables `pgbeam.*`: kept by PgBeam, with the transaction behaviour of any PostgreSQL parameter."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.api.results import Refusal
from pgbeam_core.errors import PgBeamError

PREFIX = "pgbeam."

Ask = Callable[[str, str | None], "str | Refusal | None"]
"""Ask the plugins about (name without prefix, value or None): the value to keep, a Refusal, or None if unknown."""


class VariableError(PgBeamError):
    """A SET, SHOW or RESET of pgbeam.* that cannot be done."""


class Variables:
    """The `pgbeam.*` of one session. Values are as SHOW prints them."""

    __slots__ = ("_ask", "_before", "_defaults", "_local", "_now", "_savepoints")

    def __init__(self, ask: Ask, startup: dict[str, str]) -> None:
        """`startup` holds those given as startup options, names without the prefix: what RESET returns to."""
        self._ask = ask
        self._defaults = {name: self._checked(name, value) for name, value in startup.items()}
        self._now = dict(self._defaults)
        self._local: dict[str, str] = {}
        self._before: dict[str, str] | None = None
        self._savepoints: list[tuple[str, dict[str, str], dict[str, str]]] = []

    def get(self, name: str) -> str:
        """The value in force. Raises VariableError 42704 for a name that nobody owns."""
        found = self._local.get(name) or self._now.get(name)
        return found if found is not None else self._checked(name, None)

    def peek(self, name: str) -> str | None:
        """The value that was set, None if none was: for plugins, which know their own defaults."""
        return self._local.get(name) or self._now.get(name)

    def set(self, name: str, value: str | None, *, local: bool, in_transaction: bool) -> None:
        """SET, SET LOCAL, and with None SET TO DEFAULT and RESET. Raises VariableError 42704 or 22023."""
        checked = self._checked(name, value)
        if local:
            if in_transaction:
                self._local[name] = checked if value is not None else self._defaults.get(name, checked)
            return
        self._remember(in_transaction)
        self._local.pop(name, None)
        if value is not None:
            self._now[name] = checked
        elif name in self._defaults:
            self._now[name] = self._defaults[name]
        else:
            self._now.pop(name, None)

    def reset_all(self, *, in_transaction: bool) -> None:
        self._remember(in_transaction)
        self._local.clear()
        self._now = dict(self._defaults)

    def savepoint(self, name: str) -> None:
        self._remember(in_transaction=True)
        self._savepoints.append((name, dict(self._now), dict(self._local)))

    def release_savepoint(self, name: str) -> None:
        """A savepoint was released, and with it all that were set after it."""
        for place in range(len(self._savepoints) - 1, -1, -1):
            if self._savepoints[place][0] == name:
                del self._savepoints[place:]
                return

    def rollback_to(self, name: str) -> None:
        """The transaction went back to a savepoint; it stays."""
        for place in range(len(self._savepoints) - 1, -1, -1):
            if self._savepoints[place][0] == name:
                del self._savepoints[place + 1 :]
                _, now, local = self._savepoints[place]
                self._now, self._local = dict(now), dict(local)
                return

    def end_transaction(self, *, committed: bool) -> None:
        self._local.clear()
        if self._before is not None and not committed:
            self._now = self._before
        self._before = None
        self._savepoints.clear()

    def forget(self) -> None:
        """The client has left: nobody is asked any more, and nothing is to wait for a collector of garbage."""
        self._ask = _nobody

    def _remember(self, in_transaction: bool) -> None:
        if in_transaction and self._before is None:
            self._before = dict(self._now)

    def _checked(self, name: str, value: str | None) -> str:
        answer = self._ask(name, value)
        if answer is None:
            raise VariableError(f'unrecognized configuration parameter "{PREFIX}{name}"', sqlstate="42704")
        if isinstance(answer, Refusal):
            raise VariableError(answer.message, sqlstate=answer.sqlstate, hint=answer.hint)
        return answer


def _nobody(_name: str, _value: str | None) -> str | Refusal | None:
    """In place of the plugins."""
    return None
