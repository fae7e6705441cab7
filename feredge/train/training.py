"""Training: from a recipe and a data set to a run folder with the float model."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.data.dataset import Dataset, Splits
from feredge.data.splits import stratified_sample
from feredge.errors import DataError, DivergedError, RunError
from feredge.inference.contract import Images
from feredge.plots.classification import confusion
from feredge.plots.epochs import curves
from feredge.predictions import Predictions
from feredge.progress import Progress, quiet
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder
from feredge.train import checkpoint, history, repeats, schedule, warm_start
from feredge.train.batches import Batches
from feredge.train.fitting import Fitter, one_hot, resolve_precision
from feredge.train.networks import build_core, make_predict_function
from feredge.train.record import save_trained_run
from feredge.train.score import Score, score
from feredge.train.soft_labels import SoftLabels
from feredge.train.soft_labels import read as read_soft_labels
from feredge.train.warm_start import TrainedNetwork

PROGRESS_INTERVAL_SECONDS = 0.2


@dataclass(frozen=True, eq=False)
class EpochEnd:
    """The state after an epoch.

    Attributes:
        epoch: number of the epoch, from 1.
        predict: the averaged network, from `uint8 (N, H, W)` to probabilities `float32 (N, classes)`.
        validation: the validation split.
    """

    epoch: int
    predict: Callable[[Images], NDArray[np.float32]]
    validation: Dataset


EpochCallback = Callable[[EpochEnd], None]
"""Called after each epoch, before its checkpoint is written; what it raises ends the training."""


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
    sources = _TransferSources(None if soft_labels is None else read_soft_labels(soft_labels), start, tuple(teachers))
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


@dataclass(frozen=True, eq=False)
class _TransferSources:
    """What a training learns from besides recipe and data: teachers, soft labels and initial weights."""

    soft_labels: SoftLabels | None
    start: TrainedNetwork | None
    teachers: tuple[TrainedNetwork, ...]

    @property
    def distills(self) -> bool:
        """Whether there is a teacher or a file of soft labels, so that the recipe's [distillation] applies."""
        return self.soft_labels is not None or bool(self.teachers)

    def to_json(self) -> dict[str, Any]:
        """Return the digests for training.json."""
        digests: dict[str, Any] = {}
        if self.soft_labels is not None:
            digests["soft_labels"] = {"sha256": self.soft_labels.sha256, "teachers": list(self.soft_labels.teachers)}
        if self.teachers:
            digests["teachers"] = [teacher.digest for teacher in self.teachers]
        if self.start is not None:
            digests["started_from"] = self.start.digest
        return digests

    def check(self, run: RunFolder) -> None:
        """Raise an error for a finished run with other soft labels, teachers or initial weights."""
        figures, digests = run.training_record(), self.to_json()
        for key, name in (("soft_labels", "soft labels"), ("teachers", "teachers"), ("started_from", "first weights")):
            if figures.get(key) != digests.get(key):
                expected, actual = (_short_digests(source.get(key)) for source in (figures, digests))
                raise RunError(f"{run.path}: was trained with {name} {expected}, found {actual}; choose another folder")


@dataclass(frozen=True)
class _TrainingOptions:
    """Arguments of `train` that its weights do not depend on."""

    evaluate_test: bool
    on_epoch_end: EpochCallback | None


def _short_digests(entry: Any) -> str:
    """Return the first 12 digits of each digest in an entry of `_TransferSources.to_json`."""
    digests = entry["sha256"] if isinstance(entry, dict) else entry or "none"
    return ", ".join(digest[:12] for digest in ([digests] if isinstance(digests, str) else digests))


