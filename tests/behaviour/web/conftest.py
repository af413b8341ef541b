"""Fixtures: a browser, and a PgBeam with a dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ..beams import Beam
from ..clusters import free_port
from ..conftest import BeamFactory
from . import settings_of


@pytest.fixture(scope="package")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser without a window."""
    from .browser import CHROMIUM, DRIVER, webdriver  # here: selenium is not installed everywhere

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    quiet = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
    for argument in (*quiet, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def beam_with_page(cluster: Any, beam: BeamFactory) -> tuple[Beam, str]:
    """A PgBeam with a dashboard that may write, and its URL."""
    port = free_port()
    return beam(cluster, "transaction", settings=settings_of(port)), f"http://127.0.0.1:{port}/"
