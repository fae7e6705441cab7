"""TFLite graphs in an interpreter: inputs of any batch size, dequantized outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError


def import_litert(model: object) -> Any:
    """Import LiteRT's interpreter module; ArtifactError, which names `model`, if it is not installed."""
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise ArtifactError(f"{model}: a .tflite file needs `pip install ai-edge-litert`") from error
    return interpreter


def litert_interpreter(model: Path | bytes, *, threads: int = 1, xnnpack: bool = True) -> Any:
    """Open a file, or its bytes, in LiteRT, with the XNNPACK delegate or, without `xnnpack`, the built-in kernels.

    Raises:
        ArtifactError: LiteRT is not installed.
        ValueError, RuntimeError: it cannot load the model.
    """
    module = import_litert(model if isinstance(model, Path) else "a model")
    resolver = module.OpResolverType.AUTO if xnnpack else module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    return module.Interpreter(**source, num_threads=threads, experimental_op_resolver_type=resolver)


class TFLiteGraph:
    """A graph with one input in an interpreter, LiteRT's or TensorFlow's. Not thread-safe.

    Args:
        interpreter: with the graph.
        output: index of the output.

    Attributes:
        input, output: the interpreter's tensor details.
    """

    def __init__(self, interpreter: Any, *, output: int = 0) -> None:
        self._interpreter, self._output_index = interpreter, output
        self._allocate()

    def _allocate(self) -> None:
        self._interpreter.allocate_tensors()
        self.input: dict[str, Any] = self._interpreter.get_input_details()[0]
        self.output: dict[str, Any] = self._interpreter.get_output_details()[self._output_index]

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Return the output for a batch of the input's dtype; quantized outputs are dequantized to `float32`.

        Raises:
            ValueError, RuntimeError: from the interpreter, for a batch of another shape or dtype.
        """
        if tuple(self.input["shape"]) != batch.shape:
            self._interpreter.resize_tensor_input(self.input["index"], batch.shape)
            self._allocate()
        self._interpreter.set_tensor(self.input["index"], batch)
        self._interpreter.invoke()
        output: NDArray[Any] = self._interpreter.get_tensor(self.output["index"])
        return dequantize(output, *self.output["quantization"])


def dequantize(values: NDArray[Any], scale: float, zero_point: int) -> NDArray[Any]:
    """Dequantize a tensor's values to `float32`; floats, and integers without a scale, are returned unchanged."""
    if values.dtype.kind == "f" or not scale:
        return values
    return (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)  # type: ignore[no-any-return]
