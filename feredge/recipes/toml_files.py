"""Reading and writing recipes as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from feredge import dataclass_io
from feredge.errors import RecipeError
from feredge.recipes.rules import check
from feredge.recipes.schema import Recipe

RECIPE_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the built-in recipes."""
    return sorted(path.stem for path in RECIPE_FOLDER.glob("*.toml"))


def load(name: str | Path, *, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe by name, or by the path of a `.toml` file.

    Args:
        name: one of `names()`, or a path that ends in `.toml`.
        overrides: values that replace the file's, each `section.key=value` with a TOML value:
            `training.epochs=5`, `compression.variants=["dense"]`.

    Raises:
        RecipeError: no such recipe (the nearest name is suggested), invalid TOML, or an invalid key or value.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in names():
            raise RecipeError(f"unknown recipe {str(name)!r}{dataclass_io.nearest(str(name), names())}")
        path = RECIPE_FOLDER / f"{name}.toml"
    table = read_table(path, "a recipe")
    table.setdefault("name", path.stem)
    for override in overrides:
        apply_override(override, table)
    recipe: Recipe = dataclass_io.read(Recipe, table, str(path))
    check(recipe, str(path))
    return recipe


def read_table(path: Path, description: str) -> dict[str, Any]:
    """Return a TOML file's table; RecipeError, which says that `description` was expected, if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: expected {description}, cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: expected TOML ({error})") from error


def dump(recipe: Recipe) -> str:
    """Return the recipe with all defaults as TOML; `load` reads it back to an equal recipe."""
    import tomli_w

    return tomli_w.dumps(recipe.to_json())


def apply_override(override: str, table: dict[str, Any]) -> None:
    """Set one `section.key=value` in the parsed table, before it is validated."""
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise RecipeError(f"expected section.key=value, found {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()  # an unquoted word is a string, because shells remove quotes
    inner = table.setdefault(section, {})
    if not isinstance(inner, dict):
        raise RecipeError(f"expected a section before the dot, found {override!r}")
    inner[name] = value
