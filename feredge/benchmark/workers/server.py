"""The worker process: loads one file in one runtime, and serves the harness's requests.

Started by `client.Worker` as `python -m feredge.benchmark.workers.server`. It sends one response to each request,
sleeps in between, and ends when its input is closed, so that none outlives a harness that was killed.
"""

from __future__ import annotations

import functools
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
Response = tuple[dict[str, Any], Arrays]

WORKER_OPERATIONS = frozenset(
    {
        *("open", "signature", "predict", "set_inputs", "memory", "macs", "peak"),
        *("time", "time_load", "time_after_idle"),
    }
)
MIN_ADDRESS_SPACE_BYTES = 4 << 30
"""A worker's limit is at least this: libraries map more than they use."""


def time_calls(
    function: Callable[[Any], Any], inputs: Sequence[Any], *, seconds: float, runs: int
) -> NDArray[np.int64]:
    """Call `function` on each of `inputs` in turn, for at least `seconds` and `runs` times; return nanoseconds a call.

    A sample contains nothing but the call and two readings of the clock.
    """
    clock = time.perf_counter_ns
    samples: list[int] = []
    append = samples.append
    deadline = clock() + int(seconds * 1e9)
    for item in itertools.cycle(inputs):
        start = clock()
        function(item)
        end = clock()
        append(end - start)
        if end >= deadline and len(samples) >= runs:
            break
    return np.array(samples, np.int64)


def time_paced_calls(
    function: Callable[[Any], Any], inputs: Sequence[Any], *, seconds: float, interval_seconds: float
) -> NDArray[np.int64]:
    """Call `function` on each of `inputs` in turn, at the end of each interval; return nanoseconds a call.

    A call that is due while the one before runs starts right after it, until `seconds` have passed.
    """
    clock = time.perf_counter_ns
    samples: list[int] = []
    schedule_start = clock()
    for number, item in zip(range(1, round(seconds / interval_seconds) + 1), itertools.cycle(inputs), strict=False):
        passed_ns = clock() - schedule_start
        if passed_ns >= seconds * 1e9 and samples:
            break
        time.sleep(max(0.0, number * interval_seconds - passed_ns / 1e9))
        start = clock()
        function(item)
        samples.append(clock() - start)
    return np.array(samples, np.int64)


