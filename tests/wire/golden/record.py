"""Record conversations between real clients and a real server; see README.md beside this file."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import psycopg.sql
import psycopg2  # type: ignore[import-untyped]
import psycopg2.extras  # type: ignore[import-untyped]

HERE = Path(__file__).parent
HBA = """
host all scram all scram-sha-256
host all md5 all md5
host all clear all password
host all all all trust
host replication all all trust
"""
ROLES = """
SET password_encryption = 'scram-sha-256';
CREATE ROLE scram LOGIN PASSWORD 'sesame';
CREATE ROLE clear LOGIN PASSWORD 'sesame';
SET password_encryption = 'md5';
CREATE ROLE md5 LOGIN PASSWORD 'sesame';
CREATE TABLE things (id int primary key, name text);
INSERT INTO things VALUES (1, 'one'), (2, NULL);
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def cluster(binaries: Path) -> Iterator[int]:
    """A throw-away server; gives its port. PostgreSQL refuses root, so root steps down to the user postgres."""
    step_down = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:
        if step_down:
            Path(folder).chmod(0o777)
        data, port = Path(folder, "data"), free_port()
        init = [
            *step_down,
            str(binaries / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
        ]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL)
        (data / "pg_hba.conf").write_text(HBA)
        run = [
            *step_down,
            str(binaries / "postgres"),
            "-D",
            str(data),
            "-p",
            str(port),
            "-h",
            "127.0.0.1",
            "-k",
            "",
            "-F",
        ]
        server = subprocess.Popen(run, stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield port
        finally:
            server.send_signal(signal.SIGINT)  # fast: it does not wait for clients
            server.wait()


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as connection:
                connection.execute(ROLES)
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise TimeoutError("the server did not start")


class Tap:
    """Relay one connection, and keep what passes in each direction."""

    def __init__(self, port: int) -> None:
        self.client = bytearray()
        self.server = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._relay, args=(port,), daemon=True)
        self._thread.start()

    def _relay(self, port: int) -> None:
        near, _ = self._listener.accept()
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=self._pump, args=(far, near, self.server), daemon=True)
            back.start()
            self._pump(near, far, self.client)
            back.join()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                kept += chunk
                sink.sendall(chunk)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


def libpq(port: int, user: str, **more: Any) -> psycopg.Connection:
    settings = {"sslmode": "disable", "gssencmode": "disable", "password": "sesame", "dbname": "postgres", **more}
    return psycopg.connect(host="127.0.0.1", port=port, user=user, autocommit=True, **settings)


def login(user: str, **more: Any) -> Callable[[int], None]:
    def talk(port: int) -> None:
        with libpq(port, user, **more) as connection:
            connection.execute("SELECT 1")

    return talk


def wrong(port: int) -> None:
    with contextlib.suppress(psycopg.OperationalError):
        libpq(port, "scram", password="guess").close()


def simple(port: int) -> None:
    """Simple protocol: rows, NULL, nothing, errors, notices, notifications, several statements at once."""
    with libpq(port, "postgres", application_name="gölden") as connection:
        run = connection.pgconn.exec_
        for sql in (
            b"SELECT id, name FROM things ORDER BY id",
            b"",
            b"SELECT; SELECT 1/0; SELECT 2",
            b"BEGIN",
            b"SELECT nothing FROM nowhere",
            b"ROLLBACK",
            b"DO $$ BEGIN RAISE NOTICE 'h\xc3\xa9' USING DETAIL = 'd', HINT = 'h'; END $$",
            b"LISTEN bell; NOTIFY bell, 'ding'",
            b"SET TimeZone = 'Asia/Tokyo'",
        ):
            run(sql)


def extended(port: int) -> None:
    """Extended protocol: names, types, formats, Describe, Close, a pipeline with an error."""
    with libpq(port, "postgres") as connection:
        connection.prepared_max = 1  # so that the second statement makes psycopg close the first
        sql = "SELECT id, name FROM things WHERE id = %s OR name = %s"
        connection.execute(sql, (1, None), prepare=True)
        connection.execute(sql, (2, "x"), prepare=True, binary=True)
        connection.execute("SELECT %s::text", ("é",), prepare=True)
        with contextlib.suppress(psycopg.Error), connection.pipeline():
            connection.execute("SELECT %s::int", (1,))
            connection.execute("SELECT 1/%s::int", (0,))
            connection.execute("SELECT 3")


def copy(port: int) -> None:
    """COPY both ways, and one that the client gives up."""
    with libpq(port, "postgres") as connection, connection.cursor() as cursor:
        with cursor.copy("COPY things TO STDOUT") as rows:
            list(rows)
        with cursor.copy("COPY things FROM STDIN (FORMAT binary)") as rows:
            rows.set_types(["int4", "text"])
            rows.write_row((3, "three"))
        with contextlib.suppress(psycopg.Error), cursor.copy("COPY things FROM STDIN") as rows:
            rows.write("4\tfour\n")
            raise psycopg.DataError("changed my mind")


def functions(port: int) -> None:
    """Large objects, which libpq reaches by FunctionCall."""
    connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres", sslmode="disable")
    thing = connection.lobject(0, "wb")
    thing.write(b"\x00\xff bytes")
    thing.close()
    connection.rollback()
    connection.close()


def replication(port: int) -> None:
    """Physical replication: CopyBothResponse."""
    connection = psycopg2.connect(
        host="127.0.0.1",
        port=port,
        user="postgres",
        sslmode="disable",
        connection_factory=psycopg2.extras.PhysicalReplicationConnection,
    )
    cursor = connection.cursor()
    cursor.execute("IDENTIFY_SYSTEM")
    position = cursor.fetchone()[2]
    cursor.start_replication(start_lsn=position)
    cursor.send_feedback(force=True)
    connection.close()


