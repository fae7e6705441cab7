"""A tiny recipe to export, after the one that training is tested on."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tiny_training import RECIPE

import feredge.recipes as recipes
from feredge import files
from feredge.recipes.schema import Compression, Export, Recipe
from feredge.run import RunFolder

SMALL = dataclasses.replace(
    RECIPE,
    compression=Compression(variants=("dense", "pruned-60", "qat"), epochs=2, learning_rate=0.02),
    export=Export(calibration_images=128),
)


def with_recipe(trained: RunFolder, path: Path, recipe: Recipe) -> RunFolder:
    """Copy a trained run and give the copy another recipe, as a user would who edits nothing else."""
    shutil.copytree(trained.path, path)
    run = RunFolder(path)
    files.write_text(run.recipe_file, recipes.dump(recipe))
    return run


@contextmanager
def one_thread(count: int, **options: object) -> Iterator[Executor]:
    """Stand in for `parallel.process_pool`: convert in this process, where tests can reach in."""
    with ThreadPoolExecutor(1) as pool:
        yield pool
