"""Which addresses may say for whom they speak, by the PROXY protocol."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from pgbeam_core.net.channel import UNIX


class Proxies:
    """The trusted ones: networks, and `unix` for sockets in the file system. Raises ValueError for what is neither."""

    def __init__(self, trusted: Iterable[str]) -> None:
        words = list(trusted)
        self._local = UNIX in words
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(word) for word in words if word != UNIX]

    def trusts(self, address: str) -> bool:
        """Whether a connection from there begins with a header: it must then, and must not else."""
        if address == UNIX:
            return self._local
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)
