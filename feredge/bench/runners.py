"""Other runtimes for the same files, each opened in a worker by its name: `feredge.bench.runners:open_opencv`.

A file's own runtime is in feredge/runtime.py. What stands here shows what the same file does elsewhere: LiteRT without
XNNPACK's kernels, OpenCV's DNN module, and TensorFlow Lite for Microcontrollers on this processor.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.artifact import read_tflite_card
from feredge.contract import Images
from feredge.errors import ArtifactError
from feredge.runtime import LiteRTRunner, Probabilities
from feredge.tflite import dequantized


@dataclass(frozen=True)
class Runtime:
    """A runtime beside a file's own.

    Attributes:
        title: as rows and tables name it.
        opener: `module:name`, as a Subject has it.
        format: of the files that it reads.
        precisions: of the files that are worth trying in it; empty for all.
        needs: the module that must be there, and the package that brings it.
    """

    title: str
    opener: str
    format: str
    precisions: tuple[str, ...] = ()
    needs: tuple[str, str] = ("", "")

    @property
    def missing(self) -> bool:
        """Say whether this machine lacks it."""
        return bool(self.needs[0]) and importlib.util.find_spec(self.needs[0]) is None


ALSO = {
    "xnnpack-off": Runtime(
        "LiteRT, XNNPACK off",
        "feredge.bench.runners:open_reference",
        "tflite",
        needs=("ai_edge_litert", "ai-edge-litert"),
    ),
    "opencv": Runtime("OpenCV DNN", "feredge.bench.runners:OpenCVRunner", "onnx", needs=("cv2", "opencv-python")),
    "tflite-micro": Runtime(
        "TFLite Micro",
        "feredge.bench.runners:MicroRunner",
        "tflite",
        precisions=("int8",),
        needs=("tflite_micro", "tflite-micro"),
    ),
}
"""What `feredge bench --also` takes."""


def open_reference(path: Path, *, threads: int = 1) -> LiteRTRunner:
    """Open a `.tflite` file in LiteRT with its built-in kernels only."""
    return LiteRTRunner(path, threads=threads, xnnpack=False)


class OpenCVRunner:
    """An `.onnx` file in OpenCV's DNN module, which takes float32 whatever the file says, and has integers its way."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
        import cv2

        cv2.setNumThreads(threads)
        self._error = cv2.error
        try:
            self._net: Any = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise ArtifactError(f"{path.name}: OpenCV cannot read it ({_reason(error)})") from error

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        rows: list[NDArray[Any]] = []
        for image in batch:  # one by one: of several, int8 networks answer wrongly, and otherwise each time
            try:
                self._net.setInput(image[None].astype(np.float32))
                rows.append(self._net.forward().reshape(-1))
            except self._error as error:
                raise ArtifactError(f"OpenCV failed on {batch.shape} ({_reason(error)})") from error
        return np.stack(rows).astype(np.float32)


class MicroRunner:
    """An integer `.tflite` file in TensorFlow Lite for Microcontrollers, one image at a time.

    It has one thread, whatever is asked for. Its kernels are the portable ones: answers are what a microcontroller
    gives, times are this processor's.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        read_tflite_card(path)  # a damaged model would end the process
        runtime = importlib.import_module("tflite_micro").runtime
        try:
            self._interpreter: Any = runtime.Interpreter.from_file(str(path))
        except RuntimeError as error:
            raise ArtifactError(f"{path.name}: TFLite Micro cannot load it ({error})") from error
        found = self._interpreter.get_output_details(0)["quantization_parameters"]
        self._quantization = (found["scales"][0], found["zero_points"][0]) if len(found["scales"]) else (0.0, 0)

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        rows = []
        for image in batch:
            try:
                self._interpreter.set_input(image[None], 0)
                self._interpreter.invoke()
            except (RuntimeError, ValueError) as error:
                raise ArtifactError(f"TFLite Micro failed ({error})") from error
            rows.append(self._interpreter.get_output(0))
        return dequantized(np.concatenate(rows), *self._quantization).astype(np.float32)


def _reason(error: BaseException) -> str:
    """Return the last line of OpenCV's many."""
    return str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
