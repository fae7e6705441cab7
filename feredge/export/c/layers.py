"""From operators to C: the constants of each, and its call.

An operator that is added needs its output's shape in `shapes.py`, a function here, a kernel in `kernels/`, both
arithmetics where they differ in it, and a graph in `tests/export/c/test_operators.py`, which compares every bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.export.c import tflm, xnnpack
from feredge.export.c.model import Model, Operator, Tensor
from feredge.export.c.shapes import SAME_PADDING, padding_before, repeats_first

Arithmetic = Literal["xnnpack", "tflm"]
ARITHMETICS: dict[Arithmetic, ModuleType] = {"xnnpack": xnnpack, "tflm": tflm}
"""Modules that compute the constants of an arithmetic."""
BLOCK = 8
"""FEREDGE_BLOCK of kernels/base.h: output channels whose weights are stored together."""
GROUP = 4
"""Inputs of a channel whose weights are stored together."""
PATCH_COUNT = 2
"""Output pixels that a convolution computes together where memory is scarce: FEREDGE_PIXELS of kernels/multiply.h."""
SUM_LIMIT = (1 << 31) - 1
LINE_LENGTH = 118


@dataclass(frozen=True)
class Layer:
    """One call of a kernel.

    Attributes:
        kernels: files of kernels/ that it needs, in the order in which they must stand.
        constants: C definitions of its weights and settings.
        call: C, with `{0}` for each input's address, `{output}` and `{scratch}`.
        inputs, output: indices of the tensors in the arena.
        patch_bytes: of a convolution, the inputs of one output pixel.
        in_place: whether its output may take the place of an input that nothing else reads.
    """

    kernels: tuple[str, ...]
    constants: str
    call: str
    inputs: tuple[int, ...]
    output: int
    patch_bytes: int = 0
    in_place: bool = False


def lower(model: Model, number: int, arithmetic: Arithmetic) -> list[Layer]:
    """Return the calls of operator `number`; none for a RESHAPE.

    Raises:
        ArtifactError: quantization that no kernel supports, or sums that do not fit into 32 bits.
    """
    operator = model.operators[number]
    try:
        return _LOWERINGS[operator.name](_Context(model, operator, number, ARITHMETICS[arithmetic]))
    except ArtifactError as error:
        raise ArtifactError(f"operator {number} {operator.name}: {error}") from error


@dataclass(frozen=True)
class _Context:
    model: Model
    operator: Operator
    number: int
    arithmetic: ModuleType

    def operand(self, position: int = 0) -> Tensor:
        return self.model.operand(self.operator, position)

    @property
    def output(self) -> Tensor:
        return self.model.result(self.operator)

    def layer(self, kernels: Iterable[str], constants: Iterable[str], call: str, **options: int) -> Layer:
        inputs = tuple(index for index in self.operator.inputs if index >= 0 and self.model.tensors[index].data is None)
        text = "\n".join(constants)
        return Layer(tuple(kernels), text, call, inputs, self.operator.output, **options)  # type: ignore[arg-type]

    def kernel_file(self, operation: str) -> str:
        """Return the file of an operation whose arithmetic differs."""
        return str(self.arithmetic.KERNEL_FILE).replace(".", f"_{operation}.")

    def bounds(self) -> tuple[int, int]:
        """Return the quantized bounds of the fused activation."""
        name = {0: "", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}.get(self.operator.options.get("activation", 0))
        if name is None:
            raise ArtifactError(f"expected a fused ReLU, found activation {self.operator.options['activation']}")
        low, high = self.arithmetic.unary_bounds(name, self.output)
        return low, high

    def rescaling(self, arrays: dict[str, list[str]], length: int = 1) -> tuple[list[str], str]:
        """Return the definitions of a rescaling's arrays of `length`, padded by zeros, and its initializer."""
        names = [f"{key.split()[1]}_{self.number}" for key in arrays]
        definitions = [
            array(key.split()[0], name, values * (length if len(values) == 1 else 1), pad_to=BLOCK if length > 1 else 1)
            for (key, values), name in zip(arrays.items(), names, strict=True)
        ]
        return definitions, f"{{{', '.join(names)}}}"


