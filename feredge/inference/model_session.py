"""An open model file of a Predictor: batches on several threads, and a new start in a forked child."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from feredge.errors import ArtifactError, FeredgeError
from feredge.inference.contract import Images
from feredge.inference.runtimes import OnnxRunner, Probabilities, Runner, available_cores, open_model

if TYPE_CHECKING:  # imported on first need: classifying a single face in a new process does not need them
    from feredge.inference.foreign import ForeignModel
    from feredge.inference.parallel import InferencePool

CHUNK_SIZE = 16
"""Pictures per chunk of one thread: larger chunks are no faster, and leave cores idle at the end of a batch."""


class ModelSession:
    """A model file that is open until `close`. Thread-safe; after a fork the child reopens it on its first use.

    Args:
        path: the model file.
        runner: the file, open and checked.
        threads: CPU threads per call; None for one for a single batch, and all cores for chunks.
        providers: onnxruntime's.
        foreign: classes and input of a file without a card.

    Attributes:
        card: the file's metadata.
        path, threads, providers: as given.
        concurrency: chunks that run at the same time.
        runner: the open file; None in a forked child until `reopen`, and after `close`.
    """

    def __init__(
        self,
        path: Path,
        runner: Runner,
        *,
        threads: int | None,
        providers: Sequence[str],
        foreign: ForeignModel | None,
    ) -> None:
        self.path = path
        self.card = runner.card
        self.threads = threads
        self.providers = tuple(providers)
        self.concurrency = threads or available_cores()
        self.runner: Runner | None = runner
        self._foreign = foreign
        self._pool: InferencePool | None = None
        self._lock = threading.Lock()
        self._closed = False
        _sessions.add(self)

    def reopen(self) -> Runner:
        """Return the runner, opened again after a fork; ArtifactError if closed, or if the file was replaced."""
        with self._lock:
            self._check_open()
            if self.runner is None:
                self.runner = self._open(self.threads or 1)
            return self.runner

    def predict_chunks(
        self, items: Any, prepare: Callable[[Any, int], Images], *, prepare_in_threads: bool = False
    ) -> Probabilities:
        """Prepare and run chunks of `items`, on as many threads as there are chunks and cores.

        Each thread runs its chunk in a single-threaded session, so that no core waits for another and the activations
        of small networks stay in the core's own cache. By default the caller prepares the chunks one after another,
        because threads that resize compete for Python's global lock. With `prepare_in_threads` each thread prepares
        its own chunk, which is faster if files are decoded.

        Args:
            items: a sequence or an array.
            prepare: returns the batch of a chunk, which starts at the given index.
            prepare_in_threads: see above.

        Returns:
            `float32 (len(items), classes)`.

        Raises:
            ArtifactError: closed, or the network failed.
        """
        runner = self.runner or self.reopen()
        count, classes = len(items), len(self.card.classes)
        size = min(CHUNK_SIZE, -(-count // self.concurrency)) or 1
        starts = range(0, count, size)
        chunks = ((items[start : start + size], start) for start in starts)
        if self.concurrency == 1 or len(starts) < 2:
            parts = [runner.predict(prepare(*chunk)) for chunk in chunks]
        else:
            pool = self._pool or self._open_pool()
            try:
                if prepare_in_threads:
                    parts = list(pool.map(lambda chunk: pool.predict(prepare(*chunk)), chunks))
                else:
                    parts = list(pool.map(pool.predict, (prepare(*chunk) for chunk in chunks)))
            except FeredgeError:
                raise
            except Exception:
                self._check_open()  # another thread may have closed the pool
                raise
        probabilities = np.concatenate(parts) if parts else np.empty((0, classes), np.float32)
        if probabilities.shape != (count, classes):
            raise ArtifactError(f"{self.path}: expected {(count, classes)} outputs, found {probabilities.shape}")
        return probabilities

    def runners(self) -> list[Runner]:
        """Return a single-threaded runner for each thread: one shared session, or an interpreter each."""
        runner = self.runner or self.reopen()
        if not isinstance(runner, OnnxRunner):
            return [self._open(1) for _ in range(self.concurrency)]
        return [runner if self.threads in (None, 1) else self._open(1)] * self.concurrency

    def close(self) -> None:
        """Release threads and memory."""
        with self._lock:
            self._closed = True
            pool, self._pool, self.runner = self._pool, None, None
        if pool is not None:
            pool.close()

    def reset_after_fork(self) -> None:
        """Drop threads and locks of the parent: the threads do not exist here, and the lock may be held for ever."""
        import ctypes

        for inherited in (self.runner, self._pool):
            # Leaked on purpose: a session's destructor would wait for threads that exist only in the parent.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
        self.runner, self._pool, self._lock = None, None, threading.Lock()

    def _check_open(self) -> None:
        if self._closed:
            raise ArtifactError(f"{self.path}: the predictor is closed")

    def _open(self, threads: int) -> Runner:
        runner = open_model(self.path, threads=threads, providers=self.providers, foreign=self._foreign)
        if runner.card != self.card:
            raise ArtifactError(f"{self.path}: the file was replaced by another model")
        return runner

    def _open_pool(self) -> InferencePool:
        from feredge.inference.parallel import InferencePool

        runners = self.runners()
        with self._lock:
            self._check_open()
            if self._pool is None:
                self._pool = InferencePool(runners, self.concurrency)
            return self._pool


_sessions: weakref.WeakSet[ModelSession] = weakref.WeakSet()


def _reset_sessions() -> None:
    for session in list(_sessions):
        session.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_sessions)
