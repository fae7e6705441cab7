"""Pruning, clustering and folding: what they do to weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tiny_training import RECIPE, stripes

from feredge.compress import batch_norms, clustering, pruning, ranges
from feredge.compress.quantization_aware import check_layers, quantization_aware
from feredge.errors import RecipeError
from feredge.export import quantizer
from feredge.export.tflite.converter import to_tflite
from feredge.export.tflite.int8 import Int8TFLite
from feredge.inspection import flatbuffer, macs
from feredge.inspection import weights as contents
from feredge.inspection.macs import Macs
from feredge.keras import keras
from feredge.recipes.schema import Export, Network
from feredge.recipes.variant import Variant
from feredge.train.networks import build_core, multiply_adds

KERNELS = st.dictionaries(
    st.sampled_from(["stem", "wide", "last"]),
    arrays.arrays(np.float32, st.tuples(st.integers(2, 40), st.integers(1, 9)), elements=st.floats(-4, 4, width=32)),
    min_size=1,
)


@given(KERNELS, st.floats(0.01, 0.99))
@settings(max_examples=60)
def test_the_share_is_removed_and_no_kernel_is_emptied(weights: pruning.Kernels, share: float) -> None:
    """Guards the name's promise, and against pruned layers that pass nothing on: also where all weights are equal."""
    masks = pruning.lamp_masks(weights, share)
    size = sum(values.size for values in weights.values())
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert kept == max(size - np.ceil(share * size), len(weights))
    assert all(mask.any() for mask in masks.values())
    for name, mask in masks.items():  # within a kernel, the smallest go
        gone = np.abs(weights[name][~mask]).max(initial=0.0)
        assert gone <= np.abs(weights[name][mask]).min()


def test_layers_with_weights_to_spare_give_more() -> None:
    """Guards the score: a layer of like weights, each of which matters, keeps more than one with a few large ones."""
    rng = np.random.default_rng(0)
    weights = {"like": rng.uniform(0.9, 1.1, (200, 10)), "few": rng.standard_cauchy((200, 10))}
    masks = pruning.lamp_masks({name: values.astype(np.float32) for name, values in weights.items()}, 0.5)
    assert masks["like"].mean() > 0.6 > 0.4 > masks["few"].mean()


def test_weights_go_step_by_step_and_stay_away() -> None:
    """Guards the schedule's ends and the masks: nothing is left to cut after the ramp, and what is gone stays zero."""
    core = build_core(RECIPE.network, size=16, classes=7)
    pruner = pruning.Pruner(core, 0.7)
    sizes = []
    for done in np.arange(0, 1, 0.1):
        pruner.before_step(done)
        for kernel in pruning.kernels(core).values():
            kernel.assign_add(np.full(kernel.shape, 1e-3, np.float32))  # as a step would
        pruner.apply_masks()
        values = np.concatenate([kernel.numpy().ravel() for kernel in pruning.kernels(core).values()])
        sizes.append((values == 0).mean())
    assert 0 < sizes[0] < 0.1 and sizes == sorted(sizes)
    assert sizes[5] < sizes[6] == sizes[-1] == np.ceil(0.7 * values.size) / values.size


@given(arrays.arrays(np.float32, st.integers(1, 200), elements=st.floats(-3, 3, width=32)), st.integers(2, 16))
@settings(max_examples=60)
def test_clusters_are_ranges_of_values(values: np.ndarray, count: int) -> None:
    """Guards k-means: at most so many clusters, none empty, equal values together, no two ranges that overlap."""
    places = clustering.kmeans_assignments(values, count)
    assert len(np.unique(places)) == places.max() + 1 <= count
    order = np.argsort(values, kind="stable")
    assert (np.diff(places[order]) >= 0).all()
    assert all(len(np.unique(places[values == value])) == 1 for value in values)


