"""Asks one server one question, again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from pgbeam_core import Beam, Identity, PasswordNeeded, Project, ServerRefused, Target
from pgbeam_replica.settings import ReplicaSettings

Rows = list[tuple[str | None, ...]]
_ANSWERED = ("28", "3D", "42")
"""Classes of SQLSTATE with which a server that is well turns PgBeam away: credentials, database, privileges."""


class Probe:
    """The schedule of one server.

    told(asked, rows) gets what it answered, and when it was asked; rows are None when it is there but does not let
    PgBeam in. failed(reason): it does not answer.
    """

    def __init__(
        self,
        beam: Beam,
        project: Project,
        target: Target,
        sql: bytes,
        *,
        told: Callable[[float, Rows | None], None],
        failed: Callable[[str], None],
    ) -> None:
        self._beam = beam
        self._target = target
        self._sql = sql
        self._told = told
        self._failed = failed
        settings = beam.settings_of(ReplicaSettings)
        self._timeout = settings.probe_timeout_s
        self._interval = settings.interval
        user = settings.health_user or target.user or project.primary.user or "postgres"
        self._identity = Identity(user, target.database or project.primary.database or "postgres")
        in_url = project.passwords.get(target) if user == target.user else None
        self._password = settings.health_password if settings.health_user else in_url
        self._asking: Deferred[Any] | None = None
        self._loop = LoopingCall(self._ask)
        self._loop.clock = beam.reactor

    def start(self) -> None:
        """Ask now, and from then on in time."""
        if not self._loop.running:
            self._loop.start(self._interval)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    def _ask(self) -> Deferred[Any]:
        asked = self._beam.now()
        asking = self._beam.ask(self._target, self._identity, self._sql, password=self._password)
        self._asking = asking
        asking.addTimeout(self._timeout, self._beam.reactor)
        return asking.addCallbacks(self._answered, self._refused, callbackArgs=(asked,), errbackArgs=(asked,))

    def _answered(self, rows: Rows, asked: float) -> None:
        self._asking = None
        if self._loop.running:
            self._told(asked, rows)

    def _refused(self, failure: Failure, asked: float) -> None:
        self._asking = None
        if not self._loop.running:
            return
        error: Any = failure.value
        refused = isinstance(error, ServerRefused) and error.sqlstate.startswith(_ANSWERED)
        if refused or isinstance(error, PasswordNeeded):
            self._told(asked, None)
        else:
            self._failed(str(error) or "no answer in time")
