"""Certificates for tests, made once for all of them."""

from __future__ import annotations

import functools
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme


class Files:
    """A folder with `ca.crt`, `server.crt` for localhost, 127.0.0.1 and two projects, and `client.crt` of app."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(self["ca.crt"])
        self.write("server", self.ca, "localhost", "127.0.0.1", "shop.example.com", "blog.example.com")
        self.write("client", self.ca, "app@example.com", common_name="app")

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, ca: trustme.CA, *names: str, **more: Any) -> None:
        """A certificate and its key."""
        made = ca.issue_cert(*names, **more)
        Path(self[f"{name}.crt"]).write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        made.private_key_pem.write_to_path(self[f"{name}.key"])
        Path(self[f"{name}.key"]).chmod(0o600)

    def write_expired(self, name: str) -> None:
        """One whose time is over."""
        self.write(name, self.ca, "localhost", not_after=datetime.now(UTC) - timedelta(days=1))

    def settings(self, **more: Any) -> dict[str, Any]:
        """What `[tls]` may hold."""
        return {"cert": self["server.crt"], "key": self["server.key"], **more}


@functools.cache
def files() -> Files:
    """Those that every test may read and none may change."""
    return Files(Path(tempfile.mkdtemp(prefix="pgbeam-certificates-")))
