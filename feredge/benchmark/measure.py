"""The measuring itself: each subject in worker processes of its own.

Four stages: cold start and memory in fresh processes; answers to every test image; to corrupted copies of some;
latency in interleaved rounds.
Whatever is timed runs alone, one process awake at a time; answers come from as many processes as there are cores.
A subject that fails in one stage is left out of the next, and the others go on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

import numpy as np

from feredge.benchmark import corruptions, latency
from feredge.benchmark.candidates import Subject
from feredge.benchmark.results import Effort
from feredge.benchmark.trial import PATIENCE, Copy, Trial
from feredge.benchmark.workers.client import Worker, WorkerFailure
from feredge.benchmark.workers.pool import Alive, bound
from feredge.inference.contract import Images
from feredge.progress import Progress, quiet

FEWEST = 125
"""Images whose corrupted copies are looked at, however slow the files are."""
LONGEST = 6
"""Times the seconds that a row is timed for: so long a file may take for the copies, on average."""


def measure(
    subjects: Sequence[Subject],
    images: Images,
    classes: tuple[str, ...],
    effort: Effort,
    *,
    patience: float = PATIENCE,
    progress: Progress = quiet,
) -> list[Trial]:
    """Measure every subject on `uint8 (N, H, W, 1)` test images, and return a trial for each, in their order."""
    trials = [Trial(subject, patience, failure=subject.failure or None) for subject in subjects]
    measure_panels([Panel(trials, images, classes)], effort, progress=progress)
    return trials


@dataclass(frozen=True, eq=False)
class Panel:
    """Trials that are judged on the same images."""

    trials: Sequence[Trial]
    images: Images
    classes: tuple[str, ...]


def measure_panels(panels: Sequence[Panel], effort: Effort, *, progress: Progress = quiet) -> Effort:
    """Measure the trials of several panels together, their rounds interleaved. Return the effort that it took."""
    trials = [trial for panel in panels for trial in panel.trials]
    sight: dict[str, _Sight] = {}
    made: dict[str, _Sight] = {}  # networks that share their test images share the copies of them
    for panel in panels:
        digest = hashlib.sha256(panel.images.tobytes()).hexdigest()
        if digest not in made:
            made[digest] = _Sight(panel.images)
        seen = made[digest]
        for trial in panel.trials:
            sight[trial.subject.name] = seen
            if trial.failure is None and trial.subject.classes != panel.classes:
                found = ", ".join(trial.subject.classes)
                trial.failure = f"expected the classes {', '.join(panel.classes)}, found {found}"

    def answer(trial: Trial) -> None:
        seen = sight[trial.subject.name]
        with Worker(threads=1) as worker:
            trial.open(worker, 1)
            trial.look(seen.images)
            if trial.subject.kind != "baseline":  # its time does not go into products
                trial.count()

    def answer_again(trial: Trial) -> None:
        with Worker(threads=1) as worker:
            trial.open(worker, 1)
            trial.look_again(sight[trial.subject.name].copies)

    def ready(trial: Trial) -> None:
        trial.give(sight[trial.subject.name].pictures, sight[trial.subject.name].crops)

    _each(
        trials,
        "cold start",
        progress,
        lambda trial: trial.start_cold(sight[trial.subject.name].images, effort.cold_starts),
    )
    _together(trials, "accuracy", progress, answer)
    if effort.corrupted:
        most = max(len(seen.images) for seen in made.values())
        effort = replace(effort, corrupted=affordable(min(effort.corrupted, most), trials, effort.seconds))
        for seen in made.values():
            seen.corrupt(effort)
        _together(trials, "spoiled images", progress, answer_again)
    for threads in effort.threads:
        task = f"latency, {threads} thread" + "s" * (threads > 1)
        going = _going(trials)
        turns = [going[index] for turn in latency.order(len(going), effort) for index in turn]
        with Alive(threads, ready) as alive:

            def turn(trial: Trial, alive: Alive = alive, threads: int = threads) -> None:
                try:
                    alive.wake(trial)
                    trial.turn(effort, threads)
                    alive.weigh(trial)
                except WorkerFailure:
                    alive.drop(trial)
                    raise

            _each(turns, task, progress, turn)
    return effort


class _Sight:
    """What trials see: every image and corrupted copies; the pictures and colour crops that calls are timed on."""

    def __init__(self, images: Images) -> None:
        chosen = np.linspace(0, len(images) - 1, min(len(images), latency.PICTURES)).astype(int)
        self.images = images
        self.copies: dict[Copy, Images] = {}
        self.pictures = images[chosen]
        self.crops = np.stack([crop(picture) for picture in self.pictures])

    def corrupt(self, effort: Effort) -> None:
        """Make the copies."""
        chosen = self.images[corruptions.sample(len(self.images), effort.corrupted, effort.seed)]
        self.copies = {
            (kind, strength): corruptions.corrupt(chosen, kind, strength, seed=effort.seed)
            for kind, values in corruptions.STRENGTHS.items()
            for strength in range(1, len(values) + 1)
        }


def crop(picture: Images) -> Images:
    """Make a colour crop of latency.CROP pixels from a gray picture `(H, W, 1)`, as a camera would bring it."""
    rows, columns = (np.arange(latency.CROP) * side // latency.CROP for side in picture.shape[:2])
    return np.ascontiguousarray(np.broadcast_to(picture[rows][:, columns], (latency.CROP, latency.CROP, 3)))


def affordable(count: int, trials: Sequence[Trial], seconds: float) -> int:
    """Return of how many images, `count` at most, the copies are looked at: slow networks would need hours for all.

    All trials get the same copies, so it is their mean time that counts. It is halved until it fits, because a count
    that followed the time closely would be another one in each run.

    Args:
        seconds: that a row is timed for.
    """
    copies = sum(map(len, corruptions.STRENGTHS.values()))
    each = float(np.mean([trial.each for trial in _going(trials)] or [0.0]))
    while count // 2 >= FEWEST and count * copies * each > LONGEST * seconds:
        count //= 2
    return count


def _going(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.failure is None]


def _work(trial: Trial, work: Callable[[Trial], object]) -> None:
    if trial.failure is None:
        with trial.guard():
            work(trial)


def _each(turns: Sequence[Trial], task: str, progress: Progress, work: Callable[[Trial], object]) -> None:
    """Do work one after the other: what is timed runs alone."""
    for index, trial in enumerate(turns):
        progress(task, index, len(turns), trial.subject.name)
        _work(trial, work)
    progress(task, len(turns), len(turns))


def _together(trials: Sequence[Trial], task: str, progress: Progress, work: Callable[[Trial], object]) -> None:
    """Do work that nobody times, as many trials at once as there are cores and memory for their workers."""
    progress(task, 0, len(trials))
    largest = max((trial.memory.peak for trial in trials if trial.memory), default=1)
    pool = ThreadPoolExecutor(max_workers=max(1, min(os.cpu_count() or 1, bound() // largest)))
    try:
        futures = {pool.submit(_work, trial, work): trial for trial in trials}
        for index, future in enumerate(as_completed(futures), start=1):
            future.result()
            progress(task, index, len(trials), futures[future].subject.name)
    finally:  # after Ctrl-C the workers are gone, and what has not begun must not begin
        pool.shutdown(cancel_futures=True)