def _train_once(
    recipe: Recipe,
    dataset: Dataset,
    run: RunFolder,
    sources: _TransferSources,
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
        loop = _TrainingLoop(run, recipe, dataset.digest, splits, sources, soft_labels)
        loop.run_epochs(progress, options.on_epoch_end)
        loop.finish(progress)


def _record_splits(run: RunFolder, splits: Splits) -> None:
    """Add to data.json the images by split and class, and the number of duplicates that were dropped."""
    files.write_json(run.data_file, {**run.data(), "splits": splits.counts(), "dropped": splits.dropped})


class _TrainingLoop:
    """The epochs of one run: starts at its checkpoint, if there is one, and writes the files of a finished run."""

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        data_digest: str,
        splits: Splits,
        sources: _TransferSources,
        soft_labels: NDArray[np.float32] | None,
    ) -> None:
        self.run, self.recipe, self.splits, self.sources = run, recipe, splits, sources
        training, split = recipe.training, splits.train
        self.identity = _identity(recipe, data_digest, sources)
        saved = checkpoint.read(run.checkpoint, identity=self.identity) if run.checkpoint.exists() else None
        # A resumed run keeps its precision, also on a machine where `auto` is another.
        self.precision = resolve_precision(training.precision if saved is None else str(saved["precision"]))
        targets = one_hot(split.labels, len(split.classes))
        if soft_labels is not None:
            targets = np.stack([targets, soft_labels], axis=1)
        self.batches = Batches(
            split.images,
            targets,
            training.batch_size,
            recipe.augmentation,
            training.seed,
            training.epochs,
            training.balanced_sampling,
        )
        self.fitter = Fitter(
            recipe.network,
            training,
            self.precision,
            batch_shape=self.batches.shape,
            size=recipe.data.size,
            classes=len(split.classes),
            distillation=recipe.distillation,
            soft_labels=soft_labels is not None,
            teachers=sources.teachers,
            pixel_statistics=_pixel_statistics(split) if recipe.network.standardize else (0.0, 1.0),
            keep_best=recipe.schedule.keep_weights == "best",
        )
        self.predict = make_predict_function(self.fitter.inference_core)
        self.history = history.empty()
        if saved is not None:
            checkpoint.restore(run.checkpoint, saved, self.fitter.variables)
            self.history = saved["history"]
        elif sources.start is not None:
            start = warm_start.match_widths(sources.start, self.fitter.averaged, split, training.seed)
            sample = stratified_sample(split, warm_start.STATISTICS_IMAGES, training.seed)
            warm_start.initialize(self.fitter.averaged, start, split.classes, sample.images)
            self.fitter.core.set_weights(self.fitter.averaged.get_weights())

    def run_epochs(self, progress: Progress, on_epoch_end: EpochCallback | None) -> None:
        """Run the remaining epochs, with a checkpoint after each."""
        reporter = _ProgressReporter(progress, done=len(self.history), epochs=self.recipe.training.epochs)
        for epoch in range(len(self.history), self.recipe.training.epochs):
            if self._state.stop:
                break
            self.fitter.set_batch_shape(self.batches.shape_in(epoch))
            start = time.perf_counter()
            rate, loss, accuracy = self._run_steps(epoch, reporter)
            seconds = time.perf_counter() - start
            self.fitter.update_inference_core()
            validation = score(self.predict(self.splits.validation.images), self.splits.validation)
            self._check_finite(epoch, rate, validation)
            images_per_second = len(self.batches) * self.batches.shape[0] / seconds
            row = (epoch + 1, rate, loss, accuracy, validation.loss, validation.accuracy, seconds, images_per_second)
            self.history = np.vstack([self.history, row])
            if self.recipe.schedule.keep_weights == "best" and self._state.best_epoch == epoch + 1:
                self.fitter.save_best()
            if on_epoch_end is not None:
                on_epoch_end(EpochEnd(epoch + 1, self.predict, self.splits.validation))
            checkpoint.save(
                self.run.checkpoint,
                self.fitter.variables,
                identity=self.identity,
                precision=self.precision,
                history=self.history,
            )
            history.write_csv(self.run.history, self.history)

    @property
    def _state(self) -> schedule.ScheduleState:
        return schedule.schedule_state(self.history, self.recipe.schedule)

    def _run_steps(self, epoch: int, reporter: _ProgressReporter) -> tuple[float, float, float]:
        """Run one epoch's steps. Return the last learning rate, the mean loss and the accuracy."""
        recipe, count, reductions = self.recipe, len(self.batches), self._state.reductions
        losses, hits, rate = 0.0, 0, 0.0
        reporter.start_epoch()
        for number, (images, targets) in enumerate(self.batches.epoch(epoch)):
            rate = schedule.learning_rate(
                epoch * count + number,
                steps_per_epoch=count,
                training=recipe.training,
                schedule=recipe.schedule,
                reductions=reductions,
            )
            loss, correct = self.fitter.step(images, targets, np.float32(rate))
            if not math.isfinite(loss):
                raise self._diverged(epoch, rate)
            losses, hits = losses + float(loss), hits + int(correct)
            reporter.report(epoch, (number + 1) / count, images=(number + 1) * len(images))
        return rate, losses / count, hits / (count * self.batches.shape[0])

    def _check_finite(self, epoch: int, rate: float, validation: Score) -> None:
        """Raise an error, before the checkpoint is written, if the epoch's last step made the weights not finite."""
        finite = all(np.isfinite(weight).all() for weight in self.fitter.core.get_weights())
        if not finite or (validation.images and not math.isfinite(validation.loss)):
            raise self._diverged(epoch, rate)

    def _diverged(self, epoch: int, rate: float) -> DivergedError:
        checkpoint_note = f"the checkpoint of epoch {epoch} is kept" if epoch else "nothing was kept"
        return DivergedError(
            f"{self.run.path}: expected a finite loss, found none in epoch {epoch + 1} at rate {rate:.3g}; "
            f"{checkpoint_note}; lower training.learning_rate"
        )

    def finish(self, progress: Progress) -> None:
        """Write the float model, the plots and, last, training.json."""
        progress("train", self.recipe.training.epochs, self.recipe.training.epochs, "evaluating")
        best_epoch = self._state.best_epoch if self.recipe.schedule.keep_weights == "best" else 0
        if best_epoch:
            self.fitter.restore_best()
        self.fitter.update_inference_core()
        test = self.predict(self.splits.test.images)
        history.write_csv(self.run.history, self.history)
        predictions = Predictions(test, self.splits.test.labels, self.splits.test.rows, self.splits.test.classes)
        predictions.write(self.run.predictions)
        curves(self.run.curves, history.columns(self.history), kept_epoch=best_epoch)
        confusion(self.run.confusion, predictions)
        seconds = float(history.column(self.history, "seconds").sum())
        images = len(self.batches) * self.batches.shape[0] * len(self.history)
        save_trained_run(
            self.run,
            self.fitter.inference_core,
            self.splits,
            validation=self.predict(self.splits.validation.images),
            test=test,
            trained_parameters=self.fitter.core.count_params(),
            epochs=len(self.history),
            kept_epoch=best_epoch or len(self.history),
            chosen_on=_selection_split(self.recipe),
            precision=self.precision,
            dropped=self.splits.dropped,
            train={"images": len(self.splits.train)},
            **self.sources.to_json(),
            seconds=round(seconds, 1),
            images_per_second=round(images / seconds, 1),
        )
        self.run.checkpoint.unlink(missing_ok=True)
        files.remove_leftovers(self.run.checkpoint)


