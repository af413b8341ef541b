"""What stands in the body of a request, checked."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from pgbeam_core.web.replies import HttpRequest, Refused


def object_of(request: HttpRequest, fields: Collection[str], example: str) -> dict[str, Any]:
    """A JSON object with some of these fields. Raises Refused, with what is wrong.

    A form cannot send this kind, and a foreign page's script has to ask first: it is not let.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "the body comes as application/json")
    try:
        given: Any = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(given, dict):
        raise Refused(400, f"the body is an object: {example}")
    for name in given:
        if name not in fields:
            raise Refused(400, f'there is no field "{name[:50]}"', f"There are {', '.join(fields)}.")
    return given
