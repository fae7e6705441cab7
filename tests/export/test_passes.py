"""The table of passes: which ones run for which file, and that a broken pass is found on images."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from tiny_training import RECIPE, stripes

from feredge.errors import VerificationError
from feredge.export import passes
from feredge.export.passes import Target, run_network_passes, weight_quantization_of
from feredge.keras import keras
from feredge.recipes.variant import parse
from feredge.train.networks import build_core

IMAGES = stripes(70, seed=5).images
EQUALIZE, FREEZE, POOL = "equalize_scales", "freeze_dead_channels", "replace_weighted_pool"
ROUND, ROUND_GRAPH, ADDITIONS = "round_kernels", "round_graph_kernels", "replace_unit_gain_batchnorms"


@pytest.fixture
def core() -> Any:
    """Give an untrained network with weighted pooling."""
    keras.utils.set_random_seed(1)
    return build_core(dataclasses.replace(RECIPE.network, pool="weighted"), size=16, classes=7)


@pytest.mark.parametrize(
    ("variant", "file", "names"),
    [
        ("dense", "float32.tflite", [EQUALIZE, POOL]),
        ("pruned-60", "float16.tflite", [EQUALIZE, POOL]),
        ("dense", "dynamic-int8.tflite", [EQUALIZE, ROUND]),
        ("channels-25", "int8.tflite", [EQUALIZE, FREEZE, POOL, ROUND_GRAPH]),
        ("dense", "int16x8.tflite", [EQUALIZE, ROUND]),
        ("dense", "float32.onnx", [EQUALIZE]),
        ("dense", "dynamic-int8.onnx", [EQUALIZE, ROUND_GRAPH]),
        ("dense", "int8.onnx", [EQUALIZE, FREEZE, ADDITIONS, ROUND_GRAPH]),
        ("clustered-12", "dynamic-int8.tflite", []),
        ("clustered-12", "int8.tflite", [FREEZE, POOL]),
        ("clustered-12", "int8.onnx", [FREEZE, ADDITIONS]),
        ("pruned-60-qat", "float32.tflite", [POOL]),
        ("qat", "dynamic-int8.onnx", [ROUND_GRAPH]),
        ("qat", "int8.onnx", [FREEZE, ADDITIONS, ROUND_GRAPH]),
    ],
)
def test_a_file_has_its_passes(variant: str, file: str, names: list[str]) -> None:
    """Guards files whose passes change with the table: by these they are what was measured."""
    precision, _, kind = file.rpartition(".")
    target = Target(parse(variant), precision, kind)  # type: ignore[arg-type]  # a file of the table
    assert [listed.name for listed in passes.PASSES if listed.applies(target)] == names
    quantization = weight_quantization_of(target)
    assert quantization.granularity == ("per_tensor" if variant == "clustered-12" else "per_channel")
    assert quantization.rounding == ("sum_preserving" if ROUND_GRAPH in names else "nearest")


@pytest.mark.parametrize("file", [*passes.TFLITE_FILES, *passes.ONNX_FILES])
def test_network_passes_hold_on_images(core: Any, file: str) -> None:
    """Guards the bounds: each pass of an untrained network is within its own, and the network as a whole is its own."""
    precision, _, kind = file.rpartition(".")
    before = core.get_weights()
    changed = run_network_passes(core, Target(parse("dense"), precision, kind), IMAGES)  # type: ignore[arg-type]  # a file of the table
    outputs = [np.asarray(network(IMAGES / np.float32(255))) for network in (core, changed)]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=0.02)
    assert all((weight == other).all() for weight, other in zip(core.get_weights(), before, strict=True))


def _double_logits(core: Any, target: Target, images: Any) -> Any:
    changed = keras.models.clone_model(core)
    changed.set_weights(core.get_weights())
    changed.get_layer("logits").set_weights([weight * 40 for weight in core.get_layer("logits").get_weights()])
    return changed


def _without_softmax(core: Any, target: Target, images: Any) -> Any:
    return keras.Model(core.input, core.get_layer("logits").output)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (_double_logits, r"pass equalize_scales: expected probabilities within 0\.001 of those before, found 0\."),
        (_without_softmax, "pass equalize_scales: expected the same layers after it"),
    ],
)
def test_a_broken_pass_is_named(core: Any, monkeypatch: pytest.MonkeyPatch, transform: Any, message: str) -> None:
    """Guards the check itself, and that it costs nothing outside of debug runs."""
    broken = dataclasses.replace(passes.PASSES[0], transform=transform)
    monkeypatch.setattr(passes, "PASSES", (broken, *passes.PASSES[1:]))
    target = Target(parse("dense"), "float32", "onnx")
    with pytest.raises(VerificationError, match=message):
        run_network_passes(core, target, IMAGES)
    monkeypatch.setenv(passes.DEBUG_VARIABLE, "0")
    run_network_passes(core, target, IMAGES)


def test_a_network_that_is_no_core_is_refused(core: Any) -> None:
    """Guards passes against what they do not require: features in place of probabilities, say."""
    features = keras.Model(core.input, core.get_layer("places").input)
    with pytest.raises(VerificationError, match=r"replace_weighted_pool: expected one input .* before it"):
        passes.check_pass(POOL, "float32", features, core, IMAGES)


@pytest.mark.parametrize(("precision", "bound"), [("dynamic-int8", 0.25), ("int8", 0.6)])
def test_rounding_has_the_bound_of_the_precision(
    core: Any, monkeypatch: pytest.MonkeyPatch, precision: str, bound: float
) -> None:
    """Guards dynamic-int8 against the wider bound of int8, whose activations are rounded as well."""
    changes = iter([np.zeros((1, 7)), np.full((1, 7), 0.4)])
    monkeypatch.setattr(passes, "_predict", lambda network, images: next(changes))
    listed = dataclasses.replace(passes.PASSES[-1], requires=passes.CORE_SHAPES, ensures=passes.SAME_LAYERS)
    monkeypatch.setattr(passes, "PASSES", (listed,))
    if bound > 0.4:
        passes.check_pass(ROUND_GRAPH, precision, core, core, IMAGES)
    else:
        with pytest.raises(VerificationError, match=f"within {bound} of those before, found 0.4"):
            passes.check_pass(ROUND_GRAPH, precision, core, core, IMAGES)
