"""Networks of either Keras version as cores: the outputs of the file's own framework, by layers that are known here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras as keras3  # noqa: TID251
import numpy as np
import pytest
from tiny_training import stripes

from feredge.errors import ArtifactError, VerificationError
from feredge.importing import comparison
from feredge.importing.comparison import OriginalOutputs, compare
from feredge.importing.keras_file import open_network
from feredge.importing.layers import as_core, output_names
from feredge.importing.probabilities import with_probabilities
from feredge.keras import keras
from feredge.train.networks import make_predict_function

VERSIONS = [pytest.param(keras, id="keras2"), pytest.param(keras3, id="keras3")]
SIZE = 16
Build = Callable[[Any], Any]


def _head(k: Any, x: Any, classes: int = 3, activation: str = "softmax") -> Any:
    return k.layers.Dense(classes, activation=activation)(k.layers.GlobalAveragePooling2D()(x))


def _nested(k: Any) -> Any:
    pixels = k.Input((SIZE, SIZE, 3))
    x = k.layers.BatchNormalization()(k.layers.Conv2D(4, 3, padding="same", use_bias=False)(pixels))
    backbone = k.Model(pixels, k.layers.ReLU(6.0)(x), name="backbone")
    image = k.Input((SIZE, SIZE, 3))
    return k.Model(image, _head(k, backbone(image, training=False)))


def _augmented(k: Any) -> Any:
    augmentation = k.Sequential([k.layers.RandomFlip("horizontal"), k.layers.RandomRotation(0.1)])
    layers = [k.layers.Rescaling(2.0, offset=-1.0), k.layers.Conv2D(4, 3), k.layers.Flatten(), k.layers.Dense(3)]
    return k.Sequential([k.Input((SIZE, SIZE, 1)), augmentation, *layers])


def _leaky(k: Any) -> Any:
    layers = [k.layers.Conv2D(8, 3), k.layers.LeakyReLU(0.01), k.layers.Flatten(), k.layers.Dense(3)]
    return k.Sequential([k.Input((SIZE, SIZE, 1)), *layers])


def _hard_sigmoid(k: Any) -> Any:
    pixels = k.Input((SIZE, SIZE, 1))
    return k.Model(pixels, _head(k, k.layers.Conv2D(4, 3, activation="hard_sigmoid")(pixels)))


def _preprocessed(mode: str) -> Build:
    def build(k: Any) -> Any:
        pixels = k.Input((SIZE, SIZE, 3))
        scaled = getattr(k.applications, mode).preprocess_input(pixels)
        return k.Model(pixels, _head(k, k.layers.Conv2D(4, 3)(scaled)))

    return build


def _shared(k: Any) -> Any:
    pixels, layer = k.Input((SIZE, SIZE, 1)), k.layers.Conv2D(1, 3, padding="same", activation="tanh")
    return k.Model(pixels, _head(k, k.layers.Add()([layer(pixels), layer(layer(pixels))])))


def _without_channels(k: Any) -> Any:
    pixels = k.Input((SIZE, SIZE))
    return k.Model(pixels, k.layers.Dense(3)(k.layers.Flatten()(pixels)))


def _flat(k: Any) -> Any:
    pixels = k.Input((SIZE * SIZE,))
    return k.Model(pixels, k.layers.Dense(3)(pixels))


NETWORKS: dict[str, Build] = {
    "nested": _nested,
    "augmented": _augmented,
    "leaky": _leaky,
    "hard_sigmoid": _hard_sigmoid,
    "minus-one-to-one": _preprocessed("mobilenet_v2"),
    "mean-and-deviation": _preprocessed("densenet"),
    "bgr": _preprocessed("vgg16"),
    "shared": _shared,
    "without-channels": _without_channels,
    "flat": _flat,
}


def _original(path: Path, folder: Path, *, output: str = "") -> OriginalOutputs:
    """The outputs of a file's own framework for white to black stripes in 0 to 255; in this process, to save time."""
    np.save(folder / comparison.IMAGES_FILE, stripes(8).images)
    result = comparison._run(str(path), str(folder), 0.0, 255.0, output)
    return OriginalOutputs(np.asarray(result["rows"], np.float32), result["precision"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("k", VERSIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_core_gives_the_outputs_of_the_files_framework(tmp_path: Path, k: Any, name: str) -> None:
    """Guards layers that mean something else in the other version, nested networks, and scaling inside the network."""
    k.utils.set_random_seed(3)
    network = NETWORKS[name](k)
    path = tmp_path / ("net.h5" if k is keras else "net.keras")  # Keras 2 cannot save all of these as .keras
    network.save(path)
    core = as_core(open_network(path), size=SIZE, low=0.0, high=255.0)
    rows = make_predict_function(core)(stripes(8).images)
    assert compare(rows, _original(path, tmp_path), "net")["images"] == 8
    kinds = {type(layer).__name__ for layer in core.layers}
    assert not kinds & {"Functional", "Sequential", "TFOpLambda", "RandomFlip", "Normalization"}
    if name in ("augmented", "minus-one-to-one", "mean-and-deviation", "bgr"):  # folded into the convolution
        assert [type(layer).__name__ for layer in core.layers][:2] == [
            "InputLayer",
            "Conv2D",
        ] and "Rescaling" not in kinds


@pytest.mark.parametrize("k", VERSIONS)
def test_mixed_precision_is_rebuilt_in_float32(tmp_path: Path, k: Any) -> None:
    """Guards float16 layers, which the converters and int8 cannot take."""
    policy = k.mixed_precision.Policy("mixed_float16") if k is keras else "mixed_float16"
    layers = [k.layers.Conv2D(4, 3, dtype=policy), k.layers.Flatten(dtype=policy), k.layers.Dense(3, dtype=policy)]
    k.Sequential([k.Input((SIZE, SIZE, 1)), *layers]).save(tmp_path / "net.h5")
    core = as_core(open_network(tmp_path / "net.h5"), size=SIZE, low=0.0, high=255.0)
    assert {layer.compute_dtype for layer in core.layers} == {"float32"}
    original = _original(tmp_path / "net.h5", tmp_path)
    rows = make_predict_function(core)(stripes(8).images)
    assert original.precision == "float16" and compare(rows, original, "net")["precision"] == "float16"


def test_another_function_is_refused() -> None:
    """Guards a layer without an equivalent that slips through as verified; and NaN."""
    rows = np.array([[0.2, 0.8], [0.5, 0.5]], np.float32)
    original = OriginalOutputs(rows, "float32")
    assert compare(rows + np.float32(1e-5), original, "net.h5")["largest"] < 1e-4
    for other in (rows[:, ::-1], rows * np.nan, rows[:1]):
        with pytest.raises(VerificationError, match=r"^net\.h5: expected .* after the import"):
            compare(other, original, "net.h5")


def test_a_file_may_have_the_suffix_of_the_other_format(tmp_path: Path) -> None:
    """Guards HDF5 files that are named .keras, and archives that are named .h5: which it is stands in the file."""
    network = _leaky(keras3)
    network.save(tmp_path / "a.h5")
    network.save(tmp_path / "b.keras")
    (tmp_path / "a.h5").rename(tmp_path / "a.keras")
    (tmp_path / "b.keras").rename(tmp_path / "b.h5")
    assert [open_network(tmp_path / name).count_params() for name in ("a.keras", "b.h5")] == [
        network.count_params()
    ] * 2


def test_slices_and_functions_outside_the_list_are_refused(tmp_path: Path) -> None:
    """Guards a TensorFlow function that reads or writes files, and a slice taken for a reversal of the channels."""
    pixels = keras.Input((SIZE, SIZE, 3))
    keras.Model(pixels, _head(keras, pixels[:, 1:])).save(tmp_path / "slice.h5")
    with pytest.raises(ArtifactError, match=r"expected x\[..., ::-1\] of the channels, found another slice"):
        as_core(open_network(tmp_path / "slice.h5"), size=SIZE, low=0.0, high=1.0)
    import tensorflow as tf  # noqa: TID251

    keras.Model(pixels, _head(keras, tf.math.sin(pixels))).save(tmp_path / "function.h5")
    with pytest.raises(ArtifactError, match=r"holds the function 'math\.sin', which is not run"):
        open_network(tmp_path / "function.h5")


def test_one_sigmoid_is_two_classes_and_several_are_refused() -> None:
    """Guards yes/no networks, in their whole range; and the confidence of independent classes."""
    pixels = keras.Input((SIZE, SIZE, 1))
    features = keras.layers.Flatten()(pixels)
    images = stripes(8).images

    def built(units: int, activation: str | None) -> tuple[Any, Any]:
        core = keras.Model(pixels, keras.layers.Dense(units, activation=activation)(features))
        return core, make_predict_function(core)(images)

    core, rows = built(1, "sigmoid")
    both = make_predict_function(with_probabilities(core, rows, "net"))(images)
    np.testing.assert_allclose(both, np.hstack([1 - rows, rows]), atol=1e-6)
    core, rows = built(1, None)
    both = make_predict_function(with_probabilities(core, 9 * rows, "net"))(images)
    np.testing.assert_allclose(both[:, 1:], 1 / (1 + np.exp(-rows)), atol=1e-6)
    with pytest.raises(ArtifactError, match="found a sigmoid for each of 7 outputs"):
        with_probabilities(*built(7, "sigmoid"), "net")


def test_an_output_is_chosen_by_its_name(tmp_path: Path) -> None:
    """Guards the first of several outputs taken without a word."""
    pixels = keras.Input((SIZE, SIZE, 1))
    features = keras.layers.Flatten()(pixels)
    outputs = [keras.layers.Dense(units, name=name)(features) for name, units in (("gender", 2), ("age", 5))]
    network = keras.Model(pixels, outputs)
    network.save(tmp_path / "net.h5")
    assert output_names(network) == ["gender", "age"]
    core = as_core(network, size=SIZE, low=0.0, high=255.0, output="age")
    original = _original(tmp_path / "net.h5", tmp_path, output="age")
    assert original.rows.shape[1] == 5 and compare(make_predict_function(core)(stripes(8).images), original, "net")
