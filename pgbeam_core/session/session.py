"""What plugins see of a client."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from pgbeam_core.api.pool import Identity
from pgbeam_core.session.settings import SessionSettings
from pgbeam_core.session.variables import PREFIX, Ask, Variables
from pgbeam_core.wire.startup import options_to_settings, without_options

if TYPE_CHECKING:
    from pgbeam_core.api.pool import Lease
    from pgbeam_core.settings import Project

_ids = itertools.count(1)

_UNSAFE_ENCODINGS = frozenset({"BIG5", "GB18030", "GBK", "JOHAB", "SHIFT_JIS_2004", "SJIS", "UHC"})
"""A byte of theirs may look like a quote or a backslash and be the half of a letter."""
_NOT_PARAMETERS = frozenset({"user", "database", "application_name", "options", "replication"})


class Session:
    """One client, from its startup packet to its leaving."""

    at_console: bool = False
    """It has not come for a server, but for PgBeam's console."""

    def __init__(self, project: Project, peer: str, startup: dict[str, str], *, hostname: str | None, ask: Ask) -> None:
        """`startup` is the client's startup packet; `ask` asks the plugins about a `pgbeam.*` variable.

        Raises VariableError for a bad one among the startup options.
        """
        self.id = next(_ids)
        self.project = project
        self.peer = peer
        """The client's IP address, or "unix" for a local socket."""
        self.hostname = hostname
        """The host name it asked for by TLS SNI."""
        self.user = startup["user"]
        self.database = startup.get("database") or project.primary.database or self.user
        startup, user, database = _meant(project, startup, self.user, self.database)
        self.replication = startup.get("replication", "false").lower() not in ("false", "off", "no", "0")
        self.keeps_server = self.replication or project.pool_mode == "session"
        """One server is its own for its whole stay."""
        own = {name[len(PREFIX) :]: value for name, value in startup.items() if name.startswith(PREFIX)}
        options = startup.get("options", "")
        if options:
            options, in_options = without_options(options, PREFIX)
            own.update({name[len(PREFIX) :]: value for name, value in in_options.items()})
        self.variables = Variables(ask, own)
        self.variable = self.variables.peek
        """The value that the client gave to `pgbeam.<name>`; None if it gave none."""
        parameters = _parameters(startup, options, replication=self.replication)
        of_options = options_to_settings(options) if options else {}
        if project.query_timeout_ms and not _sets_timeout(parameters, of_options):
            parameters["statement_timeout"] = str(project.query_timeout_ms)
        self.identity = Identity(user, database, tuple(sorted(parameters.items())))
        self.base = {**of_options, **{k: v for k, v in startup.items() if k not in _NOT_PARAMETERS}}
        """The startup parameters that are run-time parameters, those inside `options` included, as given."""
        self.application_name = startup.get("application_name")
        named = self.application_name is not None
        self.settings = SessionSettings({"application_name": startup["application_name"]} if named else {})
        self.status = b"I"
        """Transaction status as the client knows it: I, T or E."""
        self.server_status = b"I"
        """Transaction status of its server: I while the client's transaction is kept back."""
        self.active_at = 0.0
        """When its latest request came, or the reply to that ended: monotonic seconds."""
        self.transaction_at = 0.0
        """When its transaction began, kept back or not; 0 outside of one, and while it is not known."""
        self.pins: set[str] = set()
        """Why it keeps its server: temp_table, listen, … Empty when it does not."""
        self.pid = 0
        """The process id in its BackendKeyData."""
        self.lease: Lease | None = None
        self.login_error: str | None = None
        """The SQLSTATE with which its login was refused: 28P01 for a wrong password. None for all other ends."""
        self.notes: dict[str, Any] = {}
        """What plugins remember about it, each under its own name."""
        self.parameter_status: dict[str, str] = {}
        """What the client was told by ParameterStatus."""
        self.reads_otherwise = False
        """Strings in its texts may end elsewhere than in anybody else's: see `misreads`."""

    def _parameters_told(self) -> None:
        """What the client was told by ParameterStatus is another thing now."""
        told = self.parameter_status
        self.reads_otherwise = (
            told.get("standard_conforming_strings") == "off" or told.get("client_encoding") in _UNSAFE_ENCODINGS
        )

    def misreads(self, text: bytes) -> bool:
        """Whether the grammar would read a text of such a client as something else than the server does."""
        return b"\\" in text or not text.isascii()

    @property
    def in_transaction(self) -> bool:
        """Inside an explicit transaction, failed or not, kept back or real."""
        return self.status != b"I"

    @property
    def begun(self) -> bool:
        """Its transaction is real: a server is in it, and no other will do."""
        return self.server_status != b"I"

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.user}@{self.database} from {self.peer} {self.status.decode()}>"


def _meant(project: Project, startup: dict[str, str], user: str, database: str) -> tuple[dict[str, str], str, str]:
    """Startup packet, user and database as the server is to see them, where the database is an alias."""
    alias = project.databases.get(database)
    if alias is None:
        return startup, user, database
    # What the client gives counts, also inside its options.
    given = {name.lower() for name in startup} | set(options_to_settings(startup.get("options", "")))
    more = {name: value for name, value in alias.parameters.items() if name.lower() not in given}
    return {**startup, **more}, alias.user or user, alias.database or database


def _parameters(startup: dict[str, str], options: str, *, replication: bool) -> dict[str, str]:
    """The startup parameters that decide which server will do."""
    wanted = {k: v for k, v in startup.items() if k not in _NOT_PARAMETERS and not k.startswith((PREFIX, "_pq_."))}
    if options:
        wanted["options"] = options
    if replication:
        wanted["replication"] = startup["replication"]
    return wanted


def _sets_timeout(parameters: dict[str, str], of_options: dict[str, str]) -> bool:
    """Whether the client has a time for its statements of its own, which PostgreSQL would else see after PgBeam's."""
    return any(name.lower() == "statement_timeout" for name in (*parameters, *of_options))
