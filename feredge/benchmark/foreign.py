"""Foreign files: models that feredge did not write, which have no card.

Shapes and dtypes are read from the file. How pixels are scaled is not known from it: `black` and `white` are the input
values of black and white pixels. Scaling is part of every timed call, because the file leaves it to its caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError, one_line
from feredge.inference.contract import Images, InputContract
from feredge.inference.runtimes import Probabilities, onnx_session
from feredge.inference.tflite import TFLiteGraph, litert_interpreter
from feredge.inspection.external_data import external_files

FOREIGN_OPENER = "feredge.benchmark.foreign:open_foreign"
FOREIGN_SUFFIXES = (".onnx", ".tflite")


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a foreign file.

    Attributes:
        channels_first: whether the input is `(N, C, H, W)`.
        classes: number of outputs.
        logits: whether the outputs are logits, not probabilities.
        scaled: whether the input is scaled pixels, not integer pixels as they are.
    """

    contract: InputContract
    channels_first: bool
    classes: int
    logits: bool
    scaled: bool


class ForeignRunner:
    """A foreign file behind the input contract: `uint8 (N, H, W, C)` in, probabilities out.

    Args:
        black, white: input values of black and white pixels; for quantized inputs before quantization.
        logits: whether to apply a softmax to the outputs.
    """

    def __init__(
        self, path: Path, *, threads: int = 1, black: float = 0.0, white: float = 1.0, logits: bool = False
    ) -> None:
        self._model = _OnnxModel(path, threads) if path.suffix == ".onnx" else _TFLiteModel(path, threads)
        shape, dtype = self._model.shape, self._model.dtype
        if len(shape) != 4:
            raise ArtifactError(f"{path.name}: expected an input of 4 axes, found {shape}")
        _, *dimensions = shape
        self._channels_first = dimensions[2] not in (1, 3) and dimensions[0] in (1, 3)
        height, width, channels = (*dimensions[1:], dimensions[0]) if self._channels_first else dimensions
        if channels not in (1, 3) or min(height, width) < 1:
            raise ArtifactError(f"{path.name}: expected images of a fixed size, gray or colour, found {shape}")
        self._contract = InputContract(height, width, channels)
        self._integer_dtype = np.dtype(dtype) if np.issubdtype(dtype, np.integer) else None
        self._scaled = self._integer_dtype is None or self._model.quantization is not None
        if self._scaled:  # one multiplication and one addition a pixel
            scale, zero_point = self._model.quantization or (1.0, 0.0)
            self._factor = np.float32((white - black) / 255 / scale)
            self._offset = np.float32(black / scale + zero_point)
        else:  # integers without quantization parameters are pixels as they are
            self._factor, self._offset = np.float32(1), np.float32(np.iinfo(dtype).min)
        self._logits = logits

    def signature(self) -> Signature:
        """Return the file's inputs and outputs. Number of classes, and logits or not, are seen on a random image."""
        outputs = self._run(np.random.default_rng(1).integers(0, 256, (1, *self._contract.shape), np.uint8))
        # 0.05: integer probabilities move in steps of 1/256, and each class may be half a step off.
        logits = bool(outputs.min() < 0 or abs(float(outputs.sum()) - 1) > 0.05)
        return Signature(self._contract, self._channels_first, outputs.shape[1], logits, self._scaled)

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        outputs = self._run(batch)
        if not self._logits:
            return outputs
        exponentials = np.exp(outputs - outputs.max(1, keepdims=True))
        probabilities: Probabilities = exponentials / exponentials.sum(1, keepdims=True)
        return probabilities

    def _run(self, batch: Images) -> Probabilities:
        tensor: NDArray[Any] = batch * self._factor + self._offset
        if self._channels_first:
            tensor = np.ascontiguousarray(tensor.transpose(0, 3, 1, 2))
        if self._integer_dtype is not None:
            limits = np.iinfo(self._integer_dtype)
            tensor = np.clip(np.rint(tensor), limits.min, limits.max).astype(self._integer_dtype)
        return self._model.run(tensor).reshape(len(batch), -1).astype(np.float32)


def open_foreign(path: Path, *, threads: int = 1, **options: Any) -> Any:
    """Open a foreign file, `.onnx` or `.tflite`; `options` are those of ForeignRunner."""
    if path.suffix in FOREIGN_SUFFIXES:
        return ForeignRunner(path, threads=threads, **options)
    raise ArtifactError(f"{path.name}: expected {' or '.join(FOREIGN_SUFFIXES)}, found {path.suffix or 'no suffix'}")


class _OnnxModel:
    def __init__(self, path: Path, threads: int) -> None:
        external_files(path)  # raises for weights in other folders, which onnxruntime would read
        try:
            self._session = onnx_session(str(path), threads=threads)
        except Exception as error:  # onnxruntime raises bare pybind types, one per status code
            raise ArtifactError(f"{path.name}: onnxruntime cannot load it ({one_line(error)})") from error
        model_input = self._session.get_inputs()[0]
        dtypes = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
        if model_input.type not in dtypes:
            raise ArtifactError(
                f"{path.name}: expected an input of float32 or 8-bit integers, found {model_input.type}"
            )
        self._input_name = model_input.name
        self.dtype: Any = dtypes[model_input.type]
        self.shape = tuple(side if isinstance(side, int) else -1 for side in model_input.shape)
        self.quantization: tuple[float, float] | None = None
        # onnxruntime's dynamic quantization computes ranges over the whole batch, so that an image's outputs would
        # depend on the others; in use there is one image.
        self._one_at_a_time = self.shape[0] == 1 or b"DynamicQuantizeLinear" in path.read_bytes()

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        split = self._one_at_a_time and len(tensor) > 1
        parts = [tensor[index : index + 1] for index in range(len(tensor))] if split else [tensor]
        return np.concatenate([self._session.run(None, {self._input_name: part})[0] for part in parts])


class _TFLiteModel:
    def __init__(self, path: Path, threads: int) -> None:
        try:
            self._graph = TFLiteGraph(litert_interpreter(path, threads=threads))
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path.name}: LiteRT cannot load it ({one_line(error)})") from error
        self.shape = tuple(map(int, self._graph.input["shape"]))
        self.dtype: Any = self._graph.input["dtype"]
        scale, zero_point = self._graph.input["quantization"]
        self.quantization: tuple[float, float] | None = (float(scale), float(zero_point)) if scale else None
        self.run = self._graph.run
