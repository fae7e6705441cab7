"""Optuna storages of studies: a journal file on one machine, a database for several, with retries."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

from feredge.errors import FeredgeError, one_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

RETRY_SECONDS = 120.0
"""How long a storage may be away before a study stops."""
CONNECT_SECONDS = 10.0
HEARTBEAT_SECONDS = 30
GRACE_SECONDS = 120
"""A trial on another machine without a heartbeat for so long counts as dead."""
Result = TypeVar("Result")

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with Study.optimize")


class StorageError(FeredgeError):
    """A study's storage that cannot be used."""


class _JournalLock(BaseJournalFileLock):
    """A lock on the journal that ends with its process; Optuna's own outlives a killed one for half a minute."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f".{path.name}.lock")
        self._handle = -1

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Release it."""
        os.close(self._handle)


def open_journal(path: Path) -> BaseStorage:
    """Return the journal storage in the file `path`, after removing a line that a killed process wrote in part."""
    lock = None if fcntl is None else _JournalLock(path)
    if lock is not None:
        lock.acquire()
        _remove_partial_line(path)
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _remove_partial_line(path: Path) -> None:
    if path.is_file() and not (content := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def open_database(
    url: str, *, heartbeat_seconds: int = HEARTBEAT_SECONDS, grace_seconds: int = GRACE_SECONDS
) -> BaseStorage:
    """Return the storage in a database, `postgresql+psycopg://USER:PASSWORD@HOST/NAME`.

    Trials whose worker sends no heartbeat for `grace_seconds` are enqueued again, with what they have reported.

    Raises:
        StorageError: no such database, a missing driver, or SQLite, which locks with several workers.
    """
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
    from sqlalchemy.exc import ArgumentError

    shown = without_password(url)
    if url.startswith("sqlite"):
        raise StorageError(f"--storage {shown}: expected a database server, found SQLite, which locks several workers")

    def connect() -> BaseStorage:
        try:
            return RDBStorage(
                url,
                engine_kwargs={"pool_pre_ping": True},  # a connection that the server closed is opened again
                heartbeat_interval=heartbeat_seconds,
                grace_period=grace_seconds,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True),
            )
        except (ImportError, ValueError, ArgumentError) as error:
            raise StorageError(f"--storage {shown}: {_reason(error, url)}") from error

    return Retries(shown, CONNECT_SECONDS).call(connect)


class Retries:
    """Repeats calls of a storage that is away for a time.

    Args:
        storage: its name in messages.
        seconds: how long it may be away.
    """

    def __init__(self, storage: str, seconds: float = RETRY_SECONDS) -> None:
        self._storage, self._seconds = storage, seconds

    def call(self, function: Callable[[], Result]) -> Result:
        """Return what `function` returns.

        Raises:
            StorageError: it failed for too long.
        """
        deadline, pause = time.monotonic() + self._seconds, 0.2
        while True:
            try:
                return function()
            except _away_errors() as error:
                if time.monotonic() + pause > deadline:
                    raise StorageError(
                        f"--storage {self._storage}: expected a database that responds, found none for "
                        f"{self._seconds:.0f} s ({_reason(error, self._storage)}); the same command goes on from here"
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, 5.0)


def _away_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of a database that cannot be reached."""
    from sqlalchemy.exc import DBAPIError

    return optuna.exceptions.StorageInternalError, DBAPIError


def _reason(error: BaseException, url: str) -> str:
    """Return the first line of the innermost error, without the password in `url`."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = one_line(error, 200)
    password = re.search(r"//[^:/@]*:([^@]*)@", url)
    return text.replace(password[1], "***") if password and password[1] else text


def without_password(url: str) -> str:
    """Return a database's URL with `***` for its password."""
    return re.sub(r"(//[^:/@]*):[^@]*@", r"\1:***@", url)
