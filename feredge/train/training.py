"""Training: from a recipe and a data set to a run folder with the float model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from feredge import files
from feredge.data.dataset import Dataset, Splits
from feredge.errors import DataError
from feredge.progress import Progress, quiet
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder
from feredge.train import repeats, warm_start
from feredge.train.loop import EpochCallback, TrainingLoop
from feredge.train.networks import build_core
from feredge.train.soft_labels import read as read_soft_labels
from feredge.train.transfer_sources import TransferSources
from feredge.train.warm_start import TrainedNetwork


def train(
    recipe: Recipe,
    dataset: Dataset,
    out: Path,
    *,
    soft_labels: Path | None = None,
    start: TrainedNetwork | None = None,
    teachers: Sequence[TrainedNetwork] = (),
    evaluate_test: bool = True,
    on_epoch_end: EpochCallback | None = None,
    progress: Progress = quiet,
) -> RunFolder:
    """Train the recipe's network on the data set's training split, in the run folder `out`.

    A finished run is left unchanged. An interrupted one is resumed after its last complete epoch, and its weights
    are bit-equal to those of an uninterrupted one on the same machine. The averaged weights of the last epoch are
    kept, or of the best epoch if the recipe's schedule says so. The recipe's repeats follow: see repeats.py.

    Args:
        recipe: data view, network, training, schedule and augmentation.
        dataset: images of the recipe's size and channels.
        out: a new folder, or one of an earlier call with the same arguments.
        soft_labels: a file of soft_labels.py; its logits are further targets, weighted by `recipe.distillation`.
        start: a network whose weights initialize the recipe's; it may be wider, and have other numbers of blocks.
        teachers: networks for online distillation on the augmented images (Beyer et al., "Knowledge distillation: A
            good teacher is patient and consistent", 2022).
        evaluate_test: False ignores the test images, except that their duplicates are dropped from the training
            images: for trainings that are compared with each other.
        on_epoch_end: called after each epoch. A resumed training calls it again for an epoch without a checkpoint.
        progress: called during training.

    Raises:
        RunError: `out` belongs to something else, another process is training there, its checkpoint is damaged,
            `start` or a teacher does not fit, or the loss is no longer finite.
        DataError: training or validation images are missing, images have another shape than the recipe's, or soft
            labels are of other data.
    """
    shape = (recipe.data.size, recipe.data.size, recipe.data.channels)
    if dataset.images.shape[1:] != shape:
        expected, actual = ("x".join(map(str, sides)) for sides in (shape, dataset.images.shape[1:]))
        raise DataError(f"{dataset.source}: expected images of {expected}, found {actual}")
    run = RunFolder(Path(out))
    sources = TransferSources(None if soft_labels is None else read_soft_labels(soft_labels), start, tuple(teachers))
    if run.training.is_file():
        RunFolder.claim(run.path, recipe, dataset)
    else:
        options = _TrainingOptions(evaluate_test, on_epoch_end)
        _train_once(recipe, dataset, run, sources, options, progress)
    sources.check(run)
    if recipe.training.repeats > 1:
        runs = {recipe.training.seed: run}
        for number, (seed, repeat_recipe) in enumerate(repeats.repeat_recipes(recipe).items(), start=2):
            runs[seed] = train(
                repeat_recipe,
                dataset,
                run.repeats / f"seed-{seed}",
                soft_labels=soft_labels,
                start=start,
                teachers=teachers,
                evaluate_test=evaluate_test,
                on_epoch_end=on_epoch_end,
                progress=repeats.numbered_progress(progress, number, recipe.training.repeats),
            )
        repeats.write_spread(run, runs)
    return run


@dataclass(frozen=True)
class _TrainingOptions:
    """Arguments of `train` that its weights do not depend on."""

    evaluate_test: bool
    on_epoch_end: EpochCallback | None


def _train_once(
    recipe: Recipe,
    dataset: Dataset,
    run: RunFolder,
    sources: TransferSources,
    options: _TrainingOptions,
    progress: Progress,
) -> None:
    from feredge import data

    splits = data.split(dataset, recipe.data)
    if not options.evaluate_test:
        splits = replace(splits, test=splits.test.take(np.empty(0, np.int64)))
    if len(np.unique(splits.train.labels)) < 2:
        actual = f"{len(splits.train)} images of {len(np.unique(splits.train.labels))}"
        if splits.dropped:
            actual += f"; {splits.dropped:,} were left out as duplicates of test or validation images"
        raise DataError(f"{dataset.source}: expected training images of at least two classes, found {actual}")
    if recipe.schedule.uses_validation and not len(splits.validation):
        raise DataError(f"{dataset.source}: expected validation images for schedule.monitor, found none")
    soft_labels = None if sources.soft_labels is None else sources.soft_labels.select(splits.train)
    size, classes = recipe.data.size, len(splits.train.classes)
    channels = recipe.data.channels * recipe.network.input_channels
    core = build_core(recipe.network, size=size, classes=classes, channels=channels)  # raises if it cannot be built
    if sources.start is not None:
        warm_start.check_start(core, sources.start)
    training_size = None if recipe.augmentation.progressive_sizes else recipe.augmentation.crop_size or size
    for teacher in sources.teachers:
        warm_start.check_teacher(teacher, splits.train.classes, (size, size, recipe.data.channels), training_size)
    RunFolder.claim(run.path, recipe, dataset)
    with run.lock():
        if run.training.is_file():  # another process finished it
            return
        _record_splits(run, splits)
        loop = TrainingLoop(run, recipe, dataset.digest, splits, sources, soft_labels)
        loop.run_epochs(progress, options.on_epoch_end)
        loop.finish(progress)


def _record_splits(run: RunFolder, splits: Splits) -> None:
    """Add to data.json the images by split and class, and the number of duplicates that were dropped."""
    files.write_json(run.data_file, {**run.data(), "splits": splits.counts(), "dropped": splits.dropped})
