"""Every hook, in the order in which it fires. This file is the contract between the core and every plugin.

A plugin is a module or an object named by an entry point of the group `pgbeam`; it implements the hooks it
wants with `@hookimpl`, taking only the arguments it wants. `--plugins a,b,c` asks a first, then b, then c.

One session sees, in this order::

    connect                        once, before authentication; a Refusal ends the connection
      authenticated                once, if the login succeeds
        template                   once per kind of SQL text: literals do not count
        parse                      once per distinct SQL text while it is remembered
        route                      per execution outside a transaction that is real on a server
        execute                    per execution, before a server is leased
        execute_batch              once per request that has several, in place of `execute`
        explain                    per statement that is explained, and not executed
        result                     exactly once per execution, however it was answered
        result_batch               once per several of one request that have ended, in place of `result`
        transaction_over           once per explicit transaction, and per pipeline reported before its end
        variable                   per SET, SHOW or RESET of pgbeam.*
    disconnect                     exactly once per connect

None of them is fired before the plugin's `startup` is done.

A plugin that raises, whose Deferred fails, or that gives what a hook may not give, is named in the log with the line,
is counted, and has no opinion. Two things are different where a failure must not let something pass:

- If its settings class has `on_error = "refuse"`, a query at which it fails in template, parse, route, execute or
  execute_batch is refused with XX000. A text at which it failed in template or parse is shown to it again when it is
  executed again. A failure in authenticated then refuses the login likewise.
- Who cannot be judged is not let in: a failure in connect refuses the login with XX000, unless the settings class has
  `on_error = "pass"`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from rich.console import RenderableType
    from twisted.internet.defer import Deferred

    from pgbeam_core.api.commands import Command
    from pgbeam_core.api.console import Table
    from pgbeam_core.api.metrics import Metric
    from pgbeam_core.api.pool import Pool
    from pgbeam_core.api.query import Query, Target
    from pgbeam_core.api.results import Answer, Explanation, Notice, Refusal, Result
    from pgbeam_core.api.statement import Statement
    from pgbeam_core.beam import Beam
    from pgbeam_core.session.session import Session
    from pgbeam_core.settings import Project

PROJECT_NAME = "pgbeam"
hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)
"""Marks a function of a plugin as the one for the hook of its name. `@hookimpl(tryfirst=True)`, `trylast=True`
and `wrapper=True` are pluggy's."""


@hookspec
def settings_spec() -> type | None:
    """Declare the settings that `[plugins.<name>]` may hold.

    Fired at start, at reload and by `pgbeam check`, before anything else.

    :returns: a frozen dataclass; every field has a default and `metadata={"help": …}`, optionally `min`, `max`,
        `choices` and `unit`; `restart` if a reload cannot change it; `total` if it is a number for all workers
        together, each of which is given its share. The validated instance is `beam.settings_of(name)`.
    """


@hookspec
def startup(beam: Beam) -> Deferred[None] | None:
    """Get ready: open stores, start schedules. No client is accepted before every plugin is ready.

    Raising (or a Deferred that fails) stops the start with that message.

    :param beam: the running PgBeam: settings, reactor, projects, sessions, and the means to run queries of one's own.
    """


@hookspec
def shutdown(beam: Beam) -> Deferred[None] | None:
    """Put away what `startup` opened, in the reverse order of startup. Waited for, within `shutdown_grace`."""


@hookspec
def reload(beam: Beam) -> None:
    """New settings hold: `beam.settings_of(name)` gives them, `beam.settings.projects` may have changed.

    Not needed where settings are looked up when they are used. A setting that only a start can change says so with
    `restart` in its metadata: then it keeps its value, and the log says that it does.
    """


@hookspec(firstresult=True)
def pool(beam: Beam, project: Project, target: Target) -> Pool | None:
    """Provide the pool of servers of one target. First answer wins; somebody has to give one.

    Fired once per target, when its first client comes.
    """


@hookspec(firstresult=True)
def connect(session: Session) -> Refusal | Deferred[Refusal | None] | None:
    """Let a client in, or not: after its startup packet, before authentication. First Refusal wins.

    :returns: None to let it in; a Refusal is sent as FATAL and ends the connection; a Deferred of either.
    """


@hookspec
def authenticated(session: Session) -> Refusal | None:
    """The login succeeded: who the client is has been proved. Not fired for a session whose login failed.

    :returns: None, and queries may follow; a Refusal is sent as FATAL and ends the connection, `disconnect` follows.
        All plugins are asked, whatever the others give.
    """


