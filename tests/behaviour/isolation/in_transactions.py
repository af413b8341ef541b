"""Whole transactions of every kind for the two clients: how they begin, what comes first, how they end."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.behaviour import frames

from .op import Op, one, simple

SAFE_SNAPSHOT = "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"
"""It waits for all who write at SERIALIZABLE, of whatever database."""
_BEGINS = (
    "BEGIN",
    "BEGIN",
    "BEGIN",
    "/* why */ begin work;",
    "START TRANSACTION READ ONLY",
    "BEGIN READ WRITE, ISOLATION LEVEL READ COMMITTED",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY, DEFERRABLE",
    SAFE_SNAPSHOT,
)
_ENDS = (
    "COMMIT",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "COMMIT AND NO CHAIN",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
)
_READS = (
    "SELECT id, n FROM own_~.t WHERE id < 3 ORDER BY id",
    "SELECT id, n FROM own_~.t WHERE id = 1",
    "SELECT count(*) FROM own_~.t",
    "SELECT '~', 0.1::float8 / 3",
    "SELECT n FROM t ORDER BY id",
    "SELECT repeat('x', 100), 1 / (2000 - id) FROM generate_series(1, 3000) AS id",
    "SELECT 1 / (id - 1) FROM own_~.t ORDER BY id",
    "SELECT nothing FROM own_~.t",
)
_OTHERS = (
    "SAVEPOINT s1",
    "SAVEPOINT s1",
    "SAVEPOINT s2",
    "ROLLBACK TO s1",
    "ROLLBACK TO s2",
    "RELEASE s1",
    "RELEASE nowhere",
    "BEGIN",
    "SET LOCAL work_mem = '66kB'",
    "SET LOCAL search_path = own_~",
    "SET TRANSACTION READ ONLY",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET CONSTRAINTS ALL DEFERRED",
    "SHOW transaction_isolation",
    "SHOW transaction_read_only",
    "LOCK TABLE own_~.t IN SHARE MODE",
    "UPDATE own_~.t SET n = n + 1 WHERE id = 2",
    "INSERT INTO own_~.t (n) VALUES (8)",
    "SELECT id FROM own_~.t WHERE id = 1 FOR SHARE",
    "EXPLAIN (COSTS off) SELECT id FROM own_~.t",
    "SELECT own_~.set_it('work_mem', '67kB')",
    "SELECT own_~.leave('nothing')",
    "DO $$ BEGIN COMMIT; END $$",
)
GID = "gid_~@"
"""Names of prepared transactions are the whole cluster's: the last sign is the side's own."""
ANY_GID = r"gid_.[xy]"


def _ways(text: str) -> st.SearchStrategy[Op]:
    return st.sampled_from([simple(text), Op("extended " + text, frames.extended(text) + frames.sync())])


def _piped(texts: list[str]) -> Op:
    data = b"".join(frames.extended(text) for text in texts)
    return Op("piped " + " | ".join(texts), data + frames.sync())


def _queued(texts: list[str]) -> Op:
    return Op("sent ahead " + " | ".join(texts), b"".join(map(frames.query, texts)), ready=len(texts))


def begins() -> st.SearchStrategy[Op]:
    """All forms of it, by either protocol."""
    return st.sampled_from(_BEGINS).flatmap(_ways)


def ends() -> st.SearchStrategy[Op]:
    """COMMIT, ROLLBACK and their kin."""
    return st.sampled_from(_ENDS).flatmap(_ways)


def inside() -> st.SearchStrategy[list[Op]]:
    """What stands between: reads first, more often than not."""
    reads, others = st.sampled_from(_READS), st.sampled_from(_OTHERS)
    text = st.one_of(reads, others)
    piped = st.lists(text, min_size=2, max_size=3).map(_piped)
    queued = st.lists(text, min_size=2, max_size=4).map(_queued)
    return st.builds(
        lambda first, then: first + then,
        st.lists(reads.flatmap(_ways), max_size=2),
        st.lists(st.one_of(text.flatmap(_ways), text.flatmap(_ways), text.flatmap(_ways), piped, queued), max_size=3),
    )


def at_once() -> st.SearchStrategy[Op]:
    """A whole transaction in one go: drivers that send BEGIN with the first statement, and pipelines."""
    begin, text, end = st.sampled_from(_BEGINS[:9]), st.sampled_from(_READS + _OTHERS), st.sampled_from(_ENDS)
    texts = st.builds(lambda *parts: list(parts), begin, text, text, end)
    return st.one_of(
        st.builds(lambda *parts: _piped(list(parts)), begin, text),
        texts.map(_piped),
        texts.map(_queued),
        _several(texts),
    )


def _several(texts: st.SearchStrategy[list[str]]) -> st.SearchStrategy[Op]:
    return texts.map(lambda each: simple("; ".join(text.rstrip(";") for text in each)))


def second_phase() -> st.SearchStrategy[Op]:
    """The end of a transaction that was prepared, or was not."""
    return one(f"COMMIT PREPARED '{GID}'", f"COMMIT PREPARED '{GID}'", f"ROLLBACK PREPARED '{GID}'")


PREPARE = simple(f"PREPARE TRANSACTION '{GID}'")
_JOINED = ", ".join(f"generate_series(1, 3000) AS {name}" for name in "ijk")
LONG = ("SELECT pg_sleep(30) /* ~ */", f"SELECT sum(i) /* ~ */ FROM {_JOINED}")
"""Each runs until it is cancelled; the second is a plain read."""


def long_ones() -> st.SearchStrategy[Op]:
    """What takes so long that it has to be cancelled."""
    return st.sampled_from(LONG).flatmap(_ways)
