"""How commands at the console are read."""

from __future__ import annotations

import pytest

from pgbeam_core.console.language import commands


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SHOW POOLS", [["SHOW", "POOLS"]]),
        ("  show\tpools ; ", [["show", "pools"]]),
        ("BEGIN; SHOW STATS; COMMIT", [["BEGIN"], ["SHOW", "STATS"], ["COMMIT"]]),
        ('PAUSE "my ""odd"" db"', [["PAUSE", 'my "odd" db']]),
        ("SET plugins.pool.max_active = 20", [["SET", "plugins.pool.max_active", "=", "20"]]),
        ("SET log_level TO 'it''s'", [["SET", "log_level", "TO", "it's"]]),
        ("-- why\nSHOW /* x; y */ LISTS", [["SHOW", "LISTS"]]),
        ("PAUSE shop/orders", [["PAUSE", "shop/orders"]]),
        ("", []),
        (" ;; ", []),
        ("'unended", [["'", "unended"]]),
    ],
)
def test_words(text: str, words: list[list[str]]) -> None:
    """White space, comments, quotes and semicolons mean what they mean in SQL."""
    assert [[word.text for word in command.words] for command in commands(text)] == words


def test_what_is_quoted_is_no_keyword() -> None:
    """A database may be called like a command."""
    (command,) = commands('PAUSE "show"')
    assert (command.verb, command.arguments[0].key, command.arguments[0].text) == ("pause", "", "show")