class Server:
    """The operations of one worker on its runner, and the inputs that calls are timed on."""

    def __init__(self) -> None:
        self._runner: Any = None
        self._contract = InputContract()
        self._classes = 0
        self._images: Images = np.empty(0, np.uint8)
        self._crops: list[Images] = []

    def handle(self, request: dict[str, Any], arrays: Arrays) -> Response:
        """Execute the request's `operation` with its other items and the arrays as arguments."""
        operation = request.pop("operation")
        if operation not in WORKER_OPERATIONS:
            raise ValueError(f"unknown request {operation!r}")
        response: Response = getattr(self, operation)(**request, **arrays)
        return response

    def open(
        self,
        opener: str,
        path: str,
        threads: int,
        options: dict[str, Any],
        contract: dict[str, int],
        classes: int,
        limited: bool = False,
    ) -> Response:
        """Load `path` by the function or class `opener`, as `module:name`; return how long it took.

        With `limited` the process's address space is limited to the memory that the machine has available.
        """
        self._contract, self._classes = InputContract(**contract), classes
        if limited:
            available = system_info.read_sizes(system_info.MEMINFO_PATH).get("MemAvailable", MIN_ADDRESS_SPACE_BYTES)
            set_limits(memory_bytes=max(MIN_ADDRESS_SPACE_BYTES, available))
        module, _, name = opener.partition(":")
        start = time.perf_counter_ns()
        self._runner = getattr(importlib.import_module(module), name)(Path(path), threads=threads, **options)
        nanoseconds = time.perf_counter_ns() - start
        if self._times_itself:
            return {"nanoseconds": self._runner.load_ns, "transfer_bytes": self._runner.transfer_bytes}, {}
        return {"nanoseconds": nanoseconds}, {}

    def signature(self) -> Response:
        """Return the signature of the foreign file that is open."""
        return asdict(self._runner.signature()), {}

    def predict(self, images: Images) -> Response:
        """Return the probabilities of `images`, and how long the one call took."""
        self._contract.check_batch(images)
        start = time.perf_counter_ns()
        output = self._runner.predict(images)
        nanoseconds = self._runner.call_ns if self._times_itself else time.perf_counter_ns() - start
        expected = (len(images), self._classes)
        if output.shape != expected or not np.isfinite(output).all():
            actual = output.shape if output.shape != expected else "infinite or not-a-number values"
            raise ArtifactError(f"expected finite probabilities {expected}, found {actual}")
        return {"nanoseconds": nanoseconds}, {"probabilities": output.astype(np.float32)}

    def set_inputs(self, images: Images, crops: Images) -> Response:
        """Keep the inputs that calls are timed on: images of the contract, and colour crops of another size.

        Return whether this machine can preprocess the crops.
        """
        self._contract.check_batch(images)
        self._images, self._crops = images, list(crops)
        if self._times_itself:
            return {"can_preprocess": False}, {}
        try:
            self._contract.to_tensor(self._crops[0])
        except PictureError:  # no OpenCV here: the file can still be timed on images of the contract
            return {"can_preprocess": False}, {}
        return {"can_preprocess": True}, {}

    def time(self, call: str, batch: int, warm_runs: int, warm_seconds: float, seconds: float, runs: int) -> Response:
        """Time `inference` (in batches), `preprocess` or the `whole` call from crop to class, after a warm-up."""
        inputs: Sequence[Any]
        if call == "inference":
            stack = np.resize(self._images, (max(batch, len(self._images)), *self._images.shape[1:]))
            inputs = [stack[start : start + batch] for start in range(0, len(stack) - batch + 1, batch)]
            timer = self._inference_timer
        else:
            to_tensor, predict = self._contract.to_tensor, self._runner.predict
            inputs = self._crops
            timer = functools.partial(
                time_calls, to_tensor if call == "preprocess" else lambda crop: predict(to_tensor(crop)[None]).argmax()
            )
        timer(inputs, seconds=warm_seconds, runs=warm_runs)
        return {}, {"samples": timer(inputs, seconds=seconds, runs=runs)}

    def time_load(self, seconds: float, interval_seconds: float) -> Response:
        """Time the inference of single images for `seconds`, without a pause if `interval_seconds` is 0."""
        inputs = [image[None] for image in self._images]
        if interval_seconds:
            self._refuse_own_clock("--rate")
            samples = time_paced_calls(self._runner.predict, inputs, seconds=seconds, interval_seconds=interval_seconds)
        else:
            samples = self._inference_timer(inputs, seconds=seconds, runs=1)
        return {}, {"samples": samples}

    def time_after_idle(self, idle_seconds: float, busy_seconds: float) -> Response:
        """Time the inference of one image after idling, of which the last `busy_seconds` pass in arithmetic."""
        self._refuse_own_clock("--every")
        clock = time.perf_counter_ns
        image = self._images[:1]
        time.sleep(idle_seconds - busy_seconds)
        deadline = clock() + int(busy_seconds * 1e9)
        while clock() < deadline:
            pass
        start = clock()
        self._runner.predict(image)
        return {"nanoseconds": clock() - start}, {}

    @property
    def _times_itself(self) -> bool:
        """Whether the runner is one of another process, a browser, which reads its own clock: a `PageRunner`."""
        return hasattr(self._runner, "time_calls")

    @property
    def _inference_timer(self) -> Callable[..., NDArray[np.int64]]:
        """What times inference on a list of batches."""
        if self._times_itself:
            return self._runner.time_calls  # type: ignore[no-any-return]
        return functools.partial(time_calls, self._runner.predict)

    def _refuse_own_clock(self, option: str) -> None:
        if self._times_itself:
            raise ArtifactError(f"expected a runtime in the worker's own process for {option}, found one in a browser")

    def macs(self, path: str) -> Response:
        """Count the multiply-adds of a file; None where its graph cannot be read."""
        from feredge.inspection import macs

        try:
            counts = macs.count(Path(path))
        except Exception:  # another tool's graph: the file is measured all the same
            counts = None
        return {"macs": asdict(counts) if counts else None}, {}

    def peak(self) -> Response:
        """Measure this machine's peak multiply-adds a second, by precision."""
        from feredge.benchmark import peak

        return {"peaks": peak.measure_peaks()}, {}

    def memory(self) -> Response:
        """Return this process's memory in bytes; 0 where another process has loaded the file."""
        usage = memory_usage()
        return dict.fromkeys(usage, 0) if self._times_itself else usage, {}


def memory_usage() -> dict[str, int]:
    """Return this process's memory in bytes: `resident` now, at its `peak`, and `private`, shared with no other.

    From /proc where it exists: ru_maxrss also counts the parent's memory from before exec.
    """
    fields = {"resident": "VmRSS", "peak": "VmHWM", "private": "RssAnon"}
    sizes = system_info.read_sizes(Path("/proc/self/status"))
    if sizes.keys() >= set(fields.values()):
        return {key: sizes[name] for key, name in fields.items()}
    try:
        import resource
    except ImportError:  # Windows has neither
        return dict.fromkeys(fields, 0)
    max_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10 * (sys.platform != "darwin")
    return dict.fromkeys(fields, max_rss)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Respond to requests until `source` ends. An error becomes a response with `failure`, a text of one line."""
    server = Server()
    while True:
        try:
            request, arrays = protocol.receive(source)
        except EOFError:
            return
        try:
            response, values = server.handle(request, arrays)
        except Exception as error:  # whatever a runtime raises fails this row alone
            text = " ".join(str(error).split())
            expected = isinstance(error, FeredgeError)
            response, values = {"failure": text if expected else f"{type(error).__name__}: {text}"[:300]}, {}
        protocol.send(sink, response, values)


def main() -> None:
    """Serve on standard input and output. What libraries print goes to standard error."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
