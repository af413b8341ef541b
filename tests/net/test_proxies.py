"""Behind a load balancer: whose address counts."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import StringTransport

from pgbeam_core.errors import SettingsError
from pgbeam_core.net.listening import ClientFactory
from pgbeam_core.net.proxies import Proxies
from pgbeam_core.testing import Rehearsal, startup
from tests.session.stage import tags

HELLO = startup("app", "shop")
HEADER = b"PROXY TCP4 203.0.113.9 10.0.0.1 40000 6432\r\n"


def connect(rehearsal: Rehearsal, address: Any, data: bytes) -> tuple[Any, StringTransport, str]:
    """A client from there: its protocol, its transport, and the tags of what it is told."""
    protocol, transport = ClientFactory(rehearsal.beam).buildProtocol(None), StringTransport(peerAddress=address)
    protocol.makeConnection(transport)
    protocol.dataReceived(data)
    rehearsal.pump()
    return protocol, transport, tags(transport.value())


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("unix", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_who_is_trusted(address: str, trusted: bool) -> None:
    """Networks of both kinds; an address of version 4 is itself in either notation."""
    assert Proxies(["10.0.0.0/8", "2001:db8::/32"]).trusts(address) is trusted


def test_the_address_that_the_header_tells_counts() -> None:
    """For plugins, limits and the log; with the header at once or byte by byte."""
    with Rehearsal({}, top={"proxy_protocol": True, "proxy_trusted": ["10.0.0.0/8"]}) as rehearsal:
        protocol, _, said = connect(rehearsal, IPv4Address("TCP", "10.0.0.9", 1), HEADER + HELLO)
        assert said == "RSKZ"
        assert (protocol.channel.address, protocol.channel.port) == ("203.0.113.9", 40000)
        assert [session.peer for session in rehearsal.beam.sessions.values()] == ["203.0.113.9"]
        slow, transport, _ = connect(rehearsal, IPv4Address("TCP", "10.0.0.9", 1), b"P")
        assert len(rehearsal.beam.unauthenticated) == 1
        for place in range(1, len(HEADER + HELLO)):
            slow.dataReceived((HEADER + HELLO)[place : place + 1])
        rehearsal.pump()
        assert tags(transport.value()) == "RSKZ"
        assert len(rehearsal.beam.unauthenticated) == 0


def test_who_is_not_trusted_cannot_pretend() -> None:
    """A header from elsewhere is a bad startup packet, and one from a trusted place is demanded: nothing is guessed."""
    with Rehearsal({}, top={"proxy_protocol": True, "proxy_trusted": ["10.0.0.0/8"]}) as rehearsal:
        for address, data in (
            (IPv4Address("TCP", "192.0.2.1", 1), HEADER + HELLO),
            (IPv4Address("TCP", "10.0.0.9", 1), HELLO),
            (UNIXAddress(None), HEADER + HELLO),
        ):
            _, transport, said = connect(rehearsal, address, data)
            assert said == ""
            assert transport.disconnecting
        assert connect(rehearsal, IPv6Address("TCP", "2001:db8::1", 1), HELLO)[2] == "RSKZ"
        assert connect(rehearsal, UNIXAddress(None), HELLO)[2] == "RSKZ"


def test_a_health_check_is_the_load_balancers_own() -> None:
    """It speaks for itself, and its own address counts."""
    with Rehearsal({}, top={"proxy_protocol": True, "proxy_trusted": ["unix"]}) as rehearsal:
        protocol, _, said = connect(rehearsal, UNIXAddress(None), b"PROXY UNKNOWN\r\n" + HELLO)
        assert said == "RSKZ"
        assert protocol.channel.address == "unix"


def test_a_header_that_does_not_come_is_not_waited_for() -> None:
    """A descriptor is held for login_timeout_s and no longer."""
    with Rehearsal({}, top={"proxy_protocol": True, "proxy_trusted": ["10.0.0.0/8"]}) as rehearsal:
        _, transport, _ = connect(rehearsal, IPv4Address("TCP", "10.0.0.9", 1), HEADER[:9])
        rehearsal.advance(16)
        assert transport.disconnecting


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ({"proxy_protocol": True}, "proxy_trusted must name the networks"),
        ({"proxy_trusted": ["10.0.0.1/8"]}, "is no network"),
        ({"proxy_trusted": ["load-balancer"]}, "is no network"),
        ({"unix_socket_mode": "rwx"}, "in octal"),
        ({"unix_socket_mode": "0888"}, "in octal"),
        ({"listen": ["/run/pgbeam"]}, "HOST:PORT|FOLDER:PORT"),
        ({"listen": ["/run/pgbeam:0"]}, "FOLDER:PORT"),
        ({"listen": ["/" + "x" * 100 + ":6432"]}, "longer than 107 bytes"),
        ({"tls": {"cert": "a.crt"}}, r"tls\.key = None: must be set"),
        ({"tls": {"cert": "a", "key": "b", "mode": "never"}}, "must be one of prefer, require"),
    ],
)
def test_slips_in_the_settings_are_told(top: dict[str, Any], words: str) -> None:
    """Each with its key and what to write."""
    with pytest.raises(SettingsError, match=words):
        Rehearsal({}, top=top)
