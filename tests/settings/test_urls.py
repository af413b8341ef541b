"""Upstream URLs and listen addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.api.query import Role, Target
from pgbeam_core.settings import Endpoint, parse_endpoint, parse_upstream
from pgbeam_core.settings.urls import format_upstream


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://db.example.com", ("db.example.com", 5432, None, None, "verify-full")),
        ("postgres://me@db.example.com:6/shop?sslmode=require", ("db.example.com", 6, "shop", "me", "require")),
        ("postgresql://127.0.0.1:7/", ("127.0.0.1", 7, None, None, "prefer")),
        ("postgresql://[2001:db8::1]:7/x", ("2001:db8::1", 7, "x", None, "prefer")),
        ("postgresql://[::1]", ("::1", 5432, None, None, "prefer")),
        ("postgresql://localhost/x", ("localhost", 5432, "x", None, "prefer")),
        ("postgresql:///x?host=/run/Postgres&port=7", ("/run/Postgres", 7, "x", None, "prefer")),
        ("postgresql://u@%2Frun%2FPostgres/x", ("/run/Postgres", 5432, "x", "u", "prefer")),
        ("postgresql://a%40b@h/my%20db", ("h", 5432, "my db", "a@b", "verify-full")),
    ],
)
def test_a_url_says_host_port_database_user_and_how_to_verify(url, expected):
    """Host names are verified unless the URL says otherwise; addresses, this machine and sockets cannot be."""
    target = parse_upstream(url, "shop").target
    assert (target.host, target.port, target.database, target.user, target.sslmode) == expected
    assert (target.project, target.role) == ("shop", "primary")


def test_a_password_is_kept_apart():
    """The target goes into logs and notices; the password does not go with it."""
    upstream = parse_upstream("postgresql://u:p%40ss@h/x", "shop")
    assert upstream.password == "p@ss"
    assert "p@ss" not in repr(upstream)


@pytest.mark.parametrize(
    "url", ["", "h:5432", "mysql://h", "postgresql://", "postgresql://h:0", "postgresql://h:70000", "postgresql://h:x",
            "postgresql://h?sslmode=maybe", "postgresql://h?connect_timeout=5", "postgresql://[::1"]
)  # fmt: skip
def test_a_url_that_cannot_be_meant_is_refused(url):
    """A mistake is told, not guessed at."""
    with pytest.raises(ValueError, match=r"\w"):
        parse_upstream(url, "shop")


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://a,b/db", (("a", 5432), ("b", 5432))),
        ("postgresql://a:1,b:2/db", (("a", 1), ("b", 2))),
        ("postgresql://u:p@a:1,[::1]:2,c", (("a", 1), ("::1", 2), ("c", 5432))),
        ("postgresql:///db?host=a,b&port=7", (("a", 7), ("b", 7))),
        ("postgresql:///db?host=/run/pg,b&port=7,8", (("/run/pg", 7), ("b", 8))),
        ("postgresql://a/db?target_session_attrs=read-write", ()),
    ],
)
def test_an_upstream_may_name_several_hosts_as_libpq_does(url, hosts):
    """Whoever has such a URL for libpq gives it to PgBeam; printed and read again it is the same."""
    target = parse_upstream(url, "shop").target
    assert target.hosts == hosts
    assert target.watched
    assert [(place.host, place.port) for place in target.places] == list(hosts or (("a", 5432),))
    assert parse_upstream(format_upstream(target), "shop").target == target


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://a,,b", "one of the hosts in the URL is empty"),
        ("postgresql://a,a", "names one host twice"),
        ("postgresql:///?host=a,b,c&port=1,2", "could not match 2 port numbers to 3 hosts"),
        ("postgresql://a,b?target_session_attrs=any", "use read-write"),
        ("postgresql://a?target_session_attrs=standby", "standbys belong under `replicas`"),
        ("postgresql://" + ",".join(f"h{n}" for n in range(40)), "more than 32 hosts"),
    ],
)
def test_hosts_that_cannot_be_meant_are_refused(url, said):
    """The message says which part of the URL is wrong."""
    with pytest.raises(ValueError, match=said):
        parse_upstream(url, "shop")


def test_the_url_of_a_replica_names_one_host():
    """Each replica is watched by itself."""
    with pytest.raises(ValueError, match="list each replica by itself"):
        parse_upstream("postgresql://a,b", "shop", "replica")
    with pytest.raises(ValueError, match="replicas are asked what they are"):
        parse_upstream("postgresql://a?target_session_attrs=primary", "shop", "replica")


def test_a_name_among_the_hosts_has_all_of_them_verified():
    """An address beside a name does not weaken what the name's certificate is checked for."""
    assert parse_upstream("postgresql://10.0.0.1,db.example.com", "shop").target.sslmode == "verify-full"
    assert parse_upstream("postgresql://10.0.0.1,10.0.0.2", "shop").target.sslmode == "prefer"


names = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=12
)


@given(
    host=st.sampled_from(["db.example.com", "127.0.0.1", "::1", "/run/postgresql"]),
    port=st.integers(1, 65535),
    database=st.none() | names,
    user=st.none() | names,
    sslmode=st.sampled_from(["disable", "prefer", "verify-full"]),
)
def test_what_check_prints_is_what_was_meant(host, port, database, user, sslmode):
    """A printed URL read again is the same target."""
    target = Target("shop", Role.PRIMARY, host, port, database, user, sslmode)
    assert parse_upstream(format_upstream(target), "shop").target == target


def test_listen_addresses():
    """IPv6 stands in brackets; no host means every address."""
    assert parse_endpoint("127.0.0.1:6432") == Endpoint("127.0.0.1", 6432)
    assert parse_endpoint("[::1]:6432") == Endpoint("::1", 6432)
    assert str(parse_endpoint("[::1]:6432")) == "[::1]:6432"
    assert parse_endpoint(":0") == Endpoint("0.0.0.0", 0)


@pytest.mark.parametrize("text", ["", "6432", "host", "host:", "host:x", "::1:6432", "host:65536", "host:-1"])
def test_a_listen_address_that_is_none(text):
    """Half an address is refused."""
    with pytest.raises(ValueError, match=r"HOST:PORT|bracket"):
        parse_endpoint(text)
