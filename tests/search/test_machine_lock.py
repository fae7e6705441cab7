"""The machine-wide lock: work pauses while a latency is measured."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from feredge.progress import quiet
from feredge.search.machine_lock import MachineLock

pytest.importorskip("fcntl")


def test_work_pauses_while_one_measures(tmp_path: Path) -> None:
    """Guards latencies against trainings in other processes, which go on afterwards."""
    steps: list[float] = []
    stop = threading.Event()

    def train() -> None:
        lock = MachineLock(tmp_path)  # its own open files, as another process has
        with lock.shared():
            pausing = lock.pausing(quiet)
            while not stop.is_set():
                pausing("train", 0, 1)
                steps.append(time.monotonic())
                time.sleep(0.001)

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    lock = MachineLock(tmp_path)
    try:
        with lock.shared():
            for _ in range(3):
                time.sleep(0.05)
                with lock.exclusive():
                    start = time.monotonic()
                    time.sleep(0.1)
                    end = time.monotonic()
                assert not [step for step in list(steps) if start < step < end]
                deadline = time.monotonic() + 30
                while not any(step > end for step in list(steps)) and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert any(step > end for step in list(steps))
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
