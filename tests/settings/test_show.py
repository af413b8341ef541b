"""What `pgbeam check` prints, and settings.toml in the repository."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from pgbeam_core import plugins
from pgbeam_core.settings import Settings, load, to_toml
from pgbeam_core.settings.load import RawProject
from pgbeam_core.settings.model import Core

FILE = Path(__file__).parents[2] / "settings.toml"
EXAMPLES = {"dashboard_token", "metrics_listen", "tls"}


@dataclass(frozen=True)
class Cache:
    l2: str = "off"
    size: int = field(default=5, metadata={"unit": "bytes"})
    api_token: str = ""
    hidden: str = field(default="", metadata={"secret": True})
    limit: int | None = None


def read(path: Path, text: str) -> Settings:
    file = path / "settings.toml"
    file.write_text(text)
    return load(file, (), {}, {"cache": Cache})


TEXT = """
plugins = ["cache"]
listen = ["127.0.0.1:1", "[::1]:2"]
[projects.shop]
upstream = "postgresql://u:s3cret@db.example.com/x"
replicas = ["postgresql://u:s3cret@r1:7/x", "postgresql:///x?host=/run/pg"]
hostnames = ["a.example.com"]
[projects."shop.eu"]
upstream = "postgresql://127.0.0.1/y"
[plugins.cache]
l2 = "redis://:s3cret@cache:6379/0"
api_token = "s3cret"
hidden = "s3cret"
"""


def test_secrets_are_masked(tmp_path):
    """The output can be pasted into a bug report."""
    shown = to_toml(read(tmp_path, TEXT))
    assert "s3cret" not in shown
    assert shown.count("***") == 5


def test_what_is_printed_can_be_read_again(tmp_path):
    """The output is a settings file that means the same, apart from the secrets."""
    shown = to_toml(read(tmp_path, TEXT))
    again = read(tmp_path, shown)
    assert to_toml(again) == shown
    assert again.projects["shop"].primary == read(tmp_path, TEXT).projects["shop"].primary


def uncommented() -> dict:
    """settings.toml with every setting switched on."""
    text = re.sub(r"^# (?=\[|[a-z0-9_.]+ = )", "", FILE.read_text(), flags=re.MULTILINE)
    return tomllib.loads(text)


def test_the_settings_file_names_every_core_setting_with_its_default():
    """settings.toml does not drift from the code."""
    written = uncommented()
    shown = tomllib.loads(to_toml(Settings(projects={})))
    for option in dataclasses.fields(Core):
        assert option.name in written
        if option.name not in EXAMPLES:
            assert written[option.name] == shown[option.name], option.name
    assert set(written["projects"]["shop"]) == {option.name for option in dataclasses.fields(RawProject)}


def test_the_settings_file_names_every_setting_of_the_built_in_plugins():
    """A plugin's setting that nobody can find is of no use; one that is gone misleads."""
    written = uncommented()["plugins"]
    manager = plugins.load_plugins(tuple(name for name in written if name != "order"))
    for name, spec in plugins.specs(manager).items():
        documented = set(written[name])
        assert documented == {option.name for option in dataclasses.fields(spec)}, name


def test_the_settings_file_changes_nothing(tmp_path, monkeypatch):
    """A fresh clone runs on the defaults."""
    monkeypatch.chdir(tmp_path)
    manager = plugins.load_plugins(("limits", "cache", "replica", "pool", "debug"))
    specs = plugins.specs(manager)
    assert load(FILE, (), {}, specs) == load(None, (), {}, specs)
