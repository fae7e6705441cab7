"""Import of Keras networks: the same function behind the input contract, and no code of their files is run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_training import stripes

from feredge import Predictor, data, predictions
from feredge.cli import main
from feredge.errors import ArtifactError, FeredgeError
from feredge.export import export
from feredge.importing.keras_file import open_network
from feredge.importing.layers import as_core
from feredge.importing.network import NetworkInput, import_network
from feredge.inference.contract import CLASSES
from feredge.keras import keras
from feredge.train.networks import make_predict_function
from feredge.train.runner import KerasRunner

layers = keras.layers
CALLS: list[str] = []


def _network(*, padding: str = "valid", channels: int = 1, last: str = "softmax") -> Any:
    """A network with what published ones have: separable convolutions, a batch normalisation, a pooling."""
    keras.utils.set_random_seed(3)
    pixels = keras.Input((16, 16, channels))
    x = layers.Conv2D(6, 3, padding=padding, use_bias=False)(pixels)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.SeparableConv2D(8, 3, strides=2, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, layers.Dense(7, activation=last)(x))


@pytest.mark.parametrize(("padding", "channels"), [("valid", 1), ("same", 1), ("valid", 3), ("same", 3)])
def test_a_core_is_the_same_function(padding: str, channels: int) -> None:
    """Guards the scaling to -1..1, most of all at padded borders, gray in three channels, and split convolutions."""
    network = _network(padding=padding, channels=channels)
    core = as_core(network, size=16, low=-1.0, high=1.0)
    images = stripes(20).images
    pixels = np.repeat(images.astype(np.float32) / 127.5 - 1, channels, axis=3)
    # the scaling is folded into float32 weights
    np.testing.assert_allclose(make_predict_function(core)(images), network.predict(pixels, verbose=0), atol=2e-5)
    assert not any(isinstance(layer, layers.SeparableConv2D) for layer in core.layers)
    # one less for the batch normalization, two for the separable convolution, one more for the scale at the border
    assert len(core.layers) == len(network.layers) + (padding == "same")


def _lambda(path: Path) -> None:
    def record(x: Any) -> Any:
        CALLS.append("ran")
        return x

    recording = layers.Lambda(record)
    keras.Sequential([keras.Input((16, 16, 1)), recording, layers.Flatten(), layers.Dense(7)]).save(path)


class CustomLayer(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A custom layer, whose code a file would ask for."""

    def call(self, inputs: Any) -> Any:
        """Run."""
        return inputs


def _custom(path: Path) -> None:
    keras.Sequential([keras.Input((16, 16, 1)), CustomLayer(), layers.Flatten(), layers.Dense(7)]).save(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["x.h5", "x.keras", "saved"])
def test_what_a_file_brings_is_not_run(tmp_path: Path, name: str) -> None:
    """Guards against code in a model file: refused before Keras sees it, in each format."""
    _lambda(tmp_path / name)
    CALLS.clear()
    with pytest.raises(ArtifactError, match="Lambda layer, whose code is not run"):
        open_network(tmp_path / name)
    assert not CALLS
    _custom(tmp_path / f"custom-{name}")
    with pytest.raises(ArtifactError, match=r"custom object '.*CustomLayer', which is not run"):
        open_network(tmp_path / f"custom-{name}")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files_of_keras_3_are_the_same_function(tmp_path: Path, suffix: str) -> None:
    """Guards what is saved today: other settings and nodes, the same weights in the same order; and no code."""
    import keras as keras3  # noqa: TID251

    pixels = keras3.Input((16, 16, 1))
    x = keras3.layers.Conv2D(6, 3, use_bias=False)(pixels)
    x = keras3.layers.ReLU()(keras3.layers.BatchNormalization()(x))
    x = keras3.layers.Add()([x, keras3.layers.SeparableConv2D(6, 3, padding="same")(x)])
    x = keras3.layers.Dense(7, activation="softmax")(keras3.layers.GlobalAveragePooling2D()(x))
    network = keras3.Model(pixels, x)
    network.save(tmp_path / f"x.{suffix}")
    images = stripes(8).images.astype(np.float32) / 255
    expected = np.asarray(network(images))
    np.testing.assert_allclose(open_network(tmp_path / f"x.{suffix}").predict(images, verbose=0), expected, atol=1e-5)
    lying = keras3.Model(pixels, keras3.layers.Lambda(lambda y: y)(x))
    lying.save(tmp_path / f"lambda.{suffix}")
    with pytest.raises(ArtifactError, match="Lambda layer, whose code is not run"):
        open_network(tmp_path / f"lambda.{suffix}")


