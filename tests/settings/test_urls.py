"""Upstream URLs and listen addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.api.query import Target
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
    target = Target("shop", "primary", host, port, database, user, sslmode)
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
