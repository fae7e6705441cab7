"""Tables of settings into frozen dataclasses, with every key and type checked, and back into plain values."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from feredge.errors import RecipeError


def added(default: Any) -> Any:
    """Return a field for a setting that came after recipes were in use. Its default must never change.

    `to_plain` leaves it out at its default, so that what does not use it keeps its digests, checkpoints and cards.
    """
    return dataclasses.field(default=default, metadata={"added": True})


def to_plain(settings: Any) -> dict[str, Any]:
    """Return a dataclass of settings as plain values, every default spelled out but those of `added` fields."""
    table = {}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if not (item.metadata.get("added") and value == item.default):
            table[item.name] = to_plain(value) if dataclasses.is_dataclass(value) else value
    return json.loads(json.dumps(table))  # type: ignore[no-any-return]


def read(kind: type, value: Any, where: str) -> Any:
    """Turn the table `value` into the dataclass `kind`.

    Raises:
        RecipeError: an unknown key (the nearest one is suggested), or a value of another type; `where` comes first.
    """
    if not isinstance(value, dict):
        raise RecipeError(f"{where}: expected a table, found {value!r}")
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            raise RecipeError(f"{where}: unknown key {key!r}{nearest(key, hints)}")
    return kind(**{key: _value(hints[key], item, f"{where}: {key}") for key, item in value.items()})


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: the nearest known one, or all."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(names)}"


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return read(hint, value, where)  # type: ignore[arg-type]
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise RecipeError(f"{where}: expected one of {', '.join(map(str, typing.get_args(hint)))}, found {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{where}: expected a list, found {value!r}")
        return tuple(_value(typing.get_args(hint)[0], item, where) for item in value)
    if isinstance(hint, types.UnionType):
        raise TypeError(f"{where}: recipes hold no unions")
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise RecipeError(f"{where}: expected {hint.__name__}, found {value!r}")
    if hint is float and not math.isfinite(value):
        raise RecipeError(f"{where}: expected a finite number, found {value!r}")
    return value
