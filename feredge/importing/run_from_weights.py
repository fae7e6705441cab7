"""A run folder of a network whose weights are given: nothing was trained there, all else is as after a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feredge import data
from feredge.data.dataset import Dataset
from feredge.errors import RunError
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder
from feredge.train.networks import make_predict_function, weights_digest
from feredge.train.record import save_trained_run


def settle(core: Any, recipe: Recipe, dataset: Dataset, out: Path, **about: Any) -> RunFolder:
    """Make the run folder `out` of `core`: its float model in the input contract, and its validation and test figures.

    A folder that holds the same weights already is left as it is.

    Args:
        core: `float32 (N, H, W, 1)` in [0, 1] to `float32 (N, classes)` probabilities.
        recipe: what export and benchmark go by.
        dataset: to calibrate on, to verify on and to test on, of the network's size.
        out: the folder.
        about: further keys of training.json: where the weights come from.

    Raises:
        RunError: `out` belongs to something else, or another process is at work there.
    """
    splits = data.split(dataset, recipe.data)
    run = RunFolder.claim(out, recipe, dataset)
    with run.lock():
        if run.training.is_file():
            if run.training_record()["weights"] != weights_digest(core):
                raise RunError(f"{out}: holds another network of the same name; choose another folder")
            return run
        say = make_predict_function(core)
        validation, test = say(splits.validation.images), say(splits.test.images)
        save_trained_run(run, core, splits, validation=validation, test=test, **about)
    return run
