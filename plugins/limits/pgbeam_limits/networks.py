"""Networks that may connect, and addresses as limits see them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Network:
    """A network with the name that its owner gave it."""

    range: IPv4Network | IPv6Network
    label: str = ""

    @property
    def entry(self) -> str:
        """As it is shown: the network, and its name if it has one."""
        return f"{self.range} {self.label}".rstrip()


def parse_network(entry: str) -> Network:
    """`10.0.0.0/8`, `203.0.113.7`, `2001:db8::/32 office`. ValueError says what is wrong."""
    words = entry.split(maxsplit=1)
    if not words:
        raise ValueError("allowed_cidrs: an entry is empty")
    try:
        return Network(ip_network(words[0]), words[1].strip() if len(words) > 1 else "")
    except ValueError as error:
        raise ValueError(f"allowed_cidrs: {entry!r}: {error}") from error


@lru_cache(1024)
def address_of(peer: str) -> Address | None:
    """A client's address; an IPv4 address that came in over IPv6 is that IPv4 address. None for a local socket."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(1024)
def neighbourhood(address: Address) -> str:
    """What counts as one address: with IPv6 a /64, because every customer has at least that many to choose from."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, 64), strict=False))
