"""Random changes to training images: one affine resampling, one light curve and at most one erased patch an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images
from feredge.recipes.schema import Augmentation

ERASED_AREA = (0.02, 0.2)  # share of the image, and aspect below, after Zhong et al., "Random erasing", 2017
ERASED_ASPECT = (0.3, 3.3)
MIDDLE_GRAY = 127.5


def augment(images: Images, how: Augmentation, rng: np.random.Generator, side: int = 0) -> Images:
    """Return changed copies of `images`, `uint8 (N, H, W)`, or squares out of them where `how.crop` says so.

    They are shrunk to `side` pixels where that is not 0. The same generator state gives the same copies.

    Every number is drawn for the whole batch before any pixel moves, whatever `how` leaves out, so that
    switching one change off leaves the others as they were.
    """
    import cv2

    maps = _inverse_maps(images.shape, how, rng)
    curves = _light_curves(len(images), how, rng)
    size = (how.crop, how.crop) if how.crop else (images.shape[2], images.shape[1])
    if side:
        maps, size = _shrunk(maps, size, side), (side, side)
    changed = np.empty((len(images), size[1], size[0]), np.uint8)
    between = cv2.INTER_CUBIC if how.interpolation == "cubic" else cv2.INTER_LINEAR
    flags = between | cv2.WARP_INVERSE_MAP
    for image, matrix, curve, out in zip(images, maps, curves, changed, strict=True):
        moved = cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        cv2.LUT(moved, curve, dst=out)
    _erase(changed, how, rng)
    return changed


def mix(
    images: Images, targets: NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[Images, NDArray[np.float32]]:
    """Return each image and its target mixed with another's of the batch, by a share drawn from Beta(alpha, alpha).

    After Zhang et al., "mixup: Beyond empirical risk minimization", 2018.

    Args:
        images: `uint8 (N, H, W)`.
        targets: `float32 (N, ...)`.
        alpha: above 0.
        rng: gives the shares and the pairs.
    """
    share = rng.beta(alpha, alpha, len(images)).astype(np.float32)
    other = rng.permutation(len(images))

    def mixed(values: NDArray[np.float32]) -> NDArray[np.float32]:
        part = share.reshape(-1, *[1] * (values.ndim - 1))
        return part * values + (1 - part) * values[other]

    return np.rint(mixed(images.astype(np.float32))).astype(np.uint8), mixed(targets)


def _inverse_maps(shape: tuple[int, ...], how: Augmentation, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `(N, 2, 3)` matrices from a changed image's `(x, y, 1)` to the place in the original it shows."""
    count, height, width = shape
    angle = np.deg2rad(rng.uniform(-how.rotate, how.rotate, count))
    zoom = rng.uniform(1 - how.scale, 1 + how.scale, count)
    shift = rng.uniform(-how.shift, how.shift, (count, 2)) * width
    mirror = np.where(rng.random(count) < 0.5 * how.flip, -1.0, 1.0)
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    maps = np.empty((count, 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = mirror * cosine, -sine
    maps[:, 1, 0], maps[:, 1, 1] = mirror * sine, cosine
    if how.zoom or how.shear:
        # A stream of its own: without these two, all the others are drawn as if these did not exist.
        maps[:, :, :2] @= _stretches(count, how, rng.spawn(1)[0])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    maps[:, :, 2] = middle - maps[:, :, :2] @ middle + shift
    if how.crop:  # a stream of its own too
        corners = rng.spawn(1)[0].integers(0, (width - how.crop + 1, height - how.crop + 1), (count, 2))
        maps[:, :, 2] += np.einsum("nij,nj->ni", maps[:, :, :2], corners)
    return maps


def _shrunk(maps: NDArray[np.float64], size: tuple[int, int], side: int) -> NDArray[np.float64]:
    """Return `maps` of what is shown, `(width, height)` pixels, on a square of `side`: middles of pixels fit."""
    ratio = np.array(size) / side
    shrink = np.array([[ratio[0], 0, (ratio[0] - 1) / 2], [0, ratio[1], (ratio[1] - 1) / 2], [0, 0, 1]])
    shrunk: NDArray[np.float64] = maps @ shrink
    return shrunk


def _stretches(count: int, how: Augmentation, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `(N, 2, 2)` matrices that lean verticals and change width and height apart."""
    lean = np.tan(np.deg2rad(rng.uniform(-how.shear, how.shear, count)))
    sides = rng.uniform(1 - how.zoom, 1 + how.zoom, (count, 2))
    matrices = np.zeros((count, 2, 2))
    matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 1] = sides[:, 0], lean * sides[:, 1], sides[:, 1]
    return matrices


def _light_curves(count: int, how: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return `uint8 (N, 256)`: what each pixel value becomes. The gain turns about middle gray."""
    gain = rng.uniform(1 - how.brightness, 1 + how.brightness, (count, 1))
    offset = rng.uniform(-how.brightness, how.brightness, (count, 1)) * 255
    curves = (np.arange(256) - MIDDLE_GRAY) * gain + MIDDLE_GRAY + offset
    return np.clip(np.rint(curves), 0, 255).astype(np.uint8)


def _erase(images: Images, how: Augmentation, rng: np.random.Generator) -> None:
    """Replace a rectangle of some of `images` by noise, in place."""
    count, height, width = images.shape
    chosen = np.flatnonzero(rng.random(count) < how.erase)
    area = rng.uniform(*ERASED_AREA, count) * height * width
    aspect = np.exp(rng.uniform(np.log(ERASED_ASPECT[0]), np.log(ERASED_ASPECT[1]), count))
    rows = np.clip(np.rint(np.sqrt(area * aspect)), 1, height).astype(int)
    columns = np.clip(np.rint(np.sqrt(area / aspect)), 1, width).astype(int)
    top = (rng.random(count) * (height - rows + 1)).astype(int)
    left = (rng.random(count) * (width - columns + 1)).astype(int)
    for i in chosen:
        patch = images[i, top[i] : top[i] + rows[i], left[i] : left[i] + columns[i]]
        patch[:] = rng.integers(0, 256, patch.shape, np.uint8)
