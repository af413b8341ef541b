"""Says of each query what a plugin thinks of it: `/* @pgbeam:explain */ SELECT …`."""

from pgbeam_core import Explanation, Query, hookimpl


@hookimpl
def explain(query: Query) -> list[Explanation]:
    long = len(query.statement.text) > 1000
    return [Explanation("length", "long" if long else "short", f"{len(query.statement.text)} bytes")]
