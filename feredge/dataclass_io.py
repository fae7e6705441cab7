"""Conversion of TOML and JSON tables to frozen dataclasses, with all keys and types checked, and back."""

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

MAX_SHOWN_CHARACTERS = 80
"""Characters of an invalid value that a message shows."""
MAX_TEXT_LENGTH = 65_536
"""Maximum characters of a string: a command line with hundreds of files has fewer."""
MAX_NESTING = 16
"""Maximum nesting of tables and lists in a field of type Any."""
MAX_INTEGER = 2**63 - 1
"""TOML's largest integer. Python parses larger ones, some of which do not fit into a float."""


def added(default: Any) -> Any:
    """Return a field for a setting added after the first release. Its default must never change.

    `to_plain` omits it at its default, so that recipes without it keep their digests, checkpoints and cards.
    """
    return dataclasses.field(default=default, metadata={"added": True})


def to_plain(settings: Any) -> dict[str, Any]:
    """Convert a dataclass of settings to plain values, including defaults except those of `added` fields."""
    table = {}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if not (item.metadata.get("added") and value == item.default):
            table[item.name] = to_plain(value) if dataclasses.is_dataclass(value) else value
    return json.loads(json.dumps(table))  # type: ignore[no-any-return]


def read(kind: type, value: Any, where: str) -> Any:
    """Convert the table `value` to the dataclass `kind`.

    Raises:
        RecipeError: an unknown key (the nearest one is suggested), a missing key, or a value of another type; the
            message begins with `where`.
    """
    table = _expect(dict, "a table", value, where)
    hints = typing.get_type_hints(kind)
    for key in table:
        if key not in hints:
            migrate = "; tools/migrate rewrites older files"
            raise RecipeError(f"{where}: unknown key {key!r}{nearest(key, hints)}{migrate}")
    for item in dataclasses.fields(kind):
        if item.name not in table and item.default is dataclasses.MISSING is item.default_factory:
            raise RecipeError(f"{where}: expected {item.name}, found none")
    return kind(**{key: _value(hints[key], item, f"{where}: {key}") for key, item in table.items()})


def nearest(unknown: str, choices: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest of `choices`, or all of them."""
    names = list(choices)
    matches = [name for name in names if unknown in name.split("_")]  # `rate`: `learning_rate`
    matches += difflib.get_close_matches(unknown, names, n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else f"; known are {', '.join(names)}"


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return read(hint, value, where)  # type: ignore[arg-type]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return _plain(value, where)
    if origin is types.UnionType and value is None:
        return value
    if origin is types.UnionType:  # with None
        return _value(arguments[0], value, where)
    if origin is Literal:
        if value not in arguments:
            raise RecipeError(
                f"{where}: expected one of {', '.join(map(str, arguments))}, found {value!r:.{MAX_SHOWN_CHARACTERS}}"
            )
        return value
    if origin is tuple:
        return tuple(_value(arguments[0], item, where) for item in _expect(list, "a list", value, where))
    if origin is dict:
        table = _expect(dict, "a table", value, where)
        return {_text(key, where): _value(arguments[1], item, f"{where}: {key}") for key, item in table.items()}
    if type(value) is int and abs(value) > MAX_INTEGER:
        raise RecipeError(f"{where}: expected a number of 64 bits, found one of {value.bit_length()}")
    if hint is float and type(value) is int:
        value = float(value)
    _expect(hint, hint.__name__, value, where)
    if hint is str:
        _text(value, where)
    if hint is float and not math.isfinite(value):
        raise RecipeError(f"{where}: expected a finite number, found {value!r}")
    return value


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """Return a value of any type, after checking its strings and numbers recursively."""
    if depth > MAX_NESTING:
        raise RecipeError(f"{where}: expected at most {MAX_NESTING} tables or lists in each other, found more")
    if isinstance(value, dict):
        return {_text(key, where): _plain(item, f"{where}: {key}", depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, where, depth + 1) for item in value]
    return _value(type(value), value, where) if type(value) in (str, int, float) else value


def _text(value: str, where: str) -> str:
    """Return a string, after checking that it is valid UTF-8 of at most MAX_TEXT_LENGTH characters."""
    if len(value) > MAX_TEXT_LENGTH:
        raise RecipeError(f"{where}: expected at most {MAX_TEXT_LENGTH:,} characters, found {len(value):,}")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise RecipeError(f"{where}: expected text, found a lone surrogate in {value!a:.{MAX_SHOWN_CHARACTERS}}")
    return value


def _expect(kind: type, description: str, value: Any, where: str) -> Any:
    if type(value) is not kind:
        raise RecipeError(f"{where}: expected {description}, found {value!r:.{MAX_SHOWN_CHARACTERS}}")
    return value
