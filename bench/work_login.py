"""Logins by SCRAM, one after another by several clients, beside one that is in and asks all the time."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace

from bench.errors import RunFailed, Skipped
from bench.figures import Goal, Sample, percentile
from bench.places import DATABASE, PROXIES, Credentials, Place
from bench.processes import run
from bench.stage import Stage
from bench.work_batch import ROOT, client, finished

NAME, PASSWORD = "visitor", "sesame"
WARM_UP_S = 0.5
PATIENCE_S = 60
_RULE = f"host all {NAME} 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True)
class LoginWork:
    """Connect, prove who it is, `SELECT 1`, leave; the proxies know what the user's proof is checked against."""

    clients: int
    ways: tuple[str, ...]
    goals: tuple[Goal, ...] = ()
    group: str = "login"
    unit: str = "login"

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"login by SCRAM and select, {self.clients} clients"

    def prepare(self, stage: Stage, place: Place) -> None:
        """The user is there, and PostgreSQL asks it for a proof."""
        _secret(stage)

    def once(self, stage: Stage, place: Place) -> Sample:
        """One run, at a proxy of its own."""
        account = Credentials(NAME, PASSWORD, _secret(stage))
        if place.way == "direct":
            return self._storm(stage, place)
        try:
            with PROXIES[place.way](replace(stage.setup, account=account)) as there:
                return self._storm(stage, there)
        except Skipped as reason:
            raise RunFailed(str(reason)) from None

    def _storm(self, stage: Stage, place: Place) -> Sample:
        self._logins(place, WARM_UP_S)
        other = client("beside", place, 0, NAME, PASSWORD)
        assert other.stdout is not None
        if other.stdout.readline().strip() != "ready":
            finished(other)
            raise RunFailed("the client beside them could not begin")
        try:
            sample = stage.measured(place, lambda: self._logins(place, stage.seconds))
        finally:
            usual_ms, longest_ms = finished(other)
        sample.beside_ms, sample.longest_ms = usual_ms, longest_ms
        return sample

    def _logins(self, place: Place, seconds: float) -> tuple[Sample, int]:
        words = [str(place.port), NAME, PASSWORD, DATABASE, str(self.clients), str(seconds)]
        said = run([sys.executable, "-m", "bench.login_client", *words], timeout_s=seconds + PATIENCE_S, cwd=ROOT)
        found = json.loads(said)
        times = found["times_ms"]
        rate = len(times) / found["seconds"]
        return Sample(rate=rate, p50_ms=percentile(times, 0.5), p99_ms=percentile(times, 0.99)), len(times)


def _secret(stage: Stage) -> str:
    """What PostgreSQL keeps of the user's password. It is made, if it is not there."""
    postgres = stage.postgres
    rules = postgres.data_dir / "pg_hba.conf"
    text = rules.read_text()
    if _RULE not in text:
        postgres.psql(
            f"SET password_encryption = 'scram-sha-256'; CREATE ROLE {NAME} LOGIN PASSWORD '{PASSWORD}'", DATABASE
        )
        rules.write_text(_RULE + text)
        postgres.psql("SELECT pg_reload_conf()", DATABASE)
    said = postgres.psql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{NAME}'", DATABASE)
    return said.strip()
