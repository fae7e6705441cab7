"""The subset of TensorFlow Lite's schema that image networks need, as data for `FlatbufferReader`.

Fields stand in the order of `schema.fbs`, https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs.
Data or code outside the graph (sparse storage, external buffers, custom operators) is refused.
"""

from __future__ import annotations

from typing import NamedTuple

TFLITE_SCHEMA = {
    "Model": (
        ("version", "I"),
        ("operator_codes", "[OperatorCode]"),
        ("subgraphs", "[SubGraph]"),
        ("description", "string"),
        ("buffers", "[Buffer]"),
        ("metadata_buffer", "[i]"),
        ("metadata", "[Metadata]"),
        ("signature_defs", "[SignatureDef]"),
        ("external buffer groups", "refused"),
        ("external buffers", "refused"),
    ),
    "OperatorCode": (
        ("deprecated_builtin_code", "b"),
        ("a custom operator", "refused"),
        ("version", "i"),
        ("builtin_code", "i"),
    ),
    "SubGraph": (
        ("tensors", "[Tensor]"),
        ("inputs", "[i]"),
        ("outputs", "[i]"),
        ("operators", "[Operator]"),
        ("name", "string"),
        ("debug_metadata_index", "i"),
    ),
    "Tensor": (
        ("shape", "[i]"),
        ("type", "b"),
        ("buffer", "I"),
        ("name", "string"),
        ("quantization", "Quantization"),
        ("is_variable", "?"),
        ("sparse storage", "refused"),
        ("shape_signature", "[i]"),
        ("has_rank", "?"),
        ("variant tensors", "refused"),
        ("an external buffer", "refused"),
    ),
    "Quantization": (
        ("min", "[f]"),
        ("max", "[f]"),
        ("scale", "[f]"),
        ("zero_point", "[q]"),
        ("details_type", "B"),
        ("custom quantization", "refused"),
        ("quantized_dimension", "i"),
    ),
    "Operator": (
        ("opcode_index", "I"),
        ("inputs", "[i]"),
        ("outputs", "[i]"),
        ("options_type", "B"),
        ("options", "union"),
        ("custom options", "refused"),
        ("custom_options_format", "b"),
        ("mutating_variable_inputs", "[?]"),
        ("intermediates", "[i]"),
        ("large custom options", "refused"),
        ("large custom options", "refused"),
        ("options of StableHLO", "refused"),
        ("options of StableHLO", "refused"),
        ("debug_metadata_index", "i"),
    ),
    "Buffer": (("data", "[B]"), ("data outside of the flatbuffer", "refused"), ("data outside of it", "refused")),
    "Metadata": (("name", "string"), ("buffer", "I")),
    "SignatureDef": (
        ("inputs", "[TensorMap]"),
        ("outputs", "[TensorMap]"),
        ("signature_key", "string"),
        ("deprecated_tag", "string"),
        ("subgraph_index", "I"),
    ),
    "TensorMap": (("name", "string"), ("tensor_index", "I")),
    # Operator options. Those without fields share one table.
    "No": (),
    "Conv2D": (
        ("padding", "b"),
        ("stride_w", "i"),
        ("stride_h", "i"),
        ("activation", "b"),
        ("dilation_w", "i"),
        ("dilation_h", "i"),
        ("bias_type", "b"),
    ),
    "DepthwiseConv2D": (
        ("padding", "b"),
        ("stride_w", "i"),
        ("stride_h", "i"),
        ("depth_multiplier", "i"),
        ("activation", "b"),
        ("dilation_w", "i"),
        ("dilation_h", "i"),
    ),
    "Pool2D": (
        ("padding", "b"),
        ("stride_w", "i"),
        ("stride_h", "i"),
        ("filter_width", "i"),
        ("filter_height", "i"),
        ("activation", "b"),
    ),
    "FullyConnected": (
        ("activation", "b"),
        ("weights_format", "b"),
        ("keep_num_dims", "?"),
        ("asymmetric_quantize_inputs", "?"),
        ("bias_type", "b"),
        ("a quantization recipe", "refused"),
    ),
    "Softmax": (("beta", "f"),),
    "Concatenation": (("axis", "i"), ("activation", "b")),
    "Activation": (("activation", "b"), ("pot_scale_int16", "?")),
    "Resize": (("align_corners", "?"), ("half_pixel_centers", "?")),
    "ResizeBilinear": (
        ("height", "refused"),
        ("width", "refused"),
        ("align_corners", "?"),
        ("half_pixel_centers", "?"),
    ),
    "Reshape": (("new_shape", "[i]"),),
    "Block": (("block_size", "i"),),
    "Gather": (("axis", "i"), ("batch_dims", "i")),
    "Reducer": (("keep_dims", "?"),),
    "Squeeze": (("squeeze_dims", "[i]"),),
    "StridedSlice": (
        ("begin_mask", "i"),
        ("end_mask", "i"),
        ("ellipsis_mask", "i"),
        ("new_axis_mask", "i"),
        ("shrink_axis_mask", "i"),
        ("offset", "?"),
    ),
    "Split": (("num_splits", "i"),),
    "Cast": (("in_type", "b"), ("out_type", "b")),
    "TransposeConv": (("padding", "b"), ("stride_w", "i"), ("stride_h", "i"), ("activation", "b"), ("bias_type", "b")),
    "Shape": (("out_type", "b"),),
    "Pack": (("count", "i"), ("axis", "i")),
    "Unpack": (("count", "i"), ("axis", "i")),
    "LeakyRelu": (("alpha", "f"),),
    "MirrorPad": (("mode", "b"),),
    "BatchMatMul": (("adjoint_x", "?"), ("adjoint_y", "?"), ("asymmetric_quantize_inputs", "?")),
    "Gelu": (("approximate", "?"),),
}


