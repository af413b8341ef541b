"""The command line, as typed."""

from __future__ import annotations

import os
import re
from importlib import metadata

import pytest


def test_version(pgbeam):
    """Bug reports can say which PgBeam it was, and whether it was compiled."""
    compiled = " (compiled)" if "TEST_COMPILED" in os.environ else ""
    assert pgbeam("--version").stdout == f"pgbeam {metadata.version('pgbeam')}{compiled}\n"


def test_help_lists_the_commands_in_words(pgbeam):
    """Whoever types pgbeam learns what there is."""
    for arguments in ((), ("--help",)):
        done = pgbeam(*arguments)
        assert done.returncode == 0
        for words in ("run", "start PgBeam", "plugins", "check", "--version"):
            assert words in done.stdout


@pytest.mark.parametrize("command", ["run", "check", "plugins"])
def test_each_command_has_help(pgbeam, command):
    """Each option is explained where it is asked about."""
    done = pgbeam(command, "--help")
    assert done.returncode == 0
    assert "--set KEY=VALUE" in done.stdout
    assert "--plugins A,B,C" in done.stdout


def test_wrong_usage_is_2(pgbeam):
    """Scripts can tell a typing error from a failure."""
    assert pgbeam("check", "--nonsense").returncode == 2
    assert pgbeam("rnu", PGBEAM_PLUGINS="[]").returncode == 2


def test_check_prints_what_holds(pgbeam, tmp_path):
    """The merged settings come out as TOML, with secrets masked."""
    (tmp_path / "settings.toml").write_text(
        'plugins = []\n[projects.shop]\nupstream = "postgresql://u:s3cret@db.example.com/x"\n'
    )
    done = pgbeam("check", "--set", "workers=3", PGBEAM_LOG_LEVEL="debug")
    assert done.returncode == 0
    assert "workers = 3\n" in done.stdout
    assert 'log_level = "debug"\n' in done.stdout
    assert 'upstream = "postgresql://u:***@db.example.com:5432/x?sslmode=verify-full"' in done.stdout


@pytest.mark.parametrize("command", ["check", "run"])
def test_wrong_settings_are_2_and_one_line(pgbeam, tmp_path, command):
    """File, key, value and the reason, and no traceback."""
    (tmp_path / "settings.toml").write_text("plugins = []\nworkerz = 2\n")
    done = pgbeam(command)
    assert done.returncode == 2
    assert done.stderr == 'pgbeam: settings.toml: workerz = 2: unknown key; did you mean "workers"?\n'
    assert done.stdout == ""


def test_a_bad_upstream_is_2_and_one_line(pgbeam):
    """The URL is named without its password."""
    done = pgbeam("run", "--upstream", "mysql://u:s3cret@h", "--plugins", "")
    assert done.returncode == 2
    assert done.stderr == (
        "pgbeam: --upstream: upstream = 'mysql://u:***@h': an upstream URL begins with postgresql://\n"
    )


def test_an_unknown_plugin_is_2_and_one_line(pgbeam, install):
    """--plugins names something that is not installed."""
    install("audit", "")
    done = pgbeam("check", "--plugins", "audti")
    assert done.returncode == 2
    assert done.stderr == 'pgbeam: unknown plugin "audti"; did you mean "audit"?\n'


def test_plugins_are_listed_with_whether_they_are_on(pgbeam, install):
    """Name, version, where from, hooks, on or off; a broken one with the reason."""
    module = install("audit", "@hookimpl\ndef result(query): ...\n")
    install("broken", "1 / 0")
    done = pgbeam("plugins", "--plugins", "audit,gone")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert re.fullmatch(rf"audit\s+1\.2\s+pgbeam-audit \({module}\)\s+result\s+on\s*", lines[1])
    (broken,) = [line for line in lines if line.startswith("broken")]
    assert "cannot be loaded" in broken
    assert broken.rstrip().endswith("off")
    assert "gone is in the settings, but not installed" in done.stdout


COMMAND = """
    from pgbeam_core.api.commands import Command

    def configure(parser):
        parser.add_argument("--loud", action="store_true")

    def run(args):
        print("workers", args.settings.workers, "loud", args.loud)
        return 7

    @hookimpl
    def commands():
        return [Command("greet", "say hello", configure, run)]
"""


def test_a_plugin_adds_a_command(pgbeam, install):
    """A stranger's subcommand is listed, has the settings, and its exit code counts."""
    install("audit", COMMAND)
    assert "say hello" in pgbeam("--help", PGBEAM_PLUGINS="audit").stdout
    done = pgbeam("greet", "--loud", "--set", "workers=4", PGBEAM_PLUGINS="audit")
    assert done.stdout == "workers 4 loud True\n"
    assert done.returncode == 7


def test_a_plugin_cannot_take_a_command_that_is_there(pgbeam, install):
    """`pgbeam run` is PgBeam's."""
    install("audit", COMMAND.replace('"greet"', '"run"'))
    done = pgbeam("greet", PGBEAM_PLUGINS="audit")
    assert done.returncode == 2
    assert done.stderr == 'pgbeam: plugin "audit": there is a command run already\n'


def test_a_broken_plugin_does_not_stand_in_the_way_of_help(pgbeam, install):
    """Whoever has to find out what is wrong can still ask for help."""
    install("broken", "1 / 0")
    done = pgbeam("--help", PGBEAM_PLUGINS="broken")
    assert done.returncode == 0
    assert "check" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--set", "plugins.cache.l2=redis//:hunter2@h"),
        ("check", "--set", "plugins.cache.l2=redis://:hunter2#x@h"),
        ("check", "--set", "plugins.cache.l2 redis//:hunter2@h"),
        ("check", "--set", "projects.shop.upstream=postgresql://u:hunter2/x@h"),
        ("check", "--set", "projects.shop.upstream=postgresql://h?pasword=hunter2"),
        ("check", "--set", "projects.shop.pasword=hunter2"),
        ("check", "--set", 'projects.shop={upstream = "postgres//u:hunter2@h", auth_pasword = "hunter2"}'),
        ("check", "--set", "listen=postgresql://u:hunter2@h"),
        ("check", "postgresql://u:hunter2@h"),
        ("run", "--upstream", "postgresql//u:hunter2@h"),
        ("run", "postgresql://u:hunter2@h"),
    ],
)
def test_a_mistake_shows_no_password(pgbeam, arguments):
    """A slip in a URL or in a key ends in an error that may go to a log, a ticket or a screen that others see."""
    done = pgbeam(*arguments)
    assert done.returncode == 2
    assert done.stderr
    assert "hunter2" not in done.stdout + done.stderr
