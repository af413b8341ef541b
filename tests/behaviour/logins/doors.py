"""A server with a role for every way to ask for a password, and a PgBeam that has a project for every way to it."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pgbeam_core.wire.scram_keys import verifier
from pgbeam_core.wire.secrets import Md5Hash
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import DATABASE, PASSWORD, Installation, start_cluster
from tests.net.certificates import Files

METHODS = {"trust": "trust", "password": "password", "md5": "md5", "scram": "scram-sha-256"}
"""Names of groups of roles, and what pg_hba.conf says of their members."""
GUARDED = "guarded"
"""A database whose clients must show a certificate, whatever else they are asked for."""
AUTHS = ("passthrough", "scram", "query")
MODES = ("transaction", "session")
LEGS = ("disable", "require", "verify-full", "certificate")
"""TLS between PgBeam and the server."""
_POOL = 10


def is_encrypting(found: Installation) -> bool:
    """Whether that server was built with TLS."""
    command = [found.program("pg_config"), "--configure"]
    return "ssl" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def kept(method: str, user: str) -> str:
    """What PostgreSQL keeps of PASSWORD for a role of that method."""
    if method == "md5":
        return Md5Hash.of(user, PASSWORD.encode()).text.decode()
    return verifier(PASSWORD, b"salt of " + user.encode())


def fits(auth: str, method: str) -> bool:
    """Whether PgBeam can log in: what auth_query gives is of no use to a server that wants the password itself."""
    return not (auth == "query" and method == "password")


class Doors:
    """Both of them, with `count` roles of each method, new to each project: `trust_0`, `scram_7` …"""

    def __init__(self, found: Installation, folder: Path, count: int) -> None:
        self.files = Files(folder)
        self.legs = LEGS if is_encrypting(found) else ("disable",)
        self._used: Counter[tuple[str, str]] = Counter()
        self._names = {method: [f"{method}_{n}" for n in range(count)] for method in METHODS}
        self.cluster = start_cluster(found)
        try:
            self._prepare()
            self.userlist = folder / "userlist.txt"
            self.userlist.write_text(self._listed())
            self.beam = Beam(
                self.cluster,
                "transaction",
                folder,
                name="none",
                settings={"tls": self.files.settings(), "plugins": {"pool": {"max_active": _POOL}}},
                more_projects={
                    f"{auth}-{mode}-{leg}": self._project(auth, mode, leg)
                    for auth in AUTHS
                    for mode in MODES
                    for leg in self.legs
                },
            )
        except BaseException:
            self.cluster.stop()
            raise

    def _listed(self) -> str:
        def quoted(text: str) -> str:
            return '"' + text.replace('"', '""') + '"'

        return "".join(
            f"{quoted(user)} {quoted(PASSWORD if method == 'password' else kept(method, user))}\n"
            for method, users in self._names.items()
            for user in users
        )

    def _prepare(self) -> None:
        cluster, data = self.cluster, self.cluster.folder / "data"
        if len(self.legs) > 1:
            for name in ("server.crt", "server.key", "ca.crt"):
                shutil.copy(self.files[name], data / name)
                shutil.chown(data / name, data.stat().st_uid, data.stat().st_gid)
            (data / "server.key").chmod(0o600)
            with (data / "postgresql.auto.conf").open("a") as file:
                file.write("ssl = on\nssl_ca_file = 'ca.crt'\n")
        with cluster.connect() as boss:
            boss.execute(f"CREATE DATABASE {GUARDED}")
            for method, users in self._names.items():
                boss.execute(f"CREATE ROLE {method} NOLOGIN")
                made = [f"CREATE ROLE {user} LOGIN PASSWORD '{kept(method, user)}' IN ROLE {method}" for user in users]
                boss.execute("; ".join(made))
        hba = "local all all trust\nhost all boss 127.0.0.1/32 trust\n"
        for method, said in METHODS.items():
            if len(self.legs) > 1:
                hba += f"hostssl {GUARDED} +{method} 127.0.0.1/32 {said} clientcert=verify-ca\n"
            hba += f"host {DATABASE} +{method} 127.0.0.1/32 {said}\n"
        (data / "pg_hba.conf").write_text(hba)
        cluster.restart()

    def _project(self, auth: str, mode: str, leg: str) -> dict[str, Any]:
        options = {"sslmode": leg, "sslrootcert": self.files["ca.crt"]}
        if leg == "certificate":
            options["sslmode"] = "verify-ca"
            options |= {"sslcert": self.files["client.crt"], "sslkey": self.files["client.key"]}
        host = "localhost" if leg == "verify-full" else "127.0.0.1"
        found: dict[str, Any] = {
            "upstream": f"postgresql://{host}:{self.cluster.port}?{urlencode(options, quote_via=quote)}",
            "pool_mode": mode,
            "auth": "passthrough" if auth == "passthrough" else "scram",
        }
        if auth == "scram":
            found["users_file"] = str(self.userlist)
        elif auth == "query":
            found |= {"auth_user": "boss", "auth_database": DATABASE}
        return found

    def new_user(self, project: str, method: str) -> str:
        """A role that has not come to that project so far."""
        self._used[project, method] += 1
        return self._names[method][self._used[project, method] - 1]

    def login(self, project: str, user: str, tls: str, **more: Any) -> dict[str, Any]:
        """What libpq is given."""
        database = GUARDED if project.endswith("certificate") else DATABASE
        given = {"host": "localhost", "port": self.beam.port, "user": user, "dbname": database, "password": PASSWORD}
        given |= {"options": f"project={project}", "connect_timeout": 20, "sslrootcert": self.files["ca.crt"]}
        return {**given, **TLS[tls], **more}

    def stop(self) -> None:
        try:
            self.beam.stop()
        finally:
            self.cluster.stop()


TLS: Mapping[str, Mapping[str, str]] = {
    "none": {"sslmode": "disable"},
    "prefer": {"sslmode": "prefer"},
    "require": {"sslmode": "require"},
    "verify-full": {"sslmode": "verify-full"},
    "direct": {"sslmode": "verify-full", "sslnegotiation": "direct"},
}
"""What clients want of PgBeam, in libpq's words."""
