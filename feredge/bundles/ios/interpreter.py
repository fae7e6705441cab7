"""An interpreter, in numpy, of the Core ML programs that `translation` builds: what a package really contains, run.

It reads the specification's protocol buffer and the weights' file, and computes as they say: sums in float32, every
result rounded to its declared type. Core ML's own kernels may round elsewhere, as those of the Neural Engine do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from feredge.bundles.ios.translation import INPUT_NAME
from feredge.errors import ArtifactError
from feredge.inference.contract import Images
from feredge.inference.runtimes import Probabilities

Array = NDArray[Any]
Inputs = Mapping[str, Any]
BLOB_SENTINEL = 0xDEADBEEF
BLOB_TYPES = {1: np.float16, 2: np.float32, 3: np.uint8, 4: np.int8}
"""Of the weights' file, as coremltools' source states its format."""
TENSOR_TYPES = {"BOOL": np.bool_, "FLOAT16": np.float16, "FLOAT32": np.float32, "INT32": np.int32, "STRING": np.str_}
"""numpy's types by those of the specification."""


class Program:
    """The program of a package.

    Args:
        specification: the bytes of `model.mlmodel`.
        weights: those of `weight.bin`.

    Raises:
        ArtifactError: no program, or a damaged one.
    """

    def __init__(self, specification: bytes, weights: bytes) -> None:
        from coremltools.proto import MIL_pb2, Model_pb2

        model = Model_pb2.Model()
        try:
            model.ParseFromString(specification)
            function = model.mlProgram.functions["main"]
            self._block = function.block_specializations[function.opset]
        except Exception as error:  # protobuf raises several kinds
            raise ArtifactError(f"expected a Core ML program, found a damaged one ({type(error).__name__})") from error
        self._type_names = {number: name for name, number in MIL_pb2.DataType.items()}
        self._weights = weights
        constants = (operation for operation in self._block.operations if operation.type == "const")
        self._constants = {item.outputs[0].name: self._value(item.attributes["val"]) for item in constants}

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`, one image after the other.

        Raises:
            ArtifactError: an operation that this interpreter has not, or a damaged weight.
        """
        return np.concatenate([self._run(image[None].astype(np.float32)) for image in batch]).astype(np.float32)

    def _run(self, image: Array) -> Array:
        values: dict[str, Any] = {**self._constants, INPUT_NAME: image}
        for operation in self._block.operations:
            if operation.type == "const":
                continue
            if operation.type not in OPERATION_FUNCTIONS:
                raise ArtifactError(f"expected operations of this interpreter, found {operation.type!r:.40}")
            inputs = {name: self._argument(argument, values) for name, argument in operation.inputs.items()}
            result = operation.outputs[0]
            dtype = self._dtype(result.type.tensorType)
            values[result.name] = np.asarray(OPERATION_FUNCTIONS[operation.type](inputs)).astype(dtype)
        return np.asarray(values[self._block.outputs[0]])

    def _argument(self, argument: Any, values: dict[str, Any]) -> Any:
        items = [
            values[binding.name] if binding.WhichOneof("binding") == "name" else self._value(binding.value)
            for binding in argument.arguments
        ]
        return items[0] if len(items) == 1 else items

    def _dtype(self, tensor_type: Any) -> type[np.generic]:
        return TENSOR_TYPES[self._type_names[tensor_type.dataType]]

    def _value(self, value: Any) -> Any:
        """Return a constant: a numpy array, or a string."""
        tensor_type = value.type.tensorType
        dtype = self._dtype(tensor_type)
        shape = tuple(dimension.constant.size for dimension in tensor_type.dimensions)
        if value.WhichOneof("value") == "blobFileValue":
            return self._blob(value.blobFileValue.offset, dtype, shape)
        tensor = value.immediateValue.tensor
        kind = tensor.WhichOneof("value")
        items = getattr(tensor, kind).values
        if kind == "bytes":
            return np.frombuffer(items, dtype).reshape(shape)
        return items[0] if dtype is np.str_ else np.array(list(items), dtype).reshape(shape)

    def _blob(self, offset: int, dtype: type[np.generic], shape: tuple[int, ...]) -> Array:
        """Return an array of the weights' file, which has a header of 64 bytes at `offset`."""
        header = self._weights[offset : offset + 24]
        sentinel, kind, size, start = struct.unpack("<IIQQ", header) if len(header) == 24 else (0, 0, 0, 0)
        count = int(np.prod(shape))
        expected = count * np.dtype(dtype).itemsize
        if sentinel != BLOB_SENTINEL or BLOB_TYPES.get(kind) is not dtype or size != expected:
            raise ArtifactError(f"weight.bin: expected {expected} bytes of weights at {offset}, found others")
        if start + size > len(self._weights):
            raise ArtifactError(f"weight.bin: expected {start + size} bytes, found {len(self._weights)}")
        return np.frombuffer(self._weights, dtype, count, start).reshape(shape)


def _wide(value: Array) -> Array:
    return np.asarray(value).astype(np.float32)


def _padded(inputs: Inputs, fill: float) -> Array:
    top, bottom, left, right = np.asarray(inputs["pad"]).tolist()
    return np.pad(_wide(inputs["x"]), ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)


def _windows(padded: Array, kernel: tuple[int, ...], inputs: Inputs, dilations: tuple[int, ...] = (1, 1)) -> Array:
    """Return the windows of `(1, C, H, W)`: `(C, rows, columns, kernel rows, kernel columns)`."""
    extent = tuple((size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True))
    down, across = np.asarray(inputs["strides"]).tolist()
    windows = sliding_window_view(padded[0], extent, axis=(1, 2))
    return windows[:, ::down, ::across, :: dilations[0], :: dilations[1]]


def _conv(inputs: Inputs) -> Array:
    weight, groups = _wide(inputs["weight"]), int(inputs["groups"])
    dilations = tuple(np.asarray(inputs["dilations"]).tolist())
    windows = _windows(_padded(inputs, 0.0), weight.shape[2:], inputs, dilations)
    results = [
        np.tensordot(kernels, channels, axes=((1, 2, 3), (0, 3, 4)))
        for kernels, channels in zip(np.split(weight, groups), np.split(windows, groups), strict=True)
    ]
    bias = _wide(inputs["bias"]) if "bias" in inputs else np.zeros(len(weight), np.float32)
    return (np.concatenate(results) + bias[:, None, None])[None]  # type: ignore[no-any-return]


def _max_pool(inputs: Inputs) -> Array:
    kernel = tuple(np.asarray(inputs["kernel_sizes"]).tolist())
    return _windows(_padded(inputs, -np.inf), kernel, inputs).max(axis=(3, 4))[None]  # type: ignore[no-any-return]


def _avg_pool(inputs: Inputs) -> Array:
    kernel = tuple(np.asarray(inputs["kernel_sizes"]).tolist())
    sums = _windows(_padded(inputs, 0.0), kernel, inputs).sum(axis=(3, 4))
    if not inputs["exclude_padding_from_average"]:
        return (sums / np.prod(kernel))[None]  # type: ignore[no-any-return]
    ones = {**inputs, "x": np.ones_like(inputs["x"])}
    return (sums / _windows(_padded(ones, 0.0), kernel, inputs).sum(axis=(3, 4)))[None]  # type: ignore[no-any-return]


def _softmax(inputs: Inputs) -> Array:
    values, axis = _wide(inputs["x"]), int(inputs["axis"])
    exponentials = np.exp(values - values.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)  # type: ignore[no-any-return]


def _linear(inputs: Inputs) -> Array:
    bias = _wide(inputs["bias"]) if "bias" in inputs else 0.0
    return _wide(inputs["x"]) @ _wide(inputs["weight"]).T + bias


def _matmul(inputs: Inputs) -> Array:
    if inputs.get("transpose_x", False):
        raise ArtifactError("expected matmul of an input as it is, found a transposed one")
    other = _wide(inputs["y"])
    return _wide(inputs["x"]) @ (other.swapaxes(-1, -2) if inputs.get("transpose_y", False) else other)


def _reduce_mean(inputs: Inputs) -> Array:
    axes = tuple(np.asarray(inputs["axes"]).tolist())
    return _wide(inputs["x"]).mean(axis=axes, keepdims=bool(inputs["keep_dims"]))  # type: ignore[no-any-return]


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in np.asarray(value).reshape(-1))


OPERATION_FUNCTIONS: dict[str, Callable[[Inputs], Array]] = {
    "add": lambda i: _wide(i["x"]) + _wide(i["y"]),
    "avg_pool": _avg_pool,
    "cast": lambda i: np.asarray(i["x"]),  # to the type of its result
    "clip": lambda i: np.clip(_wide(i["x"]), i["alpha"], i["beta"]),
    "concat": lambda i: np.concatenate(i["values"], axis=int(i["axis"])),
    "conv": _conv,
    "identity": lambda i: np.asarray(i["x"]),
    "leaky_relu": lambda i: np.where(i["x"] >= 0, i["x"], _wide(i["x"]) * _wide(i["alpha"])),
    "linear": _linear,
    "matmul": _matmul,
    "max_pool": _max_pool,
    "mul": lambda i: _wide(i["x"]) * _wide(i["y"]),
    "real_div": lambda i: _wide(i["x"]) / _wide(i["y"]),
    "reduce_mean": _reduce_mean,
    "relu": lambda i: np.maximum(i["x"], 0),
    "relu6": lambda i: np.clip(i["x"], 0, 6),
    "reshape": lambda i: np.reshape(i["x"], _sizes(i["shape"])),
    "sigmoid": lambda i: 1 / (1 + np.exp(-_wide(i["x"]))),
    "sigmoid_hard": lambda i: np.clip(_wide(i["x"]) * _wide(i["alpha"]) + _wide(i["beta"]), 0, 1),
    "silu": lambda i: _wide(i["x"]) / (1 + np.exp(-_wide(i["x"]))),
    "softmax": _softmax,
    "squeeze": lambda i: np.squeeze(i["x"], _sizes(i["axes"])),
    "sub": lambda i: _wide(i["x"]) - _wide(i["y"]),
    "tanh": lambda i: np.tanh(_wide(i["x"])),
    "transpose": lambda i: np.transpose(i["x"], _sizes(i["perm"])),
}
"""By the operation's name in the specification."""
