"""What one client has prepared and bound, by the names it gave: statements and portals."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.session.prepared import Prepared


class Portal:
    """A bound statement. `bind` is the Bind message that made it, `request` the request that was part of."""

    __slots__ = ("bind", "prepared", "request", "started")

    def __init__(self, prepared: Prepared, bind: bytes, request: object) -> None:
        self.prepared = prepared
        self.bind = bind
        self.request = request
        self.started = False
        """An Execute has been sent for it: another one goes on where that stopped."""


class ClientStatements:
    """The statements and portals of one client, by the names it gave them."""

    __slots__ = ("_may_have_more", "of_sql", "portals", "statements")

    def __init__(self, may_have_more: Callable[[], bool]) -> None:
        """may_have_more: whether its server may have statements that code of users has prepared."""
        self._may_have_more = may_have_more
        self.statements: dict[bytes, Prepared] = {}
        self.portals: dict[bytes, Portal] = {}
        self.of_sql: set[bytes] = set()
        """Names that SQL's PREPARE has taken on the server that the client is pinned to."""

    def may_be_of_sql(self, name: bytes) -> bool:
        """Whether a name that no Parse has made may be one that SQL has prepared."""
        return bool(name) and (name in self.of_sql or self._may_have_more())

    def effect_of_parse(self, prepared: Prepared) -> Callable[[bool], None]:
        """What follows from the end of a Parse: the client has that statement."""
        statements = self.statements

        def parsed(ok: bool) -> None:
            if ok:
                statements[prepared.name] = prepared

        return parsed

    def effect_of_close(self, portal: bytes) -> Callable[[bool], None]:
        """What follows from the end of a Close: the client has no portal of that name."""
        portals = self.portals

        def closed(ok: bool) -> None:
            if ok:
                portals.pop(portal, None)

        return closed

    def clear(self) -> None:
        self.statements.clear()
        self.portals.clear()
        self.of_sql.clear()
