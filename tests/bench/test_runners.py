"""Other runtimes for the same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feredge.bench.runners import OpenCVRunner

NANO = Path(__file__).parent.parent.parent / "models" / "nano"


def test_opencv_answers_a_batch_as_it_answers_its_images() -> None:
    """Guards against OpenCV's int8 batches, whose answers are wrong and differ from run to run."""
    images = np.random.default_rng(1).integers(0, 256, (32, 48, 48, 1)).astype(np.uint8)
    runner = OpenCVRunner(NANO / "qat.int8.onnx")
    whole = runner.predict(images)
    assert whole.shape == (32, 7) and whole.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([runner.predict(image[None]) for image in images]), whole)
    np.testing.assert_array_equal(OpenCVRunner(NANO / "qat.int8.onnx").predict(images), whole)
