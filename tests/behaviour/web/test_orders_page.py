"""What an operator orders on the page, by real clicks, and what comes of it for real clients."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from ..beams import Beam
from ..clusters import PASSWORD, Cluster, free_port
from ..conftest import BeamFactory
from . import settings_of

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from .browser import MARKS, Page

pytestmark = MARKS
OPERATORS = {"admin_users": ["with_scram"], "stats_users": ["with_md5"]}
QUERY = "SELECT name FROM products WHERE id = %s"


@pytest.fixture(params=[1, 3], ids=["alone", "workers"])
def watched(request: pytest.FixtureRequest, clusters: Callable[[int], Cluster], beam: BeamFactory) -> tuple[Beam, str]:
    """A PgBeam where PostgreSQL checks passwords, and the URL of its page; no dashboard_token is set."""
    port = free_port()
    settings = settings_of(port, workers=request.param, **OPERATORS)
    del settings["dashboard_token"]
    return beam(clusters(15), "transaction", settings=settings), f"http://127.0.0.1:{port}/"


@pytest.fixture
def page(chromium: Any, watched: tuple[Beam, str]) -> Page:
    found = Page(chromium, watched[1])
    found.size(1280, 800)
    found.open()
    return found


def test_an_operator_ends_a_client_and_pauses_a_database(page: Page, watched: tuple[Beam, str]) -> None:
    """Logged in by name and password: a wrong one is told, End ends that client, Pause holds the others, Resume lets
    them go on; No changes nothing."""
    mine, _ = watched
    page.log_in("wrong", "with_scram")
    page.until(lambda: page.one("#login-error").text == "wrong user or password")
    page.log_in(PASSWORD, "with_scram")
    page.until(lambda: page.one("#state").text == "connected")
    stored = page.driver.execute_script("return Object.values(sessionStorage).join()")
    assert stored
    assert PASSWORD not in stored
    with psycopg.connect(mine.url(), autocommit=True) as sitter, psycopg.connect(mine.url(), autocommit=True) as other:
        sitter.execute("BEGIN")
        sitter.execute("LOCK TABLE orders")
        page.view("pools")
        label = page.until(lambda: [page.label(each) for each in page.all("#pools button") if each.text == "End"])[0]
        page.order(label, "No")
        assert sitter.execute("SELECT 1").fetchone() == (1,)
        page.order(label)
        page.until(lambda: page.one("#said").text == "Done")
        with pytest.raises(psycopg.OperationalError, match="terminating connection due to administrator command"):
            sitter.execute("SELECT 1")
        with other.transaction():
            other.execute("LOCK TABLE orders")  # what the one held is free
        page.order("Pause shop")
        page.until(lambda: "Resume shop" in [page.label(each) for each in page.all("#pools button")])
        with ThreadPoolExecutor(1) as elsewhere:
            asked: Future[Any] = elsewhere.submit(other.execute, "SELECT 2")
            page.until(lambda: 'database "shop" is paused' in page.one("#pools").text)
            assert not asked.done()
            page.order("Resume shop")
            assert asked.result(20).fetchone() == (2,)
    page.view("log")
    page.until(lambda: 'PAUSE "shop" from 127.0.0.1, by with_scram' in page.one("#lines").text)
    assert PASSWORD not in mine.log


def test_a_rule_is_changed_by_hand(page: Page, watched: tuple[Beam, str]) -> None:
    """On, other seconds of TTL and SWR, off: what the application is told follows each of them."""
    mine, _ = watched
    mine.wait_for_catalog()
    page.log_in(PASSWORD, "with_scram")
    page.until(lambda: page.one("#state").text == "connected")
    told(mine)
    page.view("shapes")
    page.one("#search").send_keys("FROM products")
    page.until(lambda: page.row("FROM products").find_element(By.CSS_SELECTOR, ".switch").click() or True)
    page.until(lambda: any("cache=hit" in notice for notice in told(mine)))
    for number, seconds in ((1, "77"), (2, "11")):
        field = page.row("FROM products").find_element(By.CSS_SELECTOR, f".rule label:nth-of-type({number}) input")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(seconds, Keys.TAB)
        page.until(lambda: page.one("#said").text == "Changed")
        page.until(lambda: page.one("#said").text == "")
    page.until(lambda: any("ttl=77s" in notice for notice in told(mine)))
    with psycopg.connect(mine.url("with_scram", "pgbeam", PASSWORD), autocommit=True) as operator:
        cursor = operator.cursor(row_factory=psycopg.rows.dict_row)
        assert [row["swr"] for row in cursor.execute("SHOW RULES").fetchall()] == [11]
    page.row("FROM products").find_element(By.CSS_SELECTOR, ".switch").click()
    page.until(lambda: page.one("#said").text == "Not cached from now on")
    page.until(lambda: not any("cache=hit" in notice for notice in told(mine)))


def test_who_may_only_look_has_no_buttons(page: Page, watched: tuple[Beam, str]) -> None:
    """One of stats_users sees all views; there is nothing to be pressed, and the log out forgets the token."""
    mine, _ = watched
    page.log_in(PASSWORD, "with_md5")
    page.until(lambda: page.one("#state").text == "connected")
    with psycopg.connect(mine.url(), autocommit=True) as client:
        client.execute(QUERY, (1,))
        page.view("pools")
        page.until(lambda: "app" in page.one("#pools").text)
        assert page.all("#pools button") == []
        page.view("shapes")
        assert not page.row("FROM products").find_element(By.CSS_SELECTOR, ".switch").is_enabled()
    page.press("Log out")
    page.until(lambda: page.one("#login").is_displayed())
    assert page.driver.execute_script("return sessionStorage.length") == 0


def told(mine: Beam) -> list[str]:
    """The debug notices of some reads through every worker."""
    notices: list[str] = []
    for _ in range(3):
        with psycopg.connect(mine.url(), autocommit=True) as client:
            client.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
            client.execute("SET pgbeam.debug = on")
            for number in range(4):
                client.execute(QUERY, (number % 2,)).fetchall()
    return notices
