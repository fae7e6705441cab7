"""The recipe `auto`: settings chosen from a data set, each with its reason."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.data.dataset import Dataset, Splits
from feredge.data.folders import FER2013_CLASS_ALIASES
from feredge.inference.contract import Images
from feredge.progress import Progress, quiet
from feredge.recipes.schema import DataView, Recipe

INPUT_SIZES = (32, 48, 64, 96, 128)
FACE_SIZE = 48  # of the reference models
FACE_MODEL = "nano"
NETWORKS: dict[int, dict[str, Any]] = {
    32: {"stem": 24, "stem_stride": 1, "channels": (24, 48, 64), "blocks": (1, 1, 1)},
    48: {"stem": 24, "stem_stride": 2, "channels": (24, 48, 64), "blocks": (1, 1, 1)},
    64: {"stem": 24, "stem_stride": 2, "channels": (24, 48, 64), "blocks": (1, 1, 1)},
    96: {"stem": 24, "stem_stride": 2, "channels": (24, 32, 48, 64), "blocks": (1, 1, 1, 1)},
    128: {"stem": 24, "stem_stride": 2, "channels": (24, 32, 48, 64), "blocks": (1, 1, 1, 1)},
}
"""Settings of the residual network by input size.

Each has at most 200 KB in int8, one byte a weight, and stages enough that its receptive field covers at least two
thirds of the image: with two stages, of 23 pixels, drawn shapes of 64 pixels were told apart worse.
"""
FACE_NETWORK = {"stem": 16, "stem_stride": 2, "channels": (32, 32, 48), "blocks": (1, 1, 1), "pool": "weighted"}
"""The network of FACE_MODEL."""
SMALL_DATASET, SMALL_HOLDOUT = 4000, 0.15  # fewer training images than this are validated on a larger share
CLASS_IMBALANCE = 10.0  # ratio of the largest to the smallest class from which on classes are sampled evenly
BORDER_SHARE = 12  # a crop is narrower by one part in this many
BORDER_DETAIL = 0.75  # variance at the border, relative to the whole image's, up to which a crop loses little
TRIAL_EPOCHS = 8
BATCH_SIZES = ((2500, 16), (5000, 32), (10_000, 64), (math.inf, 128))
"""Batch sizes, each with the number of training images below which it is chosen.

On 1,020 drawn shapes batches of 16 instead of 32, and so twice as many steps, gained 4 points of validation accuracy.
"""
TRANSFER_BATCH_SIZE = 32  # trained weights need fewer steps: smaller batches gained nothing on drawn faces
LEARNING_RATE = 0.1  # of 0.05, 0.1 and 0.2 the best on the same shapes in batches of 32; of 16, as good as 0.05
TRANSFER_LEARNING_RATE = 0.02  # in batches of 128; with the square root of the batch size
AVERAGED_SHARE = 0.02  # of all steps: time constant of the moving average of the weights


@dataclass(frozen=True)
class Choice:
    """A setting of the recipe, `section.key`, its value and why it was chosen."""

    key: str
    value: Any
    reason: str

    @property
    def override(self) -> str:
        """The setting as `section.key=value`, in TOML."""
        return f"{self.key}={json.dumps(self.value)}"  # for numbers, lists, strings and booleans JSON is valid TOML


def is_of_faces(classes: tuple[str, ...]) -> bool:
    """Return whether every class is a facial expression of FER2013, by one of its usual names."""
    return all(name.strip().lower() in FER2013_CLASS_ALIASES for name in classes)


def fits_face_model(view: DataView, classes: tuple[str, ...]) -> bool:
    """Return whether images of `view` suit FACE_MODEL's weights as a start."""
    return is_of_faces(classes) and (view.size, view.channels) == (FACE_SIZE, 1)


def has_face_network(recipe: Recipe) -> bool:
    """Return whether the recipe's network is FACE_MODEL's, for faces."""
    network = all(getattr(recipe.network, key) == value for key, value in FACE_NETWORK.items())
    return network and fits_face_model(recipe.data, ()) and recipe.data.faces


def choose_data(dataset: Dataset) -> list[Choice]:
    """Return the choices of a recipe's `[data]` for a data set, which was read at any size."""
    pictures = dataset.pictures
    if is_of_faces(dataset.classes):
        return [
            Choice("data.size", FACE_SIZE, "the classes are facial expressions, as of the reference models"),
            Choice("data.channels", 1, "the reference models take gray faces"),
            *_holdout(len(dataset)),
        ]
    if pictures is None:
        _, size, _, channels = dataset.images.shape
        reason = f"the images are {size}x{size}x{channels}"
    else:
        size = _input_size(min(pictures.height, pictures.width))
        channels = 3 if pictures.color_share else 1
        reason = f"the pictures are {pictures}"
    return [
        Choice("data.size", size, reason),
        Choice("data.channels", channels, reason),
        Choice("data.faces", False, "the classes are no facial expressions; whole pictures are classified"),
        *_holdout(len(dataset)),
    ]


def _input_size(side: int) -> int:
    """Return the largest of INPUT_SIZES up to `side`, or the smallest."""
    return max([INPUT_SIZES[0], *(size for size in INPUT_SIZES if size <= side)])


def _holdout(count: int) -> list[Choice]:
    reason = f"{count:,} images are few: settings and epochs are compared on more of them"
    return [Choice("data.holdout", SMALL_HOLDOUT, reason)] if count < SMALL_DATASET else []