def test_few_values_are_found_exactly() -> None:
    """Guards the centres: a kernel that holds no more values than clusters keeps them all."""
    core = build_core(RECIPE.network, size=16, classes=7)
    kernel = core.get_layer("stem_conv").kernel
    few = np.random.default_rng(0).choice(np.array([-0.5, -0.1, 0.0, 0.2], np.float32), kernel.shape)
    kernel.assign(few)
    hold = clustering.cluster(core, 16)
    np.testing.assert_allclose(kernel.numpy(), few, atol=1e-7)  # a mean of equal numbers, in float32
    kernel.assign_add(np.random.default_rng(1).normal(0, 0.01, kernel.shape).astype(np.float32))
    hold()
    assert len(np.unique(kernel.numpy())) == 4
    assert all(len(np.unique(each.numpy())) <= 16 for each in pruning.kernels(core).values())


def _changed(core: Any, low: float, high: float) -> Any:
    """Give normalizations something to do: fresh ones change nothing."""
    rng = np.random.default_rng(0)
    for layer in core.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(low, high, weight.shape) for weight in layer.get_weights()])
    return core


@pytest.mark.parametrize("network", [RECIPE.network, Network(name="course-cnn")], ids=lambda network: network.name)
def test_folded_networks_answer_the_same(network: Network) -> None:
    """Guards the folded kernels and biases; a normalization that follows a pooling stays."""
    size = 48 if network.name != "residual" else 16
    core = _changed(build_core(network, size=size, classes=7), 0.5, 1.5)
    folded, images = batch_norms.fold_batchnorms(core), stripes(8, size=size).images / np.float32(255)
    # Products are taken in another order, and eight layers multiply what that changes.
    np.testing.assert_allclose(folded(images).numpy(), core(images).numpy(), atol=1e-4)
    left = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    assert left == (3 if network.name == "course-cnn" else 0)


def test_weighted_pooling_is_a_product_in_tflite(tmp_path: Path) -> None:
    """Guards that all places and channels keep their weights, which count as kernels, and that none is convolved."""
    core = build_core(dataclasses.replace(RECIPE.network, pool="weighted"), size=16, classes=7)
    places, calibration = core.get_layer("places"), stripes(64).images
    kernel = np.random.default_rng(0).normal(1 / 64, 1 / 64, (8, 8, 16, 1))  # not around 0, so int8's zero is moved
    kernel[:4] = 0
    places.set_weights([kernel])
    images = calibration[:8]
    expected, path = core(images / np.float32(255)).numpy(), tmp_path / "model.tflite"
    for precision, step in (("float32", 1e-6), ("float16", 2e-3), ("int8", 0.02)):  # 1/256 is a step of the last
        if precision == "int8":
            calibrated = quantizer.calibrate(core, calibration, "tflite", settings=Export())
            assert "places" in calibrated.layers
            model = calibrated.quantize()
        else:
            model = to_tflite(core, precision, calibration=calibration)
        kinds = flatbuffer.operator_names(flatbuffer.parse(model))
        assert "MUL" in kinds and "DEPTHWISE_CONV_2D" not in kinds
        np.testing.assert_allclose(quantizer.predict(model, images), expected, atol=step)
        path.write_bytes(model)
        kernels = contents.read(path).kernels.values()
        assert sum(values.size for values in kernels) == sum(
            each.shape.num_elements() for each in pruning.kernels(core).values()
        )
        (stored,) = [values for values in kernels if values.shape == (1, 8, 8, 16)]
        assert not stored[:, :4].any() and np.count_nonzero(stored) > 0.95 * stored.size / 2
        counted = macs.count(path)
        assert counted is not None and counted.floating + counted.integer == multiply_adds(core)


def test_what_goes_into_a_product_keeps_its_own_range() -> None:
    """Guards int8's steps: a product stands in the memory of its features, where the converter took it for them."""
    core = build_core(dataclasses.replace(RECIPE.network, pool="weighted"), size=16, classes=7)
    places, calibration = core.get_layer("places"), stripes(64).images
    places.set_weights([np.linspace(-10, 10, 8 * 8 * 16, dtype=np.float32).reshape(8, 8, 16, 1)])
    features = keras.Model(core.input, places.input)(calibration / np.float32(255)).numpy()
    parsed = flatbuffer.parse(quantizer.calibrate(core, calibration, "tflite", settings=Export()).quantize())
    (at,) = np.flatnonzero([kind == "MUL" for kind in flatbuffer.operator_names(parsed)])
    graph = parsed.subgraphs[0]
    taken = graph.tensors[graph.operators[at].inputs[0]].quantization
    assert taken.zeroPoint.tolist() == [-128]  # after a ReLU
    high = ranges.calibrate_ranges(lambda: [{"features": features}], "min-max")["features"][1]
    np.testing.assert_allclose(taken.scale, high / 255, rtol=1e-3)  # sums are taken in another order


