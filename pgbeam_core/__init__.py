"""A programmable PostgreSQL proxy. What stands in `__all__` is what a plugin may import; the rest may change."""

from pgbeam_core.api.commands import Command
from pgbeam_core.api.console import Table
from pgbeam_core.api.hookspecs import hookimpl
from pgbeam_core.api.metrics import Metric
from pgbeam_core.api.notes import Note
from pgbeam_core.api.opener import Opener
from pgbeam_core.api.pool import (
    Identity,
    Lease,
    Pool,
    PoolConsole,
    PoolMember,
    PoolSizes,
    PoolWaiter,
    Relay,
    Server,
)
from pgbeam_core.api.query import Parameters, Query, Role, Target
from pgbeam_core.api.results import Answer, Explanation, Notice, Refusal, Result
from pgbeam_core.api.statement import Annotation, Kind, Name, SettingAction, SettingChange, Statement
from pgbeam_core.beam import Beam
from pgbeam_core.catalog.catalog import Catalog
from pgbeam_core.catalog.surveys import Survey
from pgbeam_core.control.broadcast import Broadcast
from pgbeam_core.control.client import ask_running
from pgbeam_core.control.registry import Control
from pgbeam_core.errors import (
    IdentityChanged,
    PasswordNeeded,
    PgBeamError,
    PluginError,
    PoolExhausted,
    ProtocolViolation,
    ServerProtocolError,
    ServerRefused,
    ServerUnavailable,
    SettingsError,
)
from pgbeam_core.net.unauthenticated import neighbourhood
from pgbeam_core.session.session import Session
from pgbeam_core.settings import Project
from pgbeam_core.telemetry.stats import Histogram

__all__ = [
    "Annotation",
    "Answer",
    "Beam",
    "Broadcast",
    "Catalog",
    "Command",
    "Control",
    "Explanation",
    "Histogram",
    "Identity",
    "IdentityChanged",
    "Kind",
    "Lease",
    "Metric",
    "Name",
    "Note",
    "Notice",
    "Opener",
    "Parameters",
    "PasswordNeeded",
    "PgBeamError",
    "PluginError",
    "Pool",
    "PoolConsole",
    "PoolExhausted",
    "PoolMember",
    "PoolSizes",
    "PoolWaiter",
    "Project",
    "ProtocolViolation",
    "Query",
    "Refusal",
    "Relay",
    "Result",
    "Role",
    "Server",
    "ServerProtocolError",
    "ServerRefused",
    "ServerUnavailable",
    "Session",
    "SettingAction",
    "SettingChange",
    "SettingsError",
    "Statement",
    "Survey",
    "Table",
    "Target",
    "ask_running",
    "hookimpl",
    "neighbourhood",
]
