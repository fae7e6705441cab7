"""Dynamic batching: a few inference threads for the pictures of all requests."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence

from feredge.errors import FeredgeError, PictureError
from feredge.inference.face import PictureResult
from feredge.inference.model_session import CHUNK_SIZE
from feredge.inference.predictor import Predictor
from feredge.serve.limits import SMALL_PICTURE, Budget, Limits
from feredge.serve.metrics import Metrics

Job = tuple[bytes, int, bool, asyncio.Future[PictureResult]]  # picture, pixels, detect, result
Jobs = queue.SimpleQueue[Job | None]


class BusyError(FeredgeError):
    """The queue of pictures or pixels is full."""


class Batcher:
    """Accepts pictures in an event loop, and classifies them in threads.

    An idle thread takes its share of the queue, up to CHUNK_SIZE pictures, as one batch: a single picture never waits
    for others, and batches grow with the load. Large pictures have a queue and threads of their own, with batches of
    1, so that no ordinary picture waits for them.

    Args:
        predictor: runs the inference; called by all threads.
        threads: number of threads for ordinary pictures; as many again for large ones.
        limits: of queued pictures and pixels.
        detect, margin: as in `Predictor.stream`.
        metrics: counts the batches.
    """

    def __init__(
        self, predictor: Predictor, *, threads: int, limits: Limits, detect: bool, margin: float, metrics: Metrics
    ) -> None:
        self._predictor = predictor
        self._detect = detect
        self._margin = margin
        self._max_pending = limits.waiting
        self._pixel_budget = Budget(limits.waiting_pixels, SMALL_PICTURE)
        self._metrics = metrics
        self._pending = 0  # pictures without a result; changed only by the event loop's thread
        self._queue: Jobs = queue.SimpleQueue()
        self._large_queue: Jobs = queue.SimpleQueue()
        self._batch_starts: dict[int, float] = {}  # start of the current batch, by thread
        lanes = [(self._queue, CHUNK_SIZE), (self._large_queue, 1)] * threads
        self._workers = threads
        self._threads = [
            threading.Thread(target=self._run_thread, args=lane, name="feredge-serve", daemon=True) for lane in lanes
        ]
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def classify(
        self, pictures: Sequence[bytes], pixels: Sequence[int], *, face: bool | None = None
    ) -> list[PictureResult]:
        """Return the result of each picture, in order.

        Args:
            pictures: the bytes of picture files.
            pixels: of each picture, by its header.
            face: whether each picture is one face; None for the service's default.

        Raises:
            BusyError: the queue cannot take all of them.
        """
        if self._pending + len(pictures) > self._max_pending:
            raise BusyError(f"expected at most {self._max_pending} pictures at once; try again later")
        total = sum(pixels)
        if not self._pixel_budget.take(total, total):
            raise BusyError("expected fewer pixels at once; try again later")
        detect = self._detect if face is None else not face
        futures = [self._loop.create_future() for _ in pictures]
        self._pending += len(futures)
        self._metrics.waiting(self._pending)
        for picture, size, future in zip(pictures, pixels, futures, strict=True):
            (self._queue if size <= SMALL_PICTURE else self._large_queue).put((picture, size, detect, future))
        return [await future for future in futures]

    def busy_seconds(self) -> float:
        """Return the duration of the longest running batch so far; 0 if all threads are idle."""
        return time.perf_counter() - min(self._batch_starts.copy().values(), default=time.perf_counter())

    def close(self) -> None:
        """Finish the queued pictures, then end the threads."""
        for _ in range(self._workers):
            self._queue.put(None)
            self._large_queue.put(None)
        for thread in self._threads:
            thread.join()

    def _run_thread(self, jobs_queue: Jobs, max_batch: int) -> None:
        thread = threading.get_ident()
        while (first := jobs_queue.get()) is not None:
            jobs = [first]
            share = min(max_batch, 1 + jobs_queue.qsize() // self._workers)
            while len(jobs) < share:
                try:
                    job = jobs_queue.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    jobs_queue.put(None)  # keep the end marker for later
                    break
                jobs.append(job)
            for detect in (False, True):
                if batch := [job for job in jobs if job[2] is detect]:
                    self._batch_starts[thread] = time.perf_counter()
                    self._classify(batch, detect)
                    del self._batch_starts[thread]

    def _classify(self, jobs: list[Job], detect: bool) -> None:
        start = time.perf_counter()
        results: Sequence[PictureResult | Exception]
        try:
            results = self._predictor.classify([job[0] for job in jobs], detect=detect, margin=self._margin)
        except Exception as error:  # passed to each request; the thread must go on
            results = [error] * len(jobs)
        self._loop.call_soon_threadsafe(self._deliver, jobs, results, time.perf_counter() - start)

    def _deliver(self, jobs: list[Job], results: Sequence[PictureResult | Exception], seconds: float) -> None:
        self._pending -= len(jobs)
        self._metrics.batch(len(jobs), seconds, results)
        self._metrics.waiting(self._pending)
        for (_, pixels, _, future), result in zip(jobs, results, strict=True):
            self._pixel_budget.release(pixels)
            if future.done():  # cancelled
                continue
            if isinstance(result, (list, PictureError)):
                future.set_result(result)
            else:
                future.set_exception(result)
                future.exception()  # marks it as retrieved: a request awaits only the first, and asyncio logs others
