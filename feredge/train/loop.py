"""The training loop: epochs with a checkpoint after each, and the files of a finished run."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.data.dataset import Dataset, Splits
from feredge.data.splits import stratified_sample
from feredge.errors import DivergedError
from feredge.inference.contract import Images
from feredge.plots.classification import confusion
from feredge.plots.epochs import curves
from feredge.predictions import Predictions
from feredge.progress import Progress
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder
from feredge.train import checkpoint, history, schedule, warm_start
from feredge.train.batches import Batches
from feredge.train.fitting import Fitter, one_hot, resolve_precision
from feredge.train.networks import make_predict_function
from feredge.train.record import save_trained_run
from feredge.train.score import Score, score
from feredge.train.transfer_sources import TransferSources

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


class TrainingLoop:
    """The epochs of one run: starts at its checkpoint, if there is one, and writes the files of a finished run."""

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        data_digest: str,
        splits: Splits,
        sources: TransferSources,
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
        reporter = _ProgressReporter(progress, epochs=self.recipe.training.epochs)
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
    """Reports progress at most every PROGRESS_INTERVAL_SECONDS, and at the end of each epoch.

    Rates and the remaining time leave out the first step, which compiles the graph.
    """

    def __init__(self, progress: Progress, *, epochs: int) -> None:
        self._progress, self._epochs = progress, epochs
        self._start: float | None = None
        self._done_at_start = 0.0
        self._last_report = 0.0
        self.start_epoch()

    def start_epoch(self) -> None:
        """Start the clock of an epoch."""
        self._epoch_start, self._images_at_start = time.perf_counter(), 0

    def report(self, epoch: int, share: float, *, images: int) -> None:
        """Report that `share` of `epoch`, and `images` of its images, are done."""
        now, done = time.perf_counter(), epoch + share
        note = f"epoch {epoch + 1}/{self._epochs}"
        if self._start is None:
            self._start = self._epoch_start = now
            self._done_at_start, self._images_at_start = done, images
        elif share < 1.0 and now - self._last_report < PROGRESS_INTERVAL_SECONDS:
            return
        else:
            remaining_seconds = (now - self._start) / (done - self._done_at_start) * (self._epochs - done)
            images_per_second = (images - self._images_at_start) / (now - self._epoch_start)
            note += f", {images_per_second:,.0f} images/s, {_format_duration(remaining_seconds)} left"
        self._last_report = now
        self._progress("train", done, self._epochs, note)


def _identity(recipe: Recipe, data_digest: str, sources: TransferSources) -> str:
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
