"""The plugin of docs/write-a-plugin.md: what stands between the markers here stands there, word for word."""

# ruff: noqa: E402 -- the page shows two files, each with its imports

from __future__ import annotations

# -- start plugin --
from dataclasses import dataclass, field

from pgbeam_core import Beam, Kind, Note, Query, Refusal, Session, Statement, hookimpl

FORGOT = Note[bool]("seatbelt")


@dataclass(frozen=True)
class SeatbeltSettings:
    """What `[plugins.seatbelt]` may hold."""

    tables: tuple[str, ...] = field(default=(), metadata={"help": "tables it looks after; all of them when empty"})


class Seatbelt:
    """Refuses UPDATE and DELETE that forgot their WHERE."""

    @hookimpl
    def settings_spec(self) -> type:
        return SeatbeltSettings

    @hookimpl
    def startup(self, beam: Beam) -> None:
        self.settings = beam.settings_of(SeatbeltSettings)
        self.refused = 0

    @hookimpl
    def parse(self, statement: Statement) -> None:
        """Once per distinct text: here is the time to think."""
        tables = {name for _schema, name in statement.writes}
        minded = not self.settings.tables or not tables.isdisjoint(self.settings.tables)
        forgot = statement.kind in (Kind.UPDATE, Kind.DELETE) and " where " not in statement.shape.lower()
        FORGOT.put(statement, minded and forgot)

    @hookimpl
    def execute(self, session: Session, query: Query) -> Refusal | None:
        """Once per query: be quick. None lets it pass."""
        if FORGOT.of(query.statement) and session.variable("seatbelt") != "off":
            self.refused += 1
            kind = query.statement.kind.name
            return Refusal("P0001", f"{kind} without WHERE", hint="SET pgbeam.seatbelt = off if you mean it.")
        return None

    @hookimpl
    def variable(self, name: str, value: str | None) -> str | Refusal | None:
        """SET pgbeam.seatbelt = on | off; value is None when PgBeam asks for the default."""
        if name != "seatbelt":
            return None
        if value in ("on", "off", None):
            return value or "on"
        return Refusal("22023", f'invalid value for parameter "pgbeam.seatbelt": "{value}"')

    @hookimpl
    def stats(self) -> dict[str, int]:
        return {"refused": self.refused}


plugin = Seatbelt()
# -- end plugin --

# -- start tests --
import pytest

from pgbeam_core.testing import done

pytest_plugins = ["pgbeam_core.testing.fixtures"]


@pytest.fixture
def rehearsal(rehearse):
    """PgBeam with this one plugin, in front of a server that says yes to two statements."""
    made = rehearse({"seatbelt": Seatbelt()}, settings={"seatbelt": {"tables": ["users"]}})
    made.primary.answers["DELETE FROM users"] = done("DELETE 1000")
    made.primary.answers["DELETE FROM users WHERE id = $1"] = done("DELETE 1")
    return made


def test_a_delete_without_where_never_reaches_the_server(rehearsal):
    """The client gets an error that says what to do, and its session goes on."""
    client = rehearsal.login("app")
    assert client.query("DELETE FROM users").error == ("P0001", "DELETE without WHERE")
    assert rehearsal.primary.asked == []
    assert client.execute("DELETE FROM users WHERE id = $1", ["7"]).tags == ("DELETE 1",)
    assert rehearsal.stats()["seatbelt"] == {"refused": 1}


def test_who_means_it_takes_it_off(rehearsal):
    """`SET pgbeam.seatbelt = off` is heard by PgBeam and never reaches the server."""
    client = rehearsal.login("app")
    client.query("SET pgbeam.seatbelt = off")
    assert client.query("DELETE FROM users").tags == ("DELETE 1000",)
    assert rehearsal.primary.asked == ["DELETE FROM users"]


# -- end tests --


import re
import tomllib
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-plugin.md").read_text("utf-8")


def cut(name: str) -> str:
    text = Path(__file__).read_text("utf-8")
    found = text.partition(f"# -- start {name} --\n")[2].partition(f"# -- end {name} --\n")[0]
    return found.rstrip() + "\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_shows_exactly_this_code():
    """What a reader copies from the page is what is tested here."""
    first, second = blocks("python")
    assert first == cut("plugin")
    assert second == cut("tests")


def test_the_page_declares_the_plugin_as_pgbeam_looks_for_it():
    """The entry point on the page names the object that the code on the page makes."""
    project, settings = (tomllib.loads(block) for block in blocks("toml"))
    assert project["project"]["entry-points"]["pgbeam"] == {"seatbelt": "pgbeam_seatbelt:plugin"}
    assert set(settings["plugins"]["seatbelt"]) == {"tables"}
