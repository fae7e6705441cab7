"""Variants: compressed and fine-tuned copies of the trained network, one file each.

A variant is `variants/<name>.npz` in the run folder; the checkpoint of an unfinished one is in the same folder, so
that an interrupted export resumes after the last epoch. `dense` has no file: it is the float model itself; nor has
`dense-mirror`, whose files run the same network on two views of an image.
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
from feredge.compress.batch_norms import convert_unfused_batchnorms, equalize_scales, fold_batchnorms
from feredge.compress.channel_pruning import prune_channels
from feredge.compress.finetuning import ReportProgress, finetune
from feredge.compress.quantization_aware import check_layers, quantization_aware
from feredge.data.dataset import Dataset
from feredge.errors import RecipeError, RunError
from feredge.keras import KerasModel, keras, seed_everything
from feredge.recipes import variant
from feredge.recipes.schema import Recipe
from feredge.recipes.variant import Variant
from feredge.run import RunFolder
from feredge.train import checkpoint, load_model
from feredge.train.batches import Batches
from feredge.train.channels import IMPORTANCE_BATCH, IMPORTANCE_IMAGES, with_widths
from feredge.train.fitting import one_hot, resolve_precision
from feredge.train.networks import clone_core

UNTRAINED_VARIANTS = ("dense", variant.MIRROR_VARIANT)
SCHEME_VERSION = "2"  # part of a variant's identity: variants of another version are made again
DROPOUT_SCHEME_VERSION = "3"  # of networks with Dropout layers, whose masks are seeded by the step
QAT_SCHEME_VERSION = "5"  # of quantization-aware training, whose ranges are initialized from the float network


def prepare(run: RunFolder, name: str, train: Dataset, *, weights: str, report: ReportProgress) -> None:
    """Make variant `name` in the run folder, by fine-tuning on the images of `train`, unless it exists.

    The variant that quantization-aware training starts from is kept too, as `pruned-80` for `pruned-80-qat`.

    Args:
        run: a trained run.
        name: of the variant.
        train: the training split.
        weights: digest of the float model's weights; a variant of others is made again.
        report: called after each step.

    Raises:
        RecipeError: the network cannot be compressed in this way.
    """
    if name in UNTRAINED_VARIANTS or _read(run, name, weights) is not None:
        return
    recipe, spec = run.recipe(), variant.parse(name)
    dense = clone_core(load_model(run).get_layer("core"))
    if spec.quantized:
        check_layers(dense, name)
        prepare(run, spec.base, train, weights=weights, report=report)
    if (
        not run.training_record().keys().isdisjoint({"read_from", "foreign"})
        and not recipe.compression.pruning_learning_rate
    ):
        # Training's rate is too high for a network whose batch normalization is folded, and unknown for a foreign one.
        compression = dataclasses.replace(recipe.compression, pruning_learning_rate=recipe.compression.learning_rate)
        recipe = dataclasses.replace(recipe, compression=compression)
    seed_everything(recipe.training.seed)
    identity, unfinished = _identity(run, name, weights), run.variants / f"{name}.unfinished.npz"
    job = _CompressionJob(recipe, train, dense, report=report, checkpoint_path=unfinished, identity=identity)
    try:
        if spec.quantized:
            variables, history = job.quantize(equalize_scales(open_core(run, spec.base, weights=weights)))
        else:
            variables, history = job.compress(spec)
    except RecipeError as error:
        raise RecipeError(f"{name}: {error}") from error
    checkpoint.save(_path(run, name), variables, identity=identity, precision="float32", history=history)
    unfinished.unlink(missing_ok=True)
    files.remove_leftovers(unfinished)


class _CompressionJob:
    """Compression and fine-tuning of one variant."""

    def __init__(self, recipe: Recipe, train: Dataset, dense: KerasModel, **finetune_options: Any) -> None:
        self._recipe, self._dense, self._finetune_options = recipe, dense, finetune_options
        self._precision = resolve_precision(recipe.training.precision)
        targets = one_hot(train.labels, len(train.classes))
        augmentation = dataclasses.replace(recipe.augmentation, crop_size=0, progressive_sizes=())
        self._batches = Batches(
            train.images,
            targets,
            recipe.training.batch_size,
            augmentation,
            recipe.training.seed,
            balanced=recipe.training.balanced_sampling,
        )

    def compress(self, spec: Variant) -> tuple[checkpoint.Variables, NDArray[np.float64]]:
        """Return the variables of a variant's fine-tuned float network, and the history."""
        core = self._dense
        if spec.kind == "clustered":
            core = fold_batchnorms(core)
        elif spec.kind == "channels":
            core = prune_channels(core, spec.amount / 100, self._sample_batches())
        model = clone_core(core, self._precision)
        if spec.kind == "pruned":
            pruner = pruning.Pruner(model, spec.amount / 100)
            history = self._finetune_pruned(
                model, constrain=pruner.apply_masks, before_step=pruner.before_step, state=pruner.state
            )
            pruner.before_step(1.0)  # in case of fewer steps than pruning steps
        elif spec.kind == "clustered":
            history = self._finetune_rounded(model, constrain=clustering.cluster(model, spec.amount))
        else:
            history = self._finetune_pruned(model)
        core.set_weights(model.get_weights())
        return {"core": core.weights}, history

    def _sample_batches(self) -> Batches:
        """Return small batches of a random sample of the images: a folder data set is sorted by class."""
        batches, seed = self._batches, self._recipe.training.seed
        sample = np.random.default_rng(seed).permutation(len(batches.images))[:IMPORTANCE_IMAGES]
        return dataclasses.replace(
            batches,
            images=batches.images[sample],
            targets=batches.targets[sample],
            batch_size=IMPORTANCE_BATCH,
        )

    def quantize(self, core: KerasModel) -> tuple[checkpoint.Variables, NDArray[np.float64]]:
        """Return the variables of a network after quantization-aware training, its zeros kept, and the history."""
        core = convert_unfused_batchnorms(core)
        model = quantization_aware(core)
        _initialize_ranges(model, core, self._sample_batches())
        history = self._finetune_rounded(model, constrain=pruning.zero_constraint(model))
        _set_pixel_range(model)
        _copy_by_name(model, core)
        return {"core": core.weights, "quantized": model.weights}, history

    def _finetune_pruned(self, model: KerasModel, **options: Any) -> NDArray[np.float64]:
        """Fine-tune after pruning, with a learning rate high enough to recover the accuracy."""
        settings = self._recipe.compression
        epochs, rate = (
            settings.pruning_epochs or settings.epochs,
            settings.pruning_learning_rate or self._recipe.training.learning_rate,
        )
        return self._finetune(model, epochs=epochs, rate=rate, **options)

    def _finetune_rounded(self, model: KerasModel, **options: Any) -> NDArray[np.float64]:
        """Fine-tune a network whose weights are rounded to int8 or to clusters."""
        settings = self._recipe.compression
        return self._finetune(model, epochs=settings.epochs, rate=settings.learning_rate, **options)

    def _finetune(self, model: KerasModel, **options: Any) -> NDArray[np.float64]:
        teacher = clone_core(self._dense, self._precision) if self._recipe.compression.distillation else None
        return finetune(model, self._batches, self._recipe, teacher=teacher, **options, **self._finetune_options)


