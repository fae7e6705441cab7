"""The program whose instructions are counted: inferences of one file, with marker system calls between intervals.

Run by an emulated Python: `python -m feredge.devices.instruction_count_guest FILE IMAGES WARMUP INTERVALS INFERENCES`.
"""

from __future__ import annotations

import ctypes
import gc
import sys

import numpy as np

from feredge.inference.runtimes import open_artifact

MARKER_SYSCALL = 65261
"""Number of the system call that count.c observes; no kernel has it, so that it returns an error."""


def main(path: str, images_path: str, warmup: int, intervals: int, inferences: int) -> None:
    """Run `warmup` inferences, then `intervals` times `inferences` of them, one image each, with markers between."""
    images = list(np.load(images_path)[:, None])
    runner = open_artifact(path, threads=1)
    libc = ctypes.CDLL(None)
    for index in range(warmup):
        runner.predict(images[index % len(images)])
    gc.collect()
    gc.disable()  # a collection would fall into one interval and not into another
    libc.syscall(MARKER_SYSCALL, 0)
    for interval in range(1, intervals + 1):
        for index in range(inferences):
            runner.predict(images[index % len(images)])
        libc.syscall(MARKER_SYSCALL, interval)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
