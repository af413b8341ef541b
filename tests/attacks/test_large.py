"""Large messages, of clients and of servers, hold nobody up: they are moved in pieces, not in one go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attacks.conftest import Fort
from tests.attacks.siege import MB, doubling
from tests.attacks.test_streams import pour
from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.wireclient import WireClient

pytestmark = pytest.mark.pg

Attack = Callable[[WireClient, int], object]


def a_parameter(client: WireClient, size: int) -> None:
    """A value of a statement that the server has under another name than the client."""
    client.ask(frames.parse("SELECT length($1::text)", "s") + frames.sync())
    for _ in range(2):
        pour(client, frames.bind(b"x" * size, statement="s") + frames.execute() + frames.sync())


def a_parameter_of_an_unnamed_statement(client: WireClient, size: int) -> None:
    """Parse, Bind, Describe and Execute in one request."""
    request = frames.parse("SELECT length($1::text)") + frames.bind(b"x" * size) + frames.describe() + frames.execute()
    for _ in range(3):
        pour(client, request + frames.sync())


def a_literal(client: WireClient, size: int) -> None:
    """A Query message."""
    pour(client, frames.query(f"SELECT length('{'x' * size}')"))


def a_prepared_literal(client: WireClient, size: int) -> None:
    """A Parse message, twice the same."""
    request = frames.parse(f"SELECT length('{'x' * size}')") + frames.bind() + frames.execute() + frames.sync()
    pour(client, request)
    pour(client, request)


def copied_in(client: WireClient, size: int) -> None:
    """One CopyData message."""
    client.ask(frames.query("CREATE TEMP TABLE copied (a text)"))
    client.send(frames.query("COPY copied FROM STDIN"))
    client.until(b"G")
    pour(client, frames.copy_data(b"x" * size + b"\n") + frames.copy_done())


def a_row(client: WireClient, size: int) -> None:
    """A DataRow message."""
    assert pour(client, frames.query(f"SELECT repeat('x', {size})")) > size


def copied_out(client: WireClient, size: int) -> None:
    """A CopyData message of the server."""
    assert pour(client, frames.query(f"COPY (SELECT repeat('x', {size})) TO STDOUT")) > size


def a_notice(client: WireClient, size: int) -> None:
    """A NoticeResponse message."""
    assert pour(client, frames.query(f"DO $$ BEGIN RAISE NOTICE '%', repeat('x', {size}); END $$")) > size


def an_error(client: WireClient, size: int) -> None:
    """An ErrorResponse message."""
    assert pour(client, frames.query(f"DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', {size}); END $$")) > size


ATTACKS: list[Attack] = [
    a_parameter,
    a_parameter_of_an_unnamed_statement,
    a_literal,
    a_prepared_literal,
    copied_in,
    a_row,
    copied_out,
    a_notice,
    an_error,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_large_message_holds_nobody_up(fort: Fort, attack: Attack) -> None:
    """However large one message is, others are served while it passes, and nothing of it stays."""

    def once(beam: Beam, size: int) -> None:
        with beam.wire() as client:
            attack(client, size)

    for report in doubling(fort(), once, first=12 * MB, bound=48 * MB, longer=192 * MB):
        assert not report.refused, report
        report.check(grown=256 * MB + 3 * report.size)
