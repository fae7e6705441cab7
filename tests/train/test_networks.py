"""Networks: parameter counts, multiply-adds, and the input contract."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

import feredge.recipes as recipes
from feredge.errors import RecipeError
from feredge.keras import keras
from feredge.recipes.schema import Network
from feredge.train.networks import build_core, multiply_adds, with_contract


@pytest.mark.parametrize(
    ("name", "max_parameters"), [("nano", 100_000), ("demo", 100_000), ("small", 1_000_000), ("base", 4_000_000)]
)
def test_edge_recipes_keep_their_budget(name: str, max_parameters: int) -> None:
    """Guards the budgets of the edge models; the file's first comment must name the true count."""
    core = build_core(recipes.load(name).network, size=48, classes=7)
    assert core.count_params() <= max_parameters
    if name != "demo":
        assert (
            f"{core.count_params():,} parameters"
            in (recipes.toml_files.RECIPE_FOLDER / f"{name}.toml").read_text().splitlines()[0]
        )


def test_multiply_adds_by_hand() -> None:
    """Guards the count against one done by hand: stem, block with shortcut, dense layer; and one that upsamples."""
    network = Network(stem=4, stem_stride=2, channels=(6,), blocks=(1,))
    by_hand = 36 * (9 * 1 * 4) + 36 * (9 * 4 * 6 + 9 * 6 * 6 + 4 * 6) + 6 * 5
    assert multiply_adds(build_core(network, size=12, classes=5)) == by_hand
    pixels = keras.Input((4, 4, 2))
    assert multiply_adds(keras.Model(pixels, keras.layers.Conv2DTranspose(3, 2, strides=2)(pixels))) == 16 * (2 * 3 * 4)


def test_weighted_pooling_is_initialized_as_average() -> None:
    """Guards the initial weights of weighted pooling: the outputs are those of average pooling."""
    average = Network(stem=4, channels=(4, 8), blocks=(1, 1))
    weighted = dataclasses.replace(average, pool="weighted")
    for size in (12, 11):  # at both the last stage has 3 x 3 pixels
        core, plain = (build_core(network, size=size, classes=3) for network in (weighted, average))
        assert core.get_layer("places").kernel_size == (weighted.feature_map_size(size),) * 2 == (3, 3)
        assert multiply_adds(core) == multiply_adds(plain) + 9 * 8
        for layer in plain.layers:
            layer.set_weights(core.get_layer(layer.name).get_weights())
        images = np.random.default_rng(0).random((5, size, size, 1), np.float32)
        np.testing.assert_allclose(core(images), plain(images), atol=1e-6)  # sums of 9 in another order
    with pytest.raises(RecipeError, match=r"expects images of one size"):
        build_core(weighted, size=None, classes=3)


def test_contract_scales_inside() -> None:
    """Guards the contract: the model takes uint8 and gives the outputs of the core for pixels / 255."""
    core = build_core(Network(stem=4, channels=(4,), blocks=(1,)), size=12, classes=3)
    model = with_contract(core)
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 1), np.uint8)
    assert model.input.dtype == "uint8" and model.get_layer("core") is core
    # Multiplying by 1/255 and dividing by 255 differ in the last bit of a float32.
    np.testing.assert_allclose(model(images), core(images.astype(np.float32) / 255), atol=1e-6)
    np.testing.assert_allclose(model(images).numpy().sum(axis=1), 1, atol=1e-6)


BUILDER = """
from tf_keras import layers

def features(pixels):
    return layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu", name="first")(pixels))

def feature_map(pixels):
    return layers.Conv2D(4, 3)(pixels)

def failing(pixels):
    raise OSError("no\\nluck")
"""


def test_a_network_is_built_by_a_function_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards networks of one's own from the working directory, and a traceback of their code."""
    (tmp_path / "own_network.py").write_text(BUILDER)
    monkeypatch.chdir(tmp_path)
    core = build_core(Network(name="custom", builder="own_network:features"), size=12, classes=3, channels=3)
    assert core.input_shape == (None, 12, 12, 3) and core.output_shape == (None, 3)
    assert [layer.name for layer in core.layers][1] == "first" and str(tmp_path) not in sys.path
    for builder, message in {
        "own_network:feature_map": r"expected own_network:feature_map to return \(N, features\), found \(None, 10",
        "own_network:failing": "own_network:failing raises OSError: no luck$",
        "own_network:missing": "expected a function own_network:missing, found none",
        "no_such_network:features": "expected a function no_such_network:features, found none",
    }.items():
        with pytest.raises(RecipeError, match=f"network.builder: {message}"):
            build_core(Network(name="custom", builder=builder), size=12, classes=3)