def test_a_product_of_features_is_no_kernel(tmp_path: Path) -> None:
    """Guards networks from elsewhere that multiply what they compute, as a swish does, or channels by constants."""
    pixels = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, name="first")(pixels)
    x = keras.layers.Multiply()([x, keras.layers.Activation("sigmoid")(x)]) * np.full((1, 1, 1, 4), 0.5, np.float32)
    x = keras.layers.Dense(3, activation="softmax", name="last")(keras.layers.Flatten()(x))
    path = tmp_path / "model.tflite"
    path.write_bytes(to_tflite(keras.Model(pixels, x, name="core"), "float32", calibration=stripes(8, size=8).images))
    assert flatbuffer.operator_names(flatbuffer.parse(path.read_bytes())).count("MUL") >= 2
    assert len(contents.read(path).kernels) == 2
    assert macs.count(path) == Macs(floating=6 * 6 * 4 * 9 + 6 * 6 * 4 * 3, integer=0)


def test_loose_normalizations_become_layers_that_integers_can_do() -> None:
    """Guards networks whose normalizations follow activations: on pictures, after a pooling, and on features."""
    network = Network(name="tuned-cnn")
    core = _changed(build_core(network, size=16, classes=7), 0.9, 1.1)
    changed, images = batch_norms.convert_unfused_batchnorms(core), stripes(8).images / np.float32(255)
    np.testing.assert_allclose(changed(images).numpy(), core(images).numpy(), atol=1e-4)  # as above
    kinds = [type(layer).__name__ for layer in changed.layers]
    assert "BatchNormalization" not in kinds and kinds.count("DepthwiseConv2D") == 8
    residual = build_core(RECIPE.network, size=16, classes=7)
    assert batch_norms.convert_unfused_batchnorms(residual) is residual


@pytest.mark.parametrize("name", ["tuned-cnn", "course-cnn"])
def test_gains_move_in_front_of_the_relu(name: Any) -> None:
    """Guards the exactness of moved gains, negative ones and none at all too, through poolings and to dense layers."""
    core = _changed(build_core(Network(name=name), size=48, classes=7), 0.5, 1.5)
    loose = batch_norms.unfused_batchnorms(core)
    for norm in loose:
        gamma, *rest = norm.get_weights()
        gamma[::3] *= -1
        gamma[1] = 0
        norm.set_weights([gamma, *rest])
    moved, images = batch_norms.equalize_scales(core), stripes(8, size=48).images / np.float32(255)
    np.testing.assert_allclose(moved(images).numpy(), core(images).numpy(), atol=1e-4)  # as above
    for norm in loose:
        gain, _ = batch_norms.scale_and_shift(moved.get_layer(norm.name))
        np.testing.assert_allclose(gain, np.sign(norm.gamma.numpy()), atol=1e-6)


def test_gains_stay_where_they_cannot_move() -> None:
    """Guards against scales moved through what does not pass them on, or to channels that others take too."""
    for network in (RECIPE.network, Network(name="three-class-dcnn")):  # none is loose; those behind an ELU
        core = build_core(network, size=16, classes=7)
        assert batch_norms.equalize_scales(core) is core
    pixels = keras.Input((8, 8, 1))
    shared = keras.layers.ReLU()(keras.layers.Conv2D(4, 3)(pixels))
    capped = keras.layers.ReLU(max_value=6)(keras.layers.Conv2D(4, 3)(pixels))
    both = [keras.layers.BatchNormalization()(x) for x in (shared, capped)]
    core = keras.Model(pixels, keras.layers.Add()([*both, shared]))
    assert batch_norms.equalize_scales(core) is core


