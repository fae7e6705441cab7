"""Pictures of many requests, answered in batches by a few threads."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence

from feredge.errors import FeredgeError, PictureError
from feredge.predictor import CHUNK, Face, Predictor
from feredge.serve.metrics import Metrics

Answer = list[Face] | PictureError


class BusyError(FeredgeError):
    """More pictures are waiting than the service holds."""


class Batcher:
    """Takes pictures in an event loop, answers them in threads.

    A thread that becomes free takes its share of what is waiting then, up to CHUNK pictures, and answers it as one
    batch: alone, a picture never waits for others; under load, batches grow by themselves.

    Args:
        predictor: what answers; each thread runs it by itself.
        threads: how many.
        waiting: most pictures that are accepted and not yet answered.
        find, margin: as `Predictor.stream` takes them.
        metrics: what counts batches.
    """

    def __init__(
        self, predictor: Predictor, *, threads: int, waiting: int, find: bool, margin: float, metrics: Metrics
    ) -> None:
        self._predictor = predictor
        self._find = find
        self._margin = margin
        self._limit = waiting
        self._metrics = metrics
        self._open = 0  # accepted and not yet answered; only the event loop's thread changes it
        self._queue: queue.SimpleQueue[tuple[bytes, bool, asyncio.Future[Answer]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name="feredge-serve", daemon=True) for _ in range(threads)]
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def answer(self, pictures: Sequence[bytes], *, face: bool | None = None) -> list[Answer]:
        """Return an answer for each picture, in their order.

        Args:
            pictures: the bytes of picture files.
            face: whether each picture is one face; None as the service was started.

        Raises:
            BusyError: no room for all of them.
        """
        if self._open + len(pictures) > self._limit:
            raise BusyError(f"expected at most {self._limit} pictures at once; try again later")
        find = self._find if face is None else not face
        futures = [self._loop.create_future() for _ in pictures]
        self._open += len(futures)
        self._metrics.waiting(self._open)
        for picture, future in zip(pictures, futures, strict=True):
            self._queue.put((picture, find, future))
        return [await future for future in futures]

    def close(self) -> None:
        """Answer what is waiting, then end the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            jobs = [first]
            share = min(CHUNK, 1 + self._queue.qsize() // len(self._threads))
            while len(jobs) < share:
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    self._queue.put(None)  # the end of a thread, for later
                    break
                jobs.append(job)
            for find in (False, True):
                if part := [(picture, future) for picture, wanted, future in jobs if wanted is find]:
                    self._answer(part, find)

    def _answer(self, jobs: list[tuple[bytes, asyncio.Future[Answer]]], find: bool) -> None:
        began = time.perf_counter()
        answers: Sequence[Answer | Exception]
        try:
            answers = self._predictor.answer([picture for picture, _ in jobs], find=find, margin=self._margin)
        except Exception as error:  # each request gets it; the thread must go on
            answers = [error] * len(jobs)
        futures = [future for _, future in jobs]
        self._loop.call_soon_threadsafe(self._deliver, futures, answers, time.perf_counter() - began)

    def _deliver(
        self, futures: list[asyncio.Future[Answer]], answers: Sequence[Answer | Exception], seconds: float
    ) -> None:
        self._open -= len(futures)
        self._metrics.batch(len(futures), seconds, answers)
        self._metrics.waiting(self._open)
        for future, answer in zip(futures, answers, strict=True):
            if future.cancelled():
                continue
            if isinstance(answer, (list, PictureError)):
                future.set_result(answer)
            else:
                future.set_exception(answer)
