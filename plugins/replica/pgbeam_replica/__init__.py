"""Read replicas: which reads may leave the primary, and where they go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgbeam_core import (
    Beam,
    Explanation,
    Metric,
    PasswordNeeded,
    Project,
    Query,
    Result,
    ServerRefused,
    ServerUnavailable,
    Session,
    Statement,
    Table,
    Target,
    hookimpl,
)
from pgbeam_replica.health import TURNED_AWAY_S, Health
from pgbeam_replica.metrics import metrics
from pgbeam_replica.positions import SessionWrites
from pgbeam_replica.reading import ReadingNote, reading
from pgbeam_replica.settings import ReplicaSettings
from pgbeam_replica.watch import Watch

_UNAVAILABLE = "08006"
_ISOLATION = "default_transaction_isolation"


class Replicas:
    """The replicas of all projects of one PgBeam."""

    def __init__(self) -> None:
        self._beam: Beam
        self._settings: ReplicaSettings
        self._watches: dict[str, Watch] = {}
        self._under_way: dict[int, Health] = {}
        """Session → the replica that has its query, where it matters how much each has to do."""

    @hookimpl
    def settings_spec(self) -> type:
        """Probes, lag, and reading one's own writes."""
        return ReplicaSettings

    @hookimpl
    def startup(self, beam: Beam) -> None:
        self._beam = beam
        self._settings = beam.settings_of(ReplicaSettings)
        self._watches.clear()
        for project in beam.settings.projects.values():
            self._watch(project).wake()

    @hookimpl
    def shutdown(self, beam: Beam) -> None:
        for watch in self._watches.values():
            watch.stop()

    @hookimpl
    def reload(self, beam: Beam) -> None:
        """Watch what is set now, as it is set now."""
        settings = beam.settings_of(ReplicaSettings)
        changed, self._settings = settings != self._settings, settings
        for name, watch in list(self._watches.items()):
            project = beam.settings.projects.get(name)
            if project is None:
                watch.stop()
            elif changed or project is not watch.project:
                self._begin(project, watch).wake()
        for project in beam.settings.projects.values():
            self._watch(project).wake()

    @hookimpl
    def authenticated(self, session: Session) -> None:
        """Its writes will be remembered."""
        session.notes["replica"] = SessionWrites()
        self._watch(session.project).came()

    @hookimpl
    def disconnect(self, session: Session) -> None:
        self._ended(session)
        if session.notes.pop("replica", None) is not None:
            self._watch(session.project).left()

    @hookimpl
    def template(self, statement: Statement) -> None:
        statement.notes["replica"] = reading(statement)

    @hookimpl
    def route(self, session: Session, query: Query) -> Target | None:
        """A replica, for a read that asks for one, or that may go there because the project says so."""
        project = session.project
        if not project.replicas:
            return None
        judged: ReadingNote = query.statement.notes["replica"]
        if not (judged.asked or (judged.unasked and project.auto_read_routing)):
            return None
        if session.pins or _is_serializable(session):
            return None
        health = self._watch(project).choose(session, self._writes_of(session))
        if health is None:
            return None
        query.notes["replica"] = health
        query.explain(replica="true")
        if self._settings.choice == "least_busy":
            self._ended(session)
            self._under_way[session.id] = health
            health.busy += 1
        return health.target

    @hookimpl
    def explain(self, session: Session, query: Query) -> Sequence[Explanation] | None:
        """Whether a replica would be asked, and why."""
        project = session.project
        if not project.replicas:
            return None
        judged: ReadingNote = query.statement.notes["replica"]
        reason = None
        if query.in_transaction and not query.lazily:
            reason = "its transaction is real on the primary"
        elif not (judged.asked or judged.unasked):
            reason = "it is no read that a replica could answer"
        elif not (judged.asked or project.auto_read_routing):
            reason = "it is not annotated, and auto_read_routing is off"
        elif session.pins or _is_serializable(session):
            reason = "the session is pinned, or serializable"
        if reason is not None:
            return [Explanation("replica", "no", reason)]
        usable = self._watch(project).usable(session, self._writes_of(session))
        names = ", ".join(health.target.address for health in usable)
        if not usable:
            return [Explanation("replica", "no", "none is up, near enough, and has seen the session's own writes")]
        return [Explanation("replica", "yes", f"the next in turn of {names}")]

    @hookimpl
    def result(self, session: Session, query: Query, result: Result) -> None:
        """See what was written, and which replica was of no use."""
        if not session.project.replicas:
            return
        health: Health | None = query.notes.get("replica")
        if health is not None:
            self._ended(session)
            self._came_back(session, query, result, health)
        judged: ReadingNote = query.statement.notes["replica"]
        if judged.writes:
            writes = self._writes_of(session)
            if writes is not None:
                writes.wrote(self._beam.now(), committed=result.committed)

    @hookimpl
    def result_batch(self, session: Session, queries: Sequence[Query], results: Sequence[Result]) -> None:
        if session.project.replicas:
            for query, result in zip(queries, results, strict=True):
                self.result(session, query, result)

    @hookimpl
    def transaction_over(self, session: Session) -> None:
        """What it wrote counts from now on."""
        writes = self._writes_of(session)
        if writes is not None:
            writes.transaction_over(self._beam.now())

    @hookimpl
    def stats(self) -> Mapping[str, Mapping[str, int]]:
        """Replicas by state, and how many queries went to one, per project."""
        return {name: _counts(watch) for name, watch in self._watches.items() if watch.replicas}

    @hookimpl
    def metrics(self) -> Sequence[Metric]:
        return metrics(self._watches)

    @hookimpl
    def console(self) -> Mapping[str, Table]:
        rows = [_row(name, health) for name, watch in self._watches.items() for health in watch.replicas]
        columns = ("project", "address", "state", "lag_s", "failures", "reason", "weight", "busy")
        types = ("text", "text", "text", "float8", "int4", "text", "int4", "int4")
        merge = {"lag_s": "max", "failures": "max", "busy": "sum"}
        return {"REPLICAS": Table(columns, rows, types, ("project", "address", "state"), merge)}

    def _watch(self, project: Project) -> Watch:
        """The watch over a project as it is set now: a reload gives projects anew."""
        watch = self._watches.get(project.name)
        is_current = self._beam.settings.projects.get(project.name) is project
        if watch is None or (watch.project is not project and is_current):
            watch = self._begin(project, watch)
        return watch

    def _begin(self, project: Project, before: Watch | None) -> Watch:
        fresh = self._watches[project.name] = Watch(self._beam, project, before)
        return fresh

    def _ended(self, session: Session) -> None:
        """Its query is answered, or will never be."""
        health = self._under_way.pop(session.id, None)
        if health is not None:
            health.busy -= 1

    def _writes_of(self, session: Session) -> SessionWrites | None:
        """Its writes, where they matter."""
        settings = self._beam.settings_of(ReplicaSettings)
        if not (settings.read_your_writes and session.project.auto_read_routing):
            return None
        writes: SessionWrites | None = session.notes.get("replica")
        return writes

    def _came_back(self, session: Session, query: Query, result: Result, health: Health) -> None:
        error = query.fell_back
        if error is None:
            if result.error is not None and result.error[0] == _UNAVAILABLE:
                health.failed(result.error[1])
            return
        watch = self._watch(session.project)
        query.facts.pop("replica", None)
        if isinstance(error, ServerUnavailable | ServerRefused):
            watch.fell_back += 1
        else:
            watch.retried += 1
            query.explain(retried=error.sqlstate)
        if isinstance(error, PasswordNeeded | ServerRefused):
            health.turned_away(session.identity, self._beam.now() + TURNED_AWAY_S)
        elif isinstance(error, ServerUnavailable):
            health.failed(error.message)


def _is_serializable(session: Session) -> bool:
    """A hot standby refuses such transactions."""
    wanted = session.settings.now.get(_ISOLATION) or session.base.get(_ISOLATION, "")
    return wanted.lower() == "serializable"


def _counts(watch: Watch) -> dict[str, int]:
    return {
        "replicas": len(watch.replicas),
        "replicas_up": sum(health.up for health in watch.replicas),
        "replicas_lagging": sum(health.up and health.lagging for health in watch.replicas),
        "queries_routed": watch.routed,
        "queries_fell_back": watch.fell_back,
        "queries_retried": watch.retried,
    }


def _row(project: str, health: Health) -> tuple[object, ...]:
    state = "out" if not health.up else "lagging" if health.lagging else "up"
    return (
        project,
        health.target.address,
        state,
        health.lag_s,
        health.failures,
        health.reason or None,
        health.weight,
        health.busy,
    )


plugin = Replicas()
