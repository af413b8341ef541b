"""What an operator orders, done in all workers: each asks them all, and waits until it is so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.task import deferLater

from pgbeam_core.console import process
from pgbeam_core.console.language import Word
from pgbeam_core.console.places import ALIAS, NAME
from pgbeam_core.console.room import STEER, TABLES
from pgbeam_core.console.steering import EVERYWHERE, Place
from pgbeam_core.errors import PgBeamError, SettingsError

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam

LOOK_EVERY_S = 0.02
_ALREADY = PgBeamError("already suspended/paused", sqlstate="55000", hint="RESUME ends that.")


class OperatorOrders:
    """Those of one client of the console. Each gives the command tag, or fails with PgBeamError."""

    def __init__(self, beam: Beam) -> None:
        self._beam = beam
        self._has_suspended = self._gone = False

    def gone(self) -> None:
        """The client has left: nobody would be there to resume what is suspended."""
        self._gone = True
        if self._has_suspended:
            self._steer("resume", EVERYWHERE).addErrback(lambda _: None)

    @inlineCallbacks
    def pause(self, words: Sequence[Word]) -> Any:
        """Nobody gets a server any more; answered when the last one is free and closed."""
        place = yield self._place(words, "pause")
        if not (yield self._is_active()):
            raise _ALREADY
        return (yield self._pause(place, "pause"))

    @inlineCallbacks
    def go_on_pausing(self, words: Sequence[Word]) -> Any:
        """Answered likewise, for one that was ordered before."""
        return (yield self._pause((yield self._place(words, "pause")), "look"))

    @inlineCallbacks
    def _pause(self, place: Place, what: str) -> Any:
        now = yield self._steer(what, place)
        try:
            while now["servers"] and now["paused"]:
                yield self._later()
                now = yield self._steer("look", place)
        except CancelledError:
            if not self._gone:
                self._steer("resume", place).addErrback(lambda _: None)
            raise
        return "PAUSE"

    @inlineCallbacks
    def resume(self, words: Sequence[Word]) -> Any:
        """Who waits gets servers again."""
        place = yield self._place(words, "resume")
        now = yield self._steer("look", place)
        if not (now["paused"] or (now["suspended"] and place == EVERYWHERE)):
            hint = "All databases are paused: RESUME without a name ends that." if now["everywhere"] else None
            raise PgBeamError(_not_paused(words), sqlstate="55000", hint=hint)
        self._has_suspended = False
        yield self._steer("resume", place)
        return "RESUME"

    @inlineCallbacks
    def reconnect(self, words: Sequence[Word]) -> Any:
        """Servers that are open now are closed as soon as nobody has them."""
        yield self._steer("reconnect", (yield self._place(words, "reconnect")))
        return "RECONNECT"

    @inlineCallbacks
    def wait_close(self, words: Sequence[Word]) -> Any:
        """Answered when those are closed."""
        place = yield self._place(words, "wait in")
        while (yield self._steer("look", place))["old"]:
            yield self._later()
        return "WAIT_CLOSE"

    @inlineCallbacks
    def disable(self, words: Sequence[Word]) -> Any:
        """No new clients for it."""
        yield self._steer("disable", (yield self._named(words, "disable")))
        return "DISABLE"

    @inlineCallbacks
    def enable(self, words: Sequence[Word]) -> Any:
        yield self._steer("enable", (yield self._named(words, "enable")))
        return "ENABLE"

    @inlineCallbacks
    def kill(self, words: Sequence[Word]) -> Any:
        """Its clients are ended, and it is paused."""
        place = yield self._place(words, "kill")
        if not (yield self._is_active()):
            raise _ALREADY
        yield self._steer("kill", place)
        return "KILL"

    @inlineCallbacks
    def kill_client(self, words: Sequence[Word]) -> Any:
        """End one client, by the id that SHOW CLIENTS has."""
        if len(words) != 1 or not words[0].text.isascii() or not words[0].text.isdigit():
            text = "KILL_CLIENT takes the id of a client"
            raise PgBeamError(text, sqlstate="22023", hint="SHOW CLIENTS has it in its last column.")
        number = int(words[0].text)
        if not (yield self._steer("kill_client", EVERYWHERE, id=number))["found"]:
            raise PgBeamError(
                f"client not found: {number}", sqlstate="42704", hint="SHOW CLIENTS has those who are here."
            )
        return "KILL_CLIENT"

    @inlineCallbacks
    def suspend(self, words: Sequence[Word]) -> Any:
        """No client is read any more; answered when all that was asked is answered."""
        now = yield self._steer("look", EVERYWHERE)
        if now["everywhere"] or now["suspended"]:
            raise _ALREADY
        if now["some"]:
            raise PgBeamError("cannot suspend with paused databases", sqlstate="55000", hint="RESUME them first.")
        self._has_suspended = True
        now = yield self._steer("suspend", EVERYWHERE)
        try:
            while now["busy"]:
                yield self._later()
                now = yield self._steer("look", EVERYWHERE)
        except CancelledError:
            self._has_suspended = False
            self._steer("resume", EVERYWHERE).addErrback(lambda _: None)
            raise
        return "SUSPEND"

    @inlineCallbacks
    def reload(self, words: Sequence[Word]) -> Any:
        """All workers read the settings again, or none if something is wrong with them."""
        yield self._ask({"ask": "settings.reload"})
        return "RELOAD"

    @inlineCallbacks
    def set(self, key: str, value: str) -> Any:
        """Give one setting another value, until PgBeam ends."""
        there = process.key_of(self._beam, key)
        answer = yield self._beam.console.ask_all({"ask": "settings.set", "key": there, "value": value})
        if not answer["ok"] and answer["sqlstate"] == SettingsError.sqlstate:
            raise _not_set(key, value, answer["error"])
        _result(answer)
        return f"SET {key}={value}"

    @inlineCallbacks
    def shutdown(self, words: Sequence[Word]) -> Any:
        """End PgBeam: at once, when running transactions are over, or when the last client has left."""
        how = words[0].key if words else "at_once"
        if how not in ("at_once", "wait_for_servers", "wait_for_clients"):
            raise PgBeamError("SHUTDOWN takes WAIT_FOR_SERVERS, WAIT_FOR_CLIENTS or nothing", sqlstate="22023")
        yield self._ask({"ask": "shutdown", "how": how})
        return "SHUTDOWN"

    # Asking.

    def _is_active(self) -> Deferred[bool]:
        asked = self._steer("look", EVERYWHERE)
        return asked.addCallback(lambda now: not (now["everywhere"] or now["suspended"]))

    def _steer(self, what: str, place: Place, **more: Any) -> Deferred[dict[str, int]]:
        project, database = place
        return self._ask({"ask": STEER, "do": what, "project": project, "database": database, **more})

    def _ask(self, request: dict[str, Any]) -> Deferred[Any]:
        return self._beam.console.ask_all(request).addCallback(_result)

    def _later(self) -> Deferred[None]:
        return deferLater(self._beam.reactor, LOOK_EVERY_S)

    @inlineCallbacks
    def _place(self, words: Sequence[Word], verb: str) -> Any:
        """What is meant: all of it, or what SHOW DATABASES calls so. Fails with 3D000 if there is no such thing."""
        if not words:
            return EVERYWHERE
        return (yield self._named(words, verb))

    @inlineCallbacks
    def _named(self, words: Sequence[Word], verb: str) -> Any:
        if len(words) != 1:
            raise PgBeamError("a database is required", sqlstate="22023", hint="SHOW DATABASES has their names.")
        name = words[0].text
        if name in (NAME, ALIAS):
            raise PgBeamError(f"cannot {verb} admin db: {name}", sqlstate="22023")
        projects, default = self._beam.settings.projects, self._beam.settings.default_project
        known = yield self._ask({"ask": TABLES, "names": ["DATABASES"]})
        if name in {row[0] for row in known["DATABASES"]["rows"]}:
            project, slash, database = name.partition("/")
            if slash and project in projects:
                return project, database
            return (None if default is None else default.name), name
        if name in projects:
            return name, None
        raise PgBeamError(f"no such database: {name}", sqlstate="3D000", hint="SHOW DATABASES has their names.")


def _result(answer: dict[str, Any]) -> Any:
    if not answer["ok"]:
        raise PgBeamError(answer["error"], sqlstate=answer["sqlstate"], hint=answer.get("hint"))
    return answer["result"]


def _not_set(key: str, value: str, why: str) -> PgBeamError:
    """In PostgreSQL's words, with what is known of it as the hint."""
    reason = why.removeprefix("--set: ").removeprefix(f"{key} = ").partition(": ")[2] or why
    hint = f"{reason[:1].upper()}{reason[1:]}."
    if reason.startswith("unknown key"):
        return PgBeamError(f'unrecognized configuration parameter "{key}"', sqlstate="42704", hint=hint)
    return PgBeamError(f'invalid value for parameter "{key}": "{value}"', sqlstate="22023", hint=hint)


def _not_paused(words: Sequence[Word]) -> str:
    return f"database {words[0].text} is not paused" if words else "pooler is not paused/suspended"
