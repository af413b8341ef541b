"""Limits: who may connect, how many at once, how many queries a second."""

from __future__ import annotations

from collections.abc import Mapping

from pgbeam_core import Beam, Kind, Query, Refusal, Session, Target, hookimpl
from pgbeam_limits.attempts import FailedLogins
from pgbeam_limits.bucket import Bucket
from pgbeam_limits.counts import Counts
from pgbeam_limits.networks import address_of, neighbourhood
from pgbeam_limits.settings import LimitsSettings

NOT_ALLOWED = Refusal("08004", "connection rejected: IP not in allowlist")
TOO_MANY_ATTEMPTS = Refusal("08004", "too many authentication attempts")
TOO_MANY_CONNECTIONS = Refusal("53300", "too many connections for project")
TOO_MANY_QUERIES = Refusal("53400", "query rate limit exceeded")

LOGIN_FAILED = "limits.login_failed"
"""Published: an address from which a login has failed."""
_WRONG_CREDENTIALS = frozenset({"28P01", "28000"})
_ENDS = frozenset({Kind.COMMIT, Kind.ROLLBACK, Kind.TWO_PHASE})


class Limits:
    """The limits of one PgBeam."""

    def __init__(self) -> None:
        self._beam: Beam
        self._failed = FailedLogins()
        self._buckets: dict[str, Bucket] = {}
        self._counts: dict[str, Counts] = {}

    @hookimpl
    def settings_spec(self) -> type:
        return LimitsSettings

    @hookimpl
    def startup(self, beam: Beam) -> None:
        """Begin to count from nothing, but for what other workers tell."""
        self._beam = beam
        self._failed = FailedLogins()
        self._buckets.clear()
        self._counts.clear()
        beam.broadcast.subscribe(LOGIN_FAILED, lambda address: self._failed.add(address, beam.now()))

    @hookimpl
    def connect(self, session: Session) -> Refusal | None:
        """Allowlist, then failed logins, then room in the project."""
        settings, counts = self._settings, self._counts_of(session)
        address = address_of(session.peer)
        if settings.networks and address is not None and not any(address in net.range for net in settings.networks):
            counts.refused_by_allowlist += 1
            return NOT_ALLOWED
        if settings.auth_attempts and address is not None:
            failed = self._failed.count(neighbourhood(address), self._beam.now())
            if failed >= settings.auth_attempts:
                counts.refused_by_auth_attempts += 1
                return TOO_MANY_ATTEMPTS
        if settings.max_connections and counts.connections >= settings.max_connections:
            counts.refused_by_max_connections += 1
            return TOO_MANY_CONNECTIONS
        counts.connections += 1
        session.notes["limits"] = counts
        return None

    @hookimpl
    def disconnect(self, session: Session) -> None:
        """Room for another; a login that failed is held against its address."""
        counts: Counts | None = session.notes.pop("limits", None)
        if counts is None:
            return
        counts.connections -= 1
        if session.login_error in _WRONG_CREDENTIALS:
            counts.logins_failed += 1
            address = address_of(session.peer)
            if address is not None:
                self._failed.add(neighbourhood(address), self._beam.now())
                self._beam.broadcast.publish(LOGIN_FAILED, neighbourhood(address))

    @hookimpl(trylast=True)
    def execute(self, session: Session, query: Query, target: Target) -> Refusal | None:
        """Take a token. Asked last, so that what another plugin answers (the cache above all) costs none."""
        settings = self._beam.settings_of(LimitsSettings)
        rate = settings.queries_per_second
        if not rate:
            return None
        now = self._beam.now()
        bucket = self._buckets.get(session.project.name)
        if bucket is None:
            bucket = self._buckets[session.project.name] = Bucket(settings.most_at_once, now)
        if bucket.take(rate, settings.most_at_once, now):
            return None
        if session.in_transaction and query.statement.kind in _ENDS:
            return None  # refused, it would hold its locks and its server for longer, to nobody's good
        self._counts_of(session).refused_by_queries_per_second += 1
        return TOO_MANY_QUERIES

    @hookimpl
    def stats(self) -> Mapping[str, Mapping[str, int]]:
        """Clients now, and what was refused by which limit, per project."""
        return {project: counts.as_dict() for project, counts in self._counts.items()}

    @property
    def _settings(self) -> LimitsSettings:
        return self._beam.settings_of(LimitsSettings)

    def _counts_of(self, session: Session) -> Counts:
        counts = self._counts.get(session.project.name)
        if counts is None:
            counts = self._counts[session.project.name] = Counts()
        return counts


plugin = Limits()
