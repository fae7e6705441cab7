"""A run folder of a network whose weights are given: nothing was trained there, all else is as after a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feredge import data, files
from feredge.data.dataset import Dataset
from feredge.errors import RunError
from feredge.recipe import Recipe
from feredge.run import RunFolder
from feredge.train.fitting import compiled, weights_digest
from feredge.train.host import about_host
from feredge.train.networks import multiply_adds, with_contract
from feredge.train.score import score


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
    model = with_contract(core)
    digest = weights_digest(model)
    splits = data.split(dataset, recipe.data)
    run = RunFolder.claim(out, recipe, dataset)
    with run.alone():
        if run.training.is_file():
            if run.figures()["weights"] != digest:
                raise RunError(f"{out}: holds another network of the same name; choose another folder")
            return run
        with files.replacing(run.model) as temporary:
            model.save(temporary)
        figures = {
            name: score(compiled(core)(part.images), part).to_json()
            for name, part in (("validation", splits.validation), ("test", splits.test))
        }
        files.write_json(
            run.training,
            {
                "weights": digest,
                **about,
                "parameters": int(core.count_params()),
                "multiply_adds": multiply_adds(core),
                **figures,
                **about_host(),
            },
        )
    return run
