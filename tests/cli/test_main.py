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


@pytest.mark.parametrize("command", ["check", "run"])
def test_all_that_is_wrong_is_told_at_once(pgbeam, tmp_path, command):
    """A line for each wrong setting, wherever it stands: nobody has to try again and again."""
    (tmp_path / "settings.toml").write_text(
        'workerz = 2\nlog_level = "loud"\nlisten = ["a", "b:1", ":x"]\n'
        "[projects.shop]\nupstream = 'mysql://h'\nreplicas = ['http://h', 'postgresql://h']\n"
        "[projects.other]\npool_mode = 'none'\n"
        "[plugins.pool]\nmax_active = 0\nmin_idel = 1\n[plugins.cache]\nttl_s = 'x'\n"
    )
    done = pgbeam(command, "--set", "shutdown_grace=long")
    assert done.returncode == 2
    told = [re.sub(r" = .*", "", line.removeprefix("pgbeam: ")) for line in done.stderr.splitlines()]
    assert sorted(told) == sorted(
        [
            "settings.toml: workerz",
            "settings.toml: log_level",
            "settings.toml: listen",
            "settings.toml: listen",
            "settings.toml: projects.shop.upstream",
            "settings.toml: projects.shop.replicas",
            "settings.toml: projects.other.pool_mode",
            "settings.toml: projects.other.upstream",
            "settings.toml: plugins.pool.max_active",
            "settings.toml: plugins.pool.min_idel",
            "settings.toml: plugins.cache.ttl_s",
            "--set: shutdown_grace",
        ]
    )


def test_wrong_plugins_do_not_hide_what_else_is_wrong(pgbeam, install):
    """Each that cannot be loaded is named, and the settings that need none are looked at all the same."""
    install("broken", "1 / 0")
    done = pgbeam("check", "--plugins", "nobody,broken,pool,pool", "--set", "workers=0", "--set", "projects.a.auth=x")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert [line.split(";")[0].split(" (")[0] for line in lines[:3]] == [
        'pgbeam: unknown plugin "nobody"',
        'pgbeam: plugin "broken"',
        'pgbeam: plugin "pool" is named twice',
    ]
    assert "ZeroDivisionError" in lines[1]
    assert [line.split(" = ")[0] for line in lines[3:]] == [
        "pgbeam: --set: workers",
        "pgbeam: --set: projects.a.auth",
        "pgbeam: --set: projects.a.upstream",
    ]


def test_upstream_makes_a_project_that_can_be_set(pgbeam, tmp_path):
    """--upstream URL is the project "default", as --help says; --set and the environment reach it, a file does not."""
    (tmp_path / "settings.toml").write_text(
        "[projects.default]\nupstream = 'postgresql://file'\nreplicas = ['postgresql://replica']\n"
        "[projects.shop]\nupstream = 'postgresql://file'\n"
    )
    done = pgbeam(
        *("check", "--upstream", "postgresql://127.0.0.1/x", "--set", "projects.default.pool_mode=session"),
        PGBEAM_PROJECTS__DEFAULT__QUERY_TIMEOUT_MS="7",
        PGBEAM_PROJECTS__SHOP__POOL_MODE="session",
    )
    assert done.stderr == ""
    (project,) = re.findall(r"\[projects\.(\w+)\]\n", done.stdout)
    assert project == "default"
    for line in ('pool_mode = "session"', "query_timeout_ms = 7", "replicas = []", "default = true"):
        assert f"\n{line}\n" in done.stdout
    for command in ("run", "check"):
        assert "--set projects.default.pool_mode=session" in " ".join(pgbeam(command, "--help").stdout.split())


def test_beside_upstream_there_is_no_other_project(pgbeam):
    """Who sets something of a project that --upstream has displaced is told which one there is."""
    done = pgbeam("check", "--upstream", "postgresql://127.0.0.1/x", "--set", "projects.shop.pool_mode=session")
    assert done.returncode == 2
    assert done.stderr == (
        "pgbeam: --set: projects.shop.pool_mode = 'session': with --upstream there is one project: "
        "write projects.default.…\n"
    )


@pytest.mark.parametrize(("value", "code"), [("session", 0), ("none", 2)])
def test_the_embedded_server_has_a_project_that_can_be_set(pgbeam, value, code):
    """Without a project, what --set says of "shop" is about the embedded server's, and is checked."""
    done = pgbeam("check", "--set", f"projects.shop.pool_mode={value}")
    assert done.returncode == code
    assert ("projects.shop.pool_mode = 'none': must be one of" in done.stderr) == bool(code)


def test_a_plugin_that_fails_at_its_commands_is_named(pgbeam, install):
    """One line that says which plugin and where, instead of a traceback; --help works without it."""
    install("broken", "from pgbeam_core import hookimpl\n@hookimpl\ndef commands():\n    return 1 / 0\n")
    done = pgbeam("frobnicate", PGBEAM_PLUGINS="broken")
    assert done.returncode == 2
    assert re.fullmatch(
        r'pgbeam: plugin "broken" failed in commands: ZeroDivisionError: division by zero \(.*:5\)\n', done.stderr
    )
    assert pgbeam("--help", PGBEAM_PLUGINS="broken").returncode == 0


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


def test_check_reads_the_files_of_tls(pgbeam, tmp_path):
    """Before a restart it is known whether the certificate is of use."""
    (tmp_path / "server.crt").write_text("no certificate")
    (tmp_path / "settings.toml").write_text(
        'plugins = []\ntls = {cert = "server.crt", key = "missing.key"}\n'
        '[projects.shop]\nupstream = "postgresql://db.example.com/x"\n'
    )
    done = pgbeam("check")
    assert done.returncode == 2
    assert "tls.cert" in done.stderr
    assert "no certificate in PEM form is in it" in done.stderr
    assert "Traceback" not in done.stderr
