"""The passes over a network before its conversion: one table by variant, precision and format.

A network pass maps a core to a core; the converters run all that are listed for their target first. A graph pass
changes the float32 graph of a converter, which runs it where it is listed. With FEREDGE_DEBUG_PASSES=1 each pass is
checked on calibration images: its conditions, and the largest change of a probability.

Batch normalizations that are folded or converted for the fine-tuning of a variant belong to that variant's network
(feredge.compress.variants), not to its conversion. The int8 TFLite file of a qat variant is converted from its trained
int8 network without any pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from feredge.compress.rounding import WeightQuantization, for_variant, with_rounded_kernels
from feredge.errors import VerificationError
from feredge.export.verification import PRECISION_TOLERANCES
from feredge.inference.contract import Images
from feredge.inference.runtimes import Probabilities
from feredge.inspection.weights import SMALL_KERNEL
from feredge.recipes.variant import Variant

Network = Any
"""A core, which is a Keras model; or the float32 graph of a converter: an ONNX `ModelProto`, or a flatbuffer."""
FileFormat = Literal["tflite", "onnx"]
"""Of a converter: ORT format is written from the ONNX file."""

DEBUG_VARIABLE = "FEREDGE_DEBUG_PASSES"
CHECKED_IMAGES = 32
DENSE_VARIANT = Variant("dense")


@dataclass(frozen=True)
class Target:
    """The file that a core is converted to."""

    variant: Variant
    precision: str
    format: FileFormat

    @property
    def variant_kind(self) -> str:
        """The variant's key in the table: its kind, or `qat` for all of quantization-aware training."""
        return "qat" if self.variant.quantized else self.variant.kind

    @property
    def file(self) -> str:
        """The file's key in the table: `int8.onnx`."""
        return f"{self.precision}.{self.format}"


@dataclass(frozen=True)
class Condition:
    """A property of the networks before and after a pass, in words and as a test."""

    text: str
    holds: Callable[[Network, Network], bool]


@dataclass(frozen=True)
class Pass:
    """A row of the table.

    Attributes:
        name: of the pass.
        variants: those that it is for, as `Target.variant_kind`.
        files: those that it is for, as `Target.file`.
        requires: a condition on the network before it.
        ensures: a condition on the network after it.
        max_difference: bound on the change of a probability; None for that of verification, by precision.
        transform: a network pass: from a core, its target and calibration images to a core. None for a graph pass.
    """

    name: str
    variants: tuple[str, ...]
    files: tuple[str, ...]
    requires: Condition
    ensures: Condition
    max_difference: float | None
    transform: Callable[[Network, Target, Images], Network] | None = None

    def applies(self, target: Target) -> bool:
        """Return whether the pass is listed for a target."""
        return target.variant_kind in self.variants and target.file in self.files

    def bound(self, precision: str) -> float:
        """Return the bound on the change of a probability."""
        if self.max_difference is None:
            return PRECISION_TOLERANCES[precision].max_difference
        return self.max_difference


def run_network_passes(core: Network, target: Target, images: Images) -> Network:
    """Return `core` after the network passes that are listed for `target`, in the table's order.

    Args:
        core: the network of `target.variant`.
        target: the file that it is converted to.
        images: calibration images, `uint8 (N, H, W, C)`.

    Raises:
        VerificationError: a debug run found a pass that breaks its conditions or its bound.
    """
    for listed in PASSES:
        if listed.transform is not None and listed.applies(target):
            transformed = listed.transform(core, target, images)
            if transformed is not core:
                check_pass(listed.name, target.precision, core, transformed, images)
            core = transformed
    return core


def weight_quantization_of(target: Target) -> WeightQuantization:
    """Return the rounding that the table lists for a converter's kernels, and the granularity of the variant."""
    rounds = any(listed.name == ROUND_GRAPH_KERNELS and listed.applies(target) for listed in PASSES)
    granularity = for_variant(target.variant).granularity
    return WeightQuantization("sum_preserving" if rounds else "nearest", granularity)


def check_pass(name: str, precision: str, before: Network, after: Network, images: Images) -> None:
    """Check a pass of the table on images, in debug runs only.

    Raises:
        VerificationError: a condition is broken, or a probability changes by more than the bound.
    """
    if os.environ.get(DEBUG_VARIABLE, "0") in ("", "0"):
        return
    (listed,) = [listed for listed in PASSES if listed.name == name]
    for condition, moment in ((listed.requires, "before"), (listed.ensures, "after")):
        if not condition.holds(before, after):
            raise VerificationError(f"pass {name}: expected {condition.text} {moment} it, found another network")
    sample = images[:CHECKED_IMAGES]
    difference, bound = float(np.abs(_predict(after, sample) - _predict(before, sample)).max()), listed.bound(precision)
    if not difference <= bound:
        raise VerificationError(
            f"pass {name}: expected probabilities within {bound:g} of those before, found {difference:.3g}"
        )


