"""Alternative runtimes for exported files: LiteRT without XNNPACK, OpenCV, TensorFlow Lite Micro, those of browsers.

A worker opens each by its `module:name`, as `feredge.inference.runtimes:OpenCVRunner`.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feredge.errors import ArtifactError
from feredge.inference.contract import Images
from feredge.inference.embedded_card import read_card
from feredge.inference.runtimes import LiteRTRunner, Probabilities
from feredge.inference.tflite import dequantize


@dataclass(frozen=True)
class AlternativeRuntime:
    """A runtime other than a file format's default one.

    Attributes:
        title: as rows and tables name it.
        opener: `module:name`, as in Candidate.
        format: of the files that it reads.
        precisions: of the files that it is useful for; empty for all.
        module: the module that it needs; empty for none.
        package: the package that contains the module.
        in_browser: whether it runs in Chromium, a process of its own.
        npm_package: that it needs, of `web.packages.NPM_PACKAGES`; empty for none.
    """

    title: str
    opener: str
    format: str
    precisions: tuple[str, ...] = ()
    module: str = ""
    package: str = ""
    in_browser: bool = False
    npm_package: str = ""

    def prepare(self) -> str:
        """Install its npm package, if it has one, and return what this machine still lacks; empty if nothing."""
        from feredge.benchmark.web.packages import install_package
        from feredge.bundles.web.chromium import find_chromium

        if self.module and importlib.util.find_spec(self.module) is None:
            return f"its package {self.package} is not installed here"
        if self.in_browser and find_chromium() is None:
            return "Chromium is not installed here"
        if self.npm_package:
            try:
                install_package(self.npm_package)
            except ArtifactError as error:
                return str(error)
        return ""


ALTERNATIVE_RUNTIMES = {
    "xnnpack-off": AlternativeRuntime(
        title="LiteRT, XNNPACK off",
        opener="feredge.benchmark.alternative_runtimes:open_without_xnnpack",
        format="tflite",
        module="ai_edge_litert",
        package="ai-edge-litert",
    ),
    "opencv": AlternativeRuntime(
        title="OpenCV DNN",
        opener="feredge.inference.runtimes:OpenCVRunner",
        format="onnx",
        module="cv2",
        package="opencv-python",
    ),
    "tflite-micro": AlternativeRuntime(
        title="TFLite Micro",
        opener="feredge.benchmark.alternative_runtimes:MicroRunner",
        format="tflite",
        precisions=("int8",),
        module="tflite_micro",
        package="tflite-micro",
    ),
    "web": AlternativeRuntime(
        title="WebAssembly",
        opener="feredge.benchmark.web.runner:open_bundle",
        format="tflite",
        precisions=("int8",),
        module="ziglang",
        package="ziglang",
        in_browser=True,
    ),
    "litert-js": AlternativeRuntime(
        title="LiteRT.js",
        opener="feredge.benchmark.web.runner:open_litert_js",
        format="tflite",
        in_browser=True,
        npm_package="@litertjs/core",
    ),
    "onnxruntime-web": AlternativeRuntime(
        title="onnxruntime-web",
        opener="feredge.benchmark.web.runner:open_onnxruntime_web",
        format="onnx",
        in_browser=True,
        npm_package="onnxruntime-web",
    ),
}
"""By the names that `feredge bench --runtimes` takes."""


def open_without_xnnpack(path: Path, *, threads: int = 1) -> LiteRTRunner:
    """Open a `.tflite` file in LiteRT with its built-in kernels only."""
    return LiteRTRunner(path, threads=threads, xnnpack=False)


class MicroRunner:
    """An integer `.tflite` file in TensorFlow Lite for Microcontrollers, one image at a time.

    It is single-threaded and ignores `threads`. With its portable reference kernels the outputs equal a
    microcontroller's; the times are this processor's.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        read_card(path)  # a damaged model would crash the process
        runtime = importlib.import_module("tflite_micro").runtime
        try:
            self._interpreter: Any = runtime.Interpreter.from_file(str(path))
        except RuntimeError as error:
            raise ArtifactError(f"{path.name}: TFLite Micro cannot load it ({error})") from error
        parameters = self._interpreter.get_output_details(0)["quantization_parameters"]
        scales, zero_points = parameters["scales"], parameters["zero_points"]
        self._quantization = (scales[0], zero_points[0]) if len(scales) else (0.0, 0)

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        outputs = []
        for image in batch:
            try:
                self._interpreter.set_input(image[None], 0)
                self._interpreter.invoke()
            except (RuntimeError, ValueError) as error:
                raise ArtifactError(f"TFLite Micro failed ({error})") from error
            outputs.append(self._interpreter.get_output(0))
        return dequantize(np.concatenate(outputs), *self._quantization).astype(np.float32)
