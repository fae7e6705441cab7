"""Creation of a run folder from existing weights, as a training would leave it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from feredge import data
from feredge.data.dataset import Dataset
from feredge.errors import RunError
from feredge.predictions import Predictions
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder
from feredge.train.networks import make_predict_function, weights_digest
from feredge.train.record import save_trained_run

if TYPE_CHECKING:
    from feredge.keras import KerasModel


def create_run(core: KerasModel, recipe: Recipe, dataset: Dataset, out: Path, **provenance: Any) -> RunFolder:
    """Create the run folder `out` with the float model of `core` and its metrics on validation and test images.

    A folder that already holds the same weights is not changed.

    Args:
        core: `float32 (N, H, W, C)` in [0, 1] to `float32 (N, classes)` probabilities.
        recipe: for export and benchmark.
        dataset: for calibration, verification and test, of the network's input size.
        out: the run folder.
        provenance: further keys of training.json: the origin of the weights.

    Raises:
        RunError: `out` holds another run, or another process is at work there.
    """
    splits = data.split(dataset, recipe.data)
    run = RunFolder.claim(out, recipe, dataset)
    with run.lock():
        if run.training.is_file():
            if run.training_record()["weights"] != weights_digest(core):
                raise RunError(f"{out}: holds another network of the same name; choose another folder")
            return run
        predict = make_predict_function(core)
        validation, test = predict(splits.validation.images), predict(splits.test.images)
        part = splits.test
        Predictions(test, part.labels, part.rows, part.classes).write(run.predictions)
        save_trained_run(run, core, splits, validation=validation, test=test, **provenance)
    return run