def test_damaged_and_other_files_are_refused(tmp_path: Path) -> None:
    """Guards a stack trace from h5py or zipfile, and weights without a network."""
    for name, content in (("a.h5", b"x" * 99), ("b.keras", b"x" * 99), ("c.txt", b"x")):
        (tmp_path / name).write_bytes(content)
    network = _network()
    network.save(tmp_path / "whole.h5")
    whole = (tmp_path / "whole.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    network.save_weights(tmp_path / "weights.h5")
    for name in ("a.h5", "b.keras", "c.txt", "cut.h5", "weights.h5", "none.h5"):
        with pytest.raises(ArtifactError, match=rf"^{tmp_path / name}: expected a Keras"):
            open_network(tmp_path / name)


@pytest.mark.parametrize(
    ("classes", "network_input", "message"),
    [
        (CLASSES[:6], NetworkInput(16, 16, 0, 1), "expected 7 different names"),
        ((*CLASSES[:6], "angry"), NetworkInput(16, 16, 0, 1), "expected 7 different names"),
        (CLASSES, NetworkInput(24, 24, 0, 1), "expected the input 24x24 of --input-size, found 16x16"),
    ],
)
def test_what_does_not_match_leaves_nothing(
    tmp_path: Path, classes: tuple[str, ...], network_input: NetworkInput, message: str
) -> None:
    """Guards labels in another order or number than the outputs, and half a run folder."""
    _network().save(tmp_path / "x.h5")
    with pytest.raises(FeredgeError, match=message):
        import_network(tmp_path / "x.h5", network_input, classes, stripes(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_foreign_network_is_exported_like_any_other(tmp_path: Path, here: None) -> None:
    """Guards the whole way: logits get their softmax, classes their order, and the card says where it came from."""
    network = _network(last="linear")
    network.save(tmp_path / "net.h5")
    order = tuple(reversed(CLASSES))
    run = import_network(tmp_path / "net.h5", NetworkInput(16, 16, -1.0, 1.0), order, stripes(), tmp_path / "run")
    second = import_network(tmp_path / "net.h5", NetworkInput(16, 16, -1.0, 1.0), order, stripes(), tmp_path / "run")
    assert second == run
    settings: dict[str, Any] = {"files": ("float32.onnx",), "calibration_images": 64}
    (entry,) = export(run, stripes(), settings=dataclasses.replace(run.recipe().export, **settings)).entries
    assert entry.card.classes == order and entry.card.recipe["foreign"]["file"] == "net.h5"
    assert run.training_record()["comparison"]["largest"] < 1e-4
    assert "training" not in entry.card.recipe and "net.h5" in entry.card.licence
    figures = run.training_record()
    splits = data.split(stripes(), run.recipe().data)
    rows = network.predict(splits.test.images.astype(np.float32) / 127.5 - 1, verbose=0)
    np.testing.assert_allclose(predictions.read(run).probabilities.argmax(axis=1), rows.argmax(axis=1))
    assert figures["test"]["correct"] == int((rows.argmax(axis=1) == splits.test.labels).sum())
    predicted = (
        KerasRunner(run.model, threads=None).predict(splits.test.images).argmax(axis=1)
    )  # the benchmark's float row
    np.testing.assert_array_equal(predicted, rows.argmax(axis=1))


def test_a_network_that_begins_with_a_normalization_becomes_int8_onnx(tmp_path: Path, here: None) -> None:
    """Guards networks that scale pixels themselves: that layer stays in float, behind the file's own 1/255."""
    pixels = keras.Input((16, 16, 1))
    body = _network()
    flat = layers.Normalization(mean=0.5, variance=0.0625)(pixels)
    for layer in body.layers[1:]:
        flat = layer(flat)
    network = keras.Model(pixels, flat)
    network.save(tmp_path / "net.h5")
    run = import_network(tmp_path / "net.h5", NetworkInput(16, 16, 0.0, 1.0), CLASSES, stripes(), tmp_path / "run")
    settings: dict[str, Any] = {"files": ("int8.onnx",), "calibration_images": 64}
    (entry,) = export(run, stripes(), settings=dataclasses.replace(run.recipe().export, **settings)).entries
    batch = stripes().images[:32]
    with Predictor(run.artifacts / entry.file) as predictor:
        outputs = predictor.predict(batch)
    assert np.abs(outputs - network.predict(batch.astype(np.float32) / 255, verbose=0)).max() < 0.1


@pytest.mark.parametrize("missing", ["--input-size", "--input-range", "--classes", "--data"])
def test_the_command_asks_for_what_a_file_does_not_say(tmp_path: Path, missing: str) -> None:
    """Guards a foreign file taken with a guessed range or guessed labels."""
    (tmp_path / "x.h5").write_bytes(b"x")
    options = {"--input-size": "16x16", "--input-range": "0..1", "--classes": ",".join(CLASSES), "--data": "drawn:70"}
    del options[missing]
    arguments = [text for option in options.items() for text in option]
    done = CliRunner().invoke(main, ["export", str(tmp_path / "x.h5"), *arguments, "--out", str(tmp_path / "run")])
    assert done.exit_code == 2 and f"requires {missing}" in done.stderr and not (tmp_path / "run").exists()
