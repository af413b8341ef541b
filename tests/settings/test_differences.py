"""What a reload logs."""

from __future__ import annotations

from typing import Any

from pgbeam_core.settings import Merged, Settings, differences, validate
from pgbeam_core.settings.where import Origin


def read(projects: dict[str, Any], **top: Any) -> Settings:
    """Settings with these projects."""
    merged = Merged()
    merged.lay({"projects": projects, "plugins": {"order": []}, **top}, Origin("test"))
    return validate(merged, {})


URL = "postgresql://app:{}@127.0.0.1:5432/shop"


def test_each_change_is_named_with_both_values() -> None:
    """One line a setting; projects that come or go are one line each."""
    old = read({"shop": {"upstream": URL.format("old")}, "gone": {"upstream": "postgresql://127.0.0.1"}})
    new = read(
        {
            "shop": {"upstream": URL.format("old"), "pool_mode": "session"},
            "new": {"upstream": "postgresql://127.0.0.1"},
        },
        shutdown_grace=5.0,
        tls={"cert": "a.crt", "key": "a.key"},
    )
    found = differences(old, new)
    assert 'projects.shop.pool_mode: "transaction" -> "session"' in found
    assert "projects.gone: gone" in found
    assert "projects.new: new" in found
    assert "shutdown_grace: 30.0 -> 5.0" in found
    assert any(line.startswith('tls: not set -> {"cert": "a.crt"') for line in found)
    assert len(found) == 5
    assert differences(new, new) == []


def test_no_secret_is_shown() -> None:
    """That a password has changed is told, the password is not."""
    found = differences(
        read({"shop": {"upstream": URL.format("hunter1")}}), read({"shop": {"upstream": URL.format("hunter2")}})
    )
    assert len(found) == 1
    assert found[0].startswith('projects.shop.upstream: "postgresql://app:***@127.0.0.1:5432/shop')
    assert "hunter" not in found[0]
    assert "has changed" in found[0]
