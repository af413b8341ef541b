"""Texts analysed once and remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from pgbeam_core.api.statement import READ_BYTES, Statement
from pgbeam_core.sql.annotations import HEAD_BYTES, MARK, VOCABULARY, Vocabulary, annotate
from pgbeam_core.sql.classify import classify, unknown
from pgbeam_core.sql.conclusions import conclude
from pgbeam_core.sql.templates import TemplateModel, head, may_be_model, tells_template, template

DEFAULT_BYTES = 32 * 1024 * 1024
_DOOR = 20_000
"""Texts, and heads of texts, seen once that are recognised when they come again."""
_FIXED = 2_000
"""Bytes that a statement takes beside its texts, notes of plugins included, as measured with typical ones."""

_NAMED = 300
"""Bytes that a relation, a function or a setting takes, in the statement and in the notes of plugins."""

V = TypeVar("V")


def _nothing(_value: object) -> int:
    return 0


def _weight(statement: Statement) -> int:
    """Bytes that a statement takes beside its text because of what was found in it."""
    found = _NAMED * (
        len(statement.relations) + len(statement.writes) + len(statement.functions) + len(statement.settings)
    )
    for part in statement.parts:
        found += _FIXED + _weight(part)
    return found


class Memo(Generic[V]):
    """What was used lately, by bytes: a young half that is full becomes the old half, and the old half is forgotten.

    So a hit costs one lookup and keeps no order, and what is used again and again is never lost. weigh: the bytes of a
    value beside those of its key and a fixed sum.
    """

    def __init__(self, max_bytes: int, weigh: Callable[[V], int] = _nothing) -> None:
        self._half = max_bytes // 2
        self._weigh = weigh
        self._size = 0
        self.young: dict[bytes, V] = {}
        self._old: dict[bytes, V] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def get(self, key: bytes) -> V | None:
        """What is remembered under a key; it is young again."""
        found = self.young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: bytes, value: V) -> None:
        """Remember. A value too large for half the bytes is not remembered."""
        size = _FIXED + 2 * len(key) + self._weigh(value)
        if size > self._half:
            return
        if self._size + size > self._half:
            self._old, self.young, self._size = self.young, {}, 0
        self.young[key] = value
        self._size += size

    def clear(self) -> None:
        self.young.clear()
        self._old.clear()
        self._size = 0


_EXPLAIN = "explain"


class Statements:
    """The door to understanding SQL: a bounded memory of analysed texts. Of texts that differ in plain literals only,
    one is analysed, and those are remembered that come more than once.

    max_bytes: what texts and verdicts may take, estimated. vocabulary: the annotations that are understood. judge:
    called with each statement that was analysed, but not with its siblings, which get its notes; where it says that it
    could not judge one (`_unjudged`), there are no siblings.
    """

    def __init__(
        self,
        max_bytes: int = DEFAULT_BYTES,
        vocabulary: Vocabulary = VOCABULARY,
        judge: Callable[[Statement], object] = bool,
    ) -> None:
        self._judge = judge
        self._door: set[int] = set()
        """Hashes of siblings, and of their heads, that were asked for once."""
        self._texts: Memo[Statement] = Memo(max_bytes * 3 // 4, _weight)
        self._templates: Memo[TemplateModel] = Memo(max_bytes // 8)
        self._heads: tuple[Memo[TemplateModel], Memo[TemplateModel]] = (Memo(max_bytes // 16), Memo(max_bytes // 16))
        """By what stands before the number at the end, so that they are found fast; without a semicolon, and with."""
        self._vocabulary = vocabulary

    def __len__(self) -> int:
        """How many texts are remembered."""
        return len(self._texts)

    def statement(self, sql: bytes) -> Statement:
        """The statement of a client's text. Never raises; equal texts give the same object while it is remembered."""
        if len(sql) > READ_BYTES:
            return self.unread(sql)
        return self._texts.young.get(sql) or self._remembered(sql)

    def function_call(self) -> Statement:
        """What stands for a FunctionCall message, which has no text: it may do anything."""
        found = conclude(unknown(b""))
        found._named_shape = ("0" * 16, "FunctionCall")
        self._judge(found)
        return found

    def unread(self, sql: bytes) -> Statement:
        """A text that the grammar would misread, or that is too long to be read at all: it may be anything."""
        found = conclude(unknown(sql))
        self._judge(found)
        return found

    def clear(self) -> None:
        self._texts.clear()
        self._door.clear()
        self._templates.clear()
        for heads in self._heads:
            heads.clear()

    def _remembered(self, sql: bytes) -> Statement:
        found = self._texts.get(sql)
        if found is None:
            found = self._read(sql)
            if self._is_worth_it(sql, found):
                self._texts.put(sql, found)
        return found

    def _is_worth_it(self, sql: bytes, found: Statement) -> bool:
        """Whether to remember a text: a sibling is cheap to make anew, and most of them are never seen again."""
        return not found._is_sibling or self._came_before(sql)

    def _came_before(self, sql: bytes) -> bool:
        """Whether a text, or the head of one, was asked for lately."""
        door, number = self._door, hash(sql)
        if number in door:
            return True
        if len(door) >= _DOOR:
            door.clear()
        door.add(number)
        return False

    def _read(self, sql: bytes) -> Statement:
        marked = sql.find(MARK, 0, HEAD_BYTES) >= 0
        return self._annotated(sql) if marked else self._classified(sql)

    def _annotated(self, sql: bytes) -> Statement:
        text, annotations, problems = annotate(sql, self._vocabulary)
        if text == sql:
            return self._classified(sql)
        found = self.statement(text)
        annotated = replace(found, annotations=annotations, problems=problems, notes={}, _parses=0)
        if annotated.annotation(_EXPLAIN) is not None:  # it is not executed
            annotated.rows_only, annotated.boundary, annotated._local = False, None, True
        self._judge(annotated)
        return annotated

    def _classified(self, sql: bytes) -> Statement:
        start = head(sql)
        heads = self._heads[sql.endswith(b";")]
        if start is not None:
            model = heads.get(start)
            if model is not None:
                return model.sibling(sql)
        key = template(sql)
        model = None if key is None else self._templates.get(key)
        if model is None:
            found = conclude(classify(sql))
            self._judge(found)
            if key is None or found._unjudged or not may_be_model(found):
                return found
            model = TemplateModel(found)
            self._templates.put(key, model)
        else:
            found = model.sibling(sql)
        # A head with literals in it may never come again: those that come more than once are remembered.
        if start is not None and tells_template(start) and self._came_before(start):
            heads.put(start, model)
        return found
