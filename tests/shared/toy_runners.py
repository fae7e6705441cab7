"""Runners for workers in benchmark tests: one that works, and one for each kind of failure."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images


class Linear:
    """Softmax over one matrix, from an `.npz` file: the tests' float model."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        with np.load(path) as file:
            self._weights, self._bias = file["weights"], file["bias"]

    def predict(self, batch: Images) -> NDArray[np.float32]:
        """Return `float32 (N, classes)`."""
        logits = batch.reshape(len(batch), -1).astype(np.float32) @ self._weights + self._bias
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        probabilities: NDArray[np.float32] = exponentials / exponentials.sum(1, keepdims=True)
        return probabilities


class Crashes(Linear):
    """Aborts, as a native library would."""

    def predict(self, batch: Images) -> NDArray[np.float32]:
        """Never return."""
        os.write(2, b"kernel panic in a fake library\n")
        os.kill(os.getpid(), signal.SIGABRT)
        return super().predict(batch)


class CrashesLater(Linear):
    """Predicts the test images, and exits after a number of calls while it is timed."""

    calls = 0

    def predict(self, batch: Images) -> NDArray[np.float32]:
        """Return the same as Linear, then exit."""
        self.calls += 1
        if self.calls > 70:  # a cold start takes 64, all rounds together more
            os._exit(3)
        return super().predict(batch)


class Hangs(Linear):
    """Hangs in predict."""

    def predict(self, batch: Images) -> NDArray[np.float32]:
        """Sleep for ten minutes."""
        time.sleep(600)
        return super().predict(batch)


class ReturnsNan(Linear):
    """Returns invalid outputs."""

    def predict(self, batch: Images) -> NDArray[np.float32]:
        """Return not-a-number."""
        return super().predict(batch) * np.float32("nan")


class OneThread(Linear):
    """Fails with more than one thread, and prints to standard output, which carries the messages."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        print("INFO: a library that chatters")
        if threads != 1:
            raise RuntimeError("one thread\nonly")
        super().__init__(path)


def hang(path: Path, *, threads: int = 1, **options: float) -> None:
    """Hang while opening."""
    time.sleep(600)


class ThrottlesWith(Linear):
    """Takes 20 ms, and 80 ms while the file `hot` stands beside the model: a CPU at a quarter of its clock."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        super().__init__(path)
        self._hot = path.with_name("hot")

    def predict(self, batch: Images) -> NDArray[np.float32]:
        """Return the same as Linear."""
        time.sleep(0.08 if self._hot.exists() else 0.02)
        return super().predict(batch)
