"""Builds a frozen dataclass from raw settings, its annotations and field metadata being the rules.

Annotations: int, float, bool, str, Path, `tuple[T, ...]`, `Mapping[str, T]`, another dataclass, and unions of these
with None or with each other. Metadata: `help`, `min`, `max` (of a number, or of the count of a tuple), `choices`,
`unit="bytes"` (an int that may be written "1 MiB").
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pgbeam_core.settings.model import Endpoint
from pgbeam_core.settings.urls import parse_endpoint
from pgbeam_core.settings.where import Where
from pgbeam_core.settings.wrong import Wrong

T = TypeVar("T")
NO_METADATA: Mapping[str, Any] = types.MappingProxyType({})
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(|[KMGT]i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_WORDS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a string", Path: "a path"}


def build(spec: type[T], raw: Mapping[str, Any], where: Where | None = None) -> T:
    """An instance of the dataclass `spec` from a table of raw settings; what is missing keeps its default.

    Raises SettingsError naming source, key and value of all that is wrong; for an unknown key the nearest known one.
    """
    where = where or Where()
    fields = {field.name: field for field in dataclasses.fields(spec) if field.init}  # type: ignore[arg-type]
    annotations = typing.get_type_hints(spec)
    values: dict[str, Any] = {}
    wrong = Wrong()
    for key, value in raw.items():
        if key not in fields:
            wrong.add(where.unknown(key, value, fields))
            continue
        with wrong.noting():
            values[key] = convert(annotations[key], value, where / key, fields[key].metadata)
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in raw:
            wrong.add((where / name).error(None, "must be set"))
    wrong.tell()
    try:
        return spec(**values)
    except ValueError as error:  # a spec may check in __post_init__ what no single field can tell
        raise where.error(dict(raw), str(error)) from error


def convert(annotation: Any, value: Any, where: Where, metadata: Mapping[str, Any] = NO_METADATA) -> Any:
    """A raw value as the annotation wants it, checked against the metadata. Raises SettingsError."""
    converted = _convert(annotation, value, where, metadata)
    _check(converted, value, where, metadata)
    return converted


def _convert(annotation: Any, value: Any, where: Where, metadata: Mapping[str, Any]) -> Any:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return _union(typing.get_args(annotation), value, where, metadata)
    if origin is tuple:
        wanted = typing.get_args(annotation)[0]
        return tuple(_each([partial(_convert, wanted, item, where, metadata) for item in _items(value, where)]))
    if origin is typing.Literal:
        choices = typing.get_args(annotation)
        return convert(str, value, where, {"choices": choices})
    if origin is not None and issubclass(origin, Mapping):
        table, wanted = _table(value, where), typing.get_args(annotation)[1]
        values = _each([partial(convert, wanted, item, where / key) for key, item in table.items()])
        return dict(zip(table, values, strict=True))
    if annotation is Endpoint:
        return _endpoint(value, where)
    if dataclasses.is_dataclass(annotation):
        return build(typing.cast("type[Any]", annotation), _table(value, where), where)
    if annotation is Any:
        return value
    return _scalar(annotation, value, where, metadata)


def _each(makes: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each of these gives; a SettingsError has what is wrong with all of them."""
    wrong = Wrong()
    made = []
    for make in makes:
        with wrong.noting():
            made.append(make())
    wrong.tell()
    return made


def _union(members: tuple[Any, ...], value: Any, where: Where, metadata: Mapping[str, Any]) -> Any:
    """The first member that takes the value; text means None only where it says so."""
    rest = [member for member in members if member is not types.NoneType]
    if len(rest) < len(members) and (value is None or (where.origin.text and value in ("", "none"))):
        return None
    for member in rest[:-1]:
        if _fits(member, value):
            return _convert(member, value, where, metadata)
    return _convert(rest[-1], value, where, metadata)


def _fits(member: Any, value: Any) -> bool:
    origin = typing.get_origin(member) or member
    if origin is tuple:
        return isinstance(value, list | tuple)
    if dataclasses.is_dataclass(origin) or issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if origin is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin)


def _items(value: Any, where: Where) -> list[Any] | tuple[Any, ...]:
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, str) and where.origin.text:
        if value.startswith("[") and value.endswith("]"):  # not [::1]:6432
            return typing.cast("list[Any]", _inline(value, where))
        return [item.strip() for item in value.split(",") if item.strip()]
    raise where.error(value, "must be a list")


def _table(value: Any, where: Where) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise where.error(value, "must be a table")
    return value


def _inline(text: str, where: Where) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise where.error(text, f"not TOML: {error}") from error


def _endpoint(value: Any, where: Where) -> Endpoint:
    if not isinstance(value, str):
        raise where.error(value, "must be a string, HOST:PORT")
    try:
        return parse_endpoint(value)
    except ValueError as error:
        raise where.error(value, str(error)) from error


def _scalar(annotation: Any, value: Any, where: Where, metadata: Mapping[str, Any]) -> Any:
    if annotation not in NAMES:
        raise TypeError(f"a settings class cannot have a field of type {annotation}: {where.key}")
    if annotation is int and metadata.get("unit") == "bytes" and isinstance(value, str):
        return _size(value, where)
    if where.origin.text and isinstance(value, str):
        value = _typed(annotation, value)
    if annotation is float and type(value) is int:
        value = float(value)
    if annotation is Path and isinstance(value, str):
        value = Path(value)
    if not isinstance(value, annotation) or (isinstance(value, bool) and annotation is not bool):
        raise where.error(value, f"must be {NAMES[annotation]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise where.error(value, "must be finite")
    return value


def _typed(annotation: Any, text: str) -> Any:
    """Text as the field's own type; as it is when it does not look like one, for the caller to complain about."""
    if annotation is bool:
        return _WORDS.get(text.lower(), text)
    if annotation in (int, float):
        try:
            return annotation(text.replace("_", ""))
        except ValueError:
            return text
    return text


def _size(text: str, where: Where) -> int:
    """`1 MiB`, `64MB`, `512`: KiB and kB alike are 1024, as in PostgreSQL's own settings."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise where.error(text, 'must be a size in bytes, for example 1048576 or "1 MiB"')
    number, unit = found.groups()
    return int(float(number) * 1024 ** _POWERS[unit[:1].lower()])


def _check(converted: Any, value: Any, where: Where, metadata: Mapping[str, Any]) -> None:
    if converted is None:
        return
    if (choices := metadata.get("choices")) is not None:
        for item in converted if isinstance(converted, tuple) else (converted,):
            if item not in choices:
                raise where.error(value, f"must be one of {', '.join(map(str, choices))}")
    amount = converted if isinstance(converted, int | float) else None
    noun = ""
    if isinstance(converted, tuple):
        amount, noun = len(converted), " entries"
    if amount is None:
        return
    if (least := metadata.get("min")) is not None and amount < least:
        raise where.error(value, f"must be at least {least}{noun}")
    if (most := metadata.get("max")) is not None and amount > most:
        raise where.error(value, f"must be at most {most}{noun}")
