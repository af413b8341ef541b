"""Sockets in the file system."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgbeam_core.errors import PgBeamError
from pgbeam_core.net.sockets import bind_path


@pytest.fixture
def path() -> Iterator[str]:
    """A short one, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="pgb") as folder:
        yield f"{folder}/.s.PGSQL.6432"


def test_permissions_are_those_that_were_asked_for(path: str) -> None:
    """Who may not write to the socket cannot connect."""
    with bind_path(path, 0o750, str(os.getgid())):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o750
        assert Path(path).stat().st_gid == os.getgid()


def test_a_socket_that_was_left_behind_is_replaced(path: str) -> None:
    """A PgBeam that was killed can be started again."""
    with bind_path(path, 0o777) as first:
        first.listen()
    with bind_path(path, 0o777) as again, socket.socket(socket.AF_UNIX) as client:
        again.listen()
        client.connect(path)


def test_a_socket_on_which_somebody_listens_is_left_alone(path: str) -> None:
    """A second PgBeam does not take the clients of the first."""
    with bind_path(path, 0o777) as first:
        first.listen()
        with pytest.raises(OSError) as caught:
            bind_path(path, 0o777)
        assert caught.value.errno == errno.EADDRINUSE
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_a_file_that_is_no_socket_is_left_alone(path: str) -> None:
    """A slip in the settings deletes nothing."""
    Path(path).write_text("precious")
    with pytest.raises(OSError, match="no socket"):
        bind_path(path, 0o777)
    assert Path(path).read_text() == "precious"


def test_a_group_that_does_not_exist_is_named(path: str) -> None:
    """The message says what to mend, and nobody gets in before that."""
    with pytest.raises(PgBeamError, match='unix_socket_group = "nobody-has-this": there is no such group'):
        bind_path(path, 0o770, "nobody-has-this")
