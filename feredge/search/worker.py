"""A worker: it runs trials until the study has enough, or the time has passed."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path

from optuna.exceptions import UpdateFinishedTrialError

from feredge import data
from feredge.data.dataset import Dataset
from feredge.devices.ssh import Device
from feredge.errors import Cancelled, RunError
from feredge.progress import Progress, quiet
from feredge.recipes.schema import DataView
from feredge.search.machine_lock import MachineLock
from feredge.search.results import NoCandidateError, StudyResults, collect_results
from feredge.search.study import StudyFolder
from feredge.search.trial_runner import TrainingInputs, TrialRunner
from feredge.search.trials import PAUSES_ATTRIBUTE, TrialStore

POLL_SECONDS = 1.0
MAX_MISFITS = 200
"""Candidates of which at least one must fit the limits."""
SHOWN_FRONT = 3


class OutOfTime(Exception):
    """The time of a search has passed; its unfinished trials go on in the next one."""


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker process gets.

    Attributes:
        folder: of the study.
        storage: URL of a database; None for the journal.
        source: the data, or where they are read.
        skip_bad_rows: skip invalid csv rows.
        excluded_rows: row numbers excluded from training and validation.
        start: path of a network to start from.
        teachers: paths of teachers.
        count: trials that the study is to have; None without an end.
        deadline: `time.time()` at which the search ends; None without an end.
        threads: of TensorFlow; None for its default.
        keep_all: keep the weights of all trials, not only of those on the front.
        device: that latencies are measured on; None for this machine.
        core: Arm core whose instructions are counted; empty for none.
        finalists: candidates to train again at the end; None for FINALIST_COUNT once the study has `count` trials.
    """

    folder: Path
    storage: str | None
    source: str | Dataset
    skip_bad_rows: bool = False
    excluded_rows: tuple[int, ...] = ()
    start: Path | None = None
    teachers: tuple[Path, ...] = ()
    count: int | None = None
    deadline: float | None = None
    threads: int | None = None
    keep_all: bool = False
    device: Device | None = None
    core: str = ""
    finalists: int | None = None

    def load(self, view: DataView) -> Dataset:
        """Return the data with images of the view's size and channels; the last ones are kept in memory."""
        return _load(self, view.size, view.channels)


@functools.lru_cache(maxsize=4)
def _load(options: WorkerOptions, size: int, channels: int) -> Dataset:
    if isinstance(options.source, Dataset):
        dataset = options.source
        if dataset.images.shape[1:] != (size, size, channels):
            expected, actual = (
                "x".join(map(str, sides)) for sides in ((size, size, channels), dataset.images.shape[1:])
            )
            raise RunError(f"expected images of {expected}, found {actual}; pass the data's path")
    else:
        dataset = data.load(options.source, size=size, channels=channels, skip_bad_rows=options.skip_bad_rows)
    return data.exclude_rows(dataset, list(options.excluded_rows)) if options.excluded_rows else dataset


