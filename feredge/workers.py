"""Threads that run one function over many items, in order, sharing a few runners; processes that end with theirs."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from feredge.contract import Images
from feredge.runtime import Probabilities, Runner

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A pool of threads, and the runners that they take turns with.

    Args:
        runners: one for each inference that may go on at once; a runner that takes many callers may stand here
            many times.
        threads: at least as many; more of them read files while the others compute.
    """

    def __init__(self, runners: Sequence[Runner], threads: int) -> None:
        from concurrent.futures import ThreadPoolExecutor  # late: a single face needs no pool, and it loads slowly

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
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(work, item))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for job in waiting:  # after an error, or when nobody listens any more
                job.cancel()

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
    import multiprocessing  # late: threads need none of it

    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()