class OperatorRule(NamedTuple):
    """The operands, options and quantization that an operator may have.

    Attributes:
        name: the operator's name in the schema.
        inputs, outputs: minimum and maximum number.
        options_type: the number of its options table in the union, 0 for none.
        options: the name of that table in TFLITE_SCHEMA.
        optional: index of the first input that may be -1 (absent).
        per_channel: inputs that may be quantized per channel: kernels and biases.
    """

    name: str
    inputs: tuple[int, int]
    outputs: tuple[int, int] = (1, 1)
    options_type: int = 0
    options: str = "No"
    optional: int = 99
    per_channel: tuple[int, ...] = ()


_ONE_TENSOR, _TWO_TENSORS, _THREE_TENSORS, _UP_TO_64_TENSORS = (1, 1), (2, 2), (3, 3), (1, 64)

OPERATOR_RULES = {
    0: OperatorRule("ADD", _TWO_TENSORS, options_type=11, options="Activation"),
    1: OperatorRule("AVERAGE_POOL_2D", _ONE_TENSOR, options_type=5, options="Pool2D"),
    2: OperatorRule("CONCATENATION", _UP_TO_64_TENSORS, options_type=10, options="Concatenation"),
    3: OperatorRule("CONV_2D", (2, 3), options_type=1, options="Conv2D", optional=2, per_channel=(1, 2)),
    4: OperatorRule(
        "DEPTHWISE_CONV_2D", (2, 3), options_type=2, options="DepthwiseConv2D", optional=2, per_channel=(1, 2)
    ),
    5: OperatorRule("DEPTH_TO_SPACE", _ONE_TENSOR, options_type=94, options="Block"),
    6: OperatorRule("DEQUANTIZE", _ONE_TENSOR, options_type=38, per_channel=(0,)),
    8: OperatorRule("FLOOR", _ONE_TENSOR),
    9: OperatorRule(
        "FULLY_CONNECTED", (2, 3), options_type=8, options="FullyConnected", optional=2, per_channel=(1, 2)
    ),
    11: OperatorRule("L2_NORMALIZATION", _ONE_TENSOR, options_type=12, options="Activation"),
    14: OperatorRule("LOGISTIC", _ONE_TENSOR),
    17: OperatorRule("MAX_POOL_2D", _ONE_TENSOR, options_type=5, options="Pool2D"),
    18: OperatorRule("MUL", _TWO_TENSORS, options_type=21, options="Activation"),
    19: OperatorRule("RELU", _ONE_TENSOR),
    20: OperatorRule("RELU_N1_TO_1", _ONE_TENSOR),
    21: OperatorRule("RELU6", _ONE_TENSOR),
    22: OperatorRule("RESHAPE", (1, 2), options_type=17, options="Reshape"),
    23: OperatorRule("RESIZE_BILINEAR", _TWO_TENSORS, options_type=15, options="ResizeBilinear"),
    25: OperatorRule("SOFTMAX", _ONE_TENSOR, options_type=9, options="Softmax"),
    26: OperatorRule("SPACE_TO_DEPTH", _ONE_TENSOR, options_type=19, options="Block"),
    28: OperatorRule("TANH", _ONE_TENSOR),
    34: OperatorRule("PAD", _TWO_TENSORS, options_type=22),
    36: OperatorRule("GATHER", _TWO_TENSORS, options_type=23, options="Gather"),
    37: OperatorRule("BATCH_TO_SPACE_ND", _THREE_TENSORS, options_type=24),
    38: OperatorRule("SPACE_TO_BATCH_ND", _THREE_TENSORS, options_type=25),
    39: OperatorRule("TRANSPOSE", _TWO_TENSORS, options_type=26),
    40: OperatorRule("MEAN", _TWO_TENSORS, options_type=27, options="Reducer"),
    41: OperatorRule("SUB", _TWO_TENSORS, options_type=28, options="Activation"),
    42: OperatorRule("DIV", _TWO_TENSORS, options_type=29, options="Activation"),
    43: OperatorRule("SQUEEZE", _ONE_TENSOR, options_type=30, options="Squeeze"),
    45: OperatorRule("STRIDED_SLICE", (4, 4), options_type=32, options="StridedSlice"),
    47: OperatorRule("EXP", _ONE_TENSOR, options_type=33),
    49: OperatorRule("SPLIT", _TWO_TENSORS, (1, 64), options_type=35, options="Split"),
    50: OperatorRule("LOG_SOFTMAX", _ONE_TENSOR, options_type=36),
    53: OperatorRule("CAST", _ONE_TENSOR, options_type=37, options="Cast"),
    54: OperatorRule("PRELU", _TWO_TENSORS),
    55: OperatorRule("MAXIMUM", _TWO_TENSORS, options_type=39),
    57: OperatorRule("MINIMUM", _TWO_TENSORS, options_type=39),
    59: OperatorRule("NEG", _ONE_TENSOR, options_type=42),
    60: OperatorRule("PADV2", _THREE_TENSORS, options_type=43),
    65: OperatorRule("SLICE", _THREE_TENSORS, options_type=48),
    67: OperatorRule(
        "TRANSPOSE_CONV", (3, 4), options_type=49, options="TransposeConv", optional=3, per_channel=(1, 3)
    ),
    70: OperatorRule("EXPAND_DIMS", _TWO_TENSORS, options_type=52),
    73: OperatorRule("LOG", _ONE_TENSOR),
    74: OperatorRule("SUM", _TWO_TENSORS, options_type=27, options="Reducer"),
    75: OperatorRule("SQRT", _ONE_TENSOR),
    76: OperatorRule("RSQRT", _ONE_TENSOR),
    77: OperatorRule("SHAPE", _ONE_TENSOR, options_type=55, options="Shape"),
    78: OperatorRule("POW", _TWO_TENSORS, options_type=56),
    81: OperatorRule("REDUCE_PROD", _TWO_TENSORS, options_type=27, options="Reducer"),
    82: OperatorRule("REDUCE_MAX", _TWO_TENSORS, options_type=27, options="Reducer"),
    83: OperatorRule("PACK", _UP_TO_64_TENSORS, options_type=59, options="Pack"),
    88: OperatorRule("UNPACK", _ONE_TENSOR, (1, 64), options_type=64, options="Unpack"),
    89: OperatorRule("REDUCE_MIN", _TWO_TENSORS, options_type=27, options="Reducer"),
    92: OperatorRule("SQUARE", _ONE_TENSOR, options_type=66),
    94: OperatorRule("FILL", _TWO_TENSORS, options_type=68),
    97: OperatorRule("RESIZE_NEAREST_NEIGHBOR", _TWO_TENSORS, options_type=74, options="Resize"),
    98: OperatorRule("LEAKY_RELU", _ONE_TENSOR, options_type=75, options="LeakyRelu"),
    99: OperatorRule("SQUARED_DIFFERENCE", _TWO_TENSORS, options_type=76),
    100: OperatorRule("MIRROR_PAD", _TWO_TENSORS, options_type=77, options="MirrorPad"),
    101: OperatorRule("ABS", _ONE_TENSOR, options_type=78),
    104: OperatorRule("CEIL", _ONE_TENSOR),
    111: OperatorRule("ELU", _ONE_TENSOR),
    114: OperatorRule("QUANTIZE", _ONE_TENSOR, options_type=89),
    117: OperatorRule("HARD_SWISH", _ONE_TENSOR, options_type=91),
    126: OperatorRule("BATCH_MATMUL", _TWO_TENSORS, options_type=101, options="BatchMatMul"),
    130: OperatorRule("BROADCAST_TO", _TWO_TENSORS, options_type=104),
    150: OperatorRule("GELU", _ONE_TENSOR, options_type=116, options="Gelu"),
}
"""Operators allowed in an artifact, by number: arithmetic on tensors, without control flow, state or strings."""

DATA_MOVEMENT_OPERATORS = frozenset((
    "BATCH_TO_SPACE_ND", "BROADCAST_TO", "CAST", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS",
    "FILL", "GATHER", "MIRROR_PAD", "PACK", "PAD", "RESHAPE", "SHAPE", "SLICE", "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH", "SPLIT", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE", "UNPACK",
))  # fmt: skip
"""Operators without arithmetic: all others need a scale on 8- and 16-bit integer tensors."""
RESCALING_OPERATORS = frozenset(("ADD", "SUB", "SQUARED_DIFFERENCE"))
"""Operators whose kernels rescale their inputs: input and output scales must not differ too much."""
POSITIVE_OPTIONS = ("stride_w", "stride_h", "dilation_w", "dilation_h", "filter_width", "filter_height", "block_size")
"""Option fields used as divisors: present and at least 1; dilations default to 1."""
