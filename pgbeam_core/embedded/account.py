"""Who runs the server: PostgreSQL refuses root, so root starts it as somebody else."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pgbeam_core.errors import PgBeamError

CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An unprivileged user of this machine."""

    name: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give it a file or folder."""
        os.chown(path, self.uid, self.gid)


def server_account() -> Account | None:
    """None: the server runs as we do. As root, the first of the unprivileged accounts that exists."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise PgBeamError("PostgreSQL refuses to run as root and there is no user postgres: run PgBeam as another user")


def run_as(account: Account | None, arguments: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end as that account, output captured; a failure is told by its exit code."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        arguments, check=False, capture_output=True, text=True, cwd="/", **identity(account), **more
    )


def identity(account: Account | None) -> dict[str, object]:
    """The arguments that make subprocess run something as that account."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def reachable(path: Path, account: Account) -> bool:
    """Whether that account may get to the path and use it; the kernel is asked, as access lists count too."""
    return run_as(account, ["/bin/sh", "-c", '[ -r "$1" ] && [ -x "$1" ]', "sh", str(path)]).returncode == 0


def private_folder(name: str, owner: Account | None) -> Path:
    """A folder of ours below the temporary one. Its name can be guessed, so somebody else's is refused."""
    path = Path(tempfile.gettempdir()) / f"pgbeam-{os.geteuid()}-{name}"
    try:
        path.mkdir(mode=0o755)
    except FileExistsError:
        found = path.lstat()
        theirs = found.st_uid not in {os.geteuid(), owner.uid if owner else os.geteuid()}
        if theirs or not stat.S_ISDIR(found.st_mode) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PgBeamError(f"{path} belongs to somebody else: remove it, or set state_dir") from None
    path.chmod(0o755)
    return path
