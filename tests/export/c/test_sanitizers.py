"""Generated C under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from c_library import litert_outputs
from c_library_checks import sanitized_outputs

from feredge.export.c.layers import Arithmetic
from feredge.inference.contract import CLASSES, InputContract
from feredge.inspection.probes import probe_images

NANO = Path(__file__).parents[3] / "models/nano/dense.int8.tflite"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("target", ["-mtune=generic", "-march=native"])
@pytest.mark.parametrize("arithmetic", ["xnnpack", "tflm"])
def test_no_undefined_behavior(target: str, arithmetic: Arithmetic, tmp_path: Path) -> None:
    """Guards memory and overflow: a sanitizer ends the program at the first error."""
    model = NANO.read_bytes()
    images = probe_images(InputContract())[:8]
    outputs = sanitized_outputs(model, CLASSES, arithmetic, images, tmp_path, target=target)
    np.testing.assert_array_equal(outputs, litert_outputs(model, images, reference=arithmetic == "tflm"))
