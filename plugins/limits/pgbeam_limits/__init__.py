"""Limits: who may connect, how many at once, how many queries a second and at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from twisted.logger import Logger

from pgbeam_core import Beam, Explanation, Kind, Metric, Query, Refusal, Result, Session, Table, Target, hookimpl
from pgbeam_limits.admission import RATE, Admission
from pgbeam_limits.attempts import FailedLogins
from pgbeam_limits.counts import LimitCounts
from pgbeam_limits.metrics import metrics
from pgbeam_limits.networks import address_of, neighbourhood
from pgbeam_limits.project import ProjectLimits
from pgbeam_limits.settings import LimitsSettings

log = Logger(__name__)

NOT_ALLOWED = Refusal("08004", "connection rejected: IP not in allowlist")
TOO_MANY_ATTEMPTS = Refusal("08004", "too many authentication attempts")
TOO_MANY_QUERIES = Refusal("53400", "query rate limit exceeded")
TOO_MANY_AT_ONCE = Refusal("53400", "concurrent query limit exceeded")

LOGIN_FAILED = "limits.login_failed"
"""Published: an address from which a login has failed."""
_WRONG_CREDENTIALS = frozenset({"28P01", "28000"})
_ENDS = frozenset({Kind.COMMIT, Kind.ROLLBACK, Kind.TWO_PHASE})
_ENDED = {
    "terminating connection due to idle-in-transaction timeout": "ended_by_idle_transaction_timeout",
    "terminating connection due to transaction timeout": "ended_by_transaction_timeout",
    "terminating connection due to idle-session timeout": "ended_by_client_idle_timeout",
}
_TIMES = {
    "idle_transaction_timeout_ms": "ended_by_idle_transaction_timeout",
    "transaction_timeout_ms": "ended_by_transaction_timeout",
    "client_idle_timeout_s": "ended_by_client_idle_timeout",
}
_COLUMNS = ("project", "limit", "whose", "used", "most", "refused")


@dataclass(slots=True)
class _Client:
    """What is remembered of a client that `connect` has let in."""

    project: ProjectLimits
    network: str | None
    """The entry of the allowlist that it came by."""
    admission: Admission | None = None
    """Once it is logged in."""


class Limits:
    """The limits of one PgBeam."""

    def __init__(self) -> None:
        self._beam: Beam
        self._failed = FailedLogins()
        self._projects: dict[str, ProjectLimits] = {}

    @hookimpl
    def settings_spec(self) -> type:
        return LimitsSettings

    @hookimpl
    def startup(self, beam: Beam) -> None:
        """Begin to count from nothing, but for what other workers tell."""
        self._beam = beam
        self._failed = FailedLogins()
        self._projects.clear()
        beam.broadcast.subscribe(LOGIN_FAILED, self._login_failed)
        self._name_unknown()

    @hookimpl
    def reload(self, beam: Beam) -> None:
        """Whatever has changed holds for who is there as well."""
        for name, project in self._projects.items():
            project.set(self._settings.of_project(name))
        self._name_unknown()

    @hookimpl
    def connect(self, session: Session) -> Refusal | None:
        """Allowlist, then failed logins, then room for one more: who comes to the console to make room finds it."""
        project, settings = self._project_of(session), self._settings
        address = address_of(session.peer)
        network = None
        if project.settings.networks and address is not None:
            found = project.network_of(address)
            if found is None:
                project.counts.refused_by_allowlist += 1
                return NOT_ALLOWED
            network = found.entry
        if settings.auth_attempts and address is not None:
            failed = self._failed.count(neighbourhood(address), self._beam.now(), settings.auth_window_s)
            if failed >= settings.auth_attempts:
                project.counts.refused_by_auth_attempts += 1
                return TOO_MANY_ATTEMPTS
        refusal = None if session.at_console else project.full_for(session)
        if refusal is None:
            session.notes["limits"] = _Client(project, network)
        return refusal

    @hookimpl
    def authenticated(self, session: Session) -> Refusal | None:
        """Only who is logged in has a place: others cannot take it away by knocking. Many may log in at a time."""
        client: _Client | None = session.notes.get("limits")
        if client is None:
            return None
        refusal = client.project.full_for(session)
        if refusal is None:
            client.admission = client.project.enter(session, client.network, self._beam.now())
        return refusal

    @hookimpl
    def disconnect(self, session: Session, reason: str) -> None:
        """Room for another; a login that failed is held against its address."""
        client: _Client | None = session.notes.pop("limits", None)
        if client is None:
            return
        if client.admission is not None:
            client.admission.leave()
            client.project.leave(session, client.network, self._beam.now())
            if reason in _ENDED:
                counted = _ENDED[reason]
                setattr(client.project.counts, counted, getattr(client.project.counts, counted) + 1)
        elif session.login_error in _WRONG_CREDENTIALS:
            client.project.counts.logins_failed += 1
            address = address_of(session.peer)
            if address is not None:
                self._login_failed(neighbourhood(address))
                self._beam.broadcast.publish(LOGIN_FAILED, neighbourhood(address))

    @hookimpl(trylast=True)
    def execute(self, session: Session, query: Query, target: Target) -> Refusal | None:
        """Take a token. Asked last, so that what another plugin answers (the cache above all) costs none."""
        client: _Client | None = session.notes.get("limits")
        if client is None or client.admission is None:
            return None
        admission = client.admission
        if not admission.counts_queries or not query.needs_server:
            return None  # where PgBeam answers it, no server hears of it
        ends = session.in_transaction and query.statement.kind in _ENDS
        refused = admission.ask(self._beam.now(), ends=ends)
        if refused is None:
            if admission.counts_running:
                query.notes["limits"] = admission
                admission.begin()
            return None
        if refused == RATE:
            client.project.counts.refused_by_queries_per_second += 1
            return TOO_MANY_QUERIES
        client.project.counts.refused_by_max_concurrent_queries += 1
        return TOO_MANY_AT_ONCE

    @hookimpl(trylast=True)
    def execute_batch(self, session: Session, queries: Sequence[Query], target: Target) -> Refusal | None:
        """A token for each: the first that there is none for is refused, and all with it."""
        client: _Client | None = session.notes.get("limits")
        if client is None or client.admission is None or not client.admission.counts_queries:
            return None
        return next(filter(None, (self.execute(session, query, target) for query in queries)), None)

    @hookimpl
    def result(self, session: Session, query: Query, result: Result) -> None:
        """One query less that runs."""
        if query.notes:
            admission: Admission | None = query.notes.pop("limits", None)
            if admission is not None and "limits" in session.notes:
                admission.end()

    @hookimpl
    def result_batch(self, session: Session, queries: Sequence[Query], results: Sequence[Result]) -> None:
        for query, result in zip(queries, results, strict=True):
            if query.notes:
                self.result(session, query, result)

    @hookimpl
    def explain(self, session: Session, query: Query) -> Sequence[Explanation]:
        """Each limit of queries that it would meet, and whether it would pass, should a server be asked."""
        if not query.needs_server:
            return []
        project = self._projects.get(session.project.name)
        rows = [] if project is None else project.rows_for(session.user, self._beam.now())
        if not rows:
            return [Explanation("limits", "pass", "no limit of queries is set for the project")]
        return [
            Explanation(limit, "refuse" if used > most - 1 else "pass", f"{used:g} of {most:g} are used")
            for limit, used, most in rows
        ]

    @hookimpl
    def stats(self) -> Mapping[str, Mapping[str, int]]:
        """Clients now, and what was refused by which limit, per project."""
        return {
            name: {
                "connections": project.room.share.clients,
                "queries_running": project.room.share.running,
                **project.counts.as_dict(),
            }
            for name, project in self._projects.items()
        }

    @hookimpl
    def console(self) -> Mapping[str, Table]:
        """`SHOW LIMITS`: what is bounded, what is used of it, and how often it was refused."""
        now, settings = self._beam.now(), self._settings
        rows: list[tuple[object, ...]] = [
            (name, *row) for name, project in self._projects.items() for row in project.rows(now)
        ]
        rows += self._times()
        refused = sum(project.counts.refused_by_auth_attempts for project in self._projects.values())
        for address, failed in self._failed.counts(now, settings.auth_window_s).items():
            rows.append((None, "auth_attempts", address, failed, settings.auth_attempts or None, refused))
        return {"LIMITS": Table(_COLUMNS, rows)}

    def _times(self) -> Iterator[tuple[object, ...]]:
        """What the core bounds: times of projects, and how many clients were ended for them."""
        for name, project in self._beam.settings.projects.items():
            counts = self._projects[name].counts if name in self._projects else LimitCounts()
            for key, ended in _TIMES.items():
                most = getattr(project, key)
                if most:
                    yield name, key, None, None, most, getattr(counts, ended)

    def _login_failed(self, address: str) -> None:
        self._failed.add(address, self._beam.now(), self._settings.auth_attempts)

    @hookimpl
    def metrics(self) -> Sequence[Metric]:
        return metrics(self.stats())

    @property
    def _settings(self) -> LimitsSettings:
        return self._beam.settings_of(LimitsSettings)

    def _project_of(self, session: Session) -> ProjectLimits:
        name = session.project.name
        project = self._projects.get(name)
        if project is None:
            project = self._projects[name] = ProjectLimits(self._settings.of_project(name), self._beam.now())
        return project

    def _name_unknown(self) -> None:
        for name in self._settings.projects:
            if name not in self._beam.settings.projects:
                log.warn("plugins.limits.projects.{name}: there is no such project", name=name)


plugin = Limits()
