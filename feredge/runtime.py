"""Runners: one class a runtime, all behind `predict(batch)`. Native libraries are imported when first needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from feredge.artifact import CARD_KEY, Card, parse_card, read_tflite_card
from feredge.contract import Images
from feredge.errors import ArtifactError

Probabilities = NDArray[np.float32]


class Runner(Protocol):
    """Anything that turns a batch of images into class probabilities."""

    card: Card

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        ...


class OnnxRunner:
    """An `.onnx` or `.ort` file in onnxruntime."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        providers: tuple[str, ...] = ("CPUExecutionProvider",),
        optimize: bool = True,
    ) -> None:
        # onnxruntime reports to its maker by default, and only this, before the import, prevents it.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
        except Exception as error:  # onnxruntime raises bare pybind types, one per status code
            raise ArtifactError(f"{path}: onnxruntime cannot load it ({_line(error)})") from error
        text = self._session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
        if text is None:
            raise ArtifactError(f"{path}: expected a feredge card inside the file, found none")
        self.card = parse_card(text, str(path))
        self._input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name]

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        return self._session.run(self._outputs, {self._input: batch})[0]  # type: ignore[no-any-return]


class LiteRTRunner:
    """A `.tflite` file in LiteRT, by XNNPACK's kernels or, without `xnnpack`, the reference ones."""

    def __init__(self, path: Path, *, threads: int = 1, xnnpack: bool = True) -> None:
        try:
            from ai_edge_litert import interpreter as litert
        except ImportError as error:
            raise ArtifactError(f"{path}: a .tflite file needs `pip install ai-edge-litert`") from error
        self.card = read_tflite_card(path)
        resolver = litert.OpResolverType.AUTO if xnnpack else litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self._interpreter = litert.Interpreter(
                str(path), num_threads=threads, experimental_op_resolver_type=resolver
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path}: LiteRT cannot load it ({_line(error)})") from error
        self._describe()

    def _describe(self) -> None:
        self._input: dict[str, Any] = self._interpreter.get_input_details()[0]
        self._output: dict[str, Any] = self._interpreter.get_output_details()[0]

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`; integer outputs are scaled back."""
        if tuple(self._input["shape"]) != batch.shape:
            self._interpreter.resize_tensor_input(self._input["index"], batch.shape)
            self._interpreter.allocate_tensors()
            self._describe()
        self._interpreter.set_tensor(self._input["index"], batch)
        self._interpreter.invoke()
        output = self._interpreter.get_tensor(self._output["index"])
        if output.dtype == np.float32:
            return output  # type: ignore[no-any-return]
        scale, zero_point = self._output["quantization"]
        return ((output.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)


def open_artifact(path: str | os.PathLike[str], *, threads: int = 1) -> OnnxRunner | LiteRTRunner:
    """Load a model file into the runtime for its suffix.

    Raises:
        ArtifactError: a missing or damaged file, an unknown suffix, or a file without a feredge card.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a model file, found none")
    if path.suffix == ".tflite":
        return LiteRTRunner(path, threads=threads)
    if path.suffix in (".onnx", ".ort"):
        return OnnxRunner(path, threads=threads)
    raise ArtifactError(f"{path}: expected .onnx, .ort or .tflite, found {path.suffix or 'no suffix'}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
