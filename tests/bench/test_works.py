"""What is measured, and how it is read."""

from __future__ import annotations

import re

import pytest

from bench.__main__ import _parser
from bench.errors import RunFailed
from bench.figures import Goal
from bench.places import NAMES, PGPOOL_CHILDREN
from bench.processes import telling_line
from bench.work_idle import QUERY, STARTUP
from bench.work_pgbench import ANNOTATION, CACHED, PgbenchWork, read_log, read_summary
from bench.works import GROUPS, all_works
from pgbeam_core.sql.annotations import annotate

SUMMARY = """transaction type: <builtin: select only>
number of transactions actually processed: 12345
latency average = 0.5 ms
tps = 6789.012345 (without initial connection time)
"""


def test_the_last_words_of_pgbench_are_read() -> None:
    """Rate and count."""
    assert read_summary(SUMMARY) == (6789.012345, 12345)


@pytest.mark.parametrize("text", ["", SUMMARY.replace("12345\n", "0\n")])
def test_a_run_without_transactions_is_no_measure(text: str) -> None:
    """It is told apart from a slow one."""
    with pytest.raises(RunFailed):
        read_summary(text)


def test_latencies_are_milliseconds_of_what_went_well() -> None:
    """pgbench writes microseconds, and a word for a transaction that failed."""
    assert read_log("0 1 1500 0 1700000000 1\n1 1 failed 0 1700000000 2\n") == [1.5]


def test_the_first_error_is_told() -> None:
    """What follows it is a consequence."""
    said = "starting\npgbench: error: client 3 aborted: ERROR: no such table\npgbench: error: Run was aborted"
    assert telling_line(said) == "pgbench: error: client 3 aborted: ERROR: no such table"
    assert telling_line("") == "it said nothing"


def test_every_work_has_a_name_of_its_own_and_a_known_group() -> None:
    """Tables would be ambiguous else."""
    works = all_works()
    assert len({work.name for work in works}) == len(works)
    assert {work.group for work in works} == set(GROUPS)
    assert {way for work in works for way in work.ways} == set(NAMES)


def test_pgpool_has_a_process_for_each_client() -> None:
    """Else clients would wait for each other's end."""
    with_pgpool = [work for work in all_works() if isinstance(work, PgbenchWork) and "pgpool" in work.ways]
    assert max(work.clients for work in with_pgpool) < PGPOOL_CHILDREN


def test_the_cached_select_asks_pgbeam_for_its_cache_and_nobody_else() -> None:
    """pgbench must not take a part of the annotation for one of its variables."""
    text = CACHED.format(ANNOTATION).splitlines()[1]
    assert re.findall(r":([A-Za-z_]\w*)", text) == ["aid"]
    _, annotations, problems = annotate(text.encode())
    assert ([one.name for one in annotations], problems) == (["cache"], ())
    assert "@pgbeam" not in CACHED.format("")


def test_packets_tell_their_own_length() -> None:
    """An idle client speaks the protocol by hand."""
    assert int.from_bytes(STARTUP[:4], "big") == len(STARTUP)
    assert int.from_bytes(QUERY[1:5], "big") == len(QUERY) - 1


@pytest.mark.parametrize("arguments", [["--rows", "select,nonsense"], ["--seconds", "0"], ["--rounds", "x"]])
def test_nonsense_is_refused_before_anything_starts(arguments: list[str]) -> None:
    """Exit code 2, as for every command line."""
    with pytest.raises(SystemExit, match="2"):
        _parser().parse_args(arguments)


def test_a_far_work_counts_round_trips() -> None:
    """A direct connection has three, whatever one takes on this machine."""
    goals = {work.name: work.goals for work in all_works() if work.group == "far"}
    assert goals["one read in a transaction, psycopg, PostgreSQL 2 ms away"] == (Goal(2.5, "direct"),)
    assert goals["one cached read in a transaction, psycopg, PostgreSQL 2 ms away"] == (Goal(1.0, None, "p50_ms"),)
