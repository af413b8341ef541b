"""The page in a real browser, in front of a real PgBeam: what a person sees, clicks and types."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ..beams import Beam
from . import TOKEN

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from .browser import MARKS, Page  # noqa: E402

pytestmark = MARKS
PICTURES = os.environ.get("PICTURES")
"""A folder: pictures for the documentation are put there."""
SIZES = {"phone": (360, 740), "laptop": (1280, 800), "4k": (3840, 2160)}
QUERY = "SELECT name FROM products WHERE id = %s"


def traffic(mine: Beam, times: int = 30) -> list[str]:
    """A shape that is called that often; gives the debug notices."""
    notices: list[str] = []
    with psycopg.connect(mine.url(), autocommit=True) as client:
        client.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        client.execute("SET pgbeam.debug = on")
        for number in range(times):
            client.execute(QUERY, [number % 3]).fetchall()
    return notices


def test_a_person_finds_a_shape_and_caches_it(chromium: Any, beam_with_page: tuple[Beam, str]) -> None:
    """Log in, look, search, switch a rule on, see it hold for the application, change and remove it; log out."""
    mine, url = beam_with_page
    traffic(mine)
    page = Page(chromium, url)
    page.size(*SIZES["laptop"])
    page.open()
    page.complaints()
    page.log_in("not the token at all")
    page.until(lambda: "wrong token" in page.one("#login-error").text)
    assert not page.one("#tabs").is_displayed()
    assert all("401" in complaint for complaint in page.complaints())
    page.log_in()
    page.until(lambda: page.one("#state").text == "connected")
    page.until(lambda: page.one("#tile-clients").text not in ("", "–"))
    page.view("shapes")
    page.one("#search").send_keys("FROM products")
    row = page.row("SELECT name FROM products WHERE id = $1")
    page.until(lambda: "90 % hits" in row.text)
    switch = row.find_element(By.CSS_SELECTOR, ".switch")
    assert not switch.is_selected()
    switch.click()
    page.until(lambda: page.one("#said").text == "Cached from now on")
    page.until(lambda: any("cache=hit" in notice for notice in traffic(mine, 6)))
    ttl = row.find_element(By.CSS_SELECTOR, ".rule label:nth-of-type(1) input")
    assert ttl.get_attribute("value") == "60"
    ttl.send_keys(Keys.CONTROL, "a")  # as a person does it: clear() would be a change of its own
    ttl.send_keys("300", Keys.TAB)
    page.until(lambda: page.one("#said").text == "Changed")
    page.until(lambda: any("ttl=300s" in notice for notice in traffic(mine, 6)))
    row.find_element(By.CSS_SELECTOR, ".rule button").click()
    page.until(lambda: page.one("#said").text == "Removed")
    page.until(lambda: all("cache=hit" not in notice for notice in traffic(mine, 6)))
    page.view("log")
    page.until(lambda: "cache rule" in page.one("#lines").text)
    page.one("#leave").click()
    assert page.one("#login").is_displayed()
    assert page.driver.execute_script("return sessionStorage.length") == 0


def test_all_of_it_can_be_done_by_keyboard(chromium: Any, beam_with_page: tuple[Beam, str]) -> None:
    """Numbers and arrows choose views, / searches, ? helps, Escape closes, the focus is always seen."""
    mine, url = beam_with_page
    traffic(mine)
    page = Page(chromium, url)
    page.size(*SIZES["laptop"])
    page.open()
    active = lambda: page.driver.switch_to.active_element  # noqa: E731
    assert active().get_attribute("id") == "token"
    active().send_keys(TOKEN, Keys.ENTER)
    page.until(lambda: page.one("#overview").is_displayed())
    page.one("body").send_keys("2")
    page.until(lambda: page.one("#shapes").is_displayed())
    assert active().get_attribute("id") == "tab-shapes"
    active().send_keys(Keys.ARROW_RIGHT)
    page.until(lambda: page.one("#pools").is_displayed())
    page.one("body").send_keys("/")
    page.until(lambda: active().get_attribute("id") == "search")
    active().send_keys("products")
    row = page.row("FROM products")
    for _ in range(20):
        active().send_keys(Keys.TAB)
        if active().get_attribute("role") == "switch":
            break
    outline = page.driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    active().send_keys(Keys.SPACE)
    page.until(lambda: page.one("#said").text == "Cached from now on")
    assert row.find_element(By.CSS_SELECTOR, ".switch").is_selected()
    page.one("#tab-shapes").send_keys("?")
    page.until(lambda: page.one("#help").is_displayed())
    active().send_keys(Keys.ESCAPE)
    page.until(lambda: not page.one("#help").is_displayed())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_out_of_reach_at_any_size(chromium: Any, beam_with_page: tuple[Beam, str], scheme: str) -> None:
    """From a phone to 4k nothing is cut off, and axe-core finds nothing serious, in the light and in the dark."""
    axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    script = next(Path(axe.__file__).parent.glob("**/axe*.js")).read_text("utf-8")
    mine, url = beam_with_page
    traffic(mine)
    page = Page(chromium, url)
    page.size(*SIZES["laptop"], scheme)
    page.open()
    page.log_in()
    page.until(lambda: page.one("#state").text == "connected")
    for name, size in SIZES.items():
        page.size(*size, scheme)
        for view in ("overview", "shapes", "pools", "targets", "limits", "log"):
            page.view(view)
            if view == "shapes":
                page.row("FROM products")
            width = page.driver.execute_script("return document.documentElement.scrollWidth")
            assert width <= size[0], f"{view} is {width} wide on a {name}"
            found = page.driver.execute_script("window.axe || (0, eval)(arguments[0])", script)
            found = page.driver.execute_async_script("axe.run(document, {}).then(arguments[0])")
            bad = [
                (each["id"], [node["html"][:200] for node in each["nodes"]])
                for each in found["violations"]
                if each["impact"] in ("serious", "critical")
            ]
            assert bad == [], f"{view} on a {name}: {json.dumps(bad, indent=1)}"
            if PICTURES and (view, name, scheme) in SHOWN:
                page.driver.save_screenshot(str(Path(PICTURES) / f"dashboard-{view}-{name}.png"))


SHOWN = {("overview", "laptop", "dark"), ("shapes", "laptop", "light"), ("shapes", "phone", "light")}
"""Pictures in the documentation."""


def test_no_script_but_its_own_runs(chromium: Any, beam_with_page: tuple[Beam, str]) -> None:
    """A query with markup in it is shown as text, and inline code is refused by the browser itself."""
    mine, url = beam_with_page
    with psycopg.connect(mine.url(), autocommit=True) as client:
        for _ in range(3):
            client.execute('SELECT 1 AS "<img src=x onerror=document.title=1><script>document.title=2</script>"')
    page = Page(chromium, url)
    page.size(*SIZES["laptop"])
    page.open()
    page.log_in()
    page.until(lambda: page.one("#state").text == "connected")
    page.view("shapes")
    page.row("<img src=x onerror")
    assert page.driver.title == "PgBeam"
    assert page.all("#shape-table img") == []
    page.complaints()
    page.driver.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = 3'; document.body.append(s)"
    )
    assert page.driver.title == "PgBeam"
    assert any("Content Security Policy" in complaint for complaint in page.complaints())
