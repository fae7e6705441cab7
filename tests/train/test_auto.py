"""The recipe `auto`: each choice follows from the data, and mirrored pictures are used only where they fit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from tiny_training import RECIPE, stripes

from feredge.data import drawn, split
from feredge.data.dataset import Dataset
from feredge.data.source_pictures import SourcePictures
from feredge.recipes.schema import Network
from feredge.train import auto
from feredge.train.networks import build_core


def dataset(counts: tuple[int, ...] = (40, 40), size: int = 32, classes: tuple[str, ...] = ("cat", "dog")) -> Dataset:
    """Return noisy images, as many of each class as `counts` says."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int8)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), size, size, 3), np.uint8)
    usage = np.full(len(labels), "train")
    return Dataset(images, labels, usage, np.arange(len(labels)), classes, "0" * 64, "pets")


def values(choices: list[auto.Choice]) -> dict[str, Any]:
    """Return the chosen values by key."""
    return {choice.key: choice.value for choice in choices}


@pytest.mark.parametrize(
    ("height", "width", "share", "size", "channels"),
    [(8, 8, 0.0, 32, 1), (47, 90, 0.0, 32, 1), (64, 64, 1.0, 64, 3), (100, 97, 0.1, 96, 3), (900, 600, 1.0, 128, 3)],
)
def test_size_and_channels_are_those_of_the_pictures(
    height: int, width: int, share: float, size: int, channels: int
) -> None:
    """Guards detail: pictures are not enlarged, apart from those under the smallest size, and colour is used."""
    pictures = SourcePictures(share, height, width)
    chosen = values(auto.choose_data(dataclasses.replace(dataset(), pictures=pictures)))
    assert (chosen["data.size"], chosen["data.channels"]) == (size, channels) and chosen["data.faces"] is False


def test_facial_expressions_suit_the_reference_model() -> None:
    """Guards transfer: gray faces of 48 pixels, also where the classes have other usual names."""
    chosen = values(auto.choose_data(dataset(classes=("Happiness", "anger"))))
    assert (chosen["data.size"], chosen["data.channels"]) == (48, 1) and "data.faces" not in chosen
    assert auto.is_of_faces(drawn(70).classes) and not auto.is_of_faces(("happy", "cat"))


@pytest.mark.parametrize("count", [20, 400, 2000, 9000, 50_000])
def test_every_size_of_data_gets_enough_steps(count: int) -> None:
    """Guards the moving average of 108 steps and the like: the average spans a small part of the training."""
    chosen = values(auto.choose_training(dataset((count // 2, count - count // 2), size=8), transfer=False))
    steps = chosen["training.epochs"] * max(1, count // chosen["training.batch_size"])
    assert steps > 90 and 1 / (1 - chosen["training.ema_decay"]) < 1.05 * max(10, 0.02 * steps)  # the decay is rounded


def test_a_trained_network_is_changed_more_slowly() -> None:
    """Guards transfer: at the learning rate of random weights a trained network is forgotten."""
    rates = [values(auto.choose_training(dataset(), transfer=t))["training.learning_rate"] for t in (False, True)]
    assert rates[1] <= 0.2 * rates[0]


def test_rare_classes_are_sampled() -> None:
    """Guards classes of 10 to 1, and that fewer are left as they are."""
    assert values(auto.choose_training(dataset((300, 30)), transfer=False))["training.balanced_sampling"] is True
    assert "training.balanced_sampling" not in values(auto.choose_training(dataset((300, 31)), transfer=False))


def test_crops_need_empty_borders() -> None:
    """Guards objects at the border, which a crop would cut off."""
    noisy, framed = dataset(), dataset()
    framed.images[:, [0, 1, -1, -2]] = framed.images[:, :, [0, 1, -1, -2]] = 90
    assert values(auto.choose_training(noisy, transfer=False))["augmentation.crop_size"] == 0
    assert 24 <= values(auto.choose_training(framed, transfer=False))["augmentation.crop_size"] < 32


@pytest.mark.parametrize("size", auto.INPUT_SIZES)
def test_networks_are_within_their_budget(size: int) -> None:
    """Guards the size budget: 200 KB in int8, a byte a weight."""
    core = build_core(Network(**auto.NETWORKS[size]), size=size, classes=100, channels=3)
    assert core.count_params() < 200_000


def test_flip_is_dropped_where_mirror_images_are_other_classes() -> None:
    """Guards digits and arrows: of stripes at an angle, a mirror image is another class."""
    recipe = dataclasses.replace(RECIPE, augmentation=dataclasses.replace(RECIPE.augmentation, flip=True))
    splits = split(stripes(), recipe.data)
    assert auto.choose_flip(recipe, splits).value is False
    symmetric = dataclasses.replace(splits, train=_symmetric(splits.train), validation=_symmetric(splits.validation))
    assert auto.choose_flip(recipe, symmetric).value is True
    nothing = dataclasses.replace(splits, validation=splits.validation.take(np.zeros(len(splits.validation), bool)))
    assert auto.choose_flip(recipe, nothing).value is False


def _symmetric(part: Dataset) -> Dataset:
    """Return the images with the label of their mirror image where that is smaller: k or 7 - k, and 0."""
    labels = np.where(part.labels > 0, np.minimum(part.labels, 7 - part.labels), 0).astype(np.int8)
    return dataclasses.replace(part, labels=labels)


def test_choices_become_settings() -> None:
    """Guards the TOML of each kind of value."""
    kinds = (("a.b", 3), ("a.b", 0.5), ("a.b", True), ("a.b", (1, 2)), ("a.b", "x"))
    texts = [auto.Choice(key, value, "").override for key, value in kinds]
    assert texts == ["a.b=3", "a.b=0.5", "a.b=true", "a.b=[1, 2]", 'a.b="x"']
