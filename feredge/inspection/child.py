"""Functions called in a child process, so that a file they open can neither crash, hang nor fill the calling one.

The child is a fresh interpreter, not a fork: libraries with threads do not survive one. Arguments and results are JSON,
so that a child taken over by a file can return wrong values and do nothing else.

Wall time is limited on every system: the child is killed. On Linux the time that it waits for a core does not count, up
to MAX_QUEUED limits: importing TensorFlow takes seconds, and minutes where other processes have the cores. CPU time is
limited on Linux and macOS, address space on Linux only (see limits.py).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar, cast

from feredge import errors
from feredge.errors import ArtifactError, FeredgeError, one_line
from feredge.inspection.limits import Limits, run_queue_seconds
from feredge.inspection.spawn import signal_name, spawn_module, stderr_lines

Result = TypeVar("Result")

RESPONSE_LIMIT_BYTES = 64 << 20
MAX_QUEUED = 9
"""Bound on the time in the run queue, relative to the limit of wall time."""
CHILD_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",  # each of its threads reserves memory
    "CUDA_VISIBLE_DEVICES": "-1",  # a GPU's driver reserves more address space than any limit here
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


class ChildProcess:
    """Calls functions in a child process, which the first call starts. Use it as a context manager.

    After a crash, or a limit, the next call starts another process.

    Args:
        limits: of each call.
        writable: the only folder that the child can write to (see write_confinement.py), also its working directory
            and its folder for temporary files; None for no such limit.
    """

    def __init__(self, limits: Limits | None = None, *, writable: Path | None = None) -> None:
        self._limits, self._writable = limits or Limits(), writable
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: BinaryIO | None = None

    def call(self, function: Callable[..., Result], subject: str | Path, **arguments: Any) -> Result:
        """Return `function(**arguments)` as the child computes it.

        Args:
            function: of a module's top level.
            subject: the file, for messages.
            arguments: values that JSON has; paths arrive as text. The result goes through JSON too.

        Raises:
            FeredgeError: what the function raises, of its own class.
            ModuleNotFoundError: a package that the function needs and that is not installed.
            ArtifactError: the child crashed, met a limit, or raised anything else.
        """
        process = self._process or self._start()
        request = {
            "function": f"{function.__module__}:{function.__qualname__}",
            "arguments": arguments,
            "limits": asdict(self._limits),
            "writable": self._writable,
        }
        ended, timed_out = threading.Event(), threading.Event()
        watch = threading.Thread(target=self._kill_on_timeout, args=(process, ended, timed_out), daemon=True)
        watch.start()
        try:
            assert process.stdin is not None and process.stdout is not None
            response = b""
            with contextlib.suppress(OSError):  # it may have died before it read
                process.stdin.write(json.dumps(request, default=str).encode() + b"\n")
                process.stdin.flush()
                response = process.stdout.readline(RESPONSE_LIMIT_BYTES)
        except BaseException:  # Ctrl-C waits for no child
            self.close()
            raise
        finally:
            ended.set()
            watch.join()
        if timed_out.is_set() or not response.endswith(b"\n"):
            raise ArtifactError(f"{subject}: {self._failure(timed_out.is_set())}")
        return cast(Result, self._parse_response(response, subject))

    def _kill_on_timeout(
        self, process: subprocess.Popen[bytes], ended: threading.Event, timed_out: threading.Event
    ) -> None:
        """Kill the child at its limit of wall time, less what it waited for a core that others had."""
        limit, begin, queued_before = self._limits.wall_seconds, time.monotonic(), run_queue_seconds(process.pid)
        remaining = limit
        while not ended.wait(remaining):
            queued = min(max(run_queue_seconds(process.pid) - queued_before, 0.0), MAX_QUEUED * limit)
            remaining = begin + limit + queued - time.monotonic()
            if remaining <= 0:
                timed_out.set()
                process.kill()
                return

    def _start(self) -> subprocess.Popen[bytes]:
        folder = {} if self._writable is None else dict.fromkeys(("TMPDIR", "KERAS_HOME"), str(self._writable))
        self._process, self._stderr = spawn_module("feredge.inspection.child_main", CHILD_VARIABLES | folder)
        return self._process

    def _failure(self, timed_out: bool) -> str:
        """End the child and return why there is no response."""
        if timed_out:
            self.close()
            return f"expected a file that opens and runs within {self._limits.wall_seconds:g} s, found no end"
        process = cast("subprocess.Popen[bytes]", self._process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)  # it still runs after a response that is too long
        code = process.poll()
        lines = stderr_lines(cast(BinaryIO, self._stderr))
        self.close()
        if signal_name(code) == "SIGXCPU":
            return f"expected a file that takes at most {self._limits.cpu_seconds} s of CPU time, found no end"
        ending = f"was killed by {signal_name(code)}" if signal_name(code) else f"ended with code {code}"
        return f"expected a file that opens and runs, the process that opened it {ending}" + (
            f" ({' '.join(lines[-1].split())[:160]})" if lines else ""
        )

    def _parse_response(self, line: bytes, subject: str | Path) -> Any:
        try:
            response = json.loads(line)
            if "result" in response:
                return response["result"]
            class_name, text = str(response["error"]), str(response["text"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self.close()
            raise ArtifactError(f"{subject}: expected a response in JSON, found another ({one_line(error)})") from error
        error_class = getattr(errors, class_name, None)
        if isinstance(error_class, type) and issubclass(error_class, FeredgeError):
            raise error_class(text)
        if class_name == "ModuleNotFoundError":
            raise ModuleNotFoundError(name=text)
        if class_name == "MemoryError":
            text = f"needs more than {self._limits.memory_bytes >> 30} GB of memory"
        raise ArtifactError(f"{subject}: expected a file that can be read ({class_name}: {text})")

    def close(self) -> None:
        """End the child, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, self._stderr):
            with contextlib.suppress(OSError):  # of a request half written
                cast(Any, stream).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def run_in_child(
    function: Callable[..., Result], subject: str | Path, *, limits: Limits | None = None, **arguments: Any
) -> Result:
    """Return `function(**arguments)` from a child process of this one call; see `ChildProcess.call`."""
    with ChildProcess(limits) as child:
        return child.call(function, subject, **arguments)
