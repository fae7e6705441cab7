"""Pictures of many requests, answered in batches by a few threads."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence

from feredge.errors import FeredgeError, PictureError
from feredge.inference.face import PictureResult
from feredge.inference.predictor import CHUNK_SIZE, Predictor
from feredge.serve.limits import SMALL_PICTURE, Budget, Limits
from feredge.serve.metrics import Metrics

Job = tuple[bytes, int, bool, asyncio.Future[PictureResult]]  # a picture, its pixels, whether to look for faces
Jobs = queue.SimpleQueue[Job | None]


class BusyError(FeredgeError):
    """More pictures or pixels are waiting than the service holds."""


class Batcher:
    """Takes pictures in an event loop, answers them in threads.

    A thread that becomes free takes its share of what is waiting then, up to CHUNK pictures, and answers it as one
    batch: alone, a picture never waits for others; under load, batches grow by themselves. Large pictures have
    as many threads of their own, where each is answered by itself: no ordinary picture waits behind them.

    Args:
        predictor: what answers; each thread runs it by itself.
        threads: how many for ordinary pictures, and as many for large ones.
        limits: of pictures and pixels that are accepted and not yet answered.
        detect, margin: as `Predictor.stream` takes them.
        metrics: what counts batches.
    """

    def __init__(
        self, predictor: Predictor, *, threads: int, limits: Limits, detect: bool, margin: float, metrics: Metrics
    ) -> None:
        self._predictor = predictor
        self._detect = detect
        self._margin = margin
        self._limit = limits.waiting
        self._pixels = Budget(limits.waiting_pixels, SMALL_PICTURE)
        self._metrics = metrics
        self._open = 0  # accepted and not yet answered; only the event loop's thread changes it
        self._queue: Jobs = queue.SimpleQueue()
        self._large: Jobs = queue.SimpleQueue()
        self._began: dict[int, float] = {}  # when each thread that is at work began its batch
        lanes = [(self._queue, CHUNK_SIZE), (self._large, 1)] * threads
        self._workers = threads
        self._threads = [
            threading.Thread(target=self._work, args=lane, name="feredge-serve", daemon=True) for lane in lanes
        ]
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def answer(
        self, pictures: Sequence[bytes], pixels: Sequence[int], *, face: bool | None = None
    ) -> list[PictureResult]:
        """Return an answer for each picture, in their order.

        Args:
            pictures: the bytes of picture files.
            pixels: of each picture, as its header states them.
            face: whether each picture is one face; None as the service was started.

        Raises:
            BusyError: no room for all of them.
        """
        if self._open + len(pictures) > self._limit:
            raise BusyError(f"expected at most {self._limit} pictures at once; try again later")
        total = sum(pixels)
        if not self._pixels.take(total, total):
            raise BusyError("expected fewer pixels at once; try again later")
        detect = self._detect if face is None else not face
        futures = [self._loop.create_future() for _ in pictures]
        self._open += len(futures)
        self._metrics.waiting(self._open)
        for picture, size, future in zip(pictures, pixels, futures, strict=True):
            (self._queue if size <= SMALL_PICTURE else self._large).put((picture, size, detect, future))
        return [await future for future in futures]

    def busy_seconds(self) -> float:
        """Return how long the longest batch under way has taken so far; 0 where no thread is at work."""
        return time.perf_counter() - min(self._began.copy().values(), default=time.perf_counter())

    def close(self) -> None:
        """PictureResult what is waiting, then end the threads."""
        for _ in range(self._workers):
            self._queue.put(None)
            self._large.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, jobs_waiting: Jobs, batch: int) -> None:
        thread = threading.get_ident()
        while (first := jobs_waiting.get()) is not None:
            jobs = [first]
            share = min(batch, 1 + jobs_waiting.qsize() // self._workers)
            while len(jobs) < share:
                try:
                    job = jobs_waiting.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    jobs_waiting.put(None)  # the end of a thread, for later
                    break
                jobs.append(job)
            for detect in (False, True):
                if part := [job for job in jobs if job[2] is detect]:
                    self._began[thread] = time.perf_counter()
                    self._answer(part, detect)
                    del self._began[thread]

    def _answer(self, jobs: list[Job], detect: bool) -> None:
        began = time.perf_counter()
        answers: Sequence[PictureResult | Exception]
        try:
            answers = self._predictor.classify([job[0] for job in jobs], detect=detect, margin=self._margin)
        except Exception as error:  # each request gets it; the thread must go on
            answers = [error] * len(jobs)
        self._loop.call_soon_threadsafe(self._deliver, jobs, answers, time.perf_counter() - began)

    def _deliver(self, jobs: list[Job], answers: Sequence[PictureResult | Exception], seconds: float) -> None:
        self._open -= len(jobs)
        self._metrics.batch(len(jobs), seconds, answers)
        self._metrics.waiting(self._open)
        for (_, pixels, _, future), answer in zip(jobs, answers, strict=True):
            self._pixels.release(pixels)
            if future.done():  # cancelled
                continue
            if isinstance(answer, (list, PictureError)):
                future.set_result(answer)
            else:
                future.set_exception(answer)
                future.exception()  # a request takes the first only; of the others asyncio would log all they say
