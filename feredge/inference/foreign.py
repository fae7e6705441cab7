"""Foreign files: models that feredge did not write, which have no card.

Shapes and dtypes are read from the file. How pixels are scaled, and what the outputs are called, is not known from it.
Scaling is part of every timed call, because the file leaves it to its caller.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError, NoCardError, one_line
from feredge.inference.artifact import Card
from feredge.inference.contract import Images, InputContract
from feredge.inference.embedded_card import read_card
from feredge.inference.runtimes import Probabilities, onnx_session
from feredge.inference.tflite import TFLiteGraph, litert_interpreter

FOREIGN_SUFFIXES = (".onnx", ".tflite")
SAMPLE_IMAGES = 4  # random ones, to tell probabilities from logits
Activation = Literal["softmax", "logits", "sigmoid"]
"""Of a file's outputs: probabilities that sum to 1, logits, or a probability of each class on its own."""


@dataclass(frozen=True)
class ForeignModel:
    """What a file without a card does not say.

    Attributes:
        classes: class names in the order of its outputs; of a single output p two, of the probabilities 1 - p and p.
        input_range: input values of black and white pixels; for quantized inputs before quantization.
        output: name of the output, if it has several.
    """

    classes: tuple[str, ...] = ()
    input_range: tuple[float, float] = (0.0, 1.0)
    output: str = ""


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a foreign file.

    Attributes:
        channels_first: whether the input is `(N, C, H, W)`.
        classes: number of classes: of outputs, but two of a single output.
        activation: of the outputs.
        scaled: whether the input is scaled pixels, not integer pixels as they are.
    """

    contract: InputContract
    channels_first: bool
    classes: int
    activation: Activation
    scaled: bool


class ForeignRunner:
    """A foreign file behind the input contract: `uint8 (N, H, W, C)` in, probabilities out.

    Args:
        path: the file; its structure is not checked here.
        black, white: input values of black and white pixels; for quantized inputs before quantization.
        activation: of its outputs, see `signature`.
        output: name of the output, if it has several.
        columns: classes to return, whose probabilities are divided by their sum; empty for all.

    Attributes:
        activation: of its outputs.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        black: float = 0.0,
        white: float = 1.0,
        activation: Activation = "softmax",
        output: str = "",
        columns: Sequence[int] = (),
    ) -> None:
        self.path = path
        self._model: _OnnxModel | _TFLiteModel
        if path.suffix == ".onnx":
            self._model = _OnnxModel(path, threads, providers, output)
        else:
            self._model = _TFLiteModel(path, threads, output)
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
        self.activation, self._columns = activation, list(columns)

    def signature(self) -> Signature:
        """Return the file's inputs and outputs. Number of classes and activation are seen on random images."""
        images = np.random.default_rng(1).integers(0, 256, (SAMPLE_IMAGES, *self._contract.shape), np.uint8)
        outputs = self._run(images)
        # 0.05: integer probabilities move in steps of 1/256, and each class may be half a step off.
        within = outputs.min() >= 0 and outputs.max() <= 1
        is_softmax = outputs.min() >= 0 and float(np.abs(outputs.sum(axis=1) - 1).max()) <= 0.05
        activation: Activation = "sigmoid" if within else "logits"
        if is_softmax and outputs.shape[1] > 1:
            activation = "softmax"
        classes = max(2, outputs.shape[1])
        return Signature(self._contract, self._channels_first, classes, activation, self._scaled)

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        outputs = self._run(batch)
        if outputs.shape[1] == 1 and self.activation == "logits":
            outputs = np.hstack([np.zeros_like(outputs), outputs])
        if self.activation == "logits":
            outputs = np.exp(outputs - outputs.max(1, keepdims=True))
        elif outputs.shape[1] == 1:
            outputs = np.hstack([1 - outputs, outputs])
        if self._columns:
            outputs = outputs[:, self._columns]
        if self.activation == "softmax" and not self._columns:
            return outputs
        probabilities: Probabilities = outputs / np.maximum(outputs.sum(1, keepdims=True), np.float32(1e-30))
        return probabilities

    def _run(self, batch: Images) -> Probabilities:
        tensor: NDArray[Any] = batch * self._factor + self._offset
        if self._channels_first:
            tensor = np.ascontiguousarray(tensor.transpose(0, 3, 1, 2))
        if self._integer_dtype is not None:
            limits = np.iinfo(self._integer_dtype)
            tensor = np.clip(np.rint(tensor), limits.min, limits.max)
        return self._model.run(tensor.astype(self._model.dtype, copy=False)).reshape(len(batch), -1).astype(np.float32)


class CardlessRunner:
    """A foreign file as a `Runner`: with a card of what its user says of it."""

    def __init__(self, runner: ForeignRunner, card: Card) -> None:
        self.card, self.path = card, runner.path
        self._runner = runner

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        try:
            return self._runner.predict(batch)
        except Exception as error:  # the runtimes raise errors of any type
            raise ArtifactError(
                f"{self.path}: its runtime failed on a batch of shape {batch.shape} ({one_line(error)})"
            ) from error


