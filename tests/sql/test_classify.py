"""Every statement of corpus.txt gets the verdict that is written beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgbeam_core.api.statement import Name, SettingAction, SettingChange, Statement
from pgbeam_core.sql.classify import classify

CORPUS = Path(__file__).with_name("corpus.txt")


def cases() -> list[tuple[str, set[str]]]:
    """(text, words) of every line that is no comment."""
    found = []
    for line in CORPUS.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            words, _, text = line.partition(" |")
            found.append((text.removeprefix(" ").replace(r"\n", "\n"), set(words.split())))
    return found


def written(name: Name) -> str:
    """schema.name, or the name alone."""
    return ".".join(part for part in name if part is not None)


def word_of(change: SettingChange) -> str:
    """A setting as the corpus has it."""
    if change.action is not SettingAction.SET:
        return f"{change.action}:{change.name}"
    value = "?" if not change.literal else "DEFAULT" if change.value is None else change.value.replace(" ", "~")
    return f"{'local' if change.local else 'set'}:{change.name}={value}"


def words_of(statement: Statement) -> set[str]:
    """The verdict in the words of the corpus."""
    words = set() if statement.kind == "select" and statement.reads else {str(statement.kind)}
    if statement.reads or statement.stable:
        words.add("pure" if statement.reads and statement.stable else "reads" if statement.reads else "stable")
    words |= {f"r:{written(name)}".replace(" ", "~") for name in statement.relations}
    words |= {f"w:{written(name)}" for name in statement.writes}
    words |= {f"f:{written(name)}" for name in statement.functions}
    words |= {f"+{state}" for state in statement.makes} | {f"-{state}" for state in statement.drops}
    words |= {word_of(change) for change in statement.settings}
    words |= {"w?"} if statement.writes_unknown else set()
    return words | ({f"subject:{statement.subject}"} if statement.subject is not None else set())


@pytest.mark.parametrize(("text", "words"), cases(), ids=[text[:60] for text, _ in cases()])
def test_a_statement_gets_its_verdict(text: str, words: set[str]) -> None:
    """What the corpus says about a statement is what the classification says."""
    statement = classify(text.encode())
    assert words_of(statement) == words
    assert statement.text == text.encode()


def test_the_corpus_has_no_statement_twice() -> None:
    """A doubled line would only look like coverage."""
    texts = [text for text, _ in cases()]
    assert len(texts) == len(set(texts))
