"""Training: a recipe and a data set in, a run folder with the float model out."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge import files
from feredge.data.dataset import Dataset, Splits
from feredge.data.splits import stratified_sample
from feredge.errors import DataError, RunError
from feredge.plots.epochs import curves
from feredge.plots.outcome import confusion
from feredge.predictions import Predictions
from feredge.progress import Progress, quiet
from feredge.recipes.schema import Recipe
from feredge.run import RunFolder
from feredge.train import checkpoint, history, repeats, schedule, warm_start
from feredge.train import soft_labels as teaching
from feredge.train.batches import Batches
from feredge.train.fitting import Fitter, one_hot, resolve_precision
from feredge.train.networks import build_core, compiled
from feredge.train.record import record
from feredge.train.score import Score, score
from feredge.train.soft_labels import SoftLabels
from feredge.train.warm_start import Trained

NOTE_EVERY = 0.2  # seconds between two words about progress


def train(
    recipe: Recipe,
    dataset: Dataset,
    out: Path,
    *,
    soft_labels: Path | None = None,
    start: Trained | None = None,
    teachers: Sequence[Trained] = (),
    progress: Progress = quiet,
) -> RunFolder:
    """Fit the recipe's network to the data set's training split, in the run folder `out`.

    A finished run is left as it is; an interrupted one goes on after its last whole epoch and ends with the
    same weights as an uninterrupted one on the same machine. The averaged weights of the last epoch are kept, or
    of the best, if the recipe's schedule says so. Where the recipe asks for repeats, they follow: see repeats.py.
    With `soft_labels`, a file of teaching.py, the network learns from them too, as `recipe.distillation` says.
    With `start` its first weights are those of a trained network of the same layers, which may be wider and
    have other numbers of blocks. With `teachers` it learns from what these say of every changed image, too (Beyer et
    al., "Knowledge distillation: A good teacher is patient and consistent", 2022).

    Raises:
        RunError: `out` belongs to something else, another process is at work there, it holds a damaged checkpoint,
            `start` or a teacher does not fit, or the loss is no longer finite.
        DataError: nothing to learn from or to choose by, images of another size than the recipe's, or soft labels
            of others.
    """
    if dataset.images.shape[1:] != (recipe.data.size, recipe.data.size):
        found = "x".join(map(str, dataset.images.shape[1:]))
        raise DataError(f"{dataset.source}: expected {recipe.data.size}x{recipe.data.size} images, found {found}")
    run = RunFolder(Path(out))
    given = _Given(None if soft_labels is None else teaching.read(soft_labels), start, tuple(teachers))
    if run.training.is_file():
        RunFolder.claim(run.path, recipe, dataset)
    else:
        _train_once(recipe, dataset, run, given, progress)
    given.check(run)
    if recipe.training.repeats > 1:
        runs = {recipe.training.seed: run}
        for number, (seed, alone) in enumerate(repeats.others(recipe).items(), start=2):
            folder, told = run.repeats / f"seed-{seed}", repeats.numbered(progress, number, recipe.training.repeats)
            runs[seed] = train(
                alone, dataset, folder, soft_labels=soft_labels, start=start, teachers=teachers, progress=told
            )
        repeats.record(run, runs)
    return run


@dataclass(frozen=True, eq=False)
class _Given:
    """What a training is given beside recipe and data."""

    soft_labels: SoftLabels | None
    start: Trained | None
    teachers: tuple[Trained, ...]

    @property
    def learns(self) -> bool:
        """Say whether anyone teaches, so that the recipe's [distillation] counts."""
        return self.soft_labels is not None or bool(self.teachers)

    def record(self) -> dict[str, Any]:
        """Return what training.json says of it."""
        found: dict[str, Any] = {}
        if self.soft_labels is not None:
            found["soft_labels"] = {"sha256": self.soft_labels.sha256, "teachers": list(self.soft_labels.teachers)}
        if self.teachers:
            found["teachers"] = [teacher.digest for teacher in self.teachers]
        if self.start is not None:
            found["started_from"] = self.start.digest
        return found

    def check(self, run: RunFolder) -> None:
        """Refuse a finished run that was trained on other soft labels, by other teachers or from other weights."""
        figures, own = run.figures(), self.record()
        for key, what in (("soft_labels", "soft labels"), ("teachers", "teachers"), ("started_from", "first weights")):
            if figures.get(key) != own.get(key):
                expected, found = (_short(told.get(key)) for told in (figures, own))
                raise RunError(f"{run.path}: was trained with {what} {expected}, found {found}; choose another folder")


def _short(given: Any) -> str:
    """Return digests of what a training is given in few letters."""
    digests = given["sha256"] if isinstance(given, dict) else given or "none"
    return ", ".join(digest[:12] for digest in ([digests] if isinstance(digests, str) else digests))


