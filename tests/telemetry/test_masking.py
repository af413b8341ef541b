"""What is shown of settings holds no password, however they are misspelt."""

from __future__ import annotations

import dataclasses
import re

import pytest

from pgbeam_cache.settings import CacheSettings
from pgbeam_core.settings.load import RawProject
from pgbeam_core.settings.model import Core, Project
from pgbeam_core.telemetry.masking import is_secret, mask, mask_words, masked
from pgbeam_limits.settings import LimitsSettings
from pgbeam_pool.settings import PoolSettings
from pgbeam_replica.settings import ReplicaSettings

URLS = [
    "postgresql://u:{}@db.example.com:5432/x?sslmode=require",
    "postgresql://:{}@db",
    "postgresql:/u:{}@db",
    "postgresql//u:{}@db",
    "postgresql:u:{}@db",
    "postgres:///u:{}@db",
    "u:{}@db.example.com",
    ":{}@db",
    "redis//:{}@h",
    "redis:/:{}@h",
    "rediss://:{}@h:6379/0",
    "redis:{}@h",
    "postgresql://u:{}",
    "postgresql://u:{}/db",
    "postgresql://db/x?user=u&password={}",
    "postgresql://db/x?sslpassword={}&sslmode=require",
    "host=db user=u password={} dbname=x",
    "host=db user=u password='{}' dbname=x",
    '{{password = "{}"}}',
    "{{'auth_password': '{}'}}",
]
PASSWORDS = ["hunter2", "s3:cr3t", "s3/cr3t", "s3#cr3t", "s3@cr3t", "s3?cr3t", "%40s3cr3t", "pässwort"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("url", URLS)
def test_no_password_is_left(url: str, password: str) -> None:
    """Whatever was meant to be a URL: what stands where a password may is hidden, all of it."""
    if "@" not in url and "//u:" in url and password[2] in "@/":
        password = "hunter2"  # behind such a character anybody would see the host, or the database
    shown = mask(url.format(password))
    assert "***" in shown
    for piece in re.split(r"[:/#@?]", password):
        assert len(piece) < 3 or piece not in shown.replace("postgresql", "")


@pytest.mark.parametrize("password", ["two words", "it's", 'a "quoted" one'])
def test_a_password_may_hold_anything(password: str) -> None:
    """Spaces and quotes do not end it."""
    assert mask(f"postgresql://u:{password}@db") == "postgresql://u:***@db"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://db.example.com:5432/x?sslmode=verify-full",
        "postgresql://u@db.example.com:5432/x",
        "postgresql://[::1]:5432/x",
        "postgresql://a:5432,b:5433/x",
        "redis://h:6379/0",
        "127.0.0.1:6432",
        "[::1]:6432",
        "https://example.com/a?b=c",
        "write it as HOST:PORT, for example 127.0.0.1:6432",
        'l2 is "disk", "off" or a URL that starts with redis:// or rediss:// or unix://',
        "10.0.0.0/8",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    """An error is of use only if it shows what is wrong."""
    assert mask(text) == text
    assert mask_words(text) == text


def test_words_in_a_log_stay_words() -> None:
    """Only URLs are masked there: a role and its database are no credentials."""
    assert mask_words("cannot log in: role app@shop") == "cannot log in: role app@shop"
    assert mask_words("cannot reach redis://:hunter2@h:6379: refused") == "cannot reach redis://:***@h:6379: refused"


def test_tables_are_masked_by_their_keys_too() -> None:
    """A whole table in an error shows neither URLs' passwords nor what its keys say is one."""
    table = {"l2": "redis//:hunter2@h", "auth_password": "hunter2", "users": [{"secret": "hunter2", "name": "bob"}]}
    shown = masked(table)
    assert "hunter2" not in repr(shown)
    assert shown["users"][0]["name"] == "bob"


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "auth_password",
        "pasword",
        "passwd",
        "Passwort",
        "pwd",
        "api_token",
        "secrets",
        "secert",
        "sslpasswd",
    ],
)
def test_a_key_that_means_a_password_is_known(key: str) -> None:
    """Also with a slip of the pen, which is when an unknown key is shown with its value."""
    assert is_secret(key)


def test_no_setting_of_today_is_taken_for_a_secret() -> None:
    """What `pgbeam check` prints can be read."""
    specs = (Core, Project, RawProject, CacheSettings, LimitsSettings, PoolSettings, ReplicaSettings)
    names = {field.name for spec in specs for field in dataclasses.fields(spec)}
    assert {name for name in names if is_secret(name)} == {
        *("passwords", "health_password", "auth_password", "password_file", "password_command"),
        "dashboard_token",
    }


def test_a_url_with_a_password_is_in_no_repr() -> None:
    """A settings object that finds its way into a log or a traceback keeps it for itself."""
    assert "hunter2" not in repr(CacheSettings(l2="redis://:hunter2@h"))
    assert "hunter2" not in repr(RawProject("postgresql://u:hunter2@h", replicas=("postgresql://u:hunter2@r",)))
