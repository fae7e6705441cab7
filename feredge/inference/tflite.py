"""TFLite graphs in an interpreter: batches of any size in, real numbers out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError


def litert(what: object) -> Any:
    """Return LiteRT's module of interpreters; ArtifactError, naming `what` needs it, where it is not installed."""
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise ArtifactError(f"{what}: a .tflite file needs `pip install ai-edge-litert`") from error
    return interpreter


def litert_interpreter(model: Path | bytes, *, threads: int = 1, xnnpack: bool = True) -> Any:
    """Open a file, or its bytes, in LiteRT, by XNNPACK's kernels or, without `xnnpack`, the reference ones.

    Raises:
        ArtifactError: LiteRT is not installed.
        ValueError, RuntimeError: it cannot load the model.
    """
    module = litert(model if isinstance(model, Path) else "a model")
    resolver = module.OpResolverType.AUTO if xnnpack else module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    return module.Interpreter(**source, num_threads=threads, experimental_op_resolver_type=resolver)


class TFLiteGraph:
    """A graph of one input and one output in an interpreter, LiteRT's or TensorFlow's own. Not for several threads.

    Attributes:
        input, output: the interpreter's details of both tensors.
    """

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._allocate()

    def _allocate(self) -> None:
        self._interpreter.allocate_tensors()
        self.input: dict[str, Any] = self._interpreter.get_input_details()[0]
        self.output: dict[str, Any] = self._interpreter.get_output_details()[0]

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Return the output for a batch of the input's type; integers with a scale come back as `float32`.

        Raises:
            ValueError, RuntimeError: the interpreter's own, for a batch that does not fit.
        """
        if tuple(self.input["shape"]) != batch.shape:
            self._interpreter.resize_tensor_input(self.input["index"], batch.shape)
            self._allocate()
        self._interpreter.set_tensor(self.input["index"], batch)
        self._interpreter.invoke()
        output: NDArray[Any] = self._interpreter.get_tensor(self.output["index"])
        return dequantized(output, *self.output["quantization"])


def dequantized(values: NDArray[Any], scale: float, zero_point: int) -> NDArray[Any]:
    """Return a tensor's values as real numbers; floating-point ones, and integers without a scale, as they are."""
    if values.dtype.kind == "f" or not scale:
        return values
    return (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)  # type: ignore[no-any-return]
