"""Sends grown texts through every door of pgbeam_core.sql, and prints what they cost; a crash ends it.

Arguments: JSON {"sizes": [bytes, …], "productions": [name, …]}. A line of JSON for each production, a last one for the
memory. It runs in a thread with an eighth of the usual stack.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator

from pgbeam_core.api.statement import READ_BYTES, Statement
from pgbeam_core.internal.inspection import mentioned
from pgbeam_core.session.databases import to_be_left
from pgbeam_core.session.local import is_local
from pgbeam_core.sql.annotations import annotate
from pgbeam_core.sql.bounds import without_lists
from pgbeam_core.sql.classify import classify
from pgbeam_core.sql.clock import mentions_clock
from pgbeam_core.sql.shapes import pretty
from pgbeam_core.sql.statements import Statements
from pgbeam_core.sql.templates import template
from tests.fuzz.growth.productions import grown

STACK_BYTES = 1024 * 1024
ENOUGH_S = 0.008
"""What takes longer is measured again: something else may have come between."""
TRIES = 3


def doors(text: bytes) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each with the work that one event of the loop may do."""
    made: list[Statement] = []
    sibling = text + b" 1"
    marked = (b"/* @pgbeam:cache maxAge=1 */" + text)[:READ_BYTES]

    def understood() -> None:
        statement = Statements().statement(text)
        made[:] = [statement]
        assert statement.query_hash
        assert statement.canonical is not None
        assert is_local(statement) is not None

    yield "statement and shape", understood
    yield "a sibling", lambda: Statements().statement(sibling).kind
    yield "definition", lambda: classify(text)
    yield "names of settings", lambda: mentioned(text)
    yield "databases", lambda: to_be_left(made[0])
    yield "annotations", lambda: annotate(marked)
    yield "template", lambda: template(text)
    yield "clock", lambda: mentions_clock(text)


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this thread, the best of some tries."""
    best = float("inf")
    for _ in range(TRIES):
        without_lists.cache_clear()
        start = time.thread_time()
        work()
        best = min(best, time.thread_time() - start)
        if best < ENOUGH_S:
            break
    return best


def run(name: str, sizes: list[int]) -> dict[str, object]:
    """The worst door of a production."""
    worst: tuple[float, str, int] = (0.0, "", 0)
    for size in sizes:
        text = grown(name, size)
        for door, work in doors(text):
            worst = max(worst, (seconds(work), door, len(text)))
    pretty(text.decode("utf-8", "replace"), 80)
    return {"production": name, "ms": round(worst[0] * 1000, 1), "door": worst[1], "bytes": worst[2]}


def main() -> None:
    """All of them."""
    asked = json.loads(sys.argv[1])
    run("calls", [1000])  # what is made once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in asked["productions"]:
        print(json.dumps({"starts": name}), flush=True)
        print(json.dumps(run(name, asked["sizes"])), flush=True)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"grown_mb": (after - before) / 1024}), flush=True)


if __name__ == "__main__":
    threading.stack_size(STACK_BYTES)
    failed: list[object] = []
    threading.excepthook = lambda args: failed.append(args) or sys.excepthook(*args[:3])
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
    sys.exit(bool(failed))
