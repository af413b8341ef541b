"""Root starts PostgreSQL as somebody else, who has to reach its programs and its data."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pgbeam_core.embedded import EmbeddedError, EmbeddedPostgres, find_binaries, shop_postgres
from pgbeam_core.embedded.account import private_folder, reachable, server_account
from pgbeam_core.embedded.binaries import usable_by
from pgbeam_core.errors import PgBeamError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


def test_an_ordinary_user_runs_it_as_themselves(monkeypatch):
    """No account is looked for where none is needed."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert server_account() is None


@as_root
def test_an_unprivileged_account_is_chosen():
    """The server never runs as root."""
    account = server_account()
    assert account is not None
    assert account.uid != 0


@as_root
@pytest.mark.pg
def test_a_private_home_is_no_place_for_the_data(tmp_path):
    """In a clone below /root the data goes where its owner can get to it, and the same place is found again."""
    tmp_path.chmod(0o700)
    server = shop_postgres(tmp_path / "state", durable=False)
    home = server.data_dir.parent
    try:
        assert tmp_path not in server.data_dir.parents
        assert home == shop_postgres(tmp_path / "state").data_dir.parent
        server.start()
        assert server.psql("SELECT count(*) FROM categories") == "8"
    finally:
        server.stop()
        shutil.rmtree(home)


@as_root
def test_a_folder_out_of_reach_says_what_to_do(tmp_path):
    """Whoever insists on a private folder learns who cannot get there."""
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedError, match=r"out of reach for user .*: set state_dir"):
        EmbeddedPostgres(tmp_path / "data").start()


@as_root
def test_programs_out_of_reach_are_copied(tmp_path):
    """A virtual environment below /root works too."""
    account = server_account()
    assert account is not None
    hidden = tmp_path / "package" / "pginstall18"
    (hidden / "bin").mkdir(parents=True)
    libraries = tmp_path / "package.libs"
    libraries.mkdir()
    (libraries / "libpq.so").write_text("")
    program = hidden / "bin" / "postgres"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    tmp_path.chmod(0o700)
    assert not reachable(program, account)
    copy = usable_by(account, hidden / "bin")
    try:
        assert reachable(copy / "postgres", account)
        assert usable_by(account, hidden / "bin") == copy
        assert reachable(copy / "../../../package.libs", account)
        assert [path.name for path in (copy / "../../../package.libs").iterdir()] == ["libpq.so"]
    finally:
        shutil.rmtree(copy.parents[3])


@pytest.mark.pg
def test_programs_within_reach_stay_where_they_are(monkeypatch):
    """Nothing is copied without need."""
    assert usable_by(None, find_binaries()) == find_binaries()


def test_somebody_elses_folder_is_not_used(monkeypatch, tmp_path):
    """A folder that was laid out for us in /tmp is not trusted."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    ours = private_folder("x", owner=None)
    assert private_folder("x", owner=None) == ours
    ours.chmod(0o777)
    with pytest.raises(PgBeamError, match="belongs to somebody else"):
        private_folder("x", owner=None)
    ours.rmdir()
    ours.symlink_to(tmp_path)
    with pytest.raises(PgBeamError, match="belongs to somebody else"):
        private_folder("x", owner=None)


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path):
    """state_dir in a place that is no folder is one line, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match="make it writable, or set state_dir"):
        shop_postgres(Path(tmp_path / "file" / "state")).start()
