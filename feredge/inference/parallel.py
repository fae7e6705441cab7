"""Work spread over threads, in order, and over processes that end with their parent.

What loads slowly is imported where it is used: a single face needs none of it.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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


def in_order(pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], *, ahead: int) -> Iterator[Result]:
    """Yield `work(item)` in the order of `items`, which are read and worked on `ahead` of the one that was yielded."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for job in waiting:  # after an error, or when nobody listens any more
            job.cancel()


@contextmanager
def processes(count: int, *, start: Callable[[], None], what: str) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of `count` fresh processes, each of which calls `start` first; an error ends them all at once.

    They are not forked: libraries that have threads, TensorFlow first of all, survive no fork.

    Raises:
        RunError: `what` ended without a word, by a process that was killed.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=start)
    try:
        yield pool
    except BaseException as error:  # a failure, or Ctrl-C, waits for no job
        for worker in multiprocessing.active_children():
            if worker not in others:
                worker.terminate()
        if isinstance(error, BrokenProcessPool):
            raise RunError(f"{what} ended without a word (out of memory?)") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class Workers:
    """A pool of threads, and the runners that they take turns with.

    Args:
        runners: one for each inference that may go on at once; a runner that takes many callers may stand here
            many times.
        threads: at least as many; more of them read files while the others compute.
    """

    def __init__(self, runners: Sequence[Runner], threads: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._free: queue.SimpleQueue[Runner] = queue.SimpleQueue()
        for runner in runners:
            self._free.put(runner)
        self._pool = ThreadPoolExecutor(threads, "feredge")
        self._ahead = threads + 2  # jobs that wait for a thread, so that none waits for a job

    def predict(self, batch: Images) -> Probabilities:
        """Run a batch on the next free runner."""
        runner = self._free.get()
        try:
            return runner.predict(batch)
        finally:
            self._free.put(runner)

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `work(item)` in the order of `items`, which are read a few ahead of the one awaited."""
        return in_order(self._pool, work, items, ahead=self._ahead)

    def close(self) -> None:
        """Wait for what is being worked on, and end the threads."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def end_with_parent() -> None:
    """Let this process end as by SIGTERM when its parent is gone, killed or not: it would wait for work for ever."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()