class Search:
    """A worker's loop over the trials of a study, in this process."""

    def __init__(self, options: WorkerOptions, progress: Progress = quiet) -> None:
        """Open the study; see `TrialStore` for errors."""
        self.options, self.folder = options, StudyFolder(options.folder)
        self.settings = self.folder.settings()
        self.store = TrialStore(self.folder, self.settings, options.storage)
        self._progress = progress
        self._results: StudyResults | None = None
        self._ended, self._summary, self._trial = 0, "", ""

    def run(self) -> None:
        """Run trials until the study has enough, or the time has passed.

        Raises:
            NoCandidateError: none of many candidates fits the limits.
            FeredgeError: what a trial raises; it is left as it is, and goes on in the next search.
        """
        runner = self.make_runner()
        while not self._is_late():
            self._report_progress(0.0, self._summary)
            claimed = self.store.next(self.options.count)
            if claimed is None:
                if not self.store.running():
                    break
                time.sleep(POLL_SECONDS)  # another process's trial may have to be taken up
                self.report()
                continue
            self._trial = claimed.name.lstrip("0") or "0"
            try:
                runner.run(claimed)
            except UpdateFinishedTrialError:  # counted as dead, and taken up by another process
                continue
            except OutOfTime:
                claimed.set(PAUSES_ATTRIBUTE, claimed.get(PAUSES_ATTRIBUTE, 0) + 1)
                break
            except (KeyboardInterrupt, Cancelled):
                claimed.set(PAUSES_ATTRIBUTE, claimed.get(PAUSES_ATTRIBUTE, 0) + 1)
                raise
            finally:
                claimed.release()
            self.report(check=True)

    def make_runner(self) -> TrialRunner:
        """Return what runs the trials."""
        from feredge.importing.from_onnx import load_trained

        options = self.options
        start = None if options.start is None else load_trained(options.start)
        inputs = TrainingInputs(options.load, start, [load_trained(path) for path in options.teachers], options.device)
        return TrialRunner(self.store, self.settings, inputs, MachineLock(), self._trial_progress)

    def _is_late(self) -> bool:
        return self.options.deadline is not None and time.time() >= self.options.deadline

    def _trial_progress(self, task: str, done: float, total: float, note: str = "") -> None:
        """Report the progress of a trial's training as that of the search."""
        if self._is_late():
            raise OutOfTime
        share = min(done / total, 0.99) if total else 0.0
        trial = f"trial {self._trial}: {note}"
        self._report_progress(share, "; ".join(filter(None, (trial, self._summary))))

    def _report_progress(self, share: float, note: str) -> None:
        total = max(self.options.count or 0, self._ended + 1 if share or self.options.count is None else self._ended)
        self._progress("search", self._ended + share, total, note)

    def report(self, *, check: bool = False) -> StudyResults:
        """Write the results so far, and report them as progress.

        Args:
            check: raise NoCandidateError if many candidates were drawn, and none fits.
        """
        results = collect_results(self.settings, self.store.trials())
        if results != self._results:
            self._results = results
            with self.folder.lock():
                results.write(self.folder)
            if not self.options.keep_all:
                remove_weights(self.folder, results)
        self._ended = ended = sum(trial.state in ("complete", "pruned") for trial in results.trials)
        self._summary = describe_progress(results)
        self._report_progress(0.0, self._summary)
        misfits = sum(trial.state == "misfit" for trial in results.trials)
        if check and not ended and misfits >= MAX_MISFITS:
            nearest = results.nearest_misfit() or results.trials[-1].reason
            raise NoCandidateError(
                f"{self.folder.path}: expected a candidate of {results.limits.describe() or 'this space'}, "
                f"found none among {misfits}; the nearest is {nearest}"
            )
        return results


def remove_weights(folder: StudyFolder, results: StudyResults) -> None:
    """Remove the weights of the trials that have ended and are not on the front."""
    front = {trial.number for trial in results.front}
    for trial in results.trials:
        if trial.state in ("complete", "pruned") and trial.number not in front:
            run = folder.trial(trial.name)
            for path in (run.model, run.checkpoint, run.predictions):
                path.unlink(missing_ok=True)


def describe_progress(results: StudyResults) -> str:
    """Return the state of a study as one line: misfits, and the best of the front."""
    misfits = sum(trial.state == "misfit" for trial in results.trials)
    parts = [f"{misfits} did not fit"] * bool(misfits)
    for trial in results.front[:SHOWN_FRONT]:
        file = trial.file(results.limits)
        cost = "" if file is None else f", {file.size_bytes / 1e3:,.0f} KB"
        cost += "" if file is None or file.latency_ms is None else f", {file.latency_ms:.3g} ms"
        parts.append(f"trial {trial.number}: {trial.accuracy:.2%}{cost}")
    return "; ".join(parts)