def _train_once(
    recipe: Recipe,
    dataset: Dataset,
    run: RunFolder,
    given: _Given,
    progress: Progress,
) -> None:
    from feredge import data

    splits = data.split(dataset, recipe.data)
    if len(np.unique(splits.train.labels)) < 2:
        found = f"{len(splits.train)} images of {len(np.unique(splits.train.labels))}"
        if splits.dropped:
            found += f"; {splits.dropped:,} were left out as duplicates of test or validation images"
        raise DataError(f"{dataset.source}: expected training images of at least two classes, found {found}")
    if recipe.schedule.validates and not len(splits.validation):
        raise DataError(f"{dataset.source}: expected validation images for schedule.watch, found none")
    taught = None if given.soft_labels is None else given.soft_labels.of(splits.train)
    size, classes, channels = recipe.data.size, len(splits.train.classes), recipe.network.repeat
    core = build_core(recipe.network, size=size, classes=classes, channels=channels)  # or it says why not
    if given.start is not None:
        warm_start.check(core, given.start)
    shown = None if recipe.augmentation.sizes else recipe.augmentation.crop or size
    for teacher in given.teachers:
        warm_start.check_teacher(teacher, splits.train.classes, size, shown)
    RunFolder.claim(run.path, recipe, dataset)
    with run.alone():
        if run.training.is_file():  # another process was faster
            return
        _record_splits(run, splits)
        fit = _Fit(run, recipe, dataset.digest, splits, given, taught)
        fit.epochs(progress)
        fit.finish(progress)


def _record_splits(run: RunFolder, splits: Splits) -> None:
    """Add to data.json what the split left: images by split and class, and the duplicates that were dropped."""
    files.write_json(run.data_file, {**run.data(), "splits": splits.counts(), "dropped": splits.dropped})


