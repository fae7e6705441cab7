"""Recipes as files: from TOML to what recipe.py describes, and back."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from feredge import dataclass_io
from feredge.errors import RecipeError
from feredge.recipes.rules import check
from feredge.recipes.schema import Recipe

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the recipes that come with feredge."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str | Path, *, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe by name, or by the path of a `.toml` file.

    Args:
        name: one of `names()`, or a path that ends in `.toml`.
        changes: settings that replace the file's, each `section.key=value` with a TOML value:
            `training.epochs=5`, `compression.variants=["dense"]`.

    Raises:
        RecipeError: no such recipe (the nearest name is suggested), not TOML, or a key or value that a
            recipe cannot hold.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in names():
            raise RecipeError(f"unknown recipe {str(name)!r}{dataclass_io.nearest(str(name), names())}")
        path = FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: expected a recipe, cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: expected TOML ({error})") from error
    table.setdefault("name", path.stem)
    for change in changes:
        _apply(change, table)
    recipe: Recipe = dataclass_io.read(Recipe, table, str(path))
    check(recipe, str(path))
    return recipe


def dump(recipe: Recipe) -> str:
    """Return the resolved recipe as TOML that `load` reads back to an equal recipe."""
    import tomli_w

    return tomli_w.dumps(recipe.to_json())


def _apply(change: str, table: dict[str, Any]) -> None:
    """Put one `section.key=value` into the parsed recipe, where the ordinary checks will see it."""
    key, equals, text = change.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise RecipeError(f"expected section.key=value, found {change!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()  # a bare word is a string, because shells eat the quotes
    inner = table.setdefault(section, {})
    if not isinstance(inner, dict):
        raise RecipeError(f"expected a section before the dot, found {change!r}")
    inner[name] = value
