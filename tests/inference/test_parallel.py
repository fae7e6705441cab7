"""Work on threads and in processes: its order, and its end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from feredge.errors import RunError
from feredge.inference.parallel import exit_with_parent, ordered_results, process_pool


def test_results_come_in_order_and_items_are_read_few_ahead() -> None:
    """Guards rows that would stand beside another's picture, and memory against a reader that runs ahead."""
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(50):
            read.append(item)
            yield item

    def slowly(item: int) -> int:
        time.sleep(item % 3 / 1000)
        return item

    with ThreadPoolExecutor(4) as pool:
        for expected, found in enumerate(ordered_results(pool, slowly, items(), ahead=5)):
            assert found == expected and len(read) <= expected + 6


def test_what_nobody_listens_to_is_not_begun() -> None:
    """Guards a reader that stops at an error against waiting for all that was read ahead."""
    free = threading.Event()
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item:
            free.wait(60)

    with ThreadPoolExecutor(1) as pool:
        results = ordered_results(pool, work, range(9), ahead=3)
        next(results)
        results.close()
        free.set()
    assert len(begun) <= 2


def test_ctrl_c_waits_for_no_process() -> None:
    """Guards an interrupt in the middle of a long conversion: its worker is ended, not waited for."""
    with pytest.raises(KeyboardInterrupt), process_pool(1, initializer=exit_with_parent, task="a sleeper") as pool:
        sleeper = pool.submit(time.sleep, 300)
        while not sleeper.running():
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert isinstance(sleeper.exception(), BrokenProcessPool)


def test_a_process_that_was_killed_is_one_error() -> None:
    """Guards the machine's word for too little memory: it ends a process, which can say nothing then."""
    with (
        pytest.raises(RunError, match="a job was killed"),
        process_pool(1, initializer=exit_with_parent, task="a job") as pool,
    ):
        pool.submit(os._exit, 9).result()


SCRIPT_WITHOUT_GUARD = """
from feredge.inference.parallel import exit_with_parent, process_pool

print("script")
with process_pool(1, initializer=exit_with_parent, task="a job") as pool:
    print(pool.submit(len, "four").result())
"""


def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    """Guards a caller's script against being run again by each process, as multiprocessing does by itself."""
    (tmp_path / "script.py").write_text(SCRIPT_WITHOUT_GUARD)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["script", "4"], done.stderr