class _Fit:
    """One call of `train`: goes on from the checkpoint it finds, to the files that a finished run holds."""

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        data: str,
        splits: Splits,
        given: _Given,
        taught: NDArray[np.float32] | None,
    ) -> None:
        self.run, self.recipe, self.splits, self.given = run, recipe, splits, given
        training, split = recipe.training, splits.train
        identity = recipe.digest("data", "network", "training", "augmentation", "schedule") + data
        identity += recipe.digest("distillation") if given.learns else ""
        identity += given.soft_labels.sha256 if given.soft_labels else ""
        identity += "".join(teacher.digest for teacher in given.teachers)
        identity += given.start.digest if given.start else ""
        self.identity = hashlib.sha256(identity.encode()).hexdigest()
        saved = checkpoint.read(run.checkpoint, identity=self.identity) if run.checkpoint.exists() else None
        # A run keeps the precision it began with, also when another machine would choose another.
        self.precision = resolve_precision(training.precision if saved is None else str(saved["precision"]))
        targets = one_hot(split.labels, len(split.classes))
        if taught is not None:
            targets = np.stack([targets, taught], axis=1)
        how, epochs = recipe.augmentation, training.epochs
        self.batches = Batches(split.images, targets, training.batch, how, training.seed, epochs)
        self.fitter = Fitter(
            recipe.network,
            training,
            self.precision,
            batch=self.batches.shape,
            size=recipe.data.size,
            classes=len(split.classes),
            distillation=recipe.distillation,
            soft_labels=taught is not None,
            teachers=given.teachers,
            standard=_standard(split) if recipe.network.standardise else (0.0, 1.0),
            keep_best=recipe.schedule.keep == "best",
        )
        self.predict = compiled(self.fitter.kept)
        self.history = history.empty()
        if saved is not None:
            checkpoint.restore(run.checkpoint, saved, self.fitter.variables)
            self.history = saved["history"]
        elif given.start is not None:
            start = warm_start.narrowed(given.start, self.fitter.averaged, split, training.seed)
            some = stratified_sample(split, warm_start.IMAGES, training.seed)
            warm_start.begin(self.fitter.averaged, start, split.classes, some.images)
            self.fitter.core.set_weights(self.fitter.averaged.get_weights())

    def epochs(self, progress: Progress) -> None:
        """Run the epochs that are left, with a checkpoint after each."""
        told = _Told(progress, done=len(self.history), epochs=self.recipe.training.epochs)
        for epoch in range(len(self.history), self.recipe.training.epochs):
            if self._verdict.stop:
                break
            self.fitter.expect(self.batches.shape_in(epoch))
            started = time.perf_counter()
            rate, loss, accuracy = self._steps(epoch, told)
            seconds = time.perf_counter() - started
            self.fitter.refresh()
            checked = score(self.predict(self.splits.validation.images), self.splits.validation)
            self._check_finite(epoch, rate, checked)
            speed = len(self.batches) * self.batches.shape[0] / seconds
            row = (epoch + 1, rate, loss, accuracy, checked.loss, checked.accuracy, seconds, speed)
            self.history = np.vstack([self.history, row])
            if self.recipe.schedule.keep == "best" and self._verdict.best == epoch + 1:
                self.fitter.remember()
            checkpoint.save(
                self.run.checkpoint,
                self.fitter.variables,
                identity=self.identity,
                precision=self.precision,
                history=self.history,
            )
            history.write_csv(self.run.history, self.history)

    @property
    def _verdict(self) -> schedule.Verdict:
        return schedule.judge(self.history, self.recipe.schedule)

    def _steps(self, epoch: int, told: _Told) -> tuple[float, float, float]:
        """Run one epoch's steps. Return the last rate, the mean loss and the share of hits."""
        training, count, lowered = self.recipe.training, len(self.batches), self._verdict.lowered
        losses, hits, rate = 0.0, 0, 0.0
        told.start()
        for number, (images, targets) in enumerate(self.batches.epoch(epoch)):
            step = epoch * count + number
            rate = schedule.rate(step, count=count, training=training, schedule=self.recipe.schedule, lowered=lowered)
            loss, correct = self.fitter.step(images, targets, np.float32(rate))
            if not math.isfinite(loss):
                raise self._diverged(epoch, rate)
            losses, hits = losses + float(loss), hits + int(correct)
            told.tell(epoch, (number + 1) / count, images=(number + 1) * len(images))
        return rate, losses / count, hits / (count * self.batches.shape[0])

    def _check_finite(self, epoch: int, rate: float, checked: Score) -> None:
        """Keep weights that the last step of an epoch ruined out of the checkpoint."""
        weights = all(np.isfinite(weight).all() for weight in self.fitter.core.get_weights())
        if not weights or (checked.images and not math.isfinite(checked.loss)):
            raise self._diverged(epoch, rate)

    def _diverged(self, epoch: int, rate: float) -> RunError:
        kept = f"the checkpoint of epoch {epoch} is kept" if epoch else "nothing was kept"
        return RunError(
            f"{self.run.path}: expected a finite loss, found none in epoch {epoch + 1} at rate {rate:.3g}; "
            f"{kept}; lower training.rate"
        )

    def finish(self, progress: Progress) -> None:
        """Write the float model, the pictures and, last, training.json."""
        progress("train", self.recipe.training.epochs, self.recipe.training.epochs, "evaluating")
        best = self._verdict.best if self.recipe.schedule.keep == "best" else 0
        if best:
            self.fitter.recall()
        self.fitter.refresh()
        test = self.predict(self.splits.test.images)
        history.write_csv(self.run.history, self.history)
        predictions = Predictions(test, self.splits.test.labels, self.splits.test.rows, self.splits.test.classes)
        predictions.write(self.run.predictions)
        curves(self.run.curves, history.columns(self.history), kept=best)
        confusion(self.run.confusion, predictions)
        seconds = float(history.column(self.history, "seconds").sum())
        images = len(self.batches) * self.batches.shape[0] * len(self.history)
        record(
            self.run,
            self.fitter.kept,
            self.splits,
            validation=self.predict(self.splits.validation.images),
            test=test,
            trained_parameters=self.fitter.core.count_params(),
            epochs=len(self.history),
            kept_epoch=best or len(self.history),
            chosen_on=_chosen_on(self.recipe),
            precision=self.precision,
            dropped=self.splits.dropped,
            train={"images": len(self.splits.train)},
            **self.given.record(),
            seconds=round(seconds, 1),
            images_per_second=round(images / seconds, 1),
        )
        self.run.checkpoint.unlink(missing_ok=True)
        files.remove_leftovers(self.run.checkpoint)


class _Told:
    """What progress has been told, and when; it is told again after NOTE_EVERY seconds, and at each epoch's end."""

    def __init__(self, progress: Progress, *, done: int, epochs: int) -> None:
        self._progress, self._before, self._epochs = progress, done, epochs
        self._began = self._started = self._last = time.perf_counter()

    def start(self) -> None:
        """Begin an epoch."""
        self._started = time.perf_counter()

    def tell(self, epoch: int, share: float, *, images: int) -> None:
        """Say that `share` of `epoch`, and `images` of its images, are done."""
        now = time.perf_counter()
        if share < 1.0 and now - self._last < NOTE_EVERY:
            return
        self._last = now
        done = epoch + share
        left = (now - self._began) / (done - self._before) * (self._epochs - done)
        speed = images / (now - self._started)
        note = f"epoch {epoch + 1}/{self._epochs}, {speed:,.0f} images/s, {_clock(left)} left"
        self._progress("train", done, self._epochs, note)


def _standard(split: Dataset) -> tuple[float, float]:
    """Return mean and standard deviation of all pixels of a split, as shares of the full range."""
    counts = np.bincount(split.images.ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = float(counts @ values / counts.sum())
    return mean, float(np.sqrt(counts @ np.square(values - mean) / counts.sum())) or 1.0


def _chosen_on(recipe: Recipe) -> str | None:
    """Return the split whose figures had a say in the weights: `test` makes its own figure flatter."""
    if not recipe.schedule.chooses:
        return None
    if not recipe.schedule.validates:
        return "train"
    return "test" if recipe.data.validation_is_test else "validation"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