@hookspec
def template(statement: Statement) -> None:
    """Look at an SQL text of a kind not seen before, and note what holds for all texts of that kind.

    Texts that differ only in plain number and string literals are of one kind: they get the notes made here, so keep
    nothing in `statement.notes["<plugin>"]` that depends on a literal. Fired before `parse`, once per kind while it is
    remembered; what a plugin can tell from the template costs nothing per query.
    """


@hookspec
def parse(statement: Statement) -> None:
    """Look at an SQL text that was not seen before (or not remembered) and note what you need to know about it.

    Keep it in `statement.notes["<plugin>"]`. Fired before `route`, once per distinct text while it is remembered.
    """


@hookspec(firstresult=True)
def route(session: Session, query: Query) -> Target | None:
    """Choose where this execution goes. First answer wins; None everywhere means the primary.

    Not fired inside a transaction that is real on a server (the target is the one it began on), nor for a pipeline of
    several executions.
    """


@hookspec(firstresult=True)
def execute(
    session: Session, query: Query, target: Target
) -> Answer | Refusal | Deferred[Answer | Refusal | None] | None:
    """Answer or refuse this execution instead of the server. First answer wins; None lets it pass.

    An Answer is taken only where `query.answerable`; elsewhere it is ignored. The client's turn waits for a
    Deferred; its being cancelled means that the client left.
    """


@hookspec
def execute_batch(session: Session, queries: Sequence[Query], target: Target) -> Refusal | None:
    """See at once what `execute` would be asked about one by one: the executions of a request that has several.

    For a plugin that has `execute` too, and for which that is called if there is but one. None of the executions is
    `answerable`, and a Refusal is one for the whole request. A wrapper of this hook is not called.
    """


@hookspec
def explain(session: Session, query: Query) -> Sequence[Explanation] | None:
    """Say what you would do with this execution, and why, without doing it: nothing is counted, asked for or changed.

    Fired for `/* @pgbeam:explain */ …` and `pgbeam explain`. `query.target` is where it goes unless a plugin knows
    better; `query.notes` and `query.facts` are nobody's.

    :returns: rows for the client, or None.
    """


@hookspec
def result(session: Session, query: Query, result: Result) -> Sequence[Notice] | Notice | None:
    """See how an execution ended. Fired exactly once per execution, however it was answered.

    :returns: notices to send before the client's ReadyForQuery, or None.
    """


@hookspec
def result_batch(
    session: Session, queries: Sequence[Query], results: Sequence[Result]
) -> Sequence[Sequence[Notice] | Notice | None] | None:
    """See at once what `result` would be told one by one: how some executions of one request have ended.

    For a plugin that has `result` too, and for which that is called if there is but one. `results` has one for each
    of `queries`; those that ended alike may be one and the same. A wrapper of this hook is not called.

    :returns: for each execution what `result` would give, or None.
    """


@hookspec
def transaction_over(session: Session, committed: bool) -> None:
    """A transaction of this session ended: an explicit one, or that around a pipeline whose executions were reported
    before its end (`Result.committed` False). All other executions end with their `result`."""


@hookspec(firstresult=True)
def variable(session: Session, name: str, value: str | None) -> str | Refusal | None:
    """Own a session variable `pgbeam.<name>`: check a value that a client wants to give it.

    Fired for SET (also as a startup option), and with value None for SHOW, RESET and DEFAULT: then return the default.
    The core keeps the value (`session.variable(name)`), with the transaction behaviour of any PostgreSQL parameter.

    :returns: the value as SHOW prints it, a Refusal (22023 for a bad value), or None: not mine.
    """


@hookspec
def disconnect(session: Session, reason: str) -> None:
    """The client is gone. Exactly one for each connect, also when the login failed or was refused."""


@hookspec
def stats() -> Mapping[str, float | int | Mapping[str, float | int]]:  # type: ignore[empty-body]
    """Give counters and gauges by name. Called on demand; must be cheap. Those of several workers are added up."""


@hookspec
def metrics() -> Sequence[Metric]:  # type: ignore[empty-body]
    """Give Prometheus what you count, with kinds, help and labels, see `Metric`. Called for each scrape; must be cheap.

    What a plugin gives only in `stats` is shown too, as gauges that have no more than a name.
    """


@hookspec
def panel() -> RenderableType | None:
    """Give something rich can print (a Table, a Text) for the TUI, or None. Called about once a second."""


@hookspec
def commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Add subcommands to the `pgbeam` command line."""


@hookspec
def console() -> Mapping[str, Table]:  # type: ignore[empty-body]
    """Add tables to the console: what `SHOW <NAME>` answers, by upper-case name."""