def open_without_card(
    path: Path, model: ForeignModel, *, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> CardlessRunner:
    """Open a foreign file after the same structural checks as any other file.

    Raises:
        ArtifactError: a file with a card, refused contents, or another number of classes.
    """
    check_foreign(path)
    black, white = model.input_range
    options: dict[str, Any] = {
        "threads": threads,
        "providers": providers,
        "black": black,
        "white": white,
        "output": model.output,
    }
    runner = ForeignRunner(path, **options)
    signature = runner.signature()
    if len(model.classes) != signature.classes or len(set(model.classes)) != len(model.classes):
        raise ArtifactError(
            f"{path}: has outputs of {signature.classes} classes, expected as many different names, "
            f"found {', '.join(model.classes) or 'none'}"
        )
    card = Card("foreign", "float32", model.classes, signature.contract)
    runner.activation = signature.activation
    return CardlessRunner(runner, card)


def output_names(path: Path) -> list[str]:
    """Return the names of a file's outputs; ArtifactError if it cannot be opened."""
    if path.suffix == ".onnx":
        return [item.name for item in _open_onnx(path).get_outputs()]
    try:
        return [str(item["name"]) for item in litert_interpreter(path).get_output_details()]
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path.name}: LiteRT cannot load it ({one_line(error)})") from error


def check_foreign(path: Path) -> None:
    """Check the structure of a file without a card.

    Raises:
        ArtifactError: a file with a card, another suffix, or refused contents.
    """
    if path.suffix not in FOREIGN_SUFFIXES:
        raise ArtifactError(f"{path}: expected {' or '.join(FOREIGN_SUFFIXES)}, found {path.suffix or 'no suffix'}")
    try:
        read_card(path)
    except NoCardError:
        pass
    else:
        raise ArtifactError(f"{path}: has a feredge card, which states its classes and input; give none")
    try:
        _check_structure(path)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def _check_structure(path: Path) -> None:
    if path.suffix == ".onnx":
        from feredge.inference.onnx_check import check_onnx, read_onnx

        check_onnx(read_onnx(path.read_bytes()))
    else:
        from feredge.inference.tflite_check import check_tflite

        check_tflite(path.read_bytes())


def _chosen(names: Sequence[str], output: str, path: Path) -> int:
    """Return the index of an output; ArtifactError for several of which none is chosen, or another name."""
    if output in names:
        return list(names).index(output)
    if output or len(names) > 1:
        raise ArtifactError(
            f"{path.name}: expected one of its outputs as --output, {', '.join(names)}, found {output or 'none'}"
        )
    return 0


def _open_onnx(path: Path, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Any:
    """Return onnxruntime's session; ArtifactError if it cannot be opened."""
    try:
        return onnx_session(str(path), threads=threads, providers=providers)
    except ArtifactError:
        raise
    except Exception as error:  # onnxruntime raises bare pybind types, one per status code
        raise ArtifactError(f"{path.name}: onnxruntime cannot load it ({one_line(error)})") from error


class _OnnxModel:
    def __init__(self, path: Path, threads: int, providers: Sequence[str], output: str) -> None:
        self._session = _open_onnx(path, threads, providers)
        model_input, *others = self._session.get_inputs()
        if others:
            raise ArtifactError(f"{path.name}: expected one input, found {len(others) + 1}")
        names = [item.name for item in self._session.get_outputs()]
        self._outputs = [names[_chosen(names, output, path)]]
        dtypes = {
            "tensor(float)": np.float32,
            "tensor(float16)": np.float16,
            "tensor(uint8)": np.uint8,
            "tensor(int8)": np.int8,
        }
        if model_input.type not in dtypes:
            raise ArtifactError(
                f"{path.name}: expected an input of float32, float16 or 8-bit integers, found {model_input.type}"
            )
        self._input_name = model_input.name
        self.dtype: Any = dtypes[model_input.type]
        self.shape = tuple(side if isinstance(side, int) else -1 for side in model_input.shape)
        self.quantization: tuple[float, float] | None = None
        self._fixed_batch = max(self.shape[0], 0)
        # onnxruntime's dynamic quantization computes ranges over the whole batch, so that an image's outputs would
        # depend on the others; in use there is one image.
        self._images_per_run = 1 if b"DynamicQuantizeLinear" in path.read_bytes() else self._fixed_batch

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        size = self._images_per_run or len(tensor)
        return np.concatenate([self._run_part(tensor[start : start + size]) for start in range(0, len(tensor), size)])

    def _run_part(self, part: NDArray[Any]) -> NDArray[Any]:
        """Run at most one batch; one of a fixed size is filled up with copies of its last image."""
        missing = self._fixed_batch - len(part)
        filled = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing > 0 else part
        outputs: NDArray[Any] = self._session.run(self._outputs, {self._input_name: filled})[0]
        return outputs[: len(part)]


class _TFLiteModel:
    def __init__(self, path: Path, threads: int, output: str) -> None:
        self._lock = threading.Lock()
        try:
            interpreter = litert_interpreter(path, threads=threads)
            names = [str(item["name"]) for item in interpreter.get_output_details()]
            self._graph = TFLiteGraph(interpreter, output=_chosen(names, output, path))
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path.name}: LiteRT cannot load it ({one_line(error)})") from error
        self.shape = tuple(map(int, self._graph.input["shape"]))
        self.dtype: Any = self._graph.input["dtype"]
        scale, zero_point = self._graph.input["quantization"]
        self.quantization: tuple[float, float] | None = (float(scale), float(zero_point)) if scale else None

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        with self._lock:  # an interpreter has one input and one output tensor
            return self._graph.run(tensor)
