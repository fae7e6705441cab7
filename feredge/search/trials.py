"""The trials of a study in its storage: asked for, claimed by one worker, taken up when that worker dies."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from feredge import files
from feredge.run import RunFolder
from feredge.search.sampling import TrialSeededSampler, make_pruner
from feredge.search.storage import GRACE_SECONDS, Retries, open_database, open_journal, without_password
from feredge.search.study import StudyFolder, StudySettings

FOLDER_ATTRIBUTE, STARTS_ATTRIBUTE, PAUSES_ATTRIBUTE = "folder", "starts", "pauses"
SECONDS_ATTRIBUTE = "seconds"
MISFIT_ATTRIBUTE = "misfit"
"""Why a candidate does not fit the limits; such a trial is not trained, and does not count."""
Result = TypeVar("Result")


class ClaimedTrial:
    """A trial that this process works on, until `release`.

    Attributes:
        trial: Optuna's.
        name: of its folder, `00012`.
        run: its run folder.
    """

    def __init__(self, store: TrialStore, trial: Trial, name: str, run: RunFolder, handle: int) -> None:
        self.trial, self.name, self.run = trial, name, run
        self._store, self._handle = store, handle
        self._heartbeat = _Heartbeat(store.storage, trial._trial_id)
        self._phase, self._phase_start = "", time.monotonic()
        self._seconds: dict[str, float] = {}
        self._storage_seconds = store.seconds

    def get(self, name: str, default: Any = None) -> Any:
        """Return a user attribute."""
        return self._store.call(lambda: self.trial.user_attrs).get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Set a user attribute, a JSON value."""
        self._store.call(lambda: self.trial.set_user_attr(name, value))

    def set_constraint(self, name: str, value: float) -> None:
        """Tell the sampler how far the trial exceeds a limit, unless it was told before."""
        if name not in self._store.call(lambda: self.trial.constraints):
            self._store.call(lambda: self.trial.set_constraint(name, value))

    def report(self, epoch: int, value: float) -> bool:
        """Report the value after an epoch; return whether the trial is to end there."""
        stored = self._store.call(lambda: self.trial.storage.get_trial(self.trial._trial_id))
        if epoch not in stored.intermediate_values:  # a resumed trial may have reported it
            self._store.call(lambda: self.trial.report(value, epoch))
        return self._store.call(self.trial.should_prune)

    def start_phase(self, name: str) -> None:
        """Begin a phase, whose seconds are recorded when the trial ends."""
        now = time.monotonic()
        if self._phase:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._phase_start
        self._phase, self._phase_start = name, now

    def end(self, state: TrialState, value: float | None = None) -> None:
        """End the trial."""
        self.start_phase("")
        self.set(SECONDS_ATTRIBUTE, {**self._seconds, "storage": self._store.seconds - self._storage_seconds})
        self._store.end(self.trial.number, state, value)

    def release(self) -> None:
        """Give the trial up: another worker may take it up if it has not ended."""
        self._heartbeat.stop()
        os.close(self._handle)


