"""A tiny recipe, and a data set that its network learns in seconds."""

from __future__ import annotations

import dataclasses

import numpy as np

from feredge.data.dataset import Dataset
from feredge.inference.contract import CLASSES
from feredge.recipes.schema import Augmentation, DataView, Network, Recipe, Training
from feredge.run import RunFolder
from feredge.train.history import HISTORY_COLUMNS

RECIPE = Recipe(
    name="tiny",
    data=DataView(size=16),
    network=Network(stem=8, stem_stride=1, channels=(8, 16), blocks=(1, 1), dropout=0.1),
    training=Training(
        epochs=4, batch_size=16, learning_rate=0.05, warmup_epochs=1.0, label_smoothing=0.05, ema_decay=0.9
    ),
    augmentation=Augmentation(flip=False, rotate=5.0, erase=0.1),
)


def stripes(count: int = 420, *, seed: int = 0, size: int = 16) -> Dataset:
    """Return noisy stripes whose direction is the class; of ten images six are Training, and two of each test split."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    angle = (np.pi / len(CLASSES) * labels)[:, None, None]
    rows, columns = np.mgrid[:size, :size]
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    waves = np.sin(1.3 * (columns * np.cos(angle) + rows * np.sin(angle)) + phase)
    images = (128 + 80 * waves + rng.integers(-40, 40, waves.shape)).astype(np.uint8)
    usage = np.array(["Training"] * 6 + ["PublicTest"] * 2 + ["PrivateTest"] * 2)[np.arange(count) // 7 % 10]
    return Dataset(
        images[..., None], labels.astype(np.int8), usage, np.arange(count), CLASSES, f"stripes-{seed}", "stripes"
    )


def with_training(recipe: Recipe, **changes: object) -> Recipe:
    """Return `recipe` with some training values changed."""
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **changes))  # type: ignore[arg-type]  # values of several types


def stop_in_the_second(task: str, done: float, total: float, note: str = "") -> None:
    """Interrupt a training in its second epoch: an argument for `progress`."""
    if done > 1:
        raise KeyboardInterrupt


def epochs_of(run: RunFolder) -> list[list[str]]:
    """Return the history's rows without the columns of times."""
    columns = HISTORY_COLUMNS.index("seconds")
    return [row.split(",")[:columns] for row in run.history.read_text().splitlines()[1:]]
