"""The measuring itself: each subject in worker processes of its own.

Three stages: cold start and memory in fresh processes; answers to every test image; latency in interleaved rounds.
Whatever is timed runs alone, one process awake at a time; answers come from as many processes as there are cores.
A subject that fails in one stage is left out of the next, and the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from functools import partial

import numpy as np

from feredge.bench import corruptions, latency
from feredge.bench.process import Worker
from feredge.bench.results import Effort
from feredge.bench.trial import PATIENCE, Copy, Subject, Trial
from feredge.contract import Images
from feredge.progress import Progress, quiet


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
    trials = [Trial(subject, patience) for subject in subjects]
    for trial in trials:
        if trial.subject.classes != classes:
            trial.failure = f"expected the classes {', '.join(classes)}, found {', '.join(trial.subject.classes)}"
    pictures = images[np.linspace(0, len(images) - 1, min(len(images), latency.PICTURES)).astype(int)]
    crops = np.stack([crop(picture) for picture in pictures])
    copies = _copies(images, effort)
    _each(trials, "cold start", progress, lambda trial: trial.start_cold(images, effort.cold_starts))
    for threads in effort.threads:
        task = f"{threads} thread" + "s" * (threads > 1)
        with ExitStack() as stack:
            workers = {trial.subject.name: stack.enter_context(Worker(threads=threads)) for trial in _going(trials)}
            _together(trials, f"open, {task}", progress, partial(_open, workers, threads))
            if threads == effort.threads[0]:
                _together(trials, "accuracy", progress, lambda trial: trial.look(images, copies))
            _together(trials, f"pictures, {task}", quiet, lambda trial: trial.give(pictures, crops))
            going = _going(trials)
            turns = [going[index] for turn in latency.order(len(going), effort) for index in turn]
            _each(turns, f"latency, {task}", progress, partial(Trial.turn, effort=effort, threads=threads))
    return trials


def crop(picture: Images) -> Images:
    """Make a colour crop of latency.CROP pixels from a gray picture `(H, W, 1)`, as a camera would bring it."""
    rows, columns = (np.arange(latency.CROP) * side // latency.CROP for side in picture.shape[:2])
    return np.ascontiguousarray(np.broadcast_to(picture[rows][:, columns], (latency.CROP, latency.CROP, 3)))


def _copies(images: Images, effort: Effort) -> dict[Copy, Images]:
    if not effort.corrupted:
        return {}
    chosen = images[corruptions.sample(len(images), effort.corrupted, effort.seed)]
    return {
        (kind, strength): corruptions.corrupt(chosen, kind, strength, seed=effort.seed)
        for kind, values in corruptions.STRENGTHS.items()
        for strength in range(1, len(values) + 1)
    }


def _open(workers: dict[str, Worker], threads: int, trial: Trial) -> None:
    trial.open(workers[trial.subject.name], threads)


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
    """Do work that nobody times, as many trials at once as there are cores."""
    progress(task, 0, len(trials))
    pool = ThreadPoolExecutor(max_workers=os.cpu_count())
    try:
        futures = {pool.submit(_work, trial, work): trial for trial in trials}
        for index, future in enumerate(as_completed(futures), start=1):
            future.result()
            progress(task, index, len(trials), futures[future].subject.name)
    finally:  # after Ctrl-C the workers are gone, and what has not begun must not begin
        pool.shutdown(cancel_futures=True)
