"""The program whose instructions are counted: some inferences of one file, with marks between stretches of them.

Run by an emulated Python as `python -m feredge.devices.instruction_count_guest FILE IMAGES WARM STRETCHES LENGTH`.
"""

from __future__ import annotations

import ctypes
import gc
import sys

import numpy as np

from feredge.inference.runtimes import open_artifact

MARK = 65261
"""The system call that count.c looks for; the kernel has none of this number, and answers with an error."""


def main(path: str, images: str, warm: int, stretches: int, length: int) -> None:
    """Run `warm` inferences, then `stretches` times `length` of them, one image each, and mark every seam."""
    pictures = list(np.load(images)[:, None])
    runner = open_artifact(path, threads=1)
    kernel = ctypes.CDLL(None)
    for index in range(warm):
        runner.predict(pictures[index % len(pictures)])
    gc.collect()
    gc.disable()  # or a collection, far from any inference, would fall into one stretch and not into another
    kernel.syscall(MARK, 0)
    for stretch in range(1, stretches + 1):
        for index in range(length):
            runner.predict(pictures[index % len(pictures)])
        kernel.syscall(MARK, stretch)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