class TrialStore:
    """A study's trials; all contact with its storage.

    Attributes:
        seconds: time spent in the storage and the sampler so far.
    """

    def __init__(self, folder: StudyFolder, settings: StudySettings, url: str | None = None) -> None:
        """Open the study's storage, and create the study there if it is new.

        Args:
            folder: of the study.
            settings: of the study.
            url: of a database; None for the journal in the folder.

        Raises:
            StorageError: a database that cannot be used.
        """
        self.folder, self._settings, self._in_database = folder, settings, url is not None
        with folder.lock():
            self.storage = open_journal(folder.journal) if url is None else open_database(url)
        self.seconds = 0.0
        self._retries = Retries(str(folder.journal) if url is None else without_password(url))
        space = settings.parsed_space
        self.study = self.call(
            lambda: optuna.create_study(
                study_name=settings.study_name,
                storage=self.storage,
                sampler=TrialSeededSampler(space.settings.sampler, settings.seed),
                pruner=make_pruner(space.settings),
                direction="maximize",
                load_if_exists=True,
            )
        )

    def call(self, function: Callable[[], Result]) -> Result:
        """Return what a call of the storage returns; it is repeated while the storage is away."""
        start = time.monotonic()
        try:
            return self._retries.call(function)
        finally:
            self.seconds += time.monotonic() - start

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number."""
        return self.call(lambda: self.study.get_trials(deepcopy=False))

    def next(self, count: int | None) -> ClaimedTrial | None:
        """Claim a trial whose worker has died, or a new one; None if `count` have been started that fit the limits."""
        with self.folder.lock():
            if self._in_database:
                self._fail_stale()
            elif (claimed := self._abandoned()) is not None:
                return claimed
            states = [trial.state for trial in self.trials() if is_counted(trial)]
            if TrialState.WAITING not in states and count is not None and len(states) >= count:
                return None
            return self._claim(self.call(self.study.ask))

    def running(self) -> bool:
        """Return whether a trial is unfinished, here or in another process."""
        unfinished = (TrialState.RUNNING, TrialState.WAITING)
        return any(trial.state in unfinished for trial in self.trials())

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """End a trial; nothing if it was ended before."""
        self.call(lambda: self.study.tell(number, value, state=state, skip_if_finished=True))

    def reference_ms(self, measured_ms: float) -> float:
        """Return the reference network's latency that ratios are multiplied by: the first that was measured."""
        attributes = self.call(lambda: self.study.user_attrs)
        if "reference_ms" not in attributes:
            self.call(lambda: self.study.set_user_attr("reference_ms", measured_ms))
        return float(attributes.get("reference_ms", measured_ms))

    def _fail_stale(self) -> None:
        """End the trials without a heartbeat; Optuna enqueues those again that had begun."""
        self.call(lambda: optuna.storages.fail_stale_trials(self.study))
        oldest = datetime.now() - timedelta(seconds=GRACE_SECONDS)
        for trial in self.trials():  # of a worker that died before its first heartbeat
            unstarted = trial.state == TrialState.RUNNING and FOLDER_ATTRIBUTE not in trial.user_attrs
            if unstarted and trial.datetime_start is not None and trial.datetime_start < oldest:
                self.end(trial.number, TrialState.FAIL, None)

    def _abandoned(self) -> ClaimedTrial | None:
        """Claim a running trial whose lock is free."""
        for trial in self.trials():
            if trial.state == TrialState.RUNNING:
                claimed = self._claim(Trial(self.study, trial._trial_id))
                if claimed is not None:
                    return claimed
        return None

    def _claim(self, trial: Trial) -> ClaimedTrial | None:
        """Lock a trial's folder and count its start; None if another process has the lock."""
        name = str(self.call(lambda: trial.user_attrs).get(FOLDER_ATTRIBUTE, f"{trial.number:05}"))
        run = self.folder.trial(name)
        run.path.mkdir(parents=True, exist_ok=True)
        path = run.path / ".lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        if files.lock(handle, path) is False:
            os.close(handle)
            return None
        if isinstance(self.storage, RDBStorage):
            storage = self.storage
            self.call(lambda: storage.record_heartbeat(trial._trial_id))
        claimed = ClaimedTrial(self, trial, name, run, handle)
        claimed.set(FOLDER_ATTRIBUTE, name)
        claimed.set(STARTS_ATTRIBUTE, claimed.get(STARTS_ATTRIBUTE, 0) + 1)
        return claimed


def is_counted(trial: FrozenTrial) -> bool:
    """Return whether a trial counts as one of those that a study is to have."""
    return trial.state != TrialState.FAIL and MISFIT_ATTRIBUTE not in trial.user_attrs


class _Heartbeat:
    """A thread that tells a database that a trial's worker is alive; nothing for a journal."""

    def __init__(self, storage: BaseStorage, trial_id: int) -> None:
        self._stopped = threading.Event()
        if isinstance(storage, RDBStorage):
            threading.Thread(target=self._run, args=(storage, trial_id), daemon=True).start()

    def _run(self, storage: RDBStorage, trial_id: int) -> None:
        while True:
            with suppress(Exception):  # a database that is away for a time; the trial's own calls report it
                storage.record_heartbeat(trial_id)
            if self._stopped.wait(storage.heartbeat_interval):
                return

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
