"""The published networks: parameter counts as in their studies, and folding of the input's standardization."""

from __future__ import annotations

import typing

import numpy as np
import pytest

import feredge.recipes as recipes
from feredge.errors import RecipeError
from feredge.keras import keras
from feredge.recipes.rules import UNPADDED_NETWORKS
from feredge.recipes.schema import Network
from feredge.train.networks import build_core, fold_input
from feredge.train.published import PUBLISHED_NETWORKS

PUBLISHED_PARAMETERS = {
    "study-2022-ann": 657_671,
    "study-2022-cnn": 318_407,
    "six-class-cnn": 57_798,  # its study prints no number
    "three-class-dcnn": 2_395_075,
    "tuned-cnn": 557_799,
    "course-cnn": 619_911,  # nor does this one
}
CLASS_COUNTS = {"six-class-cnn": 6, "three-class-dcnn": 3}
IMAGE_SIZE = 26  # about the smallest that all of them take


def _trained(name: str, repeat: int, size: int = IMAGE_SIZE) -> typing.Any:
    """Return a core whose biases and statistics differ from the initial ones."""
    keras.utils.set_random_seed(1)
    core = build_core(Network(name=name), size=size, classes=3, channels=repeat)  # type: ignore[arg-type]  # a name of a network
    rng = np.random.default_rng(1)
    core.set_weights([w + np.abs(rng.normal(0, 0.05, w.shape)).astype(np.float32) for w in core.get_weights()])
    return core


def test_names() -> None:
    """Guards the recipe's list of names against the implemented networks."""
    names = typing.get_args(typing.get_type_hints(Network)["name"])
    assert names == ("residual", "convolutional", *PUBLISHED_NETWORKS, "custom", "foreign") and set(
        PUBLISHED_PARAMETERS
    ) == set(PUBLISHED_NETWORKS)


@pytest.mark.parametrize("name", PUBLISHED_NETWORKS)
def test_parameters_are_those_published(name: str) -> None:
    """Guards the layers' sizes against the study, and the number in the recipe's first comment."""
    recipe = recipes.load(name)
    classes = CLASS_COUNTS.get(name, 7)
    assert recipe.network.name == name and len(recipe.data.classes or range(7)) == classes
    core = build_core(recipe.network, size=48, classes=classes, channels=recipe.network.input_channels)
    assert core.count_params() == PUBLISHED_PARAMETERS[name]
    assert (
        f"{PUBLISHED_PARAMETERS[name]:,} parameters"
        in (recipes.toml_files.RECIPE_FOLDER / f"{name}.toml").read_text().splitlines()[0]
    )


def test_a_published_network_is_a_convolutional_one() -> None:
    """Guards the keys of `convolutional`: a search over them can draw the winner of the study that they come from."""
    network = Network(name="convolutional", channels=(32, 128, 128, 32), kernels=(3, 3, 3, 3), dense=(64,))
    core = build_core(network, size=48, classes=7, channels=3)
    published = build_core(Network(name="tuned-cnn"), size=48, classes=7, channels=3)
    assert [layer.name for layer in core.layers] == [layer.name for layer in published.layers]
    assert core.count_params() == PUBLISHED_PARAMETERS["tuned-cnn"]
    larger = build_core(
        Network(name="convolutional", channels=(8, 8), kernels=(5, 3), dense=(16, 8)), size=16, classes=3
    )
    assert [tuple(layer.kernel.shape[:2]) for layer in larger.layers if "conv" in layer.name] == [(5, 5)] * 2 + [
        (3, 3)
    ] * 2


@pytest.mark.parametrize("name", PUBLISHED_NETWORKS)
def test_standardising_is_allowed_where_it_can_be_folded(name: str) -> None:
    """Guards the list of networks that allow `standardise`: those whose first layer with weights has no padding."""
    core = build_core(Network(name=name), size=48, classes=3)  # type: ignore[arg-type]  # a name of a network
    first = next(layer for layer in core.layers if layer.weights)
    assert (getattr(first, "padding", "valid") == "valid") == (name in UNPADDED_NETWORKS)


@pytest.mark.parametrize(
    ("name", "repeat", "mean", "deviation"),
    [
        *((name, 3, 0.0, 1.0) for name in ("study-2022-ann", "six-class-cnn", "tuned-cnn")),
        *((name, 1, 0.51, 0.25) for name in UNPADDED_NETWORKS),
        ("course-cnn", 2, 0.4, 0.3),
    ],
)
def test_folding_gives_the_same_outputs(name: str, repeat: int, mean: float, deviation: float) -> None:
    """Guards the exported network: it takes plain gray, and has the outputs of the trained one."""
    core = _trained(name, repeat)
    gray = np.random.default_rng(0).random((5, IMAGE_SIZE, IMAGE_SIZE, 1), np.float32)
    expected = core(np.repeat((gray - mean) / deviation, repeat, axis=3)).numpy()
    folded = build_core(Network(name=name), size=IMAGE_SIZE, classes=3)  # type: ignore[arg-type]  # a name of a network
    folded.set_weights(fold_input(core.get_weights(), repeat=repeat, mean=mean, deviation=deviation))
    # Logits reach some tens here, and float32 sums of thousands of products in another order differ in the sixth digit.
    np.testing.assert_allclose(folded(gray), expected, atol=1e-4)


def test_too_small_images() -> None:
    """Guards the error for images too small for the pooling layers: one line, with the size."""
    with pytest.raises(RecipeError, match="large enough for course-cnn, found 12x12") as caught:
        build_core(Network(name="course-cnn"), size=12, classes=3)
    assert "\n" not in str(caught.value)
