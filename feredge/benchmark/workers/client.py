"""The harness's end of a worker process: start it, send requests, and detect a crash or a hang."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from numpy.typing import NDArray

from feredge.benchmark.workers import protocol
from feredge.inspection.spawn import signal_name, spawn_module, stderr_lines
from feredge.programs import wait_or_kill

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
Response = tuple[dict[str, Any], dict[str, NDArray[Any]]]


class WorkerFailure(Exception):
    """A worker crashed, hangs, or reports an error. Its text becomes the row's failure."""


class Worker:
    """A worker process, idle between requests. Use it as a context manager, or `close` it."""

    def __init__(self, *, threads: int = 1) -> None:
        variables = {name: str(threads) for name in THREAD_VARIABLES}
        self._process, self._stderr = spawn_module("feredge.benchmark.workers.server", variables)
        self._responses: queue.SimpleQueue[Response | None] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def _listen(self) -> None:
        try:
            while True:
                self._responses.put(protocol.receive(cast(BinaryIO, self._process.stdout)))
        except Exception:  # it ended, or a native library writes to its output
            self._responses.put(None)

    def request(
        self,
        operation: str,
        *,
        timeout_seconds: float,
        arrays: dict[str, NDArray[Any]] | None = None,
        meanwhile: Callable[[], None] | None = None,
        **arguments: Any,
    ) -> Response:
        """Send one request and return its response.

        Args:
            meanwhile: called after the request was sent, before the response is awaited.

        Raises:
            WorkerFailure: an error in the worker, its end, or no response in `timeout_seconds`, which kills it.
        """
        try:
            protocol.send(cast(BinaryIO, self._process.stdin), {"operation": operation, **arguments}, arrays)
            if meanwhile is not None:
                meanwhile()
            response = self._responses.get(timeout=timeout_seconds)
        except queue.Empty as error:
            self._process.kill()
            raise WorkerFailure(
                f"{operation}: no answer within {timeout_seconds:.0f} s; its process was killed"
            ) from error
        except OSError as error:
            raise WorkerFailure(self._exit_message(operation)) from error
        if response is None:
            raise WorkerFailure(self._exit_message(operation))
        if "failure" in response[0]:
            raise WorkerFailure(response[0]["failure"])
        return response

    def _exit_message(self, operation: str) -> str:
        code = wait_or_kill(self._process, timeout_seconds=10)
        status = f"was killed by {signal_name(code)}" if code < 0 else f"ended with code {code}"
        lines = [line for line in stderr_lines(self._stderr) if not line.startswith("INFO:")]
        return f"{operation}: the worker {status}" + (f": {lines[-1][:200]}" if lines else "")

    def close(self) -> None:
        """End the process: close its input, and kill it if it does not exit in 5 s."""
        with contextlib.suppress(OSError):  # it may have died with a message half sent
            cast(BinaryIO, self._process.stdin).close()
        wait_or_kill(self._process, timeout_seconds=5)
        self._listener.join()
        cast(BinaryIO, self._process.stdout).close()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
