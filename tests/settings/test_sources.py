"""Which source wins, and what an error says about where a value came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pgbeam_core.errors import SettingsError
from pgbeam_core.settings import Endpoint, Settings, load, plugin_order
from pgbeam_core.settings.load import layers


@dataclass(frozen=True)
class Pool:
    max_active: int = field(default=200, metadata={"help": "servers at once", "min": 1})
    share: bool = True
    label: str = ""


SPECS = {"pool": Pool}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def read(config: Path, text: str = "", sets: tuple[str, ...] = (), **environ: str) -> Settings:
    config.write_text('plugins.order = ["pool"]\n' + text)
    return load(config, sets, {f"PGBEAM_{name}": value for name, value in environ.items()}, SPECS, ["cache"])


def failure(config: Path, text: str = "", sets: tuple[str, ...] = (), **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(config, text, sets, **environ)
    return caught.value.message.replace(str(config.parent) + "/", "")


def test_set_beats_environment_beats_secrets_beats_file_beats_default(config):
    """Each source overrides exactly the ones below it."""
    secrets = config.with_name(".secrets.toml")
    assert read(config).workers == 1
    assert read(config, "workers = 2").workers == 2
    secrets.write_text("workers = 3")
    assert read(config, "workers = 2").workers == 3
    assert read(config, "workers = 2", WORKERS="4").workers == 4
    assert read(config, "workers = 2", ("workers=5",), WORKERS="4").workers == 5
    assert read(config, "workers = 2", ("workers=5", "workers=6"), WORKERS="4").workers == 6


def test_a_secret_completes_a_project_and_does_not_replace_it(config):
    """.secrets.toml may hold nothing but the URL with the password."""
    config.with_name(".secrets.toml").write_text('[projects.shop]\nupstream = "postgresql://u:pw@db/shop"\n')
    settings = read(
        config,
        '[projects.shop]\nupstream = "postgresql://db/shop"\npool_mode = "session"\n'
        '[projects.other]\nupstream = "postgresql://db/other"\n',
    )
    assert settings.projects["shop"].pool_mode == "session"
    assert list(settings.projects["shop"].passwords.values()) == ["pw"]
    assert set(settings.projects) == {"shop", "other"}


def test_lists_are_replaced_not_appended_to(config):
    """Who sets listen on the command line listens there and nowhere else."""
    settings = read(config, 'listen = ["127.0.0.1:1"]', ("listen=127.0.0.1:2,[::1]:3",))
    assert settings.listen == (Endpoint("127.0.0.1", 2), Endpoint("::1", 3))


def test_plugins_may_stand_beside_their_tables(config):
    """`plugins = [...]` and `[plugins.pool]` in one file, as the documentation shows it, work together."""
    config.write_text('plugins = ["pool"]   # order\n\n[plugins.pool]\nmax_active = 7\n')
    settings = load(config, (), {}, SPECS)
    assert settings.plugins == ("pool",)
    assert settings.plugin["pool"].max_active == 7


def test_the_built_in_plugins_are_on_by_default(tmp_path, monkeypatch):
    """Without any settings the built-in plugins are on, limits asked first and debug last."""
    monkeypatch.chdir(tmp_path)
    assert plugin_order(layers(None, (), {})) == ("limits", "cache", "replica", "pool", "debug")


@pytest.mark.parametrize("value", ['["pool"]', "pool"])
def test_plugins_from_the_environment(config, value):
    """The order can be given as a TOML list or with commas."""
    config.write_text("")
    assert load(config, (), {"PGBEAM_PLUGINS": value}, SPECS).plugins == ("pool",)


def test_the_environment_reaches_any_depth_in_any_case(config):
    """Upper-case variables set the keys of a file, whatever their case there."""
    settings = read(
        config,
        '[projects.Shop]\nupstream = "postgresql://db/x"\n',
        PROJECTS__SHOP__POOL_MODE="session",
        PLUGINS__POOL__MAX_ACTIVE="9",
        PLUGINS__POOL__SHARE="off",
    )
    assert settings.projects["Shop"].pool_mode == "session"
    assert settings.plugin["pool"] == Pool(9, share=False)


def test_a_project_can_be_given_as_one_inline_table(config):
    """A container needs one variable for a project, and it completes what the file says."""
    settings = read(
        config,
        '[projects.shop]\nupstream = "postgresql://db/x"\n',
        PROJECTS__SHOP="{pool_mode = 'session', query_timeout_ms = 10}",
    )
    assert settings.projects["shop"].pool_mode == "session"
    assert settings.projects["shop"].query_timeout_ms == 10


@pytest.mark.parametrize("text", ["007", "true", "@int 5", "@format {this}", "1e5", "@none", "[x"])
def test_text_from_the_environment_stays_as_it_is_for_a_string(config, text):
    """A value that looks like a number, a flag or a casting token is not changed on its way to a string setting."""
    assert read(config, PLUGINS__POOL__LABEL=text).plugin["pool"].label == text
    assert read(config, "", (f"plugins.pool.label={text}",)).plugin["pool"].label == text


def test_strings_of_a_file_are_not_cast(config):
    """A string that begins with @int stays that string."""
    assert read(config, '[plugins.pool]\nlabel = "@int 5"').plugin["pool"].label == "@int 5"


def test_other_settings_files_are_not_read_behind_ones_back(config):
    """settings.local.toml, .env and the like have no say."""
    config.with_name("settings.local.toml").write_text("workers = 9")
    config.with_name(".env").write_text("PGBEAM_WORKERS=9")
    assert read(config).workers == 1


def test_settings_of_an_installed_plugin_that_is_off_are_left_alone(config):
    """Turning a plugin off does not make its table an error."""
    assert "cache" not in read(config, "[plugins.cache]\nanything = 1").plugin


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workerz = 1", 'settings.toml: workerz = 1: unknown key; did you mean "workers"?'),
        ("[plugins.pol]\nx = 1", "settings.toml: plugins.pol = {'x': 1}: unknown key; did you mean \"pool\"?"),
        (
            "[plugins.pool]\nmax_activ = 5",
            'settings.toml: plugins.pool.max_activ = 5: unknown key; did you mean "max_active"?',
        ),
        ("[plugins.pool]\nmax_active = '5'", "settings.toml: plugins.pool.max_active = '5': must be a whole number"),
        ("[plugins.pool]\nmax_active = 0", "settings.toml: plugins.pool.max_active = 0: must be at least 1"),
        ("log_level = 'loud'", "settings.toml: log_level = 'loud': must be one of debug, info, warn, error"),
        (
            "listen = ['nowhere']",
            "settings.toml: listen = 'nowhere': write it as HOST:PORT, for example 127.0.0.1:6432",
        ),
        ("[projects.a]\npool_mode = 'session'", "settings.toml: projects.a.upstream = None: must be set"),
        (
            "[projects.a]\nupstream = 'mysql://h'",
            "settings.toml: projects.a.upstream = 'mysql://h': an upstream URL begins with postgresql://",
        ),
        (
            "[projects.a]\nupstream = 'postgresql://h'\nquery_timeout_ms = 300001",
            "settings.toml: projects.a.query_timeout_ms = 300001: must be at most 300000",
        ),
        ("projects = 1", "settings.toml: projects = 1: must be a table of projects"),
    ],
)
def test_an_error_names_file_key_value_and_reason(config, text, message):
    """Whoever mistypes a setting reads where it is and what was probably meant."""
    assert failure(config, text) == message


def test_an_error_names_the_variable_or_the_option(config):
    """A wrong value that came from outside the files is found too."""
    assert failure(config, PLUGINS__POOL__MAX_ACTIV="5") == (
        "PGBEAM_PLUGINS__POOL__MAX_ACTIV: plugins.pool.max_activ = '5': unknown key; did you mean \"max_active\"?"
    )
    assert failure(config, "", ("workers=many",)) == "--set: workers = 'many': must be a whole number"
    assert failure(config, "", ("workers",)).startswith("--set workers: write it as KEY=VALUE")


def test_all_options_that_are_no_setting_are_told(config):
    """Whoever mistypes two does not find the second when the first is mended."""
    first, second = failure(config, "", ("workers", "log_level=warn", "=4")).splitlines()
    assert first.startswith("--set workers: write it as KEY=VALUE")
    assert second.startswith("--set =4: write it as KEY=VALUE")


def test_a_file_that_is_no_toml_or_not_there(config):
    """The line is named; a file asked for by name has to exist."""
    assert "settings.toml: not TOML:" in failure(config, "listen = [")
    with pytest.raises(SettingsError, match=r"nope\.toml: cannot be read"):
        load(config.with_name("nope.toml"), (), {}, {})


def test_one_project_is_the_default_and_two_cannot_be(config):
    """Clients without a host name must have exactly one place to go."""
    one = "[projects.a]\nupstream = 'postgresql://h'\n"
    two = "[projects.b]\nupstream = 'postgresql://i'\n"
    assert read(config, one).default_project == read(config, one).projects["a"]
    assert read(config, one + two).default_project is None
    assert read(config, one + two + "default = true").default_project.name == "b"
    assert "project a is the default already" in failure(config, f"{one}default = true\n{two}default = true")


def test_a_host_name_belongs_to_one_project(config):
    """The same SNI name in two projects would send clients to a server by chance."""
    text = "[projects.{0}]\nupstream = 'postgresql://h'\nhostnames = ['Shop.Example.com']\n"
    assert "project a has it already" in failure(config, text.format("a") + text.format("b"))


def test_a_project_name_with_a_dot(config):
    """A quoted project name is one name, in files and on the command line."""
    text = "[projects.'shop.eu']\nupstream = 'postgresql://h'\n"
    settings = read(config, text, ("projects.'shop.eu'.pool_mode=session",))
    assert settings.projects["shop.eu"].pool_mode == "session"


def test_passwords_are_in_no_error_and_no_repr(config):
    """A mistake beside a password does not print it."""
    for url in (
        "postgresql://u:s3cret@h/d?nonsense=1",
        "postgresql://u:s3@cret@h:x/d",
        "postgresql://h?password=s3cret",
    ):
        assert "cret" not in failure(config, f"[projects.a]\nupstream = '{url}'")
    assert "s3cret" not in repr(read(config, "[projects.a]\nupstream = 'postgresql://u:s3cret@h/d'"))
    assert "s3cret" not in failure(config, "password = 's3cret'")