def handmade(version: int, *parameters: bytes) -> Callable[[int], None]:
    """What no driver sends: other versions, protocol options, Flush, a suspended portal, NoData."""

    def message(tag: bytes, body: bytes = b"") -> bytes:
        return tag + struct.pack("!i", len(body) + 4) + body

    def talk(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as wire:
            body = struct.pack("!i", version) + b"".join(word + b"\0" for word in parameters) + b"\0"
            wire.sendall(struct.pack("!i", len(body) + 4) + body)
            wire.sendall(
                message(b"P", b"s\0SELECT generate_series(1, $1)\0\x00\x01\x00\x00\x00\x17")
                + message(b"D", b"Ss\0")
                + message(b"B", b"p\0s\0\x00\x01\x00\x00\x00\x01\x00\x00\x00\x013\x00\x01\x00\x01")
                + message(b"D", b"Pp\0")
                + message(b"E", b"p\0\x00\x00\x00\x02")
                + message(b"H")
                + message(b"C", b"Pp\0")
                + message(b"P", b"\0\0\x00\x00")
                + message(b"B", b"\0\0\x00\x00\x00\x00\x00\x00")
                + message(b"D", b"P\0")
                + message(b"E", b"\0\x00\x00\x00\x00")
                + message(b"S")
                + message(b"X")
            )
            while wire.recv(65536):
                pass

    return talk


def refused(packet: bytes) -> Callable[[int], None]:
    def talk(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as wire:
            wire.sendall(packet)
            while wire.recv(65536):
                pass

    return talk


USER = (b"user", b"postgres", b"database", b"postgres")
CONVERSATIONS: dict[str, Callable[[int], None]] = {
    "scram": login("scram"),
    "md5": login("md5"),
    "clear": login("clear", options=r"-c work_mem=5MB --application-name=two\ words"),
    "wrong": wrong,
    "simple": simple,
    "extended": extended,
    "copy": copy,
    "functions": functions,
    "replication": replication,
    "handmade": handmade(3 << 16, *USER),
    "handmade-31": handmade(3 << 16 | 1, *USER),
    "handmade-31-option": handmade(3 << 16 | 1, *USER, b"_pq_.mystery", b"1"),
    "handmade-32": handmade(3 << 16 | 2, *USER),
    "handmade-39": handmade(3 << 16 | 9, *USER, b"_pq_.mystery", b"1", b"_pq_.other", b""),
    "no-user": refused(b"\x00\x00\x00\x09\x00\x03\x00\x00\x00"),
    "version-2": refused(b"\x00\x00\x00\x09\x00\x02\x00\x00\x00"),
    "bad-layout": refused(b"\x00\x00\x00\x0c\x00\x03\x00\x00user"),
}


PASSWORDS = (
    "sesame",
    "päß\u00adwörd",
    "a\u00a0b\u200bc",
    "\u2168 \ufb01",
    "a\u0340",
    "a\u0007é",
    "\u0627\u0031\u0628",
    "\u06271",
    "x\u0627é",
    "\u0221",
    "\u00ad",
    "\U0001f600",
    "\u1e9b\u0323",
    "\ue000é",
)
OPTIONS = (
    "-c work_mem=64",
    "-cwork_mem=65 --statement-timeout=7 -c statement_timeout=8",
    r"-c search_path=a\ b\\c -c MY.Thing=x=y",
    "  -e -fs -S 70 -tpl ",
    "-ec work_mem=66",
    "-T -n -b -v 3 -s",
    "--",
    "-c work_mem",
    "--work_mem",
    "-c",
    "-x",
    "stray",
    "-- stray",
    "-fz",
    "-tq",
    "\\",
)
ASKED = "SELECT name, setting FROM pg_settings WHERE source = 'client' AND name NOT IN ('client_encoding')"


def verifiers(port: int) -> dict[str, str]:
    """What the server keeps of each password."""
    kept = {}
    with psycopg.connect(host="127.0.0.1", port=port, user="postgres", client_encoding="utf8") as connection:
        connection.execute("SET password_encryption = 'scram-sha-256'")
        for password in PASSWORDS:
            connection.execute(psycopg.sql.SQL("ALTER ROLE scram PASSWORD {}").format(password))
            row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'scram'").fetchone()
            kept[password] = row[0] if row else ""
        connection.rollback()
    return kept


def options(port: int) -> list[tuple[str, Any]]:
    """What the server makes of each options string: settings, or the words of its refusal."""
    outcomes: list[tuple[str, Any]] = []
    for given in OPTIONS:
        try:
            with psycopg.connect(host="127.0.0.1", port=port, user="postgres", options=given) as connection:
                outcomes.append((given, dict(connection.execute(ASKED).fetchall())))
        except psycopg.OperationalError as error:
            outcomes.append((given, str(error).partition("FATAL:  ")[2].splitlines()[0]))
    return outcomes


def save(name: str, facts: object) -> None:
    Path(HERE, name).write_text(json.dumps(facts, indent=1) + "\n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--bin", type=Path, required=True, help="folder of initdb and postgres")
    arguments.add_argument("--name", required=True, help="what the files' names begin with")
    given = arguments.parse_args()
    with cluster(given.bin) as port:
        save(f"{given.name}-verifiers.json", verifiers(port))
        save(f"{given.name}-options.json", options(port))
        for name, talk in CONVERSATIONS.items():
            tap = Tap(port)
            talk(tap.port)
            tap.close()
            Path(HERE, f"{given.name}-{name}.client").write_bytes(tap.client)
            Path(HERE, f"{given.name}-{name}.server").write_bytes(tap.server)


if __name__ == "__main__":
    main()
