"""Search spaces: recipes in TOML whose values may be ranges or choices, with conditions between them.

A range is `{ low = 8, high = 32, step = 8 }` (with `log = true` for rates), a choice `{ choices = [1, 2] }`, a list
`{ length = { low = 2, high = 4 }, item = { low = 16, high = 64, step = 8 } }`; a length may also be the key of another
list, which it then equals. `when = { "network.pool" = "average" }` draws a value only where another key, which stands
before it, has this value; elsewhere the value is that of the base recipe.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import feredge.recipes as recipes
from feredge import dataclass_io
from feredge.errors import RecipeError
from feredge.recipes.schema import Recipe
from feredge.recipes.toml_files import apply_override, read_table
from feredge.search import dimensions
from feredge.search.dimensions import Dimension, Items, Suggest, Table, store

SPACE_FOLDER = Path(__file__).parent / "spaces"
SETTINGS_SECTION = "search"


@dataclass(frozen=True)
class SearchSettings:
    """The section `[search]` of a space.

    Attributes:
        recipe: the base recipe, which has all values that the space does not set.
        sampler: `tpe` (tree-structured Parzen estimator) or `random`.
        min_epochs: epochs at the first rung of successive halving; 0 trains every candidate to its end.
        reduction_factor: one in so many candidates is trained beyond a rung.
        max_macs: multiply-adds of a candidate; a draw over it is replaced by another. 0 sets no limit.
        views: average the validation accuracy over shifted views.
        latency: measure the candidates' latencies.
    """

    recipe: str
    sampler: Literal["tpe", "random"] = "tpe"
    min_epochs: int = 0
    reduction_factor: int = 3
    max_macs: int = 0
    views: bool = True
    latency: bool = True


@dataclass(frozen=True)
class Space:
    """A search space.

    Attributes:
        name: the name of its recipes; by default the stem of its file.
        settings: the section `[search]`.
        base: the base recipe with the values that the space fixes, complete with all defaults.
        dimensions: what is drawn, by key `section.key`, in the order of drawing.
    """

    name: str
    settings: SearchSettings
    base: Table
    dimensions: dict[str, Dimension]

    @property
    def digest(self) -> str:
        """SHA-256 of all that its trials depend on."""
        drawn = [(key, repr(dimension)) for key, dimension in self.dimensions.items()]
        content = [dataclass_io.to_plain(self.settings), self.base, drawn]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def epochs(self) -> int:
        """Most epochs of a trial."""
        dimension = self.dimensions.get("training.epochs")
        extremes = [self.base["training"]["epochs"]] if dimension is None else dimension.values.extremes(self.base)
        return int(max(extremes))

    def draw(self, suggest: Suggest) -> Recipe:
        """Draw a recipe.

        Args:
            suggest: an Optuna trial, or anything else with its methods.

        Raises:
            RecipeError: values that exclude each other.
        """
        table = copy.deepcopy(self.base)
        for key, dimension in self.dimensions.items():
            if dimension.applies(table):
                store(table, key, dimension.values.draw(key, suggest, table))
        recipe: Recipe = dataclass_io.read(Recipe, table, self.name)
        recipes.check(recipe, self.name)
        return recipe


def names() -> list[str]:
    """Return the names of the built-in spaces."""
    return sorted(path.stem for path in SPACE_FOLDER.glob("*.toml"))


def load(name: str | Path, *, overrides: Iterable[str] = ()) -> Space:
    """Read a space by name, or by the path of a `.toml` file.

    Args:
        name: one of `names()`, or a path that ends in `.toml`.
        overrides: values that replace the file's, each `section.key=value` with a TOML value, also a dimension.

    Raises:
        RecipeError: no such space, invalid TOML, an invalid key or value, or an empty range.
    """
    return parse(*read(name, overrides=overrides))


def read(name: str | Path, *, overrides: Iterable[str] = ()) -> tuple[Table, str]:
    """Return the table of a space, overrides applied, and its name or path; arguments and errors as `load`."""
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in names():
            raise RecipeError(f"unknown search space {str(name)!r}{dataclass_io.nearest(str(name), names())}")
        path = SPACE_FOLDER / f"{name}.toml"
    table = read_table(path, "a search space")
    table.setdefault("name", path.stem)
    for override in overrides:
        apply_override(override, table)
    return table, str(path)


def parse(table: Table, where: str) -> Space:
    """Return the space of a parsed TOML table.

    Raises:
        RecipeError: an invalid key or value, or an empty range; the message begins with `where`.
    """
    settings: SearchSettings = dataclass_io.read(
        SearchSettings, table.get(SETTINGS_SECTION, {}), f"{where}: {SETTINGS_SECTION}"
    )
    _check_settings(settings, where)
    base = json.loads(json.dumps(dataclasses.asdict(recipes.load(settings.recipe))))
    base["name"] = table.get("name", settings.recipe)
    drawn: dict[str, Dimension] = {}
    for section, values in table.items():
        if section in (SETTINGS_SECTION, "name"):
            continue
        if not isinstance(values, dict):
            raise RecipeError(f"{where}: expected sections of a recipe, found the value {section!r}")
        for key, value in values.items():
            if isinstance(value, dict):  # no section of a recipe has tables
                drawn[f"{section}.{key}"] = dimensions.parse(value, f"{where}: {section}.{key}", base)
            else:
                store(base, f"{section}.{key}", value)
    if not drawn:
        raise RecipeError(f"{where}: expected at least one range or choice, found none")
    space = Space(base["name"], settings, base, drawn)
    _check_values(space, where)
    return space


def _check_settings(settings: SearchSettings, where: str) -> None:
    if settings.min_epochs < 0 or settings.max_macs < 0:
        raise RecipeError(f"{where}: search: expected min_epochs and max_macs of at least 0")
    if not 2 <= settings.reduction_factor <= 100:
        raise RecipeError(f"{where}: search: expected a reduction_factor from 2 to 100")


def _check_values(space: Space, where: str) -> None:
    """Raise RecipeError for a key that no recipe has, a value of another type, or a reference to a later key."""
    table = copy.deepcopy(space.base)
    dataclass_io.read(Recipe, table, where)
    earlier: list[str] = []
    for key, dimension in space.dimensions.items():
        references = [*dimension.when]
        if isinstance(dimension.values, Items) and isinstance(dimension.values.length, str):
            references.append(dimension.values.length)
        for reference in references:
            if reference in space.dimensions and reference not in earlier:
                raise RecipeError(f"{where}: {key}: expected {reference} before it, found it after")
        for value in dimension.values.extremes(table):
            store(table, key, value)
            dataclass_io.read(Recipe, table, where)
        earlier.append(key)
