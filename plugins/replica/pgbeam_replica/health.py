"""Whether a replica may be asked."""

from __future__ import annotations

from twisted.logger import Logger

from pgbeam_core import Identity, Target

log = Logger(__name__)

SUCCESSES_TO_RETURN = 2
TURNED_AWAY_S = 60.0
"""How long an identity that a replica turned away is not tried there again."""
_MOST_TURNED_AWAY = 1_000


class Health:
    """Of one replica. Nobody has asked it yet: it is out; the first success lets it in, after a failure the second."""

    def __init__(self, target: Target, weight: int = 1) -> None:
        self.target = target
        self.weight = weight
        """Its share of the reads."""
        self.credit = 0
        """What it is owed of its share."""
        self.busy = 0
        """Queries that it has been given and has not answered, where that matters."""
        self.up = False
        self.lagging = False
        self.lag_s: float | None = None
        """Seconds behind the primary at least; None when that cannot be told."""
        self.replayed: int | None = None
        self.reason = "not asked yet"
        """Why it is out."""
        self.failures = 0
        self._successes = SUCCESSES_TO_RETURN - 1
        self._turned_away: dict[Identity, float] = {}

    @property
    def usable(self) -> bool:
        """Whether it may be asked at all."""
        return self.up and not self.lagging and self.weight > 0

    def takes(self, identity: Identity, now: float) -> bool:
        """Whether it is worth asking on behalf of that identity."""
        return self._turned_away.get(identity, 0.0) <= now

    def succeeded(self) -> None:
        """It has answered a probe."""
        self._successes += 1
        if not self.up and self._successes >= SUCCESSES_TO_RETURN:
            self.up = True
            self.reason = ""
            log.info("replica {address} is in use", address=self.target.address)

    def failed(self, reason: str) -> None:
        """A probe, a lease or a connection has failed."""
        self.failures += 1
        self._out(reason)

    def _out(self, reason: str) -> None:
        self._successes = 0
        self.replayed = None
        if self.up or not self.reason:
            log.warn("replica {address} is out: {reason}", address=self.target.address, reason=reason)
        self.up = False
        self.reason = reason

    def is_primary(self) -> None:
        """It has been promoted, or was a primary all the time. That is no failure."""
        self._out("it is no replica: pg_is_in_recovery() is false")

    def is_astray(self, timeline: int, primary: int) -> None:
        """It has not followed a promotion: what it shows may never have been, as far as the primary knows."""
        self._out(f"it follows timeline {timeline}, and the primary is on timeline {primary}")

    def forget(self) -> None:
        """Nobody watches it any more: it is as if it had never been asked."""
        self.up = self.lagging = False
        self.replayed = self.lag_s = None
        self.reason = "not asked yet"
        self._successes = SUCCESSES_TO_RETURN - 1

    def turned_away(self, identity: Identity, until: float) -> None:
        """It is well, but lets PgBeam not in as that identity."""
        if len(self._turned_away) >= _MOST_TURNED_AWAY:
            self._turned_away.clear()
        self._turned_away[identity] = until

    def measured(self, replayed: int | None, lag: float | None, max_lag: float) -> None:
        """How far it has come, and how late it is; None where that cannot be told. max_lag 0: never mind."""
        self.replayed, self.lag_s = replayed, lag
        lagging = bool(max_lag) and (lag is None or lag > max_lag)
        if lagging is not self.lagging:
            self.lagging = lagging
            words = "behind the primary for longer than max_lag_s" if lagging else "in time again"
            log.info("replica {address} is {words} ({lag})", address=self.target.address, words=words, lag=lag)
