"""The replicas of one project: which are well, and whose turn it is."""

from __future__ import annotations

from collections.abc import Collection

from twisted.logger import Logger

from pgbeam_core import Beam, Project, Session, Target
from pgbeam_replica.health import Health
from pgbeam_replica.positions import Position, Positions, SessionWrites, lsn
from pgbeam_replica.probe import Probe, Rows
from pgbeam_replica.settings import ReplicaSettings

log = Logger(__name__)

ASK_REPLICA = b"""\
SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn(),
 greatest((SELECT max(received_tli) FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()),
  (SELECT min_recovery_end_timeline FROM pg_control_recovery())),
 EXISTS (SELECT FROM pg_stat_wal_receiver WHERE received_tli IS NULL)"""
"""The last one is true where PgBeam may not see which timeline is received: then it is not known."""
ASK_PRIMARY = b"""\
SELECT pg_current_wal_flush_lsn(), pg_current_wal_insert_lsn(),
 substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"""


class Watch:
    """Over the replicas of one project: which there are, how they are, and how far behind."""

    def __init__(self, beam: Beam, project: Project, before: Watch | None = None) -> None:
        """before: the watch over the project as it was: what is known of replicas that stay is still true."""
        settings = beam.settings_of(ReplicaSettings)
        known: dict[Target, Health] = {} if before is None else before.known
        self.project = project
        self.replicas: list[Health] = [known.get(target) or Health(target) for target in project.replicas]
        for health in self.replicas:
            health.weight = settings.weights.get(health.target.address, 1)
        self.positions = Positions()
        self.timeline = 0
        """Of the primary; 0: not known."""
        self.clients = self.routed = self.fell_back = self.retried = 0
        if before is not None:
            before.stop(but=self.replicas)
            self.clients, self.routed = before.clients, before.routed
            self.fell_back, self.retried = before.fell_back, before.retried
        self._beam = beam
        self._settings = settings
        self._empty_since = beam.now()
        self._warned = False
        self._probes = self._make_probes()
        self._parked = True

    @property
    def known(self) -> dict[Target, Health]:
        """What is known of each replica."""
        return {health.target: health for health in self.replicas}

    def wake(self) -> None:
        """Begin to ask, unless that is going on."""
        if self._parked:
            self._parked = False
            for probe in self._probes:
                probe.start()

    def stop(self, but: Collection[Health] = ()) -> None:
        """Ask nobody any more; nobody is known to be well then, but those that somebody else asks from now on."""
        self._parked = True
        for probe in self._probes:
            probe.stop()
        for health in self.replicas:
            if health not in but:
                health.forget()

    def came(self) -> None:
        self.clients += 1
        self.wake()

    def left(self) -> None:
        self.clients -= 1
        self._empty_since = self._beam.now()

    def choose(self, session: Session, writes: SessionWrites | None) -> Health | None:
        """The next replica that may answer that session; None: ask the primary."""
        now = self._beam.now()
        fit = [
            health
            for health in self.replicas
            if health.usable
            and health.takes(session.identity, now)
            and self._reachable(health.target)
            and (writes is None or writes.are_in(health.replayed, self.positions))
        ]
        if not fit:
            return None
        self.routed += 1
        if len(fit) == 1:
            return fit[0]
        if self._settings.choice == "least_busy":
            least = min(health.busy / health.weight for health in fit)
            fit = [health for health in fit if health.busy / health.weight == least]
        return self._in_turn(fit)

    @staticmethod
    def _in_turn(fit: list[Health]) -> Health:
        """Each gets its share, as evenly as can be: of 2 and 1 the first, the second, the first."""
        for health in fit:
            health.credit += health.weight
        chosen = max(fit, key=lambda health: health.credit)
        chosen.credit -= sum(health.weight for health in fit)
        return chosen

    def usable(self, session: Session, writes: SessionWrites | None) -> list[Health]:
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
        if (self._measures or self.project.primary.watched) and self.replicas:
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
        flushed, inserted, *more = rows[0]
        self._on_timeline(int(more[0], 16) if more and more[0] else 0)
        if flushed is not None and inserted is not None:
            self.positions.add(Position(asked, self._beam.now(), lsn(flushed), lsn(inserted)))

    def _on_timeline(self, timeline: int) -> None:
        if timeline != self.timeline:
            self.timeline = timeline
            self.positions.clear()

    def _replica_told(self, health: Health, asked: float, rows: Rows | None) -> None:
        self._park_if_empty()
        if self._parked:
            return
        if rows is not None and rows[0][0] != "t":
            health.is_primary()
            return
        if rows is not None and len(rows[0]) > 3 and rows[0][2] and rows[0][3] == "f" and self.timeline:
            timeline = int(rows[0][2])
            if timeline < self.timeline:
                health.is_astray(timeline, self.timeline)
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
