"""Who shares with whom."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core import Project, Role, Session, Target
from tests.plugins.cache.worlds import PRIMARY, REPLICA, SHOP, World, reply, set_to

SQL = 'SELECT name, \'Tea  -- "x"\', 1.50 FROM "Products" AS p WHERE id IN (1, 2) AND price > 3 ORDER BY name'

_SETTINGS = (
    "search_path",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "client_encoding",
    "extra_float_digits",
    "bytea_output",
    "lc_monetary",
    "row_security",
    "role",
    "session_authorization",
    "app.tenant",
    "some_setting_of_the_future",
)
_values = st.sampled_from(["1", "2", "utf8", "latin1", "a, b"])
_sessions = st.fixed_dictionaries(
    {
        "project": st.sampled_from(["shop", "other"]),
        "user": st.sampled_from(["app", "boss"]),
        "database": st.sampled_from(["shop", "archive"]),
        "startup": st.fixed_dictionaries(
            {},
            optional={
                "TimeZone": st.sampled_from(["UTC", "Asia/Tokyo"]),
                "options": st.sampled_from(["-c a=b", "-c a=c"]),
            },
        ),
        "set": st.dictionaries(st.sampled_from(_SETTINGS), _values, max_size=3),
        "application": st.sampled_from(["psql", "worker"]),
    }
)


def _session(world: World, what: dict[str, Any]) -> Session:
    project = SHOP if what["project"] == "shop" else Project("other", Target("other", Role.PRIMARY, "db2", 5432))
    session = world.session(
        project,
        user=what["user"],
        database=what["database"],
        application_name=what["application"],
        **what["startup"],
    )
    for name, value in what["set"].items():
        set_to(session, name.lower(), value)
    return session


def _what_counts(what: dict[str, Any]) -> dict[str, Any]:
    told = {name.lower(): value for name, value in what["set"].items()}
    if "session_authorization" in what["set"]:  # it takes the role back when it comes after it
        order = list(what["set"])
        if "role" in order and order.index("role") < order.index("session_authorization"):
            told.pop("role")
    return {**what, "set": told, "application": None}


@given(one=_sessions, other=_sessions)
def test_sessions_that_differ_in_anything_that_counts_never_share(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Project, database, user, startup parameters, any setting but the application's name; and only these."""
    world = World()
    world.run(_session(world, one), SQL)
    shared = world.run(_session(world, other), SQL) == "hit"
    assert shared is (_what_counts(one) == _what_counts(other))


@pytest.mark.parametrize("name", _SETTINGS)
def test_a_setting_counts_from_the_moment_it_is_set(world: World, name: str) -> None:
    """SET moves a session out of what it shared, RESET back into it."""
    session = world.session()
    world.run(session, SQL)
    set_to(session, name, "something")
    assert world.run(session, SQL) == "miss"
    session.settings.discard_all()
    assert world.run(session, SQL) == "hit"


_parameters = st.fixed_dictionaries(
    {
        "values": st.lists(st.none() | st.sampled_from([b"", b"1", b"2", b"1, 2"]), max_size=3).map(tuple),
        "types": st.sampled_from([b"\x00\x00", b"\x00\x01\x00\x00\x00\x17", b"\x00\x01\x00\x00\x00\x19"]),
        "formats": st.sampled_from([(), (0,), (1,)]),
        "result_formats": st.sampled_from([(), (0,), (1,), (0, 1)]),
        "max_rows": st.sampled_from([0, 1, 2]),
    }
)


@given(one=_parameters, other=_parameters)
def test_executions_share_only_what_they_bind_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Parameter values, their types and formats, the formats of the result, and the rows that are asked for."""
    world = World()
    world.run(world.session(), SQL, **one)
    shared = world.run(world.session(), SQL, **other) == "hit"
    assert shared is (one == other or (_like_simple(one) and _like_simple(other)))


def _like_simple(given: dict[str, Any]) -> bool:
    nothing = {"values": (), "types": b"\x00\x00", "formats": (), "max_rows": 0}
    return {**given, **nothing} == given and not any(given["result_formats"])


def test_the_simple_protocol_shares_with_an_execution_without_parameters(world: World) -> None:
    """A text result is a text result in either protocol."""
    world.run(world.session(), SQL)
    assert world.run(world.session(), SQL, values=()) == "hit"
    assert world.run(world.session(), SQL, values=(), result_formats=(0,)) == "hit"
    assert world.run(world.session(), SQL, values=(), result_formats=(1,)) == "miss"


def test_readers_of_the_primary_do_not_get_what_a_replica_gave(world: World) -> None:
    """A replica may lag, and only who asks for it has to live with that."""
    query = world.query(world.session(), SQL)
    world.execute(query, REPLICA)
    world.finish(query, reply("old"))
    assert world.execute(world.query(world.session(), SQL), PRIMARY) is None
    assert world.execute(world.query(world.session(), SQL), REPLICA) == reply("old")


_gaps = st.sampled_from([" ", "  ", "\n", "\t", " /* a comment */ ", "\n-- to the end of the line\n", " /* /* */ */ "])


@given(data=st.data())
def test_white_space_comments_and_case_of_keywords_do_not_matter(data: st.DataObject) -> None:
    """However an application or ORM formats a text, it is one entry."""
    world = World()
    world.run(world.session(), SQL)
    parts = re.split("('[^']*'|\"[^\"]*\")", SQL)
    for place in range(0, len(parts), 2):
        words = parts[place].split(" ")
        cased = [data.draw(st.sampled_from([word, word.upper(), word.lower()])) for word in words]
        parts[place] = "".join(word + data.draw(_gaps) for word in cased[:-1]) + cased[-1]
    edges = data.draw(_gaps), data.draw(_gaps)
    assert world.run(world.session(), edges[0] + "".join(parts) + edges[1]) == "hit"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT 'a'", "SELECT 'A'"),
        ("SELECT 'a'", "SELECT 'a '"),
        ("SELECT 1", "SELECT 2"),
        ('SELECT x AS "a"', 'SELECT x AS "A"'),
        ("SELECT 'a' 'b'", "SELECT 'a'\n'b'"),
        ("SELECT $$a$$", "SELECT $$A$$"),
        ("SELECT E'\\n'", "SELECT E'\\N'"),
        ("SELECT 'a\\' -- b", "SELECT 'a\\' -- c"),
        ("SELECT 1 \u00a0b", "SELECT 1 b"),
        ("SELECT a - -1", "SELECT a --1\n"),
    ],
)
def test_texts_that_mean_different_things_never_share(world: World, one: str, other: str) -> None:
    """Literals, quoted names and what PostgreSQL does not take for white space stay as they are."""
    world.run(world.session(), one)
    assert world.run(world.session(), other) != "hit"


def test_a_literal_with_letters_of_another_script_does_not_keep_texts_apart(world: World) -> None:
    """Most of the world's texts are not ASCII."""
    world.run(world.session(), "SELECT 'süß 茶'  FROM t")
    assert world.run(world.session(), "select 'süß 茶' from T") == "hit"
