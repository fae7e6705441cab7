"""One file in every runtime that may run it, beside the float network: do they agree?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from feredge.errors import one_line
from feredge.inference.contract import Images
from feredge.inference.runtimes import LiteRTRunner, OnnxRunner, OpenCVRunner, Probabilities
from feredge.inference.tflite import TFLiteGraph

Run = Callable[[Images], Probabilities]

IMAGES = 96  # some of these kernels are slow
BATCH = 32


def compare(path: Path, images: Images, reference: Probabilities) -> dict[str, dict[str, Any]]:
    """Run a file in every runtime for its format.

    Args:
        path: the file.
        images: `uint8 (N, H, W, C)`, of which the first 96 are taken.
        reference: the float network's probabilities for them, by TensorFlow.

    Returns:
        By runtime: `agreement`, the share of images called as the float network does; `max_difference` of a
        probability from it; or `failed` with the reason.
    """
    images, reference = images[:IMAGES], reference[:IMAGES]
    found: dict[str, dict[str, Any]] = {}
    for runtime, opened in _runners(path).items():
        try:
            run = opened()
            outputs = np.concatenate([run(images[at : at + BATCH]) for at in range(0, len(images), BATCH)])
        except Exception as error:  # whatever a runtime raises is a finding here
            found[runtime] = {"failed": one_line(error, 160)}
            continue
        found[runtime] = {
            "agreement": float((outputs.argmax(axis=1) == reference.argmax(axis=1)).mean()),
            "max_difference": float(np.abs(outputs - reference).max()),
        }
    return found


def _runners(path: Path) -> dict[str, Callable[[], Run]]:
    if path.suffix == ".tflite":
        return {
            "litert": lambda: LiteRTRunner(path).predict,
            "litert-without-xnnpack": lambda: LiteRTRunner(path, xnnpack=False).predict,
            "tensorflow": lambda: _tensorflow(path),
        }
    runners: dict[str, Callable[[], Run]] = {
        "onnxruntime": lambda: OnnxRunner(path).predict,
        "onnxruntime-unoptimised": lambda: OnnxRunner(path, optimize=False).predict,
    }
    if path.suffix == ".onnx":
        runners["opencv-dnn"] = lambda: OpenCVRunner(path).predict
    return runners


def _tensorflow(path: Path) -> Run:
    """Open a file in the interpreter that TensorFlow itself brings."""
    import warnings

    from feredge.keras import tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        interpreter = tf.lite.Interpreter(model_content=path.read_bytes(), num_threads=1)
    return TFLiteGraph(interpreter).run
