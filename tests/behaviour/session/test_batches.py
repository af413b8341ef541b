"""Long requests of the extended protocol go to the server in parts, and nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pgbeam_core import Notice, Query, Refusal, Result, Session, hookimpl
from pgbeam_core.net.deadlines import PAUSE
from pgbeam_core.session.pace import MOST_OWED, PART
from pgbeam_core.session.state import Phase
from pgbeam_core.wire import backend, frontend
from tests.session.played import Played, Tables
from tests.session.plugins import code
from tests.session.stage import (
    FLUSH,
    IN_TRANSACTION,
    ONE,
    READY,
    SYNC,
    TWO,
    Stage,
    bind,
    close,
    describe,
    done,
    error,
    execute,
    messages,
    parse,
    pbe,
    tags,
)
from tests.session.stage import query as simple

NAMES = [b"", b"s", b"t"]
TEXTS = [
    "SELECT 1",
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET a = fails",
    "SELECT missing",
    "SET pgbeam.debug = on",
    "SHOW pgbeam.nonsense",
    "SELECT a FROM wide",
    "SET app.a = 'x'",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "",
]
MESSAGES = st.one_of(
    st.builds(parse, st.sampled_from(TEXTS), st.sampled_from(NAMES)),
    st.builds(bind, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds(describe, st.sampled_from(NAMES), st.sampled_from([b"S"[0], b"P"[0]])),
    st.builds(execute, st.sampled_from(NAMES)),
    st.builds(close, st.sampled_from(NAMES), st.sampled_from([b"S"[0], b"P"[0]])),
    st.builds(pbe, st.sampled_from(TEXTS), st.sampled_from(NAMES)),
    st.just(FLUSH),
)
REQUESTS = st.lists(st.lists(MESSAGES, max_size=12).map(b"".join).map(lambda data: data + SYNC), min_size=1, max_size=3)


class Watcher:
    """A plugin that notes how executions and transactions end."""

    def __init__(self, refuse_from: int = -1) -> None:
        self.asked = 0
        self.ended: list[tuple[bytes, str, str | None]] = []
        self.open: list[bytes] = []
        """Writes whose transaction is not known to have ended."""
        self.committed: list[bytes] = []
        self._refuse_from = refuse_from

    @hookimpl
    def execute(self, query: Query) -> Refusal | None:
        self.asked += 1
        return Refusal("53400", "slowly") if 0 < self._refuse_from <= self.asked else None

    @hookimpl
    def result(self, session: Session, query: Query, result: Result) -> Notice | None:
        self.ended.append((query.statement.text, result.tag, result.error[0] if result.error else None))
        if result.tag.startswith("INSERT"):
            (self.committed if result.committed else self.open).append(query.statement.text)
        return Notice("noted") if session.variable("debug") == "on" else None

    @hookimpl
    def transaction_over(self, committed: bool) -> None:
        if committed:
            self.committed += self.open
        self.open.clear()


@dataclass
class Outcome:
    """What came of it, as anybody can see it."""

    got: list[bytes]
    executed: list[bytes]
    ended: list[tuple[bytes, str, str | None]]
    state: Any


def played(
    requests: list[bytes], part: int, *, chunk: int, slice_: int = 1024, owed: int = MOST_OWED, lazy: str = "off"
) -> Outcome:
    """These requests, one after another, in parts of so many messages; the client sends and the server says chunks."""
    watcher = Watcher()
    stage = Stage(plugins={"watcher": watcher}, lazy=lazy)
    pace = stage.conversation.pace
    pace.part, pace.slice, pace.most_owed = part, slice_, owed
    server, got = Played(Tables()), b""
    for request in requests:
        for at in range(0, len(request), chunk):
            got += stage.send(request[at : at + chunk])
        got += settled(stage, server, chunk)
    conversation = stage.conversation
    assert conversation.phase is Phase.IDLE, conversation.phase
    asides = {ord("N"), ord("S")}
    seen = [frame for frame in messages(got) if frame[0] not in asides]
    client_statements = conversation.client_statements
    state = (
        conversation.session.status,
        sorted(client_statements.statements),
        sorted(client_statements.portals),
        conversation.session.settings.now,
    )
    return Outcome(seen, server.executed, watcher.ended, state)


def settled(stage: Stage, server: Played, chunk: int) -> bytes:
    """Let all that is under way come to its end; gives what the client gets."""
    got = b""
    while True:
        stage.clock.advance(PAUSE)
        said = server.hear(stage.sent())
        for at in range(0, len(said), chunk):
            stage.say(said[at : at + chunk])
        more = stage.client.take()
        got += more
        if not (said or more or stage.clock.getDelayedCalls()):
            return got


@settings(deadline=None)
@given(REQUESTS, st.integers(1, 9), st.sampled_from([3, 17, 1 << 20]), st.integers(1, 6), st.integers(1, 8))
def test_a_request_cut_anywhere_comes_to_the_same(
    requests: list[bytes], part: int, chunk: int, slice_: int, owed: int
) -> None:
    """Replies, what the server runs, what plugins hear and what is remembered do not depend on how requests are cut."""
    whole = played(requests, 10_000, chunk=1 << 20)
    cut = played(requests, part, chunk=chunk, slice_=slice_, owed=owed)
    assert cut.got == whole.got
    assert cut.executed == whole.executed
    assert cut.state == whole.state
    assert [each for each in cut.ended if each[2] is None] == [each for each in whole.ended if each[2] is None]


@settings(deadline=None)
@given(REQUESTS, st.integers(1, 9), st.sampled_from([3, 1 << 20]), st.sampled_from(["reads", "begin"]))
def test_a_request_cut_anywhere_comes_to_the_same_in_a_lazy_transaction(
    requests: list[bytes], part: int, chunk: int, lazy: str
) -> None:
    """Nor what the client sees, if transactions are kept back until something needs them."""
    whole = played(requests, 10_000, chunk=1 << 20, lazy=lazy)
    cut = played(requests, part, chunk=chunk, lazy=lazy)
    assert cut.got == whole.got
    assert (cut.state[0], cut.state[-1]) == (whole.state[0], whole.state[-1])


def long_request(executions: int) -> bytes:
    """A batch as drivers send it."""
    return parse("INSERT INTO t VALUES (1)", b"s") + (bind(b"s") + execute()) * executions + SYNC


def test_a_batch_is_not_held_back_until_its_sync() -> None:
    """The server works on the beginning of a batch while its end is still on the way, and replies come meanwhile."""
    stage = Stage()
    stage.send(long_request(PART)[:-5])
    sent = stage.sent()
    assert tags(sent).startswith("PBE")
    assert stage.conversation.phase is Phase.OPEN
    stage.say(ONE + (TWO + done("INSERT 0 1")) * 10)
    assert tags(stage.client.take()) == "1" + "2C" * 10
    stage.send(SYNC)
    assert stage.sent().endswith(SYNC)


def test_others_have_their_turn_within_a_batch() -> None:
    """However much a client has sent, it is acted on in slices, with an iteration of the loop between them."""
    stage = Stage()
    stage.conversation.pace.slice = 600
    stage.send(long_request(1000))
    slices = [len(messages(stage.sent()))]
    assert not stage.conversation.input.listens or len(long_request(1000)) < 256 * 1024
    while stage.clock.getDelayedCalls():
        (call,) = stage.clock.getDelayedCalls()
        stage.clock.calls.remove(call)
        call.func()
        slices.append(len(messages(stage.sent())))
    assert len(slices) > 2
    assert sum(slices) == 2002
    assert max(slices) <= 600 + PART


def test_a_client_that_leaves_within_a_batch_leaves_nothing_to_do() -> None:
    """What it had sent is dropped with it, and no call is left that would go on with it."""
    stage = Stage()
    stage.conversation.pace.slice = 600
    stage.send(long_request(1000))
    assert stage.clock.getDelayedCalls()
    stage.client.hang_up("left")
    assert not stage.clock.getDelayedCalls()
    assert not stage.conversation.input.inbox.holds
    assert not stage.servers[0].alive


def test_what_the_server_owes_for_one_request_is_bounded() -> None:
    """A pipeline without end does not grow PgBeam: it waits for the server, which is told to speak."""
    stage, watcher = watched()
    stage.send(long_request(MOST_OWED * 4))
    rest(stage)
    turn = stage.conversation.turn
    assert turn is not None
    assert turn.script is not None
    assert MOST_OWED < len(turn.script) <= MOST_OWED + PART
    sent = stage.sent()
    assert sent.endswith(FLUSH)
    assert not stage.conversation.input.listens
    stage.say(ONE + (TWO + done("INSERT 0 1")) * (MOST_OWED // 2))
    rest(stage)
    assert len(stage.sent()) > 1000
    assert len(turn.queries) < MOST_OWED
    assert len(watcher.ended) > MOST_OWED // 4


def rest(stage: Stage) -> None:
    """Let all go on that gave others their turn."""
    stage.clock.advance(0)


def watched(refuse_from: int = -1) -> tuple[Stage, Watcher]:
    """A stage with such a plugin."""
    watcher = Watcher(refuse_from)
    return Stage(plugins={"watcher": watcher}), watcher


def test_results_of_a_batch_come_while_it_is_under_way_and_count_once_it_is_committed() -> None:
    """Plugins hear of each execution as it ends, that its transaction is open, and how that ended."""
    for good in (True, False):
        stage, watcher = watched()
        stage.send(long_request(1000)[:-5])
        rest(stage)
        stage.say(ONE + (TWO + done("INSERT 0 1")) * 800)
        rest(stage)
        assert len(watcher.ended) == 800
        assert len(watcher.open) == 800
        assert watcher.committed == []
        stage.send(SYNC)
        rest(stage)
        stage.say((TWO + done("INSERT 0 1")) * 200 + READY if good else error() + READY)
        assert len(watcher.ended) == 1000
        assert not watcher.open
        assert len(watcher.committed) == (1000 if good else 0)


def test_a_commit_that_fails_at_the_end_of_a_batch_is_told_however_the_reply_comes() -> None:
    """The error of a constraint that was deferred until the Sync belongs to the last execution, and to nobody twice."""
    row = TWO + done("INSERT 0 1")
    for last in (0, 1, 2):
        stage, watcher = watched()
        stage.send(long_request(1000))
        rest(stage)
        stage.say(ONE + row * (1000 - last))
        rest(stage)
        stage.client.take()
        stage.say(row * last + error("23505"))
        stage.say(READY)
        assert tags(stage.client.take()).endswith("EZ")
        assert len(watcher.ended) == 1000
        assert watcher.open == watcher.committed == []


def test_a_transaction_that_ends_within_a_batch_ends_for_what_was_before_it() -> None:
    """What a ROLLBACK in the middle took back is not taken for committed at the end, nor the other way round."""
    stage, watcher = watched()
    rows = (bind(b"s") + execute()) * PART
    request = pbe("BEGIN") + parse("INSERT INTO t VALUES (1)", b"s") + rows + pbe("ROLLBACK") + rows + SYNC
    stage.send(request)
    rest(stage)
    row = TWO + done("INSERT 0 1")
    stage.say(ONE + TWO + done("BEGIN") + ONE + row * PART + ONE + TWO + done("ROLLBACK") + row * PART + READY)
    rest(stage)
    assert len(watcher.committed) == PART
    assert watcher.open == []


def test_a_refusal_within_a_batch_is_its_end() -> None:
    """A plugin that refuses in the middle: one error, nothing behind it, one ReadyForQuery, and the session lives."""
    server, (stage, watcher) = Played(Tables()), watched(refuse_from=PART + 5)
    got = stage.send(long_request(1000)) + settled(stage, server, 1 << 20)
    said = tags(got)
    assert said.count("E") == 1
    assert said.endswith("EZ")
    assert said.count("C") < PART + 5
    refused = next(frame for frame in messages(got) if frame[:1] == b"E")
    assert code(refused) == "53400"
    assert watcher.committed == []
    assert len(watcher.ended) == watcher.asked or len(watcher.ended) < 2 * PART + 5
    assert stage.send(SYNC) == READY


def test_a_refusal_before_a_flush_leaves_the_sync_to_the_client() -> None:
    """Refused inside a transaction, a request without Sync yet gets its ReadyForQuery for the Sync, not before."""
    stage, _ = watched(refuse_from=2)
    stage.turn(simple("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.send(pbe("SELECT 1") + FLUSH)
    stage.say(error("26000", "pgbeam: refused"))
    assert tags(stage.client.take()) == "E"
    stage.send(pbe("SELECT 2"))
    stage.send(SYNC)
    assert tags(stage.sent())[-1] == "S"
    stage.say(backend.READY_FAILED)
    assert tags(stage.client.take()) == "Z"
    assert stage.conversation.phase is Phase.IDLE


def test_what_follows_an_error_is_not_even_looked_at() -> None:
    """After an error the rest of a batch is passed over, as PostgreSQL does: plugins are not asked about it."""
    stage, watcher = watched()
    stage.send(long_request(PART)[:-5])
    asked = watcher.asked
    stage.say(error())
    got = stage.send((bind(b"s") + execute()) * 5000)
    rest(stage)
    assert watcher.asked == asked
    stage.sent()
    stage.send(SYNC)
    assert stage.sent() == SYNC
    stage.say(READY)
    assert tags(got + stage.client.take()) == "EZ"


def test_a_lost_server_within_a_batch_ends_the_session_and_every_execution_is_told() -> None:
    """Nobody knows what was committed: the client is told, and plugins hear of each execution exactly once."""
    stage, watcher = watched()
    stage.send(long_request(1000)[:-5])
    rest(stage)
    stage.say(ONE + (TWO + done("INSERT 0 1")) * 300)
    stage.lose()
    assert stage.client.gone is not None
    assert len(watcher.ended) == watcher.asked


def test_the_name_of_the_statement_in_an_error_is_that_of_the_statement_that_failed() -> None:
    """One text under two names: the error speaks of the one that the client has bound in vain."""
    stage = Stage()
    stage.send(parse("SELECT 1", b"one") + parse("SELECT 1", b"two") + bind(b"one") + bind(b"two") + SYNC)
    name = frontend.Parse.from_bytes(messages(stage.sent())[0]).name
    stage.say(ONE + error("08P01", f'bind message for "{name.decode()}"') + READY)
    assert b'"one"' in stage.client.take()


def test_a_kept_reply_is_taken_apart_without_a_look_at_its_rows() -> None:
    """A large reply with many small rows costs no more to keep than to pass on; what is not all rows is not kept."""
    rows = backend.data_row([]) * 2000
    for between, kept in ((b"", True), (backend.notice_response("NOTICE", "00000", "by the way"), False)):
        replies: list[Result] = []

        class Keeps:
            @hookimpl
            def execute(self, query: Query) -> None:
                query.keep_result(1 << 20)

            @hookimpl
            def result(self, result: Result, into: list[Result] = replies) -> None:
                into.append(result)

        stage = Stage(plugins={"keeps": Keeps()})
        description = backend.row_description([])
        stage.turn(simple("SELECT FROM t"), description + rows + between + rows + done("SELECT 4000") + READY)
        rest(stage)
        (result,) = replies
        assert (result.kept is not None) == kept
        assert result.kept is None or result.kept.rows == rows + rows


def test_a_long_request_that_pgbeam_answers_alone_comes_to_its_end() -> None:
    """Thousands of messages of which the server sees none are answered without its help."""
    stage = Stage()
    stage.turn(parse("SELECT 1", b"s") + SYNC, ONE + READY)
    got = stage.send((close(b"s") + parse("SELECT 1", b"s")) * MOST_OWED + SYNC)
    rest(stage)
    assert stage.sent().endswith(SYNC)
    stage.say(READY)
    rest(stage)
    assert tags(got + stage.client.take()) == "31" * MOST_OWED + "Z"


def test_a_transaction_that_a_batch_makes_real_begins_but_once() -> None:
    """BEGIN, kept back, goes out ahead of the first part alone, however long the server takes to answer it."""
    stage = Stage(lazy="reads")
    assert tags(stage.send(simple("BEGIN"))) == "CZ"
    stage.send(long_request(PART * 2))
    rest(stage)
    begun = [frame for frame in messages(stage.sent()) if frame[:1] == b"P" and b"BEGIN" in frame]
    assert len(begun) == 1
