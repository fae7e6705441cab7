"""Recipes: configuration of data, network, training, compression and export in one TOML file.

An unknown key is an error that suggests the nearest valid one. The built-in recipes are the TOML files of this folder;
`load` takes their names, or the path of another file.
"""

from feredge.callable_module import make_callable
from feredge.recipes.rules import check
from feredge.recipes.toml_files import dump, load, names

__all__ = ["check", "dump", "load", "names"]

make_callable(__name__, "feredge.api.inspecting:recipes")