def open_core(run: RunFolder, name: str, *, weights: str) -> KerasModel:
    """Return the float network of a variant: `float32 (N, H, W, C)` in [0, 1] to `float32 (N, classes)`."""
    core = clone_core(load_model(run).get_layer("core"))
    if name in UNTRAINED_VARIANTS:
        return core
    spec, arrays = variant.parse(name), _arrays(run, name, weights)
    if spec.quantized:
        core = convert_unfused_batchnorms(core)
    if spec.kind == "clustered":
        core = fold_batchnorms(core)
    elif spec.kind == "channels":
        names = [weight.name for weight in core.weights]
        kernels = {name.split("/")[0]: arrays[f"core_{i}"] for i, name in enumerate(names) if "/kernel:" in name}
        core = with_widths(core, {layer: kernel.shape[-1] for layer, kernel in kernels.items()})
    checkpoint.restore(_path(run, name), arrays, {"core": core.weights})
    # Quantization-aware training has learnt its ranges, and clusters would get different values.
    return core


def open_quantized(run: RunFolder, name: str, *, weights: str) -> KerasModel | None:
    """Return a variant's quantization-aware model with its ranges; None for a variant without such training."""
    if not variant.parse(name).quantized:
        return None
    model = quantization_aware(open_core(run, name, weights=weights))
    checkpoint.restore(_path(run, name), _arrays(run, name, weights), {"quantized": model.weights})
    return model


