"""Translation of the calls of either Keras version to Keras 2 layers in float32, by tables.

A row maps a call to the calls that replace it; the last of them has its name. Layers that do nothing in inference, as
those of augmentation, are left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from feredge.errors import ArtifactError
from feredge.importing.graph import Call, Graph, TensorRef
from feredge.keras import keras

TRAINING_SUFFIXES = ("_initializer", "_regularizer", "_constraint")
"""Of settings that are used in training only."""
UNUSED_SETTINGS = ("dtype", "batch_input_shape", "input_shape")
SEPARABLE_SETTINGS = ("trainable", "dtype", "data_format", "dilation_rate")
CHANNEL_ORDER = "channel order"
"""Kind of a call that reorders channels, by its setting `order`."""
MIN_DEVIATION = 1e-7  # of Normalization layers, as in Keras

Translator = Callable[[Call], list[Call]]


def translate(graph: Graph) -> Graph:
    """Return a network of Keras 2 layers in float32 only.

    Raises:
        ArtifactError: an operation without a translation.
    """
    result = Graph(graph.inputs, [], [*graph.outputs])
    aliases: dict[TensorRef, TensorRef] = {}
    for call in _join_stacked_channels(graph):
        call.replace_refs(aliases)
        if call.kind in IDENTITIES:
            aliases[TensorRef(call.name)] = call.refs()[0]
        else:
            result.calls += [part for step in _split_activation(call, graph.keras3) for part in _translate(step)]
    result.outputs = [aliases.get(ref, ref) for ref in graph.outputs]
    return result


def _translate(call: Call) -> list[Call]:
    if call.kind in KERAS_TRANSLATORS:
        call.config = dict(call.config)
        return KERAS_TRANSLATORS[call.kind](call)
    layer_class = getattr(keras.layers, call.kind, None)
    if layer_class is None:
        raise ArtifactError(f"expected layers and arithmetic with constants, found {call.kind} ({call.name})")
    parameters = {"name", "trainable"}
    for base in layer_class.__mro__[:-1]:
        parameters |= set(inspect.signature(base.__init__).parameters)
    unused = parameters.intersection(UNUSED_SETTINGS)
    config = {
        key: value
        for key, value in call.config.items()
        if key in parameters - unused and not key.endswith(TRAINING_SUFFIXES)
    }
    return [Call(call.name, call.kind, {**config, "dtype": "float32"}, call.arguments, call.keywords, call.weights)]


def _layer(name: str, kind: str, arguments: list[Any], **config: Any) -> Call:
    return Call(name, kind, {"name": name, "dtype": "float32", **config}, arguments)


def _split_activation(call: Call, keras3: bool) -> list[Call]:
    """Return a layer, and the calls of its activation where Keras 2 has another of that name, or none."""
    activation = call.config.get("activation")
    if activation == "silu":
        call.config["activation"] = "swish"
    if not keras3 or activation not in KERAS3_ACTIVATIONS:
        return [call]
    if call.kind == "Activation":
        return KERAS3_ACTIVATIONS[activation](call.name, call.refs()[0])
    name = f"{call.name}_linear"
    config = {**call.config, "name": name, "activation": "linear"}
    linear = Call(name, call.kind, config, call.arguments, call.keywords, call.weights)
    return [linear, *KERAS3_ACTIVATIONS[activation](call.name, TensorRef(name))]


def _relu6(name: str, ref: TensorRef) -> list[Call]:
    return [_layer(name, "ReLU", [ref], max_value=6.0)]


def _leaky_relu(name: str, ref: TensorRef) -> list[Call]:
    return [_layer(name, "LeakyReLU", [ref], alpha=0.2)]


def _hard_sigmoid(name: str, ref: TensorRef) -> list[Call]:
    scaled = f"{name}_scaled"
    return [
        _layer(scaled, "Rescaling", [ref], scale=1 / 6, offset=0.5),
        _layer(name, "ReLU", [TensorRef(scaled)], max_value=1.0),
    ]


def _hard_silu(name: str, ref: TensorRef) -> list[Call]:
    gate = f"{name}_gate"
    return [*_hard_sigmoid(gate, ref), _layer(name, "Multiply", [[ref, TensorRef(gate)]])]


KERAS3_ACTIVATIONS: dict[str, Callable[[str, TensorRef], list[Call]]] = {
    "hard_sigmoid": _hard_sigmoid,  # Keras 2: clip(0.2 x + 0.5), Keras 3: relu6(x + 3) / 6
    "hard_silu": _hard_silu,
    "hard_swish": _hard_silu,
    "leaky_relu": _leaky_relu,
    "relu6": _relu6,
}


def _activation(function: str) -> Translator:
    """Return the translation of an operation that is an activation."""

    def translator(call: Call) -> list[Call]:
        if function in KERAS3_ACTIVATIONS:
            return KERAS3_ACTIVATIONS[function](call.name, call.refs()[0])
        return [_layer(call.name, "Activation", [call.refs()[0]], activation=function)]

    return translator


def _leaky_relu_layer(call: Call) -> list[Call]:
    slope = call.config["negative_slope"] if "negative_slope" in call.config else call.config["alpha"]
    return [_layer(call.name, "LeakyReLU", call.arguments, alpha=slope)]


def _normalization(call: Call) -> list[Call]:
    """Return a Normalization as the Rescaling that it is in inference."""
    mean, variance = call.weights[:2] or (call.config["mean"], call.config["variance"])
    deviation = np.maximum(np.sqrt(np.asarray(variance, np.float64)), MIN_DEVIATION)
    scale, offset = 1 / deviation, -np.asarray(mean, np.float64) / deviation
    if call.config.get("invert"):
        scale, offset = deviation, np.asarray(mean, np.float64)
    return [_layer(call.name, "Rescaling", call.arguments, scale=scale.tolist(), offset=offset.tolist())]


def _arithmetic(operation: str) -> Translator:
    """Return the translation of a sum, difference, product or quotient with a constant, or of two tensors."""

    def translator(call: Call) -> list[Call]:
        values = [*call.arguments, *call.keywords.values()]
        operands = [value for value in values if not isinstance(value, str)]
        refs = [operand for operand in operands if isinstance(operand, TensorRef)]
        if len(refs) == 2 and operation in TENSOR_LAYERS:
            return [_layer(call.name, TENSOR_LAYERS[operation], [refs])]
        if len(operands) != 2 or len(refs) != 1 or (operation == "divide" and operands[0] not in refs):
            raise ArtifactError(
                f"expected arithmetic with a constant, found {call.kind} ({call.name}) of other operands"
            )
        (constant,) = [np.asarray(operand, np.float64) for operand in operands if operand not in refs]
        reverse = operands[1] in refs
        scale, offset = {
            "add": (1.0, constant),
            "subtract": (-1.0, constant) if reverse else (1.0, -constant),
            "multiply": (constant, 0.0),
            "divide": (1.0 / constant, 0.0),
        }[operation]
        settings = {"scale": np.asarray(scale).tolist(), "offset": np.asarray(offset).tolist()}
        return [_layer(call.name, "Rescaling", refs, **settings)]

    return translator


TENSOR_LAYERS = {"add": "Add", "subtract": "Subtract", "multiply": "Multiply"}


def _order_channels(name: str, ref: TensorRef, order: list[int]) -> list[Call]:
    """Return a 1x1 convolution that reorders the channels: output channel i is input channel `order[i]`."""
    convolution = _layer(name, "Conv2D", [ref], filters=len(order), kernel_size=[1, 1], use_bias=False)
    convolution.weights = [np.eye(3, dtype=np.float32)[None, None, :, order]]
    return [convolution]


def _slice(call: Call) -> list[Call]:
    """Return `x[..., ::-1]` of three channels; no other slices."""
    full, reverse = ({"start": None, "stop": None, "step": step} for step in (None, -1))
    if _slices(call) not in ([..., reverse], [full, full, full, reverse]):
        raise ArtifactError(f"expected x[..., ::-1] of the channels, found another slice ({call.name})")
    return _order_channels(call.name, call.refs()[0], [2, 1, 0])


def _slices(call: Call) -> list[Any]:
    values = [value for value in [*call.arguments[1:], *call.keywords.values()] if isinstance(value, list)]
    return values[0] if values else []


def _join_stacked_channels(graph: Graph) -> list[Call]:
    """Return the calls with each `stack([x[..., 2], x[..., 1], x[..., 0]], axis=-1)` as one reordering of channels."""
    slices = {TensorRef(call.name): call for call in graph.calls if call.kind == "ops.GetItem"}
    calls = []
    for call in graph.calls:
        parts = [slices[ref] for ref in call.refs() if ref in slices] if call.kind == "ops.Stack" else []
        order = [index for part in parts for index in _slices(part)[-1:]]
        sources = {ref for part in parts for ref in part.refs()}
        if sorted(map(str, order)) == ["0", "1", "2"] and len(sources) == 1:
            calls.append(Call(call.name, CHANNEL_ORDER, {"order": order}, parts[0].arguments[:1]))
        else:
            calls.append(call)
    read = {ref for call in calls for ref in call.refs()} | {*graph.outputs}
    return [call for call in calls if TensorRef(call.name) in read or call.kind != "ops.GetItem"]


def _split_separable(call: Call) -> list[Call]:
    """Return the depthwise and pointwise convolution of a separable one.

    Quantization-aware training pads separable convolutions wrongly, and rounding and pruning need the two kernels.
    """
    config, name = call.config, f"{call.name}_depthwise"
    kernel, *pointwise = call.weights
    shared = {key: config[key] for key in SEPARABLE_SETTINGS if key in config}
    spatial = {key: config[key] for key in ("kernel_size", "strides", "padding", "depth_multiplier")}
    depthwise = _layer(
        name, "DepthwiseConv2D", call.arguments, **{**shared, **spatial, "dtype": "float32"}, use_bias=False
    )
    depthwise.weights = [kernel]
    settings = {
        **shared,
        "dtype": "float32",
        "dilation_rate": [1, 1],
        "filters": config["filters"],
        "kernel_size": [1, 1],
        "use_bias": config["use_bias"],
        "activation": config["activation"],
    }
    convolution = _layer(call.name, "Conv2D", [TensorRef(name)], **settings)
    convolution.weights = pointwise
    return [depthwise, convolution]


IDENTITIES = frozenset(
    [
        *(f"Random{name}" for name in ("Brightness", "Contrast", "Flip", "Height", "Rotation", "Translation")),
        *("RandomWidth", "RandomZoom", "ActivityRegularization", "Identity"),
        *("cast", "identity", "stop_gradient", "ops.Cast"),
    ]
)
"""Layers and operations that change nothing in inference."""

KERAS_TRANSLATORS: dict[str, Translator] = {
    "LeakyReLU": _leaky_relu_layer,
    "Normalization": _normalization,
    "SeparableConv2D": _split_separable,
    "__operators__.getitem": _slice,
    "ops.GetItem": _slice,
    CHANNEL_ORDER: lambda call: _order_channels(call.name, call.refs()[0], call.config["order"]),
    **dict.fromkeys(("__operators__.add", "math.add", "nn.bias_add", "ops.Add"), _arithmetic("add")),
    **dict.fromkeys(("math.subtract", "ops.Subtract"), _arithmetic("subtract")),
    **dict.fromkeys(("math.multiply", "ops.Multiply"), _arithmetic("multiply")),
    **dict.fromkeys(("math.truediv", "math.divide", "ops.TrueDivide", "ops.Divide"), _arithmetic("divide")),
    **dict.fromkeys(("nn.relu", "ops.Relu"), _activation("relu")),
    **dict.fromkeys(("nn.relu6", "ops.Relu6"), _activation("relu6")),
    **dict.fromkeys(("nn.sigmoid", "math.sigmoid", "ops.Sigmoid"), _activation("sigmoid")),
    **dict.fromkeys(("nn.silu", "nn.swish", "ops.Silu"), _activation("swish")),
    **dict.fromkeys(("nn.softmax", "ops.Softmax"), _activation("softmax")),
    "ops.HardSigmoid": _activation("hard_sigmoid"),
    "ops.HardSilu": _activation("hard_silu"),
}
"""By the kind of a call: see graph.py."""