class _ProgressReporter:
    """Reports progress at most every PROGRESS_INTERVAL_SECONDS, and at the end of each epoch."""

    def __init__(self, progress: Progress, *, done: int, epochs: int) -> None:
        self._progress, self._first_epoch, self._epochs = progress, done, epochs
        self._start = self._epoch_start = self._last_report = time.perf_counter()

    def start_epoch(self) -> None:
        """Start the clock of an epoch."""
        self._epoch_start = time.perf_counter()

    def report(self, epoch: int, share: float, *, images: int) -> None:
        """Report that `share` of `epoch`, and `images` of its images, are done."""
        now = time.perf_counter()
        if share < 1.0 and now - self._last_report < PROGRESS_INTERVAL_SECONDS:
            return
        self._last_report = now
        done = epoch + share
        remaining_seconds = (now - self._start) / (done - self._first_epoch) * (self._epochs - done)
        images_per_second = images / (now - self._epoch_start)
        note = (
            f"epoch {epoch + 1}/{self._epochs}, {images_per_second:,.0f} images/s, "
            f"{_format_duration(remaining_seconds)} left"
        )
        self._progress("train", done, self._epochs, note)


def _identity(recipe: Recipe, data_digest: str, sources: _TransferSources) -> str:
    """Return a digest of all that the weights depend on."""
    text = recipe.digest("data", "network", "training", "augmentation", "schedule") + data_digest
    text += recipe.digest("distillation") if sources.distills else ""
    text += sources.soft_labels.sha256 if sources.soft_labels else ""
    text += "".join(teacher.digest for teacher in sources.teachers)
    text += sources.start.digest if sources.start else ""
    return hashlib.sha256(text.encode()).hexdigest()


def _pixel_statistics(split: Dataset) -> tuple[float, float]:
    """Return mean and standard deviation of all pixels of a split, scaled to [0, 1]."""
    counts = np.bincount(split.images.ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = float(counts @ values / counts.sum())
    return mean, float(np.sqrt(counts @ np.square(values - mean) / counts.sum())) or 1.0


def _selection_split(recipe: Recipe) -> str | None:
    """Return the split whose metrics selected the weights; the test accuracy is biased if that is `test`."""
    if not recipe.schedule.uses_metrics:
        return None
    if not recipe.schedule.uses_validation:
        return "train"
    return "test" if recipe.data.validation_is_test else "validation"


def _format_duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
