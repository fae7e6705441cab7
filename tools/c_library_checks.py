"""A generated C library under sanitizers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from feredge.export.c.layers import Arithmetic
from feredge.export.c.source import generate
from feredge.inference.contract import Images
from feredge.inference.runtimes import Probabilities

SANITIZER_FLAGS = (
    "-O1",
    "-std=c99",
    "-ffp-contract=off",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
)
PROGRAM = """\
#include <stdio.h>
#include "net.h"
int main(void)
{
    static uint8_t pixels[FEREDGE_NET_HEIGHT * FEREDGE_NET_WIDTH * FEREDGE_NET_CHANNELS];
    float probabilities[FEREDGE_NET_CLASSES];
    while (fread(pixels, 1, sizeof pixels, stdin) == sizeof pixels) {
        feredge_net_predict(pixels, probabilities);
        fwrite(probabilities, sizeof *probabilities, FEREDGE_NET_CLASSES, stdout);
    }
    return 0;
}
"""


def sanitized_outputs(
    model: bytes, classes: Sequence[str], arithmetic: Arithmetic, images: Images, folder: Path, *, target: str
) -> Probabilities:
    """Run the library of a TensorFlow Lite flatbuffer under AddressSanitizer and UndefinedBehaviorSanitizer, by gcc.

    Args:
        images: `uint8 (N, H, W, C)`.
        folder: for the sources and the program.
        target: gcc's flag for the instruction set: `-march=native`.

    Returns:
        `float32 (N, classes)`.

    Raises:
        CalledProcessError: gcc failed, or a sanitizer ended the program at the first error.
    """
    library = generate(model, name="net", classes=classes, arithmetic=arithmetic)
    (folder / "net.c").write_text(library.source)
    (folder / "net.h").write_text(library.header)
    (folder / "main.c").write_text(PROGRAM)
    files = [str(folder / name) for name in ("net.c", "main.c", "program")]
    subprocess.run(["gcc", *SANITIZER_FLAGS, target, *files[:2], "-o", files[2]], check=True)
    done = subprocess.run([files[2]], input=images.tobytes(), stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, np.float32).reshape(-1, len(classes))
