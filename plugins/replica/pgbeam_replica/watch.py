"""The replicas of one project: which are well, and whose turn it is."""

from __future__ import annotations

from twisted.logger import Logger

from pgbeam_core import Beam, Project, Session, Target
from pgbeam_replica.health import Health
from pgbeam_replica.positions import Position, Positions, Writes, lsn
from pgbeam_replica.probe import Probe, Rows
from pgbeam_replica.settings import ReplicaSettings

log = Logger(__name__)

ASK_REPLICA = b"SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()"
ASK_PRIMARY = b"SELECT pg_current_wal_flush_lsn(), pg_current_wal_insert_lsn()"


class Watch:
    """Of one project."""

    def __init__(self, beam: Beam, project: Project) -> None:
        self.project = project
        self.replicas = [Health(target) for target in project.replicas]
        self.positions = Positions()
        self.clients = 0
        self.routed = 0
        self.fell_back = 0
        self._beam = beam
        self._settings = beam.settings_of(ReplicaSettings)
        self._next = 0
        self._empty_since = beam.now()
        self._warned = False
        self._probes = self._make_probes()
        self._parked = True

    def wake(self) -> None:
        """Begin to ask, unless that is going on."""
        if self._parked:
            self._parked = False
            for probe in self._probes:
                probe.start()

    def stop(self) -> None:
        """Ask nobody any more; nobody is known to be well then."""
        self._parked = True
        for probe in self._probes:
            probe.stop()
        for health in self.replicas:
            health.forget()

    def came(self) -> None:
        self.clients += 1
        self.wake()

    def left(self) -> None:
        self.clients -= 1
        self._empty_since = self._beam.now()

    def choose(self, session: Session, writes: Writes | None) -> Health | None:
        """The next replica that may answer that session, in turn; None: ask the primary."""
        now, count = self._beam.now(), len(self.replicas)
        for step in range(count):
            place = (self._next + step) % count
            health = self.replicas[place]
            if not health.usable or not health.takes(session.identity, now) or not self._reachable(health.target):
                continue
            if writes is None or writes.are_in(health.replayed, self.positions):
                self._next = place + 1
                self.routed += 1
                return health
        return None

    def usable(self, session: Session, writes: Writes | None) -> list[Health]:
        """The replicas that might answer that session now."""
        now = self._beam.now()
        found = [each for each in self.replicas if each.usable and each.takes(session.identity, now)]
        return [
            each
            for each in found
            if self._reachable(each.target) and (writes is None or writes.are_in(each.replayed, self.positions))
        ]

    def _reachable(self, target: Target) -> bool:
        pool = self._beam.pools.get(target)
        return pool is None or pool.available

    # Asking.

    @property
    def _measures(self) -> bool:
        """Whether anybody wants to know where the primary is."""
        settings = self._settings
        return bool(settings.max_lag_s) or (settings.read_your_writes and self.project.auto_read_routing)

    def _make_probes(self) -> list[Probe]:
        probes = []
        if self._measures and self.replicas:
            primary = self.project.primary
            probes.append(
                Probe(self._beam, self.project, primary, ASK_PRIMARY, told=self._primary_told, failed=lambda _: None)
            )
        return [*probes, *(self._probe_of(health) for health in self.replicas)]

    def _probe_of(self, health: Health) -> Probe:
        def told(asked: float, rows: Rows | None) -> None:
            self._replica_told(health, asked, rows)

        return Probe(self._beam, self.project, health.target, ASK_REPLICA, told=told, failed=health.failed)

    def _primary_told(self, asked: float, rows: Rows | None) -> None:
        if rows is None:
            self._warn()
            return
        flushed, inserted = rows[0]
        if flushed is not None and inserted is not None:
            self.positions.add(Position(asked, self._beam.now(), lsn(flushed), lsn(inserted)))

    def _replica_told(self, health: Health, asked: float, rows: Rows | None) -> None:
        self._park_if_empty()
        if self._parked:
            return
        if rows is not None and rows[0][0] != "t":
            health.failed("it is no replica: pg_is_in_recovery() is false")
            return
        replayed = None if rows is None or rows[0][1] is None else lsn(rows[0][1])
        lag = self.positions.lag(replayed, asked) if replayed is not None and self.positions else None
        health.measured(replayed, lag, self._settings.max_lag_s)
        health.succeeded()
        if rows is None and self._measures:
            self._warn()

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            log.warn(
                "project {project}: PgBeam cannot log in to see how far replicas are, so reads stay on the primary "
                "where that matters; set plugins.replica.health_user and health_password",
                project=self.project.name,
            )

    def _park_if_empty(self) -> None:
        limit = self._settings.park_after_s
        if limit and not self.clients and self._beam.now() - self._empty_since >= limit:
            self.stop()
