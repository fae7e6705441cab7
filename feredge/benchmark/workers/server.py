"""The worker: a process that holds one file in one runtime, and does what the harness asks of it.

Started by `client.Worker` as `python -m feredge.benchmark.workers.server`. It answers each message with one message,
sleeps in between, and ends when its input is closed, so none outlives a harness that was killed.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from feredge.benchmark.workers import protocol
from feredge.errors import ArtifactError, FeredgeError, PictureError
from feredge.inference import system_info
from feredge.inference.contract import Images, InputContract
from feredge.inspection.limits import set_limits

Arrays = dict[str, NDArray[Any]]

MEMORY_LIMIT = 4 << 30
"""Bytes of address space that a worker may always take: libraries map more than they use."""


def timed(call: Callable[[Any], Any], inputs: Sequence[Any], *, seconds: float, runs: int) -> NDArray[np.int64]:
    """Call `call` on each of `inputs` in turn, for at least `seconds` and `runs` times. Return each call's nanoseconds.

    The two readings of the clock are all that a figure holds beside the call itself.
    """
    clock = time.perf_counter_ns
    samples: list[int] = []
    keep = samples.append
    deadline = clock() + int(seconds * 1e9)
    for item in itertools.cycle(inputs):
        begin = clock()
        call(item)
        end = clock()
        keep(end - begin)
        if end >= deadline and len(samples) >= runs:
            break
    return np.array(samples, np.int64)


class Server:
    """What one worker holds: a runner, and the pictures it is timed on."""

    def __init__(self) -> None:
        self._runner: Any = None
        self._contract = InputContract()
        self._classes = 0
        self._images: Images = np.empty(0, np.uint8)
        self._crops: list[Images] = []

    def answer(self, message: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        """Do what `message` asks for."""
        do = message.pop("do")
        if do not in ("open", "signature", "predict", "pictures", "time", "memory", "macs", "peak"):
            raise ValueError(f"unknown request {do!r}")
        result: tuple[dict[str, Any], Arrays] = getattr(self, do)(**message, **arrays)
        return result

    def open(
        self,
        opener: str,
        path: str,
        threads: int,
        options: dict[str, Any],
        contract: dict[str, int],
        classes: int,
        limited: bool = False,
    ) -> tuple[dict[str, Any], Arrays]:
        """Load `path` by the function or class that `opener` names, `module:name`; say how long it took.

        With `limited` the process takes no more address space than the machine has memory to spare.
        """
        self._contract, self._classes = InputContract(**contract), classes
        if limited:
            free = system_info.read_sizes(system_info.MEMINFO_PATH).get("MemAvailable", MEMORY_LIMIT)
            set_limits(memory_bytes=max(MEMORY_LIMIT, free))
        module, _, name = opener.partition(":")
        begin = time.perf_counter_ns()
        self._runner = getattr(importlib.import_module(module), name)(Path(path), threads=threads, **options)
        return {"nanoseconds": time.perf_counter_ns() - begin}, {}

    def signature(self) -> tuple[dict[str, Any], Arrays]:
        """Return what a foreign file takes and gives, of the one that is open."""
        return asdict(self._runner.signature()), {}

    def predict(self, images: Images) -> tuple[dict[str, Any], Arrays]:
        """Return the probabilities of `images`, and how long the one call took."""
        self._contract.check_batch(images)
        begin = time.perf_counter_ns()
        output = self._runner.predict(images)
        took = time.perf_counter_ns() - begin
        expected = (len(images), self._classes)
        if output.shape != expected or not np.isfinite(output).all():
            found = output.shape if output.shape != expected else "infinite or not-a-number values"
            raise ArtifactError(f"expected finite probabilities {expected}, found {found}")
        return {"nanoseconds": took}, {"probabilities": output.astype(np.float32)}

    def pictures(self, images: Images, crops: Images) -> tuple[dict[str, Any], Arrays]:
        """Keep the pictures that calls are timed on: ready tensors, and colour crops of another size.

        Say whether this machine can make tensors of the crops.
        """
        self._contract.check_batch(images)
        self._images, self._crops = images, list(crops)
        try:
            self._contract.to_tensor(self._crops[0])
        except PictureError:  # no OpenCV here: the file can still be timed on ready tensors
            return {"prepares": False}, {}
        return {"prepares": True}, {}

    def time(
        self, what: str, batch: int, warm_runs: int, warm_seconds: float, seconds: float, runs: int
    ) -> tuple[dict[str, Any], Arrays]:
        """Time `inference` (in batches), `preprocess` or the `whole` call from crop to class. Warm-up is not kept."""
        call: Callable[[Any], Any]
        inputs: Sequence[Any]
        if what == "inference":
            stack = np.resize(self._images, (max(batch, len(self._images)), *self._images.shape[1:]))
            inputs = [stack[start : start + batch] for start in range(0, len(stack) - batch + 1, batch)]
            call = self._runner.predict
        else:
            to_tensor, predict = self._contract.to_tensor, self._runner.predict
            inputs = self._crops
            call = to_tensor if what == "preprocess" else lambda crop: predict(to_tensor(crop)[None]).argmax()
        timed(call, inputs, seconds=warm_seconds, runs=warm_runs)
        return {}, {"samples": timed(call, inputs, seconds=seconds, runs=runs)}

    def macs(self, path: str) -> tuple[dict[str, Any], Arrays]:
        """Count the multiply-adds of a file; None where it cannot be told."""
        from feredge.inspection import macs

        try:
            found = macs.count(Path(path))
        except Exception:  # a graph of another making: the file is measured all the same
            found = None
        return {"macs": asdict(found) if found else None}, {}

    def peak(self) -> tuple[dict[str, Any], Arrays]:
        """Measure this machine's matrix product, in multiply-adds a second by precision."""
        from feredge.benchmark import peak

        return {"peaks": peak.measure()}, {}

    def memory(self) -> tuple[dict[str, Any], Arrays]:
        """Return this process's resident size now and at its highest, in bytes."""
        return resident(), {}


def resident() -> dict[str, int]:
    """Return the resident bytes of this process: `now`, at its `peak`, and what is its `own`, shared with no other.

    From /proc where it stands: ru_maxrss also counts what the parent held before exec.
    """
    names = {"now": "VmRSS", "peak": "VmHWM", "own": "RssAnon"}
    sizes = system_info.read_sizes(Path("/proc/self/status"))
    if sizes.keys() >= set(names.values()):
        return {key: sizes[name] for key, name in names.items()}
    try:
        import resource
    except ImportError:  # Windows tells neither
        return dict.fromkeys(names, 0)
    return dict.fromkeys(names, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10 * (sys.platform != "darwin"))


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer messages until `source` ends. An error is an answer too: `failure`, in one line."""
    server = Server()
    while True:
        try:
            message, arrays = protocol.receive(source)
        except EOFError:
            return
        try:
            reply, values = server.answer(message, arrays)
        except Exception as error:  # whatever a runtime raises becomes this row's failure, and no other's
            text = " ".join(str(error).split())
            known = isinstance(error, FeredgeError)
            reply, values = {"failure": text if known else f"{type(error).__name__}: {text}"[:300]}, {}
        protocol.send(sink, reply, values)


def main() -> None:
    """Serve on standard input and output. What libraries print goes to standard error."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
