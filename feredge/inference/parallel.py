"""Thread pools with ordered results, and process pools whose workers exit with their parent.

Slow imports are local: classifying a single face needs none of them.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from feredge.errors import RunError
from feredge.inference.contract import Images

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future, ProcessPoolExecutor

    from feredge.inference.runtimes import Probabilities, Runner

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_results(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Generator[Result, None, None]:
    """Yield `work(item)` in the order of `items`; up to `ahead` items are read and submitted in advance."""
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:  # after an error, or when the caller stops iterating
            future.cancel()


@contextmanager
def process_pool(count: int, *, initializer: Callable[[], None], task: str) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of `count` spawned processes, each of which runs `initializer`; an error terminates them at once.

    What they run must be defined in an importable module: they do not import the caller's script.

    Raises:
        RunError: a worker process was killed; the message names `task`.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    from feredge.inference.spawn import IndependentContext

    earlier_children = multiprocessing.active_children()
    pool = ProcessPoolExecutor(count, mp_context=IndependentContext(), initializer=initializer)
    try:
        yield pool
    except BaseException as error:  # a failure, or Ctrl-C, does not wait for running jobs
        for worker in multiprocessing.active_children():
            if worker not in earlier_children:
                worker.terminate()
        if isinstance(error, BrokenProcessPool):
            raise RunError(f"{task} was killed (out of memory?)") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class InferencePool:
    """A thread pool, and the runners that its threads share.

    Args:
        runners: one for each concurrent inference; a thread-safe runner may be repeated.
        threads: at least one per runner; further ones decode files while the others compute.
    """

    def __init__(self, runners: Sequence[Runner], threads: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._idle_runners: queue.SimpleQueue[Runner] = queue.SimpleQueue()
        for runner in runners:
            self._idle_runners.put(runner)
        self._pool = ThreadPoolExecutor(threads, "feredge")
        self._ahead = threads + 2  # queued jobs, so that no thread idles

    def predict(self, batch: Images) -> Probabilities:
        """Run a batch on the next idle runner."""
        runner = self._idle_runners.get()
        try:
            return runner.predict(batch)
        finally:
            self._idle_runners.put(runner)

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `work(item)` in the order of `items`; a few items are read in advance."""
        return ordered_results(self._pool, work, items, ahead=self._ahead)

    def close(self) -> None:
        """Wait for running jobs, cancel the others, and end the threads."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> InferencePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def exit_with_parent() -> None:
    """Send this process SIGTERM when its parent ends, even if killed: an orphaned worker would wait for ever."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_for_parent() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_parent, daemon=True).start()
