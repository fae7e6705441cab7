"""Validation of recipe values beyond their types: ranges, and keys that depend on each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from feredge import dataclass_io
from feredge.errors import RecipeError
from feredge.recipes import variant
from feredge.recipes.schema import Augmentation, DataView, Network, Recipe, Schedule, Training

BUILDER_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
Rules = tuple[tuple[bool, str], ...]
SEED_RANGE = f"seeds from 0 to {2**32 - 1}"
UNPADDED_NETWORKS = ("study-2022-ann", "study-2022-cnn", "six-class-cnn", "course-cnn")
"""Networks whose first layer has no padding, so that input standardization can be folded into it."""


def check(recipe: Recipe, where: str) -> None:
    """Validate all values before any slow work.

    Raises:
        RecipeError: the first rule that is violated; the message begins with `where`.
    """
    for holds, expected in _rules(recipe):
        if not holds:
            raise RecipeError(f"{where}: expected {expected}")
    for name in recipe.compression.variants:
        try:
            variant.parse(name)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from error
    from feredge.inference.artifact import ARTIFACT_KINDS

    for file in recipe.export.files:
        if file not in ARTIFACT_KINDS:
            raise RecipeError(f"{where}: export.files: unknown {file!r}{dataclass_io.nearest(file, ARTIFACT_KINDS)}")


def _rules(recipe: Recipe) -> Iterator[tuple[bool, str]]:
    """Yield for each rule whether it holds and what it expects; a rule may rely on those before it."""
    yield from _data_rules(recipe.data)
    yield from _network_rules(recipe.network)
    yield from _training_rules(recipe.training, recipe.schedule)
    yield from _augmentation_rules(recipe.augmentation)
    yield from _size_rules(recipe)
    if recipe.data.channels == 3:
        yield recipe.network.input_channels == 1, "network.input_channels of 1 for RGB images"
    yield from (
        (min(recipe.data.seed, recipe.training.seed) >= 0, SEED_RANGE),
        (max(recipe.data.seed, recipe.training.seed + recipe.training.repeats - 1) < 2**32, SEED_RANGE),
        (bool(recipe.compression.variants), "at least one of compression.variants"),
        (
            recipe.augmentation.flip or variant.MIRROR_VARIANT not in recipe.compression.variants,
            f"augmentation.flip with the variant {variant.MIRROR_VARIANT}: a network that knows mirror images",
        ),
        (recipe.compression.learning_rate > 0.0, "rates above 0"),
        (recipe.compression.epochs >= 1, "compression.epochs of at least 1"),
        (recipe.compression.pruning_epochs >= 0, "compression.pruning_epochs of at least 0"),
        (recipe.compression.pruning_learning_rate >= 0.0, "compression.pruning_learning_rate of at least 0"),
        (0.0 <= recipe.compression.distillation <= 1.0, "compression.distillation from 0 to 1"),
        (recipe.distillation.temperature > 0.0, "distillation.temperature above 0"),
        (0.0 < recipe.distillation.weight <= 1.0, "distillation.weight above 0, up to 1"),
        (0.0 < recipe.distillation.teacher_weight <= 1.0, "distillation.teacher_weight above 0, up to 1"),
        (bool(recipe.export.files), "at least one of export.files"),
        (len({*recipe.export.files}) == len(recipe.export.files), "each of export.files once"),
        (recipe.export.calibration_images >= 1, "export.calibration_images of at least 1"),
        (13 <= recipe.export.opset <= 18, "export.opset from 13 to 18"),
        (0.0 <= recipe.export.max_drop <= 100.0, "export.max_drop from 0 to 100 percentage points"),
        (
            not (recipe.export.max_drop and recipe.export.temperature_scaling),
            "one of export.max_drop and export.temperature_scaling: both use the validation images",
        ),
    )


def _data_rules(data: DataView) -> Rules:
    parts = [part for group in data.groups.values() for part in group]
    return (
        (8 <= data.size <= 512, "data.size from 8 to 512"),
        (data.channels in (1, 3), "data.channels of 1 (gray) or 3 (RGB)"),
        (0.0 <= data.holdout <= 0.5, "data.holdout from 0 to 0.5"),
        (len(data.groups) == len(data.classes) != 1, "data.classes of at least two different names"),
        (all(parts) and all(data.groups), "data.classes of names, or name = a + b"),
        (len(parts) == len(set(parts)), "each class of the source once in data.classes"),
        (data.limit_per_class >= 0, "data.limit_per_class of at least 0"),
        (
            len(data.shares) in (2, 3) and min(data.shares) > 0.0 and abs(sum(data.shares) - 1.0) < 1e-6,
            "two or three data.shares above 0 that add up to 1",
        ),
    )


def _network_rules(network: Network) -> Rules:
    convolutional = network.name == "convolutional"
    plain = type(network)(name=network.name, input_channels=network.input_channels, standardize=network.standardize)
    if convolutional:
        plain = replace(plain, channels=network.channels, kernels=network.kernels, dense=network.dense)
    if network.name == "custom":
        plain = replace(plain, builder=network.builder)
    return (
        (
            convolutional or len(network.channels) == len(network.blocks) > 0,
            "one entry of network.blocks for each of network.channels",
        ),
        (
            not convolutional or len(network.channels) == len(network.kernels) > 0,
            "one entry of network.kernels for each of network.channels",
        ),
        (
            bool(BUILDER_NAME.fullmatch(network.builder)) == (network.name == "custom") == bool(network.builder),
            "network.builder, as module:function, in custom only",
        ),
        (convolutional or not network.kernels + network.dense, "network.kernels and dense in convolutional only"),
        (
            all(kernel in (1, 3, 5, 7) for kernel in (network.kernel, *network.kernels)),
            "network.kernel and kernels of 1, 3, 5 or 7",
        ),
        (0 <= network.squeeze_excitation <= 64, "network.squeeze_excitation from 0 to 64"),
        (min((1, *network.dense)) >= 1, "network.dense of at least 1"),
        (
            min((*network.channels, *network.blocks, network.stem)) >= 1,
            "network channels and blocks of at least 1",
        ),
        (network.stem_stride in (1, 2), "network.stem_stride 1 or 2"),
        (0.0 <= network.dropout < 1.0, "network.dropout from 0 to under 1"),
        (
            network.name == "residual" or network == plain,
            f"only its own keys in {network.name}",
        ),
        (1 <= network.input_channels <= 4, "network.input_channels from 1 to 4"),
        (
            not network.standardize or network.name in UNPADDED_NETWORKS,
            f"network.standardize in a network whose first layer has no padding: {', '.join(UNPADDED_NETWORKS)}",
        ),
    )


def _training_rules(training: Training, schedule: Schedule) -> Rules:
    return (
        (training.epochs >= 1 and training.batch_size >= 1, "training.epochs and training.batch_size of at least 1"),
        (training.learning_rate > 0.0, "rates above 0"),
        (0.0 <= training.momentum < 1.0, "training.momentum from 0 to under 1"),
        (0.0 <= training.warmup_epochs <= training.epochs, "training.warmup_epochs from 0 to training.epochs"),
        (training.weight_decay >= 0.0, "training.weight_decay of at least 0"),
        (0.0 <= training.label_smoothing < 1.0, "training.label_smoothing from 0 to under 1"),
        (0.0 <= training.ema_decay < 1.0, "training.ema_decay from 0 to under 1"),
        (1 <= training.repeats <= 100, "training.repeats from 1 to 100"),
        (schedule.decay >= 0.0 and schedule.decay_from >= 0, "schedule.decay and decay_from of at least 0"),
        (schedule.min_delta >= 0.0, "schedule.min_delta of at least 0"),
        (
            min(schedule.lr_patience, schedule.early_stopping_patience) >= 0,
            "schedule.lr_patience and early_stopping_patience of at least 0",
        ),
        (0.0 < schedule.lr_factor < 1.0, "schedule.lr_factor between 0 and 1"),
        (0.0 <= schedule.min_lr <= training.learning_rate, "schedule.min_lr from 0 to training.learning_rate"),
    )


def _augmentation_rules(augmentation: Augmentation) -> Rules:
    return (
        (
            0.0 <= augmentation.shift < 1.0 and 0.0 <= augmentation.scale < 1.0,
            "shift and scale from 0 to under 1",
        ),
        (
            0.0 <= augmentation.brightness <= 1.0 and 0.0 <= augmentation.erase <= 1.0,
            "brightness and erase from 0 to 1",
        ),
        (0.0 <= augmentation.rotate <= 180.0, "augmentation.rotate from 0 to 180"),
        (0.0 <= augmentation.zoom < 1.0, "augmentation.zoom from 0 to under 1"),
        (0.0 <= augmentation.shear <= 80.0, "augmentation.shear from 0 to 80"),
        (augmentation.mixup >= 0.0, "augmentation.mixup of at least 0"),
        (augmentation.full_image_epochs >= 0, "augmentation.full_image_epochs of at least 0"),
    )


def _size_rules(recipe: Recipe) -> Rules:
    """Return the rules for training at image sizes other than that of inference."""
    network, crop, sizes = recipe.network, recipe.augmentation.crop_size, recipe.augmentation.progressive_sizes
    largest = crop or recipe.data.size
    return (
        (crop == 0 or 8 <= crop < recipe.data.size, "augmentation.crop_size of 0, or from 8 to under data.size"),
        (
            list(sizes) == sorted(set(sizes)) and all(8 <= size <= largest for size in sizes),
            f"augmentation.progressive_sizes from 8 to {largest}, the smallest first",
        ),
        (
            not (crop or sizes) or network.name == "residual",
            "augmentation.crop_size and sizes for the residual network only: others take images of one size",
        ),
        (
            network.pool == "average"
            or (not sizes and network.feature_map_size(largest) == network.feature_map_size(recipe.data.size)),
            "no progressive_sizes, and a crop_size that keeps the size of the last stage, with a weighted pool",
        ),
    )
