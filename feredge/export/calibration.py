"""Calibration images: what static quantization looks at to choose its ranges."""

from __future__ import annotations

from feredge import data
from feredge.contract import Images
from feredge.data.dataset import Dataset
from feredge.errors import DataError

FEWEST = 100  # images that a range should rest on


def choose(train: Dataset, count: int, *, seed: int) -> Images:
    """Return up to `count` images of the training split, class by class, `uint8 (N, H, W, 1)`.

    Two corner pixels of the first image are set to 0 and 255, so that the input is calibrated to exactly the
    range of pixels whatever the images hold.

    Raises:
        DataError: no training images.
    """
    chosen = data.stratified_sample(train, count, seed=seed).batch.copy()
    if not len(chosen):
        raise DataError(f"{train.source}: expected training images to calibrate on, found none")
    chosen[0, 0, 0], chosen[0, 0, 1] = 0, 255
    return chosen
