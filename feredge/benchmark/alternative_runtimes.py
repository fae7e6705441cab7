"""Other runtimes for the same files, each opened in a worker by its name: `feredge.inference.runtimes:OpenCVRunner`.

They show what the same file does elsewhere: in LiteRT without XNNPACK's kernels, in OpenCV's DNN module, and in
TensorFlow Lite for Microcontrollers on this processor.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feredge.errors import ArtifactError
from feredge.inference.artifact import read_card
from feredge.inference.contract import Images
from feredge.inference.runtimes import LiteRTRunner, Probabilities
from feredge.inference.tflite import dequantized


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
        "feredge.benchmark.alternative_runtimes:open_reference",
        "tflite",
        needs=("ai_edge_litert", "ai-edge-litert"),
    ),
    "opencv": Runtime("OpenCV DNN", "feredge.inference.runtimes:OpenCVRunner", "onnx", needs=("cv2", "opencv-python")),
    "tflite-micro": Runtime(
        "TFLite Micro",
        "feredge.benchmark.alternative_runtimes:MicroRunner",
        "tflite",
        precisions=("int8",),
        needs=("tflite_micro", "tflite-micro"),
    ),
}
"""What `feredge bench --runtimes` takes."""


def open_reference(path: Path, *, threads: int = 1) -> LiteRTRunner:
    """Open a `.tflite` file in LiteRT with its built-in kernels only."""
    return LiteRTRunner(path, threads=threads, xnnpack=False)


class MicroRunner:
    """An integer `.tflite` file in TensorFlow Lite for Microcontrollers, one image at a time.

    It has one thread, whatever is asked for. Its kernels are the portable ones: answers are what a microcontroller
    gives, times are this processor's.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        read_card(path)  # a damaged model would end the process
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
