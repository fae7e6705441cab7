"""A function run in a process of its own, so that a file it opens can neither crash, hang nor fill this one.

The child is a fresh interpreter, not a fork: libraries that have threads survive none. Arguments and results are JSON,
which a child that a file has taken over can use for nothing but wrong values.

Wall time is limited on every system: the child is killed. CPU time is on Linux and macOS, address space on Linux only
(see limits.py): elsewhere a file that asks for more memory than there is gets what the system gives, in the child.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from feredge import errors
from feredge.errors import ArtifactError, FeredgeError, one_line
from feredge.inspection.limits import Limits

Result = TypeVar("Result")

RESULT_LIMIT = 64 << 20
"""Bytes of a result in JSON."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",  # each of its threads reserves memory
    "CUDA_VISIBLE_DEVICES": "-1",  # a GPU's driver reserves more address space than any limit here
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


class Child:
    """Calls functions in a child process, which a call starts where there is none. Use it as a context manager.

    After a crash, or a limit, the next call starts another process.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: Any = None

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
        }
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._limits.seconds, end)
        timer.start()
        try:
            assert process.stdin is not None and process.stdout is not None
            line = b""
            with contextlib.suppress(OSError):  # it may have died before it read
                process.stdin.write(json.dumps(request, default=str).encode() + b"\n")
                process.stdin.flush()
                line = process.stdout.readline(RESULT_LIMIT)
        except BaseException:  # Ctrl-C waits for no child
            self.close()
            raise
        finally:
            timer.cancel()
        if late.is_set() or not line.endswith(b"\n"):
            raise ArtifactError(f"{subject}: {self._failure(late.is_set())}")
        return cast(Result, self._answer(line, subject))

    def _start(self) -> subprocess.Popen[bytes]:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe nobody reads would block the child
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **ENVIRONMENT}
        self._process = subprocess.Popen(
            # -P: a file in the current folder must not stand in for a package.
            [sys.executable, "-P", "-m", "feredge.inspection.child_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        return self._process

    def _failure(self, late: bool) -> str:
        """End the child and say why it did not answer."""
        if late:
            self.close()
            return f"expected a file that opens and runs within {self._limits.seconds:g} s, found no end"
        process, stderr = cast("subprocess.Popen[bytes]", self._process), self._errors
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)  # an answer that is too long leaves it alive
        code = process.poll()
        stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - 4096))
        lines = [line for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
        self.close()
        if code is not None and code < 0 and signal.Signals(-code).name == "SIGXCPU":
            return f"expected a file that takes at most {self._limits.cpu_seconds} s of CPU time, found no end"
        how = f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with {code}"
        return f"expected a file that opens and runs, the process that tried {how}" + (
            f" ({' '.join(lines[-1].split())[:160]})" if lines else ""
        )

    def _answer(self, line: bytes, subject: str | Path) -> Any:
        try:
            answer = json.loads(line)
            if "result" in answer:
                return answer["result"]
            kind, text = str(answer["error"]), str(answer["text"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self.close()
            raise ArtifactError(f"{subject}: expected an answer in JSON, found another ({one_line(error)})") from error
        known = getattr(errors, kind, None)
        if isinstance(known, type) and issubclass(known, FeredgeError):
            raise known(text)
        if kind == "ModuleNotFoundError":
            raise ModuleNotFoundError(name=text)
        if kind == "MemoryError":
            text = f"needs more than {self._limits.memory_bytes >> 30} GB of memory"
        raise ArtifactError(f"{subject}: expected a file that can be read ({kind}: {text})")

    def close(self) -> None:
        """End the child, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, self._errors):
            with contextlib.suppress(OSError):  # of a request half written
                cast(Any, stream).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def run(
    function: Callable[..., Result], subject: str | Path, *, limits: Limits | None = None, **arguments: Any
) -> Result:
    """Return `function(**arguments)` from a child of this one call; see `Child.call`."""
    with Child(limits) as child:
        return child.call(function, subject, **arguments)
