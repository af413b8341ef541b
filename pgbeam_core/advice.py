"""What to do about each of PgBeam's own errors: a hint, and the section of docs/errors.md that says more.

Whoever adds an error adds a line here and, where none fits, a section there; a test finds those that have none.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

PAGE = "docs/errors.md"


class Advice(NamedTuple):
    """For errors of that SQLSTATE whose message fits: … stands for anything."""

    sqlstate: str
    message: str
    section: str
    """Of the page, as links name it."""
    hint: str


ADVICE = (
    Advice(
        *("08004", "project not found for hostname …", "project-not-found"),
        "Connect to a host name of a project, name one by options=project=NAME, or give one project default = true.",
    ),
    Advice("08004", "project …", "project-not-found", "The name is that of a table [projects.NAME] in the settings."),
    Advice("08004", "options ask for project …", "project-not-found", "Leave out one of the two."),
    Advice("08004", "database … is an alias in several projects", "project-not-found", "Say which one is meant."),
    Advice(
        *("08004", "connection rejected: IP not in allowlist", "networks"),
        'The network of the client has to stand in "plugins.limits.allowed_cidrs".',
    ),
    Advice(
        *("08004", "too many authentication attempts", "failed-logins"),
        "Wait for a minute, or for auth_window_s, and check user and password.",
    ),
    Advice(
        *("53300", "too many connections for project", "connections"),
        "Close connections, have smaller pools in the application, or raise max_connections.",
    ),
    Advice(
        *("53300", "too many connections for role …", "connections"),
        "Close connections of that user, or raise max_connections_per_user.",
    ),
    Advice(
        *("53300", "too many connections for database …", "connections"),
        "Close connections to that database, or raise max_connections_per_database.",
    ),
    Advice(
        *("53400", "query rate limit exceeded", "rates"),
        "Slow down, let the cache answer more, or raise queries_per_second and burst.",
    ),
    Advice(
        *("53400", "concurrent query limit exceeded", "rates"),
        "Run fewer queries at a time, or raise max_concurrent_queries.",
    ),
    Advice(
        *("53300", "timed out waiting for a server connection", "no-server-in-time"),
        "Keep transactions short, or raise max_active of the pool.",
    ),
    Advice(
        *("53300", "too many connections that have not logged in", "logins-in-a-crowd"),
        "Try again: whoever logs in quickly is let in.",
    ),
    Advice(
        *("53300", "sorry, too many clients already", "logins-in-a-crowd"),
        "Close connections, or let PgBeam open more files (ulimit -n).",
    ),
    Advice(
        *("57014", "canceling authentication due to timeout", "logins-in-a-crowd"),
        "The login has to be over within a minute, each answer of the client within login_timeout_s.",
    ),
    Advice(
        *("08006", "upstream unavailable (circuit breaker open)", "the-circuit-breaker"),
        "Try again in some seconds: the server could not be reached several times in a row.",
    ),
    Advice(
        *("08006", "could not connect to …", "a-server-that-cannot-be-reached"),
        "Try again later; see whether the server is up, and its address in upstream right.",
    ),
    Advice(
        *("08006", "could not get a server connection", "a-server-that-cannot-be-reached"),
        "Try again later; the log of PgBeam has the reason.",
    ),
    Advice(
        *("08006", "server does not support SSL, but SSL was required", "a-server-that-cannot-be-reached"),
        "Turn ssl on at the server, or set another sslmode in upstream.",
    ),
    Advice(
        *("08006", "SSL error: …", "a-server-that-cannot-be-reached"),
        "Check sslmode, sslrootcert, sslcert and sslkey in upstream, and the certificate of the server.",
    ),
    Advice(
        *("08006", "direct SSL connection was established without ALPN …", "a-server-that-cannot-be-reached"),
        "Before PostgreSQL 17 sslnegotiation has to be postgres.",
    ),
    Advice(
        *("08006", "received invalid response to SSL negotiation", "a-server-that-cannot-be-reached"),
        "See whether it is a PostgreSQL that answers there.",
    ),
    Advice(
        *("08006", "received unencrypted data after SSL response", "a-server-that-cannot-be-reached"),
        "Somebody may be between PgBeam and the server.",
    ),
    Advice(
        *("08006", "could not prepare TLS: …", "a-server-that-cannot-be-reached"),
        "Check sslrootcert, sslcert, sslkey and sslcrl in upstream.",
    ),
    Advice(
        *("08006", "upstream unavailable (no primary among …)", "no-primary"),
        "Promote a standby, or start the primary again; SHOW MEMBERS says what each host is.",
    ),
    Advice(
        *("08006", "… is not in the settings any more", "a-server-that-cannot-be-reached"),
        "Connect again: the settings were changed.",
    ),
    Advice(
        *("08006", "server closed the connection unexpectedly", "when-a-server-is-lost"),
        "Try again; the log of the server has the reason.",
    ),
    Advice(
        *("08006", "server connection was lost: …", "when-a-server-is-lost"),
        "Try again; whether what was running has been done is not known.",
    ),
    Advice(
        *("08006", "server broke the protocol: …", "when-a-server-is-lost"),
        "See whether it is a PostgreSQL that answers there.",
    ),
    Advice(
        *("08006", "the transaction could not be continued on a server", "when-a-server-is-lost"),
        "Connect again, and repeat the transaction.",
    ),
    Advice(
        *("08006", "client left in the middle: …", "when-a-server-is-lost"),
        "Its server was closed, and what was running rolled back.",
    ),
    Advice(
        *("08006", "no server …", "passwords-that-pgbeam-does-not-have"),
        "Connect again: a new login opens a new server.",
    ),
    Advice(
        *("08006", "server asks for the password of user …", "passwords-that-pgbeam-does-not-have"),
        "Connect again: a new login opens a new server.",
    ),
    Advice(
        *("08006", "auth_query …", "logins-that-pgbeam-checks"),
        "Try again later; see that the server is up, and auth_user may log in and run auth_query.",
    ),
    Advice(
        *("08006", "the connection of auth_query was lost: …", "logins-that-pgbeam-checks"),
        "Try again: it is opened anew.",
    ),
    Advice(
        *("XX000", "auth_query …", "logins-that-pgbeam-checks"),
        "It has to give one row at most, with a name and a secret; the log of PgBeam has more.",
    ),
    Advice(
        *("53300", "too many logins wait for auth_query", "logins-that-pgbeam-checks"),
        "Try again after a moment.",
    ),
    Advice(
        *("08006", "password_file cannot be read", "passwords-that-pgbeam-does-not-have"),
        "See that it is there, and PgBeam may read it.",
    ),
    Advice(
        *("08006", "password_command …", "passwords-that-pgbeam-does-not-have"),
        "Run it by hand, as the user who runs PgBeam.",
    ),
    Advice(
        *("08006", "… gives no password", "passwords-that-pgbeam-does-not-have"),
        "Its first line has to be the password.",
    ),
    Advice(
        *("08006", "the password of user … could not be had", "passwords-that-pgbeam-does-not-have"),
        "See password_file or password_command of the project.",
    ),
    Advice(
        *("08006", "server wants the password hashed … times", "passwords-that-pgbeam-does-not-have"),
        "Lower scram_iterations at the server, and set the password anew.",
    ),
    Advice("28000", "… is not the one any more …", "roles-and-databases-made-anew", "Connect again."),
    Advice(
        *("28000", "connection must be encrypted: …", "encryption"),
        "Connect with sslmode=require, or a stricter one.",
    ),
    Advice(
        *("0A000", "transaction blocks are not allowed in statement pool mode", "statement-mode"),
        'Leave BEGIN out, or set pool_mode = "transaction".',
    ),
    Advice(
        *("42704", "unrecognized configuration parameter …", "variables"),
        "The plugin that owns it may be off: see pgbeam plugins.",
    ),
    Advice("22023", "invalid value for parameter …", "variables", "See the page of its plugin for its values."),
    Advice("22023", "parameter … requires a Boolean value", "variables", "It takes on and off."),
    Advice("22023", "parameter … takes a constant", "variables", "It takes a number, a word or a string."),
    Advice("22023", "… is outside the valid range for parameter …", "variables", "The message has the range."),
    Advice(
        *("25P03", "terminating connection due to idle-in-transaction timeout", "times"),
        "End transactions at once, or raise idle_transaction_timeout_ms.",
    ),
    Advice(
        *("25P04", "terminating connection due to transaction timeout", "times"),
        "Do less in one transaction, or raise transaction_timeout_ms.",
    ),
    Advice(
        *("57P05", "terminating connection due to idle-session timeout", "times"),
        "Have the application's pool close idle connections before, or raise client_idle_timeout_s.",
    ),
    Advice(
        *("54000", "query is too long (…)", "lengths"),
        "Send values as parameters, or raise max_query_bytes.",
    ),
    Advice("54000", "message of … bytes is too large", "lengths", "Send less at a time, or raise max_message_bytes."),
    Advice(
        *("53200", "too slow with a large message while others wait", "lengths"),
        "Send large values in smaller parts, or over a faster connection.",
    ),
    Advice(
        *("XX000", "plugin … failed", "a-plugin-that-failed"),
        "The log of PgBeam has the reason, with the line.",
    ),
    Advice("F0000", "plugin … failed to provide a pool for …", "a-plugin-that-failed", "See the log of PgBeam."),
    Advice("F0000", "no plugin provides pools: …", "a-plugin-that-failed", "Name the plugin pool in plugins.order."),
)


def fits(pattern: str, message: str) -> bool:
    """Whether a message is of that pattern."""
    return _compiled(pattern).fullmatch(message) is not None


def advice_for(sqlstate: str, message: str) -> Advice | None:
    """For an error of PgBeam's own; None for one that is PostgreSQL's, or said as PostgreSQL says it."""
    return next((each for each in ADVICE if each.sqlstate == sqlstate and fits(each.message, message)), None)


def hint_of(sqlstate: str, message: str, hint: str | None) -> str | None:
    """The hint for an error, one of its own included, with the place in the documentation."""
    found = advice_for(sqlstate, message)
    return hint if found is None else f"{hint or found.hint} See {PAGE}#{found.section}."


@lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("…"))), re.DOTALL)
