"""The harness's end of a worker: start it, ask it, and know when it has crashed or hangs."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from numpy.typing import NDArray

from feredge.benchmark.workers import protocol
from feredge.inspection.spawn import signal_name, spawn_module, stderr_lines

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
Answer = tuple[dict[str, Any], dict[str, NDArray[Any]]]


class WorkerFailure(Exception):
    """A worker that crashed, hangs, or says that it cannot. Its text is the row's reason."""


class Worker:
    """A process of its own, asleep unless asked. Use it as a context manager, or `close` it."""

    def __init__(self, *, threads: int = 1) -> None:
        variables = {name: str(threads) for name in THREAD_VARIABLES}
        self._process, self._errors = spawn_module("feredge.benchmark.workers.server", variables)
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def _listen(self) -> None:
        try:
            while True:
                self._answers.put(protocol.receive(cast(BinaryIO, self._process.stdout)))
        except Exception:  # it is gone, or a file that it opened makes it write nonsense
            self._answers.put(None)

    def ask(
        self, do: str, *, timeout: float, arrays: dict[str, NDArray[Any]] | None = None, **arguments: Any
    ) -> Answer:
        """Send one request and wait for its answer. WorkerFailure when there is none in `timeout` seconds."""
        try:
            protocol.send(cast(BinaryIO, self._process.stdin), {"do": do, **arguments}, arrays)
            answer = self._answers.get(timeout=timeout)
        except queue.Empty as error:
            self._process.kill()
            raise WorkerFailure(f"{do}: no answer within {timeout:.0f} s; its process was ended") from error
        except OSError as error:
            raise WorkerFailure(self._obituary(do)) from error
        if answer is None:
            raise WorkerFailure(self._obituary(do))
        if "failure" in answer[0]:
            raise WorkerFailure(answer[0]["failure"])
        return answer

    def _obituary(self, do: str) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"was ended by {signal_name(code)}" if code < 0 else f"ended with code {code}"
        lines = [line for line in stderr_lines(self._errors) if not line.startswith("INFO:")]
        return f"{do}: the worker {how}" + (f": {lines[-1][:200]}" if lines else "")

    def close(self) -> None:
        """End the process: politely, then not."""
        with contextlib.suppress(OSError):  # it may have died with a message half sent
            cast(BinaryIO, self._process.stdin).close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()
        cast(BinaryIO, self._process.stdout).close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
