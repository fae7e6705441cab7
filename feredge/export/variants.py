"""Variants: what compression does to the trained weights, and the file that keeps each.

A finished variant stands in the run folder as `variants/<name>.npz`, so that an export that was stopped goes on
after the last one. `dense` needs no file: it is the float model itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import Dataset
from feredge.errors import RunError
from feredge.export.finetuning import Tell, finetune
from feredge.keras import keras, seed_everything
from feredge.recipe import Recipe
from feredge.run import RunFolder
from feredge.train import checkpoint, load_model
from feredge.train.batches import Batches
from feredge.train.fitting import one_hot

RAMP = 0.6  # share of the fine-tuning over which weights are removed; the rest mends what is left
CUTS = 30  # times at which weights are removed
QUANTIZED = ("qat",)
"""Variants that were trained with the rounding of int8, and bring its ranges."""


def prepare(run: RunFolder, name: str, train: Dataset, *, weights: str, tell: Tell) -> None:
    """Make sure that variant `name` stands in the run folder; fine-tune it on the images of `train` if not.

    Args:
        weights: digest of the float model's weights: a variant of others is made again.
        tell: called with the share that is done and a word.
    """
    recipe = run.recipe()
    if name == "dense" or _read(run, name, weights) is not None:
        return
    seed_everything(recipe.training.seed)
    core = plain_clone(load_model(run).get_layer("core"))
    targets = one_hot(train.labels, len(train.classes))
    batches = Batches(train.images, targets, recipe.training.batch, recipe.augmentation, recipe.training.seed)
    kind, _, percent = name.partition("-")
    if kind == "pruned":
        history = _prune(core, int(percent) / 100, batches, recipe, tell)
        kept = {"core": core.weights}
    else:
        quantized = quantization_aware(core)
        history = finetune(quantized, batches, recipe, tell=tell)
        _set_pixel_range(quantized)
        _copy_by_name(quantized, core)
        kept = {"core": core.weights, "quantized": quantized.weights}
    identity = _identity(recipe, name, weights)
    checkpoint.save(_file(run, name), kept, identity=identity, precision="float32", history=history)


def open_core(run: RunFolder, name: str, *, weights: str) -> Any:
    """Return a variant's network: `float32 (N, H, W, 1)` in [0, 1] to `float32 (N, classes)`."""
    core = plain_clone(load_model(run).get_layer("core"))
    if name != "dense":
        checkpoint.restore(_file(run, name), _arrays(run, name, weights), {"core": core.weights})
    return core


def open_quantized(run: RunFolder, name: str, *, weights: str) -> Any | None:
    """Return a variant as quantization-aware training left it, ranges included; None where it was not trained so."""
    if name not in QUANTIZED:
        return None
    model = quantization_aware(open_core(run, name, weights=weights))
    checkpoint.restore(_file(run, name), _arrays(run, name, weights), {"quantized": model.weights})
    return model


def plain_clone(core: Any) -> Any:
    """Return a float32 network of the same layers and weights, with no wrappers of an earlier compression."""
    clone = keras.models.clone_model(core)
    clone.set_weights(core.get_weights())
    return clone


def quantization_aware(core: Any) -> Any:
    """Return a copy of `core` that rounds weights and activations as int8 will, after Jacob et al., 2018."""
    # Late: it takes seconds, and must come after feredge.keras has chosen legacy Keras.
    from tensorflow_model_optimization.quantization.keras import quantize_model

    return quantize_model(plain_clone(core))


def _prune(core: Any, share: float, batches: Batches, recipe: Recipe, tell: Tell) -> NDArray[np.float64]:
    """Zero `share` of every kernel of `core`, smallest first, after Zhu and Gupta, "To prune or not", 2017."""
    from tensorflow_model_optimization.sparsity import keras as sparsity

    total = recipe.compression.epochs * len(batches)
    frequency = max(1, int(total * RAMP) // CUTS)
    last = max(frequency, int(total * RAMP) // frequency * frequency)  # the last cut must fall on a cutting step
    schedule = sparsity.PolynomialDecay(0.0, share, begin_step=0, end_step=last, frequency=frequency)
    wrapped = sparsity.prune_low_magnitude(plain_clone(core), pruning_schedule=schedule)
    masks = sparsity.UpdatePruningStep()
    masks.set_model(wrapped)
    masks.on_train_begin()
    history = finetune(wrapped, batches, recipe, tell=tell)
    masks.on_epoch_end(batch=-1)  # the last step moved masked weights off zero
    core.set_weights(sparsity.strip_pruning(wrapped).get_weights())
    return history


def _set_pixel_range(quantized: Any) -> None:
    """Let the input quantizer cover exactly [0, 1], whatever the last batches held: its scale is then 1/255."""
    layer = quantized.get_layer("quantize_layer")
    for variable in layer.weights:
        if variable.name.endswith("_min:0"):
            variable.assign(0.0)
        elif variable.name.endswith("_max:0"):
            variable.assign(1.0)


def _copy_by_name(source: Any, target: Any) -> None:
    """Give `target` the weights of the same names in `source`: wrappers keep the names of what they wrap."""
    found = {variable.name: variable for variable in source.weights}
    for variable in target.weights:
        variable.assign(found[variable.name])


def _file(run: RunFolder, name: str) -> Path:
    return run.variants / f"{name}.npz"


def _identity(recipe: Recipe, name: str, weights: str) -> str:
    """Return a digest of all that a variant follows from; the other variants in the recipe are not among it."""
    alone = dataclasses.replace(recipe, compression=dataclasses.replace(recipe.compression, variants=(name,)))
    text = alone.digest("data", "training", "augmentation", "compression") + weights
    return hashlib.sha256(text.encode()).hexdigest()


def _read(run: RunFolder, name: str, weights: str) -> dict[str, NDArray[Any]] | None:
    if not _file(run, name).is_file():
        return None
    try:
        return checkpoint.read(_file(run, name), identity=_identity(run.recipe(), name, weights))
    except RunError:  # damaged, or made from other weights: made again
        return None


def _arrays(run: RunFolder, name: str, weights: str) -> dict[str, NDArray[Any]]:
    return checkpoint.read(_file(run, name), identity=_identity(run.recipe(), name, weights))
