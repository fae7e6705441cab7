"""Dimensions of a search space: ranges, choices and lists, and the conditions under which they are drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from feredge import dataclass_io
from feredge.errors import RecipeError

Table: TypeAlias = dict[str, Any]
"""A recipe as plain values: its sections, each with its keys."""
MAX_LIST_LENGTH = 16


class Suggest(Protocol):
    """The methods of `optuna.trial.BaseTrial` that draw a value."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return an integer in [low, high]."""
        ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number in [low, high]."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return one of the choices."""
        ...


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included: integers if both are.

    Attributes:
        step: distance of the numbers; None for 1, or for all real numbers.
        log: draw the logarithm uniformly.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def draw(self, name: str, suggest: Suggest, table: Table) -> float:
        """Draw the parameter `name`."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return suggest.suggest_int(name, self.low, self.high, step=int(self.step or 1), log=self.log)
        return suggest.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def extremes(self, table: Table) -> list[Any]:
        """Return the bounds."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Choices:
    """One of several values of any type."""

    choices: tuple[Any, ...]

    def draw(self, name: str, suggest: Suggest, table: Table) -> Any:
        """Draw the parameter `name`; as JSON, because a storage holds no lists."""
        return json.loads(suggest.suggest_categorical(name, [json.dumps(choice) for choice in self.choices]))

    def extremes(self, table: Table) -> list[Any]:
        """Return the choices."""
        return list(self.choices)


@dataclass(frozen=True)
class Items:
    """A list.

    Attributes:
        length: its length, or the key of a list that is as long.
        item: each item; drawn only where the list is long enough.
    """

    length: Range | Choices | str
    item: Range | Choices

    def draw(self, name: str, suggest: Suggest, table: Table) -> list[Any]:
        """Draw the parameters `name.length`, unless it is that of another list, `name[0]`, `name[1]`, and on."""
        if isinstance(self.length, str):
            length = len(lookup(table, self.length))
        else:
            length = int(self.length.draw(f"{name}.length", suggest, table))
        return [self.item.draw(f"{name}[{index}]", suggest, table) for index in range(length)]

    def extremes(self, table: Table) -> list[Any]:
        """Return lists of each extreme length and item."""
        lengths = [len(lookup(table, self.length))] if isinstance(self.length, str) else self.length.extremes(table)
        return [[value] * length for length in lengths for value in self.item.extremes(table)]


@dataclass(frozen=True)
class Dimension:
    """Values to draw from, where the keys of `when` have one of their values."""

    values: Range | Choices | Items
    when: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def applies(self, table: Table) -> bool:
        """Return whether it is drawn, for a recipe whose earlier dimensions have been."""
        return all(lookup(table, key) in allowed for key, allowed in self.when.items())


def parse(value: Mapping[str, Any], where: str, base: Table) -> Dimension:
    """Return the dimension of a TOML table.

    Args:
        value: the table.
        where: start of error messages.
        base: the recipe's values; conditions and lengths refer to its keys.

    Raises:
        RecipeError: an unknown key, an empty range, or a reference to an unknown key.
    """
    table = dict(value)
    conditions = table.pop("when", {})
    if not isinstance(conditions, dict):
        raise RecipeError(f"{where}: when: expected a table of keys, found {conditions!r:.80}")
    when = {}
    for key, allowed in conditions.items():
        _check_reference(key, f"{where}: when", base)
        when[key] = tuple(allowed) if isinstance(allowed, list) else (allowed,)
    return Dimension(_values(table, where, base), when)


def _values(table: Table, where: str, base: Table) -> Range | Choices | Items:
    if not table.keys() & {"length", "item"}:
        return _scalar(table, where)
    _check_keys(table, ("length", "item"), where)
    length, item = table["length"], table["item"]
    if not isinstance(item, dict):
        raise RecipeError(f"{where}: item: expected a range or choices, found {item!r:.80}")
    if isinstance(length, str):
        _check_reference(length, f"{where}: length", base)
        if not isinstance(lookup(base, length), list):
            raise RecipeError(f"{where}: length: expected the key of a list, found {length}")
        return Items(length, _scalar(item, f"{where}: item"))
    if not isinstance(length, dict):
        raise RecipeError(f"{where}: length: expected a range, choices or a key, found {length!r:.80}")
    lengths = _scalar(length, f"{where}: length")
    if not all(type(one) is int and 1 <= one <= MAX_LIST_LENGTH for one in lengths.extremes(base)):
        raise RecipeError(f"{where}: length: expected lengths from 1 to {MAX_LIST_LENGTH}, found {length}")
    return Items(lengths, _scalar(item, f"{where}: item"))


def _scalar(table: Table, where: str) -> Range | Choices:
    if "choices" in table:
        _check_keys(table, ("choices",), where)
        choices = table["choices"]
        if not isinstance(choices, list) or not choices or any(choices.count(one) > 1 for one in choices):
            raise RecipeError(f"{where}: choices: expected different values, found {choices!r:.80}")
        return Choices(tuple(choices))
    _check_keys(table, ("low", "high"), where, optional=("step", "log"))
    low, high, step, log = table["low"], table["high"], table.get("step"), table.get("log", False)
    for number in (low, high, *([] if step is None else [step])):
        if type(number) not in (int, float) or not math.isfinite(number):
            raise RecipeError(f"{where}: expected finite numbers, found {number!r:.80}")
    if type(log) is not bool:
        raise RecipeError(f"{where}: log: expected true or false, found {log!r:.80}")
    if low > high:
        raise RecipeError(f"{where}: expected low up to high, found the empty range {low} to {high}")
    if step is not None and step <= 0:
        raise RecipeError(f"{where}: step: expected a number above 0, found {step}")
    if log and (low <= 0 or step is not None):
        raise RecipeError(f"{where}: log: expected a range above 0 without a step, found {low} to {high}")
    whole = type(low) is type(high) is int and (step is None or type(step) is int)
    return Range(low, high, step, log) if whole else Range(float(low), float(high), step, log)


def _check_keys(table: Table, required: tuple[str, ...], where: str, optional: tuple[str, ...] = ()) -> None:
    for key in table:
        if key not in (*required, *optional):
            names = ("low", "high", "step", "log", "choices", "length", "item", "when")
            raise RecipeError(f"{where}: unexpected key {key!r}{dataclass_io.nearest(key, names)}")
    for key in required:
        if key not in table:
            raise RecipeError(f"{where}: expected {key}, found none")


def _check_reference(key: str, where: str, base: Table) -> None:
    section, _, name = key.partition(".")
    if name not in base.get(section, {}):
        keys = [f"{outer}.{inner}" for outer, values in base.items() if isinstance(values, dict) for inner in values]
        raise RecipeError(f"{where}: unknown key {key!r}{dataclass_io.nearest(key, keys)}")


def lookup(table: Table, key: str) -> Any:
    """Return the value of `section.key`."""
    section, _, name = key.partition(".")
    return table[section][name]


def store(table: Table, key: str, value: Any) -> None:
    """Set the value of `section.key`."""
    section, _, name = key.partition(".")
    table.setdefault(section, {})[name] = value
