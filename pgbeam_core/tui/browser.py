"""Which view is shown, what was typed, and what was asked for it. Knows keys and answers, nothing of terminals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredList

from pgbeam_core.errors import PgBeamError
from pgbeam_core.tui.asking import Ask

VIEWS = ("overview", "shapes", "pools", "clients", "cache", "hosts", "limits", "panels", "log")
TABLES = {
    "pools": ("WAITING", "POOLS", "DATABASES", "SERVERS"),
    "clients": ("TRANSACTIONS", "CLIENTS"),
    "cache": ("RULES", "CACHE"),
    "hosts": ("BREAKERS", "REPLICAS"),
    "limits": ("LIMITS", "PINS"),
}
"""View → tables of the console that it shows, those that there are."""
SORTS = ("total_ms", "calls", "saved_s", "avg_ms", "p95_ms", "hits", "stability", "last_seen", "query")
MOST_SHAPES = 500
AHEAD = 60
"""Shapes asked for beyond the one that is chosen: more than a screen has, so that paging goes on."""
TTL_S, SWR_S = 60, 30
"""What a rule made here says, and what is foretold for."""
PAGE = 10
OF_CLIENTS = ("TRANSACTIONS", "CLIENTS", "WAITING", "PINS")
"""Tables whose rows have the id of a client."""
OF_DATABASES = (*OF_CLIENTS, "POOLS", "DATABASES", "SERVERS")


class Proposal(NamedTuple):
    """In words, and what is asked of PgBeam if the answer is yes."""

    words: str
    ask: str
    arguments: dict[str, Any]


class Browser:
    """`changed` is called when there is something else to be drawn."""

    def __init__(self, ask: Ask | None, changed: Callable[[], None]) -> None:
        self.view = VIEWS[0]
        self.help = False
        self.place = 0
        """Of the row that is chosen, or the first that is shown."""
        self.sort = 0
        self.filter = ""
        self.typing: str | None = None
        """What is typed as a filter, until Enter."""
        self.confirmation: Proposal | None = None
        self.said = ""
        self.shapes: list[dict[str, Any]] = []
        self.total = 0
        """Shapes that there are."""
        self.tables: list[tuple[str, dict[str, Any]]] = []
        self._ask = ask
        self._changed = changed
        self._asking = False

    # Looking.

    def look(self) -> None:
        """Ask for what the view shows, unless that was asked already and is still to come."""
        if self._ask is None or self._asking:
            return
        if self.view == "shapes":
            most = min(MOST_SHAPES, self.place + AHEAD)
            wanted = {"sort": SORTS[self.sort], "search": self.filter, "limit": most}
            self._begin(self._ask("cache.shapes", ttl=TTL_S, swr=SWR_S, **wanted), self._took_shapes)
        elif self.view in TABLES:
            names = TABLES[self.view]
            asked = [self._ask("tables", names=[name]) for name in names]
            self._begin(DeferredList(asked, consumeErrors=True), lambda parts: self._took_tables(names, parts))

    def _begin(self, asked: Deferred[Any], took: Callable[[Any], None]) -> None:
        self._asking, view = True, self.view

        def came(result: Any) -> None:
            self._asking = False
            if self.view == view:
                took(result)
            else:
                self.look()
            self._changed()

        def failed(failure: Any) -> None:
            self._asking = False
            self.said = _in_words(failure)
            self._changed()

        asked.addCallbacks(came, failed)

    def _took_shapes(self, page: dict[str, Any]) -> None:
        self.shapes, self.total = page["shapes"], page["total"]
        self.place = max(0, min(self.place, len(self.shapes) - 1))

    def _took_tables(self, names: tuple[str, ...], parts: Any) -> None:
        answers = [answer if came else {} for came, answer in parts]
        found = [(name, answer.get(name)) for name, answer in zip(names, answers, strict=True)]
        self.tables = [(name, table) for name, table in found if table]
        self.place = max(0, min(self.place, self.rows - 1))
        if not self.tables:
            self.said = "there is no such table here"

    @property
    def rows(self) -> int:
        """Of what can be chosen."""
        return len(self.shapes) if self.view == "shapes" else sum(len(table["rows"]) for _, table in self.tables)

    @property
    def picked(self) -> tuple[str, dict[str, Any]] | None:
        """The row of a table that is chosen: the table's name, and the values by column."""
        place = self.place
        for name, table in self.tables:
            if place < len(table["rows"]):
                return name, dict(zip(table["columns"], table["rows"][place], strict=True))
            place -= len(table["rows"])
        return None

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The shape that keys are about."""
        return self.shapes[self.place] if self.view == "shapes" and self.place < len(self.shapes) else None

    # Keys.

    def press(self, key: str) -> bool:
        """Whether the key meant something; `q` and the like mean nothing here, unless something is typed."""
        if self.confirmation is not None:
            self._answer(key)
        elif self.typing is not None:
            self._type(key)
        elif self.help:
            self.help = False
        else:
            return self._command(key)
        self._changed()
        return True

    def _command(self, key: str) -> bool:
        moves = {
            "up": -1,
            "k": -1,
            "down": 1,
            "j": 1,
            "page up": -PAGE,
            "page down": PAGE,
            "home": -(10**6),
            "end": 10**6,
        }
        if key == "?":
            self.help = True
        elif key in moves:
            self.place = max(0, min(self.rows - 1, self.place + moves[key]))
        elif key.isdigit() and 1 <= int(key) <= len(VIEWS):
            self._show(int(key) - 1)
        elif key in ("tab", "right", "back tab", "left"):
            step = 1 if key in ("tab", "right") else -1
            self._show((VIEWS.index(self.view) + step) % len(VIEWS))
        elif self.view == "shapes" and key in ("s", "/", "escape", "c", "x"):
            self._of_shapes(key)
        elif self.view in TABLES and key in ("e", "p", "r", "P", "R"):
            self.said = ""
            self.confirmation = confirmation_of(key, self.picked)
            if self.confirmation is None:
                self.said = "this row has no client" if key == "e" else "this row has no database"
        else:
            return False
        self._changed()
        return True

    def _show(self, place: int) -> None:
        self.view, self.place, self.said, self.tables = VIEWS[place], 0, "", []
        self.look()

    def _of_shapes(self, key: str) -> None:
        if key == "s":
            self.sort, self.place = (self.sort + 1) % len(SORTS), 0
            self.look()
        elif key == "/":
            self.typing = self.filter
        elif key == "escape":
            self.filter = ""
            self.look()
        elif (shape := self.chosen) is not None:
            self._ask_about(shape, remove=key == "x")

    def _ask_about(self, shape: dict[str, Any], *, remove: bool) -> None:
        about = f"{shape['query_hash']} of {shape['project']}"
        rule, where = shape["rule"], {"project": shape["project"], "query_hash": shape["query_hash"]}
        if remove:
            if rule is None:
                self.said = "there is no rule for it"
            else:
                self.confirmation = Proposal(f"Remove the rule of {about}?", "cache-rules.unset", where)
        elif shape["reason"]:
            self.said = f"it cannot be cached: {shape['reason']}"
        elif rule is not None and rule["enabled"]:
            fields = {**rule, "enabled": False}
            self.confirmation = Proposal(f"Never cache {about}?", "cache-rules.set", {**where, **fields})
        else:
            seconds = {"ttl": TTL_S, "swr": SWR_S} if rule is None else {"ttl": rule["ttl"], "swr": rule["swr"]}
            words = f"Cache this shape for {seconds['ttl']} + {seconds['swr']} s ({about})?"
            self.confirmation = Proposal(words, "cache-rules.set", {**where, "enabled": True, **seconds})

    def _answer(self, key: str) -> None:
        assert self.confirmation is not None
        _, what, arguments = self.confirmation
        self.confirmation = None
        if key not in ("y", "Y") or self._ask is None:
            self.said = "nothing was changed"
            return
        asked = self._ask(what, **arguments)
        asked.addCallbacks(self._done, lambda failure: self._told(_in_words(failure)))

    def _done(self, answer: Any) -> None:
        pending = isinstance(answer, dict) and answer.get("pending")
        self._told("told; it waits for servers that are in use" if pending else "done")
        self.look()

    def _told(self, words: str) -> None:
        self.said = words
        self._changed()

    def _type(self, key: str) -> None:
        assert self.typing is not None
        if key == "enter":
            self.filter, self.typing, self.place = self.typing, None, 0
            self.look()
        elif key == "escape":
            self.typing = None
        elif key == "backspace":
            self.typing = self.typing[:-1]
        elif len(key) == 1 and key.isprintable():
            self.typing = (self.typing + key)[:100]


def confirmation_of(key: str, picked: tuple[str, dict[str, Any]] | None) -> Proposal | None:
    """What a key would do with the row that is chosen: end its client, pause or resume its database, or all of them."""
    if key in ("P", "R"):
        verb = "PAUSE" if key == "P" else "RESUME"
        return Proposal(f"{verb.capitalize()} everything?", "console", {"command": verb})
    name, row = picked or ("", {})
    if key == "e":
        if name not in OF_CLIENTS:
            return None
        words = f"End client {row['id']}, {row['user']} in {row['database']}?"
        return Proposal(words, "console", {"command": f"KILL_CLIENT {row['id']}"})
    database = row.get("name" if name == "DATABASES" else "database") if name in OF_DATABASES else None
    if database is None:
        return None
    verb, quoted = "PAUSE" if key == "p" else "RESUME", str(database).replace('"', '""')
    return Proposal(f"{verb.capitalize()} {database}?", "console", {"command": f'{verb} "{quoted}"'})


def _in_words(failure: Any) -> str:
    value = failure.value
    if isinstance(value, PgBeamError):
        return value.message + (f". {value.hint}" if value.hint else "")
    return str(value) or type(value).__name__
