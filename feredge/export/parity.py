"""Runtime parity: a file's outputs in every runtime for its format, compared with the float network's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from feredge.errors import ArtifactError, one_line
from feredge.inference.contract import Images
from feredge.inference.runtimes import LiteRTRunner, OnnxRunner, OpenCVRunner, Probabilities, open_artifact
from feredge.inference.tflite import TFLiteGraph

PredictFunction = Callable[[Images], Probabilities]

PARITY_IMAGES = 96  # the reference kernels of int8 and int16 are slow
PARITY_BATCH = 32


def compare(path: Path, images: Images, reference: Probabilities) -> dict[str, dict[str, Any]]:
    """Run a file in every runtime for its format. A runtime's error is a result, and is not raised.

    Args:
        path: the file.
        images: `uint8 (N, H, W, C)`, of which the first PARITY_IMAGES are used.
        reference: the float network's probabilities for them, computed by TensorFlow.

    Returns:
        By runtime: `agreement`, the share of images with the class that the float network predicts, and
        `max_difference` between two probabilities; or `failed` with the reason.
    """
    images, reference = images[:PARITY_IMAGES], reference[:PARITY_IMAGES]
    batches = [images[start : start + PARITY_BATCH] for start in range(0, len(images), PARITY_BATCH)]
    results: dict[str, dict[str, Any]] = {}
    for runtime, open_runner in _runners(path).items():
        try:
            run = open_runner()
            outputs = np.concatenate([run(batch) for batch in batches])
            if not np.isfinite(outputs).all():
                raise ArtifactError("expected finite probabilities, found infinite or not-a-number values")
        except Exception as error:  # runtimes raise errors of any type
            results[runtime] = {"failed": one_line(error, 160)}
            continue
        results[runtime] = {
            "agreement": float((outputs.argmax(axis=1) == reference.argmax(axis=1)).mean()),
            "max_difference": float(np.abs(outputs - reference).max()),
        }
    return results


def _runners(path: Path) -> dict[str, Callable[[], PredictFunction]]:
    if path.suffix == ".tflite":
        return {
            "litert": lambda: LiteRTRunner(path).predict,
            "litert-without-xnnpack": lambda: LiteRTRunner(path, xnnpack=False).predict,
            "tensorflow": lambda: _tensorflow(path),
        }
    if path.suffix == ".c":
        return {"c": lambda: open_artifact(path).predict}
    runners: dict[str, Callable[[], PredictFunction]] = {
        "onnxruntime": lambda: OnnxRunner(path).predict,
        "onnxruntime-unoptimised": lambda: OnnxRunner(path, optimize=False).predict,
    }
    if path.suffix == ".onnx":
        runners["opencv-dnn"] = lambda: OpenCVRunner(path).predict
    return runners


def _tensorflow(path: Path) -> PredictFunction:
    """Open a file in TensorFlow's own TFLite interpreter."""
    import warnings

    from feredge.keras import tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its deprecation
        interpreter = tf.lite.Interpreter(model_content=path.read_bytes(), num_threads=1)
    return TFLiteGraph(interpreter).run