def test_a_rare_channel_costs_the_others_nothing_in_int8() -> None:
    """Guards int8 files of networks that normalize after the ReLU: a gain of 30 beside 1 left them wrong answers."""
    pixels = keras.Input((16, 16, 1))
    x = keras.layers.ReLU()(keras.layers.Conv2D(8, 3, strides=2)(pixels))
    x = keras.layers.Flatten()(keras.layers.BatchNormalization()(x))
    x = keras.layers.BatchNormalization()(keras.layers.ReLU()(keras.layers.Dense(16)(x)))
    core = keras.Model(pixels, keras.layers.Activation("softmax")(keras.layers.Dense(7)(x)))
    rng = np.random.default_rng(0)
    for layer in core.layers:
        weights = [rng.normal(0, weight.size**-0.25, weight.shape) for weight in layer.get_weights()]
        if isinstance(layer, keras.layers.BatchNormalization):
            spread = np.full(len(weights[0]), 0.3)
            spread[0] = 0.0
            weights = [np.ones_like(spread), *weights[1:3], spread]
        elif len(weights) > 1 and layer is not core.layers[-2]:
            weights[0][..., 0] *= 0.02  # it says little, and its gain is 32
        layer.set_weights(weights)
    moved, images = batch_norms.equalize_scales(core), stripes().images[:96].copy()
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    exact = core(images / np.float32(255)).numpy()
    kinds: dict[Literal["tflite", "onnx"], float] = {"tflite": 0.5, "onnx": 1.1}  # there, normalizations were in float
    qat = Variant("dense", quantized=True)  # its scales are not equalized
    for kind, share in kinds.items():
        found = [quantizer.calibrate(each, images, kind, settings=Export(), variant=qat) for each in (core, moved)]
        before, after = (float(np.abs(quantizer.predict(each.quantize(), images) - exact).mean()) for each in found)
        assert after < share * before, kind
    graph = onnx.load_from_string(found[1].quantize()).graph
    assert "BatchNormalization" not in {node.op_type for node in graph.node}


def test_channels_that_int8_cannot_tell_from_constants_become_constants() -> None:
    """Guards int8 files of networks with an ELU, where a gain of 30 on a channel that never varied was noise."""
    pixels = keras.Input((16, 16, 1))
    x = keras.layers.ELU()(keras.layers.Conv2D(8, 3, strides=2)(pixels))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization(name="norm")(x))
    core = keras.Model(pixels, keras.layers.Dense(7, "softmax")(x))
    rng = np.random.default_rng(0)
    kernel, bias = core.layers[1].get_weights()
    kernel[:], kernel[..., 3] = rng.uniform(0, 30, kernel.shape), 0.0
    bias[3] = -0.5
    core.layers[1].set_weights([kernel, bias])
    spread = np.full(8, 900.0)
    spread[3] = 0.0
    core.get_layer("norm").set_weights([np.full(8, 0.2), np.zeros(8), np.zeros(8), spread])
    images = stripes().images[:96].copy()
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    changed = batch_norms.freeze_dead_channels(core, images)
    assert (changed.get_layer("norm").get_weights()[0] == 0).tolist() == [place == 3 for place in range(8)]
    exact = core(images / np.float32(255)).numpy()
    np.testing.assert_allclose(changed(images / np.float32(255)).numpy(), exact, atol=1e-5)  # sums in another order
    model = quantizer.calibrate(core, images, "tflite", settings=Export()).quantize()
    plain = Int8TFLite(core, images).quantize()
    errors = [float(np.abs(quantizer.predict(each, images) - exact).mean()) for each in (model, plain)]
    assert errors[0] < 0.5 * errors[1]
    unchanged = build_core(Network(name="tuned-cnn"), size=16, classes=7)
    assert batch_norms.freeze_dead_channels(unchanged, images) is unchanged  # behind a ReLU, gains move instead


def test_a_quantized_network_has_the_same_names_each_time() -> None:
    """Guards byte-identical files: names that count the networks made before would stand in them."""
    core = build_core(RECIPE.network, size=16, classes=7)
    first, second = ([weight.name for weight in quantization_aware(core).weights] for _ in range(2))
    assert first == second


def test_activations_without_trained_rounding_are_refused() -> None:
    """Guards `qat` against files with float operations between the integers."""
    with pytest.raises(RecipeError, match=r"^qat: .*found ELU \(elu1\)"):
        check_layers(build_core(Network(name="three-class-dcnn"), size=8, classes=7), "qat")
