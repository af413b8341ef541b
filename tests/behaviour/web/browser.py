"""A browser without a window, and what a person does with the page in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from . import TOKEN

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MARKS = [
    pytest.mark.pg,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="there is no chromium with its driver"),
]
PATIENCE_S = 20


class Page:
    """What a person does."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url

    def until(self, condition: Callable[[], Any]) -> Any:
        """What it gives, as soon as that is something; what the page has made anew meanwhile is looked for again."""
        patience = WebDriverWait(self.driver, PATIENCE_S, ignored_exceptions=[StaleElementReferenceException])
        return patience.until(lambda _: condition())

    def one(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found

    def open(self) -> None:
        """Anew, and logged out."""
        self.driver.get(self.url)
        self.driver.execute_script("sessionStorage.clear()")
        self.driver.get(self.url)

    def log_in(self, secret: str = TOKEN, user: str = "") -> None:
        for field, text in (("#user", user), ("#token", secret)):
            self.one(field).clear()
            self.one(field).send_keys(text)
        self.one("#login button").click()

    def view(self, name: str) -> None:
        self.one(f"#tab-{name}").click()
        self.until(lambda: self.one(f"#{name}").is_displayed())

    def size(self, width: int, height: int, scheme: str = "light") -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def press(self, label: str) -> None:
        """The first button of that label, wherever the page has it by then."""

        def pressed() -> bool:
            for button in self.all("button"):
                if self.label(button) == label and button.is_displayed():
                    button.click()
                    return True
            return False

        self.until(pressed)

    def label(self, element: Any) -> str:
        return element.get_attribute("aria-label") or element.text

    def order(self, label: str, answer: str = "Yes") -> None:
        """Press it, and answer the question whether that is meant."""
        self.press(label)
        self.until(lambda: self.one("#question").is_displayed())
        assert self.one("#question-words").text == f"{label}?"
        self.press(answer)
        self.until(lambda: not self.one("#question").is_displayed())

    def row(self, text: str) -> Any:
        """The row of the shape whose query has that text."""
        return self.until(lambda: next((row for row in self.all("#shape-table tbody tr") if text in row.text), None))

    def complaints(self) -> list[str]:
        """What the browser found wrong."""
        return [each["message"] for each in self.driver.get_log("browser") if each["level"] == "SEVERE"]
