"""Recipes: one small TOML file says what to train on, what to train, and what to export.

An unknown key is an error that names the nearest known one. The recipes that come with feredge stand in this folder;
`load` takes their names, or the path of your own.
"""

from feredge.callable_module import make_callable
from feredge.recipes.reading import dump, load, names
from feredge.recipes.rules import check

__all__ = ["check", "dump", "load", "names"]

make_callable(__name__, "feredge.api.inspecting:recipes")