def _initialize_ranges(quantized: KerasModel, core: KerasModel, batches: Batches) -> None:
    """Initialize each activation's range with that of the float network.

    The default is -6 to 6; in the moving average, a quarter of it remains after 1,300 steps.
    """
    limits: dict[str, dict[str, Any]] = {}
    for layer in quantized.layers:
        for variable in layer.weights:
            match = re.search("/(?:output|post_activation)_(min|max):0$", variable.name)
            if match:
                limits.setdefault(layer.layer.name, {})[match[1]] = variable
    outputs = keras.Model(core.input, {name: core.get_layer(name).output for name in limits})

    def activations() -> Iterator[dict[str, NDArray[np.float32]]]:
        for images, _ in batches.epoch(0):
            yield {name: values.numpy() for name, values in outputs(images / np.float32(255)).items()}

    calibrated = ranges.calibrate_ranges(activations, "moving-average")
    for name, variables in limits.items():
        for variable, limit in zip((variables["min"], variables["max"]), calibrated[name], strict=True):
            variable.assign(limit)


def _set_pixel_range(quantized: KerasModel) -> None:
    """Set the input quantizer's range to exactly [0, 1], so that its scale is 1/255."""
    (layer,) = (layer for layer in quantized.layers if layer.name == "quantize_layer")
    for variable in layer.weights:
        if variable.name.endswith("_min:0"):
            variable.assign(0.0)
        elif variable.name.endswith("_max:0"):
            variable.assign(1.0)


def _copy_by_name(source: KerasModel, target: KerasModel) -> None:
    """Set the weights of `target` to those of the same names in `source`: wrappers keep variable names."""
    by_name = {variable.name: variable for variable in source.weights}
    for variable in target.weights:
        variable.assign(by_name[variable.name])


def _path(run: RunFolder, name: str) -> Path:
    return run.variants / f"{name}.npz"


def _identity(run: RunFolder, name: str, weights: str) -> str:
    """Return a digest of all that a variant depends on: not the other variants of the recipe."""
    recipe, scheme = run.recipe(), SCHEME_VERSION
    if variant.parse(name).quantized:
        scheme = QAT_SCHEME_VERSION
    elif any("Dropout" in kind for kind in run.layers().values()):
        scheme = DROPOUT_SCHEME_VERSION
    single = dataclasses.replace(recipe, compression=dataclasses.replace(recipe.compression, variants=(name,)))
    text = scheme + single.digest("data", "training", "augmentation", "compression", "distillation") + weights
    return hashlib.sha256(text.encode()).hexdigest()


def _read(run: RunFolder, name: str, weights: str) -> dict[str, NDArray[Any]] | None:
    if not _path(run, name).is_file():
        return None
    try:
        return checkpoint.read(_path(run, name), identity=_identity(run, name, weights))
    except RunError:  # damaged, or of other weights
        return None


def _arrays(run: RunFolder, name: str, weights: str) -> dict[str, NDArray[Any]]:
    return checkpoint.read(_path(run, name), identity=_identity(run, name, weights))
