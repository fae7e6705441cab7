"""Variants: what compression does to the trained weights, and the file that keeps each.

A finished variant stands in the run folder as `variants/<name>.npz`, an unfinished one beside it, so that an export
that was stopped goes on after the last epoch. `dense` needs no file: it is the float model itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.compress import clustering, pruning, ranges
from feredge.compress.batch_norms import fold_norms, with_gains_first, without_loose_norms
from feredge.compress.finetuning import Tell, finetune
from feredge.data.dataset import Dataset
from feredge.errors import RecipeError, RunError
from feredge.keras import keras, seed_everything
from feredge.recipes import variant
from feredge.recipes.schema import Recipe
from feredge.recipes.variant import Variant
from feredge.run import RunFolder
from feredge.train import channels, checkpoint, load_model
from feredge.train.batches import Batches
from feredge.train.fitting import one_hot, resolve_precision
from feredge.train.networks import plain_clone

SCHEME = "2"  # of making variants: those that were made otherwise are made again
WITH_DROPOUT = "3"  # drawn by the step's number
QUANTIZED = "5"  # from the float network's ranges


def prepare(run: RunFolder, name: str, train: Dataset, *, weights: str, tell: Tell) -> None:
    """Make sure that variant `name` stands in the run folder; fine-tune it on the images of `train` if not.

    What `pruned-80-qat` starts from is kept too, as `pruned-80`.

    Args:
        weights: digest of the float model's weights: a variant of others is made again.
        tell: called with the share that is done and a word.

    Raises:
        RecipeError: a network that cannot be compressed so.
    """
    if name == "dense" or _read(run, name, weights) is not None:
        return
    recipe, what = run.recipe(), variant.parse(name)
    dense = plain_clone(load_model(run).get_layer("core"))
    if what.quantized:
        _check_activations(dense, name)
        prepare(run, what.base, train, weights=weights, tell=tell)
    if not run.figures().keys().isdisjoint({"read_from", "foreign"}) and not recipe.compression.pruning_rate:
        # No normalizations hold what was read back at a training's rate, and no foreign network's rate is known.
        compression = dataclasses.replace(recipe.compression, pruning_rate=recipe.compression.rate)
        recipe = dataclasses.replace(recipe, compression=compression)
    seed_everything(recipe.training.seed)
    identity, unfinished = _identity(run, name, weights), run.variants / f"{name}.unfinished.npz"
    work = _Work(recipe, train, dense, tell=tell, kept=unfinished, identity=identity)
    try:
        if what.quantized:
            kept, history = work.quantize(open_core(run, what.base, weights=weights))
        else:
            kept, history = work.compress(what)
    except RecipeError as error:
        raise RecipeError(f"{name}: {error}") from error
    checkpoint.save(_file(run, name), kept, identity=identity, precision="float32", history=history)
    unfinished.unlink(missing_ok=True)
    files.remove_leftovers(unfinished)


class _Work:
    """The fine-tuning of one variant."""

    def __init__(self, recipe: Recipe, train: Dataset, dense: Any, **keeping: Any) -> None:
        self._recipe, self._dense, self._keeping = recipe, dense, keeping
        self._precision = resolve_precision(recipe.training.precision)
        targets = one_hot(train.labels, len(train.classes))
        whole = dataclasses.replace(recipe.augmentation, crop=0, sizes=())
        self._batches = Batches(train.images, targets, recipe.training.batch, whole, recipe.training.seed)

    def compress(self, what: Variant) -> tuple[checkpoint.Variables, NDArray[np.float64]]:
        """Return the float network of a variant, trained, and the history."""
        core = self._dense
        if what.kind == "clustered":
            core = fold_norms(core)
        elif what.kind == "channels":
            core = channels.remove_channels(core, what.amount / 100, self._some())
        model = plain_clone(core, self._precision)
        if what.kind == "pruned":
            pruner = pruning.Pruner(model, what.amount / 100)
            history = self._mend(model, hold=pruner.hold, before=pruner.before, state=pruner.state)
            pruner.before(1.0)  # where there were too few steps for every cut
        elif what.kind == "clustered":
            history = self._adjust(model, hold=clustering.cluster(model, what.amount))
        else:
            history = self._mend(model)
        core.set_weights(model.get_weights())
        return {"core": core.weights}, history

    def _some(self) -> Batches:
        """Return small batches of some of the images, from all over the source: folders are in order of the classes."""
        every, seed = self._batches, self._recipe.training.seed
        chosen = np.random.default_rng(seed).permutation(len(every.images))[: channels.LOOKED_AT]
        return dataclasses.replace(
            every, images=every.images[chosen], targets=every.targets[chosen], size=channels.LOOK
        )

    def quantize(self, core: Any) -> tuple[checkpoint.Variables, NDArray[np.float64]]:
        """Return a network after quantization-aware training, its zeros kept, and the history."""
        core = without_loose_norms(core)
        model = quantization_aware(core)
        _begin_ranges(model, core, self._some())
        history = self._adjust(model, hold=pruning.hold_zeros(model))
        _set_pixel_range(model)
        _copy_by_name(model, core)
        return {"core": core.weights, "quantized": model.weights}, history

    def _mend(self, model: Any, **how: Any) -> NDArray[np.float64]:
        """Fine-tune a network that has lost much, at a rate that lets it find its way again."""
        settings = self._recipe.compression
        epochs, rate = settings.pruning_epochs or settings.epochs, settings.pruning_rate or self._recipe.training.rate
        return self._finetune(model, epochs=epochs, rate=rate, **how)

    def _adjust(self, model: Any, **how: Any) -> NDArray[np.float64]:
        """Fine-tune a network whose weights were only rounded."""
        settings = self._recipe.compression
        return self._finetune(model, epochs=settings.epochs, rate=settings.rate, **how)

    def _finetune(self, model: Any, **how: Any) -> NDArray[np.float64]:
        teacher = plain_clone(self._dense, self._precision) if self._recipe.compression.distillation else None
        return finetune(model, self._batches, self._recipe, teacher=teacher, **how, **self._keeping)


def open_core(run: RunFolder, name: str, *, weights: str) -> Any:
    """Return a variant's network as it is converted: `float32 (N, H, W, 1)` in [0, 1] to `float32 (N, classes)`."""
    core = plain_clone(load_model(run).get_layer("core"))
    if name == "dense":
        return with_gains_first(core)
    what, arrays = variant.parse(name), _arrays(run, name, weights)
    if what.quantized:
        core = without_loose_norms(core)
    if what.kind == "clustered":
        core = fold_norms(core)
    elif what.kind == "channels":
        names = [weight.name for weight in core.weights]
        kernels = {name.split("/")[0]: arrays[f"core_{i}"] for i, name in enumerate(names) if "/kernel:" in name}
        core = channels.narrowed(core, {layer: kernel.shape[-1] for layer, kernel in kernels.items()})
    checkpoint.restore(_file(run, name), arrays, {"core": core.weights})
    # What was trained in integers, or to few values, has its scales already.
    return core if what.quantized or what.kind == "clustered" else with_gains_first(core)