def _predict(network: Network, images: Images) -> Probabilities:
    """Return the probabilities of a core or of a float32 graph."""
    pixels = images.astype(np.float32) / np.float32(255)
    if isinstance(network, bytes):
        from feredge.inspection import flatbuffer

        interpreter = flatbuffer.preserving_interpreter(network)
        image, output = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        rows = []
        for row in pixels:
            interpreter.set_tensor(image, row[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(output))
        return np.concatenate(rows)
    if _is_onnx(network):
        from feredge.inference.runtimes import onnx_session

        session = onnx_session(network.SerializeToString(), threads=1)
        return np.asarray(session.run(None, {session.get_inputs()[0].name: pixels})[0])
    return np.asarray(network(pixels))


def _is_onnx(network: Network) -> bool:
    return hasattr(network, "graph") and hasattr(network, "opset_import")


def _operators(graph: Network) -> list[str]:
    if isinstance(graph, bytes):
        from feredge.inspection import flatbuffer

        return flatbuffer.operator_names(flatbuffer.parse(graph))
    return [node.op_type for node in graph.graph.node]


def _is_core(before: Network, after: Network) -> bool:
    ranks = len(before.input_shape), len(before.output_shape)
    return len(before.inputs) == len(before.outputs) == 1 and ranks == (4, 2)


def _has_same_layers(before: Network, after: Network) -> bool:
    first, second = ([(layer.name, type(layer)) for layer in network.layers] for network in (before, after))
    return first == second


def _has_no_weighted_pool(before: Network, after: Network) -> bool:
    from feredge.keras import keras
    from feredge.train.networks import WEIGHTED_POOL_LAYER

    pools = [layer for layer in after.layers if layer.name == WEIGHTED_POOL_LAYER]
    return not any(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in pools)


def _is_float_graph(before: Network, after: Network) -> bool:
    return not {"QUANTIZE", "DEQUANTIZE", "QuantizeLinear", "DequantizeLinear"} & set(_operators(before))


def _has_additions(before: Network, after: Network) -> bool:
    replaced = {"BatchNormalization": "Add"}
    pairs = zip(_operators(before), _operators(after), strict=True)
    return all(second in (first, replaced.get(first)) for first, second in pairs)


def _has_same_operators(before: Network, after: Network) -> bool:
    return _operators(before) == _operators(after)


def _equalize_scales(core: Network, target: Target, images: Images) -> Network:
    from feredge.compress.batch_norms import equalize_scales

    return equalize_scales(core)


def _freeze_dead_channels(core: Network, target: Target, images: Images) -> Network:
    from feredge.compress.batch_norms import freeze_dead_channels

    return freeze_dead_channels(core, images)


def _replace_weighted_pool(core: Network, target: Target, images: Images) -> Network:
    from feredge.export.tflite.weighted_pool import replace_weighted_pool

    return replace_weighted_pool(core)


def _round_kernels(core: Network, target: Target, images: Images) -> Network:
    return with_rounded_kernels(core, min_size=SMALL_KERNEL if target.precision == "dynamic-int8" else 0)


CORE_SHAPES = Condition("one input (N, H, W, C) and one output (N, classes)", _is_core)
SAME_LAYERS = Condition("the same layers", _has_same_layers)
NO_WEIGHTED_POOL = Condition("no depthwise convolution for weighted pooling", _has_no_weighted_pool)
FLOAT_GRAPH = Condition("a float32 graph", _is_float_graph)
ONLY_ADDITIONS = Condition("an addition for each replaced BatchNormalization", _has_additions)
SAME_OPERATORS = Condition("the same operators", _has_same_operators)

EVERY_VARIANT = ("dense", "pruned", "channels", "clustered", "qat")
PER_CHANNEL_VARIANTS = ("dense", "pruned", "channels", "qat")  # a scale per channel would separate a cluster's weights
FLOAT_VARIANTS = ("dense", "pruned", "channels")  # the fine-tuning of the others has adapted to the scales
TFLITE_FILES = tuple(f"{name}.tflite" for name in ("float32", "float16", "dynamic-int8", "int8", "int16x8"))
ONNX_FILES = tuple(f"{name}.onnx" for name in ("float32", "float16", "dynamic-int8", "int8"))
REPLACE_UNIT_GAIN_BATCHNORMS = "replace_unit_gain_batchnorms"
ROUND_GRAPH_KERNELS = "round_graph_kernels"

PASSES = (
    Pass(
        "equalize_scales",
        FLOAT_VARIANTS,
        (*TFLITE_FILES, *ONNX_FILES),
        requires=CORE_SHAPES,
        ensures=SAME_LAYERS,
        max_difference=1e-3,  # float32 products in another order
        transform=_equalize_scales,
    ),
    Pass(
        "freeze_dead_channels",
        EVERY_VARIANT,
        ("int8.tflite", "int8.onnx"),
        requires=CORE_SHAPES,
        ensures=SAME_LAYERS,
        max_difference=0.1,  # the variation of frozen channels, below the rounding error of int8
        transform=_freeze_dead_channels,
    ),
    Pass(
        "replace_weighted_pool",
        EVERY_VARIANT,
        ("float32.tflite", "float16.tflite", "int8.tflite"),  # the constant of a MUL stays float32 in the others
        requires=CORE_SHAPES,
        ensures=NO_WEIGHTED_POOL,
        max_difference=1e-3,  # float32 sums in another order
        transform=_replace_weighted_pool,
    ),
    Pass(
        "round_kernels",
        PER_CHANNEL_VARIANTS,
        ("dynamic-int8.tflite", "int16x8.tflite"),
        requires=CORE_SHAPES,
        ensures=SAME_LAYERS,
        max_difference=None,  # kernels of 8 bits
        transform=_round_kernels,
    ),
    Pass(
        REPLACE_UNIT_GAIN_BATCHNORMS,
        EVERY_VARIANT,
        ("int8.onnx",),
        requires=FLOAT_GRAPH,
        ensures=ONLY_ADDITIONS,
        max_difference=1e-3,  # gains within 1e-6 of 1
    ),
    Pass(
        ROUND_GRAPH_KERNELS,
        PER_CHANNEL_VARIANTS,
        ("dynamic-int8.onnx", "int8.onnx", "int8.tflite"),
        requires=FLOAT_GRAPH,
        ensures=SAME_OPERATORS,
        max_difference=None,  # kernels of 8 bits, in int8.onnx of 7
    ),
)
"""In the order in which they run."""