def choose_training(train: Dataset, *, transfer: bool) -> list[Choice]:
    """Return the choices of network, optimizer, crop and sampling for a training split.

    Args:
        train: the training split.
        transfer: whether the training starts from FACE_MODEL.
    """
    count, size = len(train), train.images.shape[1]
    batch = next(batch for limit, batch in BATCH_SIZES if count < limit)
    batch = max(batch, TRANSFER_BATCH_SIZE) if transfer else batch
    epochs = round(min(100.0, max(24.0, 60.0 * math.sqrt(800 / count))))
    steps = epochs * max(1, count // batch)
    images = f"{count:,} training images"
    rate = round(TRANSFER_LEARNING_RATE * math.sqrt(batch / 128), 4) if transfer else LEARNING_RATE
    network = FACE_NETWORK if transfer else NETWORKS[_input_size(size)]
    reason = (
        f"that of {FACE_MODEL}, whose weights it starts from" if transfer else f"at most 200 KB in int8, {size} pixels"
    )
    return [
        *(Choice(f"network.{key}", value, reason) for key, value in network.items()),
        Choice("training.batch_size", batch, images),
        Choice("training.epochs", epochs, f"{images}: {steps:,} steps"),
        Choice("training.warmup_epochs", round(0.05 * epochs, 1), "5% of the epochs"),
        Choice("training.learning_rate", rate, f"{'trained' if transfer else 'random'} weights to start from"),
        Choice("training.ema_decay", round(1 - 1 / max(10.0, AVERAGED_SHARE * steps), 4), f"{steps:,} steps"),
        *_crop(train.images),
        *_sampling(train),
    ]


def _crop(images: Images) -> list[Choice]:
    """Return random crops if the pictures hold little at their borders, which crops cut off."""
    size = images.shape[1]
    border = size // BORDER_SHARE // 2
    variances = images[:2000].astype(np.float32).var(axis=0).mean(axis=2)
    at_border = np.ones_like(variances, dtype=np.bool_)
    at_border[border:-border, border:-border] = False
    detail = float(variances[at_border].mean() / max(float(variances.mean()), 1e-6))
    reason = f"the variance at the border is {detail:.0%} of the whole images'"
    if detail > BORDER_DETAIL:
        return [Choice("augmentation.crop_size", 0, reason)]
    return [
        Choice("augmentation.crop_size", size - 2 * border, reason),
        Choice("augmentation.full_image_epochs", 4, "the last epochs show full images, as evaluation does"),
    ]


def _sampling(train: Dataset) -> list[Choice]:
    counts = np.bincount(train.labels, minlength=len(train.classes))
    counts = counts[counts > 0]
    if counts.max() < CLASS_IMBALANCE * counts.min():
        return []
    reason = f"the classes have from {counts.min():,} to {counts.max():,} training images"
    return [Choice("training.balanced_sampling", True, reason)]


def choose_flip(recipe: Recipe, splits: Splits, progress: Progress = quiet) -> Choice:
    """Return whether to mirror training images: not if mirror images of the validation split are classified worse.

    A network is trained for a few epochs without mirroring, and each validation image is paired with its mirror image.
    Flip is dropped where significantly more images than mirror images are classified correctly (McNemar's test, two
    standard errors). Two trainings, with and without, would cost twice as much and differ by less than their noise.
    """
    images, labels = splits.validation.images, splits.validation.labels
    if not len(labels):
        return Choice("augmentation.flip", False, "there are no validation images to compare on")
    predict = _train_briefly(recipe, splits.train, progress)
    right, mirrored = (predict(view).argmax(axis=1) == labels for view in (images, images[:, :, ::-1]))
    lost, gained = int((right & ~mirrored).sum()), int((mirrored & ~right).sum())
    flip = lost - gained <= 2 * math.sqrt(lost + gained)
    reason = f"of {len(labels)} validation images {right.mean():.1%} are classified correctly, of their mirror images"
    reason += f" {mirrored.mean():.1%}"
    return Choice("augmentation.flip", flip, reason)


def _train_briefly(recipe: Recipe, train: Dataset, progress: Progress) -> Callable[[Images], NDArray[np.float32]]:
    """Return the prediction function of the recipe's network after a short training on full images, not mirrored."""
    from feredge.train.batches import Batches
    from feredge.train.fitting import Fitter, one_hot, resolve_precision
    from feredge.train.networks import make_predict_function
    from feredge.train.schedule import warmup_cosine

    training, classes = recipe.training, len(train.classes)
    augmentation = dataclasses.replace(recipe.augmentation, flip=False, crop_size=0, full_image_epochs=0)
    batches = Batches(train.images, one_hot(train.labels, classes), training.batch_size, augmentation, training.seed)
    fitter = Fitter(
        recipe.network, training, resolve_precision(training.precision), batch_shape=batches.shape, classes=classes
    )
    steps = TRIAL_EPOCHS * len(batches)
    for epoch in range(TRIAL_EPOCHS):
        for number, (images, targets) in enumerate(batches.epoch(epoch)):
            step = epoch * len(batches) + number
            fitter.step(
                images, targets, np.float32(warmup_cosine(step, steps=steps, warmup=0, peak=training.learning_rate))
            )
            progress("flip trial", step + 1, steps)
    return make_predict_function(fitter.averaged)
