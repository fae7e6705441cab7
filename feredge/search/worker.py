"""Workers: each runs trials until the study has enough, one in this process or several in processes of their own."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

from optuna.exceptions import UpdateFinishedTrialError

from feredge import data
from feredge.data.dataset import Dataset
from feredge.devices.remote import check_device
from feredge.devices.ssh import Device
from feredge.errors import Cancelled, FeredgeError, RunError
from feredge.inference.parallel import exit_with_parent
from feredge.progress import Progress, quiet
from feredge.recipes.schema import DataView
from feredge.search.costs import Limits
from feredge.search.dimensions import Table
from feredge.search.finale import FINALISTS, run_finale
from feredge.search.machine_lock import MachineLock
from feredge.search.results import NoCandidateError, StudyResults, collect_results, importances
from feredge.search.space import parse
from feredge.search.study import STUDY_SCHEMA, StudyFolder, StudySettings
from feredge.search.trial_runner import TrainingInputs, TrialRunner
from feredge.search.trials import PAUSES_ATTRIBUTE, TrialStore, is_counted

POLL_SECONDS = 1.0
MAX_MISFITS = 200
"""Candidates of which at least one must fit the limits."""
SHOWN_FRONT = 3
MAX_RESTARTS = 3
"""How often in a row a worker process that was killed is started again."""


class OutOfTime(Exception):
    """The time of a search has passed; its unfinished trials go on in the next one."""


@dataclass(frozen=True)
class WorkOrder:
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
        finalists: candidates that are trained again at the end; None for FINALISTS once the study has `count` trials.
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
def _load(order: WorkOrder, size: int, channels: int) -> Dataset:
    if isinstance(order.source, Dataset):
        dataset = order.source
        if dataset.images.shape[1:] != (size, size, channels):
            expected, actual = (
                "x".join(map(str, sides)) for sides in ((size, size, channels), dataset.images.shape[1:])
            )
            raise RunError(f"expected images of {expected}, found {actual}; pass the data's path")
    else:
        dataset = data.load(order.source, size=size, channels=channels, skip_bad_rows=order.skip_bad_rows)
    return data.exclude_rows(dataset, list(order.excluded_rows)) if order.excluded_rows else dataset


class Search:
    """A worker's loop over the trials of a study, in this process."""

    def __init__(self, order: WorkOrder, progress: Progress = quiet) -> None:
        """Open the study; see `TrialStore` for errors."""
        self.order, self.folder = order, StudyFolder(order.folder)
        self.settings = self.folder.settings()
        self.store = TrialStore(self.folder, self.settings, order.storage)
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
            claimed = self.store.next(self.order.count)
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

        order = self.order
        start = None if order.start is None else load_trained(order.start)
        inputs = TrainingInputs(order.load, start, [load_trained(path) for path in order.teachers], order.device)
        return TrialRunner(self.store, self.settings, inputs, MachineLock(), self._trial_progress)

    def _is_late(self) -> bool:
        return self.order.deadline is not None and time.time() >= self.order.deadline

    def _trial_progress(self, task: str, done: float, total: float, note: str = "") -> None:
        """Report the progress of a trial's training as that of the search."""
        if self._is_late():
            raise OutOfTime
        share = min(done / total, 0.99) if total else 0.0
        trial = f"trial {self._trial}: {note}"
        self._report_progress(share, "; ".join(filter(None, (trial, self._summary))))

    def _report_progress(self, share: float, note: str) -> None:
        total = max(self.order.count or 0, self._ended + 1 if share or self.order.count is None else self._ended)
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
            if not self.order.keep_all:
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


def _work(order: WorkOrder, pipe: Connection) -> None:
    """Run a worker process; send the message and exit code of an error through the pipe."""
    exit_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    if order.threads is not None:
        from feredge.keras import tf

        tf.config.threading.set_intra_op_parallelism_threads(order.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    try:
        Search(order).run()
    except FeredgeError as error:
        pipe.send((str(error), error.exit_code))


def run_workers(order: WorkOrder, count: int, progress: Progress = quiet) -> None:
    """Run `count` worker processes until the study has enough trials, or the time has passed.

    A worker that is killed is started again; its trial goes on in any of them.

    Raises:
        RunError: a worker that is killed MAX_RESTARTS times without ending a trial.
        FeredgeError: the first error of a worker.
    """
    search = Search(order, progress)
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []

    def start() -> None:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(order, sender), daemon=True)
        process.start()
        sender.close()
        workers.append((process, receiver))

    for _ in range(count):
        start()
    kills, ended_at_kill = 0, 0
    try:
        while workers:
            results = search.report()
            wait([process.sentinel for process, _ in workers], timeout=POLL_SECONDS)
            for process, receiver in [one for one in workers if not one[0].is_alive()]:
                workers.remove((process, receiver))
                if receiver.poll():
                    _raise_error(receiver)
                if process.exitcode == 0:
                    continue
                ended = len(results.complete)
                kills, ended_at_kill = (kills + 1 if ended == ended_at_kill else 1), ended
                if kills > MAX_RESTARTS * count:
                    raise RunError(f"{order.folder}: worker processes are killed again and again (out of memory?)")
                start()
    finally:
        for process, _ in workers:
            process.terminate()
            process.join()


def _raise_error(receiver: Connection) -> None:
    """Raise the error that a worker sent; nothing for one that was killed before it sent any."""
    with suppress(EOFError):
        message, exit_code = receiver.recv()
        error = FeredgeError(message)
        error.exit_code = exit_code
        raise error


def run_study(
    order: WorkOrder,
    space: Table,
    *,
    seed: int,
    limits: Limits,
    workers: int = 1,
    progress: Progress = quiet,
) -> StudyResults:
    """Begin a study, or go on with it, until it has the trials of the order or its time has passed.

    Args:
        order: folder, storage, data and end.
        space: the TOML table of a valid space.
        seed: of the sampler.
        limits: of the candidates' costs.
        workers: number of processes; 1 works in this one.
        progress: called between steps.

    Raises:
        FeredgeError: see `feredge.search`.
    """
    from feredge.importing.from_onnx import load_trained

    base = parse(space, "the space").base
    dataset = order.load(base["data"]["size"])
    settings = StudySettings(
        STUDY_SCHEMA,
        space,
        dataset.source,
        dataset.digest,
        rows_digest(order.excluded_rows),
        seed,
        limits,
        "" if order.device is None else str(order.device.address),
        order.core,
        "" if order.start is None else load_trained(order.start).digest,
        tuple(load_trained(path).digest for path in order.teachers),
    )
    if order.device is not None:
        check_device(order.device)
    StudyFolder.claim(order.folder, settings)
    if workers > 1:
        run_workers(replace(order, threads=max(1, (os.cpu_count() or 1) // workers)), workers, progress)
    else:
        Search(order, progress).run()
    search = Search(replace(order, deadline=None), progress)
    results = collect_results(settings, search.store.trials(), importances(search.store.study))
    results.write(search.folder)
    finalists = order.finalists
    if finalists is None:
        enough = order.count is not None and sum(map(is_counted, search.store.trials())) >= order.count
        finalists = FINALISTS if enough and not search.store.running() else 0
    run_finale(search.make_runner(), results.front[:finalists], progress)
    return results


def rows_digest(rows: tuple[int, ...]) -> str:
    """Return the SHA-256 of excluded rows; empty without."""
    return hashlib.sha256(json.dumps(sorted(set(rows))).encode()).hexdigest() if rows else ""
