"""Files that feredge did not write: what they take and answer is read from the file, the rest is said by the user.

A foreign file has no card, so nobody knows how its pixels are scaled: `low` and `high` say what black and white are
to it. Scaling is then part of every call that is timed, because the file leaves it to its user.
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

OPENER = "feredge.benchmark.foreign:open_foreign"
SUFFIXES = (".onnx", ".tflite")


@dataclass(frozen=True)
class Signature:
    """What a foreign file takes and gives.

    Attributes:
        channels_first: whether it takes `(N, C, H, W)`.
        classes: how many it answers with.
        logits: whether its answers are not probabilities yet.
        scaled: whether it takes scaled pixels, and not integers as they are.
    """

    contract: InputContract
    channels_first: bool
    classes: int
    logits: bool
    scaled: bool


class ForeignRunner:
    """A foreign file behind the input contract: gray `uint8 (N, H, W, C)` in, probabilities out.

    With `logits`, which `signature` finds out, its answers go through a softmax.
    """

    def __init__(
        self, path: Path, *, threads: int = 1, low: float = 0.0, high: float = 1.0, logits: bool = False
    ) -> None:
        self._model = _Onnx(path, threads) if path.suffix == ".onnx" else _TFLite(path, threads)
        shape, dtype = self._model.shape, self._model.dtype
        if len(shape) != 4:
            raise ArtifactError(f"{path.name}: expected an input of 4 axes, found {shape}")
        _, *sides = shape
        self._first = sides[2] not in (1, 3) and sides[0] in (1, 3)
        height, width, channels = (*sides[1:], sides[0]) if self._first else sides
        if channels not in (1, 3) or min(height, width) < 1:
            raise ArtifactError(f"{path.name}: expected images of a fixed size, gray or colour, found {shape}")
        self._contract = InputContract(height, width, channels)
        self._integer = np.dtype(dtype) if np.issubdtype(dtype, np.integer) else None
        self._scaled = self._integer is None or self._model.quantization is not None
        if self._scaled:  # one multiplication and one addition a pixel
            scale, zero = self._model.quantization or (1.0, 0.0)
            self._factor = np.float32((high - low) / 255 / scale)
            self._shift = np.float32(low / scale + zero)
        else:  # integers that nobody has scaled are pixels as they are
            self._factor, self._shift = np.float32(1), np.float32(np.iinfo(dtype).min)
        self._logits = logits

    def signature(self) -> Signature:
        """Say what the file takes and gives. Its answer to one image tells how many classes, and whether logits."""
        answers = self._answer(np.random.default_rng(1).integers(0, 256, (1, *self._contract.shape), np.uint8))
        # 0.05: integer probabilities move in steps of 1/256, and each class may be half a step off.
        logits = bool(answers.min() < 0 or abs(float(answers.sum()) - 1) > 0.05)
        return Signature(self._contract, self._first, answers.shape[1], logits, self._scaled)

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        answers = self._answer(batch)
        if not self._logits:
            return answers
        powers = np.exp(answers - answers.max(1, keepdims=True))
        probabilities: Probabilities = powers / powers.sum(1, keepdims=True)
        return probabilities

    def _answer(self, batch: Images) -> Probabilities:
        tensor: NDArray[Any] = batch * self._factor + self._shift
        if self._first:
            tensor = np.ascontiguousarray(tensor.transpose(0, 3, 1, 2))
        if self._integer is not None:
            limits = np.iinfo(self._integer)
            tensor = np.clip(np.rint(tensor), limits.min, limits.max).astype(self._integer)
        return self._model.run(tensor).reshape(len(batch), -1).astype(np.float32)


def open_foreign(path: Path, *, threads: int = 1, **options: Any) -> Any:
    """Open any foreign file by its suffix; `options` are those of ForeignRunner."""
    if path.suffix in SUFFIXES:
        return ForeignRunner(path, threads=threads, **options)
    raise ArtifactError(f"{path.name}: expected {' or '.join(SUFFIXES)}, found {path.suffix or 'no suffix'}")


class _Onnx:
    def __init__(self, path: Path, threads: int) -> None:
        external_files(path)  # onnxruntime would read any file that the model names
        try:
            self._session = onnx_session(str(path), threads=threads)
        except Exception as error:  # onnxruntime raises bare pybind types, one per status code
            raise ArtifactError(f"{path.name}: onnxruntime cannot load it ({one_line(error)})") from error
        taken = self._session.get_inputs()[0]
        kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
        if taken.type not in kinds:
            raise ArtifactError(f"{path.name}: expected an input of float32 or 8-bit integers, found {taken.type}")
        self._name = taken.name
        self.dtype: Any = kinds[taken.type]
        self.shape = tuple(side if isinstance(side, int) else -1 for side in taken.shape)
        self.quantization: tuple[float, float] | None = None
        # onnxruntime's dynamic quantization takes its ranges from the whole batch: an image's answer would depend on
        # its neighbours, which it has none of in use.
        self._one = self.shape[0] == 1 or b"DynamicQuantizeLinear" in path.read_bytes()

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        parts = [tensor[at : at + 1] for at in range(len(tensor))] if self._one and len(tensor) > 1 else [tensor]
        return np.concatenate([self._session.run(None, {self._name: part})[0] for part in parts])


class _TFLite:
    def __init__(self, path: Path, threads: int) -> None:
        try:
            self._graph = TFLiteGraph(litert_interpreter(path, threads=threads))
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path.name}: LiteRT cannot load it ({one_line(error)})") from error
        self.shape = tuple(map(int, self._graph.input["shape"]))
        self.dtype: Any = self._graph.input["dtype"]
        scale, zero = self._graph.input["quantization"]
        self.quantization: tuple[float, float] | None = (float(scale), float(zero)) if scale else None
        self.run = self._graph.run
