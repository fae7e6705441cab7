"""Generated C under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_library import litert_outputs

from feredge.export.c.layers import Arithmetic
from feredge.export.c.source import generate
from feredge.inference.contract import CLASSES, InputContract
from feredge.inspection.probes import probe_images

NANO = Path(__file__).parents[3] / "models/nano/dense.int8.tflite"
PROGRAM = """\
#include <stdio.h>
#include "net.h"
int main(void)
{
    static uint8_t pixels[FEREDGE_NET_HEIGHT][FEREDGE_NET_WIDTH];
    float probabilities[FEREDGE_NET_CLASSES];
    while (fread(pixels, 1, sizeof pixels, stdin) == sizeof pixels) {
        feredge_net_predict(&pixels[0][0], probabilities);
        fwrite(probabilities, sizeof *probabilities, FEREDGE_NET_CLASSES, stdout);
    }
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("target", ["-mtune=generic", "-march=native"])
@pytest.mark.parametrize("arithmetic", ["xnnpack", "tflm"])
def test_no_undefined_behavior(target: str, arithmetic: Arithmetic, tmp_path: Path) -> None:
    """Guards memory and overflow: a sanitizer ends the program at the first error."""
    model = NANO.read_bytes()
    library = generate(model, name="net", classes=CLASSES, arithmetic=arithmetic)
    (tmp_path / "net.c").write_text(library.source)
    (tmp_path / "net.h").write_text(library.header)
    (tmp_path / "main.c").write_text(PROGRAM)
    flags = [
        "-O1",
        "-std=c99",
        "-ffp-contract=off",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        target,
    ]
    files = [str(tmp_path / name) for name in ("net.c", "main.c", "program")]
    subprocess.run(["gcc", *flags, *files[:2], "-o", files[2]], check=True)
    images = probe_images(InputContract())[:8]
    done = subprocess.run([files[2]], input=images.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    outputs = np.frombuffer(done.stdout, np.float32).reshape(-1, len(CLASSES))
    np.testing.assert_array_equal(outputs, litert_outputs(model, images, reference=arithmetic == "tflm"))