def open_quantized(run: RunFolder, name: str, *, weights: str) -> Any | None:
    """Return a variant as quantization-aware training left it, ranges included; None where it was not trained so."""
    if not variant.parse(name).quantized:
        return None
    model = quantization_aware(open_core(run, name, weights=weights))
    checkpoint.restore(_file(run, name), _arrays(run, name, weights), {"quantized": model.weights})
    return model


def quantization_aware(core: Any) -> Any:
    """Return a copy of `core` that rounds weights and activations as int8 will, after Jacob et al., 2018."""
    # Late: it takes seconds, and must come after feredge.keras has chosen legacy Keras.
    from tensorflow_model_optimization.quantization.keras import quantize_model

    keras.backend.reset_uids()  # else the names in the file tell how many were made before it
    return quantize_model(plain_clone(core))


def _check_activations(core: Any, name: str) -> None:
    """Refuse what the converter would leave in float32 between the integers, before any slow work."""
    for layer in core.layers:
        if type(layer) is keras.layers.ELU:
            raise RecipeError(f"{name}: expected activations that integers are trained for, found ELU ({layer.name})")


def _begin_ranges(quantized: Any, core: Any, batches: Batches) -> None:
    """Give each activation the range that it has in the float network.

    Ranges begin at -6 to 6 else, and as a moving average they still hold a quarter of that after 1,300 steps.
    """
    limits: dict[str, dict[str, Any]] = {}
    for layer in quantized.layers:
        for variable in layer.weights:
            told = re.search("/(?:output|post_activation)_(min|max):0$", variable.name)
            if told:
                limits.setdefault(layer.layer.name, {})[told[1]] = variable
    probe = keras.Model(core.input, {name: core.get_layer(name).output for name in limits})

    def activations() -> Iterator[dict[str, NDArray[np.float32]]]:
        for images, _ in batches.epoch(0):
            yield {name: values.numpy() for name, values in probe(images / np.float32(255)).items()}

    found = ranges.find(activations, "moving-average")
    for name, variables in limits.items():
        for variable, value in zip((variables["min"], variables["max"]), found[name], strict=True):
            variable.assign(value)


def _set_pixel_range(quantized: Any) -> None:
    """Let the input quantizer cover exactly [0, 1], whatever the last batches held: its scale is then 1/255."""
    (layer,) = (layer for layer in quantized.layers if layer.name == "quantize_layer")
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


def _identity(run: RunFolder, name: str, weights: str) -> str:
    """Return a digest of all that a variant follows from; the other variants in the recipe are not among it."""
    recipe, scheme = run.recipe(), SCHEME
    if variant.parse(name).quantized:
        scheme = QUANTIZED
    elif any("Dropout" in kind for kind in run.layers().values()):
        scheme = WITH_DROPOUT
    alone = dataclasses.replace(recipe, compression=dataclasses.replace(recipe.compression, variants=(name,)))
    text = scheme + alone.digest("data", "training", "augmentation", "compression", "distillation") + weights
    return hashlib.sha256(text.encode()).hexdigest()


def _read(run: RunFolder, name: str, weights: str) -> dict[str, NDArray[Any]] | None:
    if not _file(run, name).is_file():
        return None
    try:
        return checkpoint.read(_file(run, name), identity=_identity(run, name, weights))
    except RunError:  # damaged, or made from other weights: made again
        return None


def _arrays(run: RunFolder, name: str, weights: str) -> dict[str, NDArray[Any]]:
    return checkpoint.read(_file(run, name), identity=_identity(run, name, weights))
