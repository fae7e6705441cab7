"""Parity of runtimes on one exported file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from feredge.export import parity
from feredge.inference.runtimes import OnnxRunner

NANO = Path(__file__).parents[2] / "models" / "nano"
IMAGES = np.random.default_rng(3).integers(0, 256, (40, 48, 48, 1)).astype(np.uint8)


def test_outputs_that_are_not_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that answers NaN has failed; JSON has no word for a difference of NaN."""

    def broken(path: Path) -> dict[str, object]:
        return {"broken": lambda: lambda batch: np.full((len(batch), 7), np.nan, np.float32)}

    monkeypatch.setattr(parity, "_runners", broken)
    reference = np.full((40, 7), 1 / 7, np.float32)
    results = parity.compare(NANO / "dense.int8.onnx", IMAGES, reference)
    assert results == {"broken": {"failed": "expected finite probabilities, found infinite or not-a-number values"}}


def test_every_runtime_of_a_shipped_file() -> None:
    """Guards the table: each runtime that reads the format answers, and answers as the others do."""
    path = NANO / "dense.float32.onnx"
    reference = OnnxRunner(path).predict(IMAGES)
    results = parity.compare(path, IMAGES, reference)
    assert set(results) == {"onnxruntime", "onnxruntime-unoptimised", "opencv-dnn"}
    assert all(result["max_difference"] < 1e-4 for result in results.values())  # float32 sums in another order