def array(kind: str, name: str, values: Iterable[object], *, pad_to: int = 1) -> str:
    """Return the C definition of a constant array, its length padded with zeros to a multiple of `pad_to`."""
    texts = [str(value) for value in values]
    texts += ["0"] * (-len(texts) % pad_to)
    lines, line = [], "   "
    for text in texts:
        if len(line) + len(text) + 2 > LINE_LENGTH:
            lines.append(line)
            line = "   "
        line += f" {text},"
    return "\n".join([f"static const FEREDGE_ALIGNED {kind} {name}[{len(texts)}] = {{", *lines, f"{line}", "};"])


def pack_weights(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return `(O, K)` weights in blocks of 8 outputs, in each 4 inputs of every output at a time, padded with zeros."""
    outputs, inputs = weights.shape
    padded = np.zeros((-(-outputs // BLOCK) * BLOCK, -(-inputs // GROUP) * GROUP), np.int8)
    padded[:outputs, :inputs] = weights
    return padded.reshape(-1, BLOCK, padded.shape[1] // GROUP, GROUP).transpose(0, 2, 1, 3).ravel()


def _sums(context: _Context, weights: NDArray[np.int8]) -> tuple[NDArray[np.int64], int]:
    """Return the bias of each channel of `(O, K)` weights, and the largest absolute sum that inputs can give."""
    has_bias = len(context.operator.inputs) > 2 and context.operator.inputs[2] >= 0
    bias = np.zeros(len(weights), np.int64)
    if has_bias:
        bias = np.asarray(context.operand(2).data, np.int64)
    # 256: of any value less any zero point; no partial sum, in any order, is larger
    largest = int((np.abs(weights.astype(np.int64)).sum(axis=1) * 256 + np.abs(bias)).max())
    if largest > SUM_LIMIT:
        raise ArtifactError(f"expected sums that fit into 32 bits, found weights that allow {largest:,}")
    return bias, largest


def _window(context: _Context, height: int, width: int) -> list[int]:
    """Return kernel height and width, strides, and the padding at the top and left."""
    shape, output, options = context.operand().shape, context.output.shape, context.operator.options
    strides, kernel = (options["stride_h"], options["stride_w"]), (height, width)
    axes = zip(shape[1:3], output[1:3], kernel, strides, strict=True)
    pads = [padding_before(*axis) if options.get("padding", 0) == SAME_PADDING else 0 for axis in axes]
    return [*kernel, *strides, *pads]


def _convolution(context: _Context) -> list[Layer]:
    kernel = context.operand(1)
    window = _window(context, *kernel.shape[1:3])
    return [_product(context, context.operand().shape[1:], context.output.shape[1:3], window)]


def _fully_connected(context: _Context) -> list[Layer]:
    return [_product(context, (1, 1, context.operand(1).shape[1]), (1, 1), [1, 1, 1, 1, 0, 0])]


def _product(context: _Context, shape: tuple[int, ...], output_size: tuple[int, ...], window: list[int]) -> Layer:
    """Return a convolution, or a fully connected layer as one on a single pixel."""
    image, kernel, output, number = context.operand(), context.operand(1), context.output, context.number
    weights = np.asarray(kernel.data).reshape(kernel.shape[0], -1)
    bias, largest = _sums(context, weights)
    weight_sums = weights.sum(axis=1, dtype=np.int64)
    folded = bias - image.zero_point * weight_sums
    biases = [f"FEREDGE_BIAS({bias}, {total})" for bias, total in zip(folded, weight_sums, strict=True)]
    arrays = context.arithmetic.convolution_rescaling(image, kernel, output, largest)
    definitions, rescaling = context.rescaling(arrays, len(weights))
    fields = [*shape, *output_size, len(weights), *window, image.zero_point, output.zero_point, *context.bounds()]
    constants = [
        array("int8_t", f"weights_{number}", pack_weights(weights)),
        array("int32_t", f"bias_{number}", biases, pad_to=BLOCK),
        *definitions,
        _struct("feredge_convolution_layer", number, [f"weights_{number}", f"bias_{number}", rescaling, *fields]),
    ]
    call = f"feredge_convolution(&layer_{number}, {{0}}, {{output}}, {{scratch}});"
    patch_bytes = -(-weights.shape[1] // GROUP) * GROUP
    return context.layer(("multiply.h", "convolution.h"), constants, call, patch_bytes=patch_bytes)


def _struct(kind: str, number: int, fields: Iterable[object]) -> str:
    return f"static const {kind} layer_{number} = {{{', '.join(map(str, fields))}}};"


def _depthwise(context: _Context) -> list[Layer]:
    image, kernel, output, number = context.operand(), context.operand(1), context.output, context.number
    weights = np.asarray(kernel.data).reshape(-1, kernel.shape[3])
    bias, largest = _sums(context, weights.T)
    arrays = context.arithmetic.convolution_rescaling(image, kernel, output, largest)
    definitions, rescaling = context.rescaling(arrays, weights.shape[1])
    window = _window(context, *kernel.shape[1:3])
    fields = [*image.shape[1:], *output.shape[1:3], kernel.shape[3] // image.shape[3], *window]
    fields += [image.zero_point, output.zero_point, *context.bounds()]
    constants = [
        array("int8_t", f"weights_{number}", weights.ravel()),
        array("int32_t", f"bias_{number}", bias),
        *definitions,
        _struct("feredge_depthwise_layer", number, [f"weights_{number}", f"bias_{number}", rescaling, *fields]),
    ]
    return [context.layer(("depthwise.h",), constants, f"feredge_depthwise(&layer_{number}, {{0}}, {{output}});")]


def _pooling(context: _Context) -> list[Layer]:
    _require_same_scale(context)
    options, shape = context.operator.options, context.operand().shape
    window = _window(context, options["filter_height"], options["filter_width"])
    fields = [*shape[1:], *context.output.shape[1:3], *window, *context.bounds()]
    constants = [_struct("feredge_pooling_layer", context.number, fields)]
    average = int(context.operator.name == "AVERAGE_POOL_2D")
    call = f"feredge_pooling(&layer_{context.number}, {{0}}, {{output}}, {average});"
    return [context.layer(("pooling.h",), constants, call)]


def _require_same_scale(context: _Context) -> None:
    scale, zero_point = context.output.scale, context.output.zero_point
    for tensor in (context.model.tensors[index] for index in context.operator.inputs):
        if tensor.dtype == "int8" and (tensor.scale, tensor.zero_point) != (scale, zero_point):
            raise ArtifactError(f"expected inputs of the output's scale {scale:g}, found {tensor.scale:g}")


def _operands(context: _Context) -> tuple[Tensor, Tensor, list[str], str, int]:
    """Return both operands of an operation, and the definition of a constant one, their texts in C and their period.

    A constant, or the operand that is repeated, is the second.
    """
    positions = (1, 0) if repeats_first(context.operand(0), context.operand(1)) else (0, 1)
    first, second = (context.operand(position) for position in positions)
    if second.data is None:
        return first, second, [], ", ".join(f"{{{position}}}" for position in positions), second.size
    values = np.asarray(second.data).ravel()
    if second.shape != first.shape:
        values = np.broadcast_to(values, first.shape[-1])
    name = f"operand_{context.number}"
    return first, second, [array("int8_t", name, values)], f"{{0}}, {name}", len(values)


def _add(context: _Context) -> list[Layer]:
    first, second, constants, operands, period = _operands(context)
    fields = context.arithmetic.add_layer(first, second, context.output)
    constants.append(_struct("feredge_addition", context.number, fields))
    bounds = ", ".join(map(str, (context.output.zero_point, *context.bounds())))
    call = f"feredge_add(&layer_{context.number}, {operands}, {{output}}, {first.size}, {period}, {bounds});"
    return [context.layer((context.kernel_file("add"), "add.h"), constants, call, in_place=True)]


def _mul(context: _Context) -> list[Layer]:
    first, second, constants, operands, period = _operands(context)
    arrays = context.arithmetic.product_rescaling(first, second, context.output, 1 << 16)
    definitions, rescaling = context.rescaling(arrays)
    fields = [rescaling, first.zero_point, second.zero_point, context.output.zero_point, *context.bounds()]
    constants += [*definitions, _struct("feredge_product_layer", context.number, fields)]
    call = f"feredge_mul(&layer_{context.number}, {operands}, {{output}}, {first.size}, {period});"
    return [context.layer(("mul.h",), constants, call, in_place=True)]


def _mean(context: _Context) -> list[Layer]:
    image, output = context.operand(), context.output
    pixels = math.prod(image.shape[1:3])
    definitions, rescaling = context.rescaling(context.arithmetic.mean_rescaling(image, pixels, output))
    fields = [rescaling, pixels, image.shape[3], image.zero_point, output.zero_point]
    constants = [*definitions, _struct("feredge_mean_layer", context.number, fields)]
    return [context.layer(("mean.h",), constants, f"feredge_mean(&layer_{context.number}, {{0}}, {{output}});")]


def _softmax(context: _Context) -> list[Layer]:
    output, count = context.output, context.output.shape[-1]
    if (float(output.scale), output.zero_point) != (1 / 256, -128) or count > 4096:
        raise ArtifactError(f"expected an output of scale 1/256 and zero point -128, found {output.scale:g}")
    kind, values = context.arithmetic.softmax_table(context.operand(), context.operator.options.get("beta", 0.0))
    name = f"exponentials_{context.number}"
    call = f"feredge_softmax({{0}}, {{output}}, {output.size // count}, {count}, {name});"
    return [context.layer((context.kernel_file("softmax"),), [array(kind, name, values)], call, in_place=True)]


def _unary(context: _Context) -> list[Layer]:
    table = context.arithmetic.unary_table(context.operator.name, context.operand(), context.output)
    name = f"table_{context.number}"
    call = f"feredge_table({{0}}, {{output}}, {context.output.size}, {name});"
    return [context.layer(("table.h",), [array("int8_t", name, table)], call, in_place=True)]


def _pad(context: _Context) -> list[Layer]:
    _require_same_scale(context)
    shape, paddings = context.operand().shape, np.asarray(context.operand(1).data)
    (top, bottom), (left, right) = paddings[1].tolist(), paddings[2].tolist()
    sizes = [shape[1], shape[2] * shape[3], top, bottom, left * shape[3], right * shape[3], context.output.zero_point]
    return [context.layer(("pad.h",), [], f"feredge_pad({{0}}, {{output}}, {', '.join(map(str, sizes))});")]


def _concatenation(context: _Context) -> list[Layer]:
    _require_same_scale(context)
    channels, start, calls, constants = context.output.shape[-1], 0, [], []
    pixels, position = context.output.size // channels, 0
    for number, index in enumerate(context.operator.inputs):
        tensor, source = context.model.tensors[index], f"{{{position}}}"
        if tensor.data is not None:
            source = f"operand_{context.number}_{number}"
            constants.append(array("int8_t", source, tensor.data.ravel()))
        else:
            position += 1
        sizes = f"{pixels}, {tensor.shape[-1]}, {channels}"
        calls.append(f"feredge_copy_channels({source}, {{output}} + {start}, {sizes});")
        start += tensor.shape[-1]
    return [context.layer(("copy_channels.h",), constants, "\n    ".join(calls))]


def _reshape(context: _Context) -> list[Layer]:
    _require_same_scale(context)
    return []


_LOWERINGS: dict[str, Callable[[_Context], list[Layer]]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _pooling,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "ELU": _unary,
    "FULLY_CONNECTED": _fully_connected,
    "LOGISTIC": _unary,
    "MAX_POOL_2D": _pooling,
    "MEAN": _mean,
    "MUL": _mul,
    "PAD": _pad,
    "QUANTIZE": _unary,
    "RELU": _unary,
    "RELU6": _unary,
    "RELU_N1_TO_1": _unary,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
}
