"""Data augmentation: one affine resampling, one brightness curve and at most one erased patch per image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images
from feredge.recipes.schema import Augmentation

ERASED_AREA = (0.02, 0.2)  # share of the image; area and aspect ratio after Zhong et al., "Random erasing", 2017
ERASED_ASPECT = (0.3, 3.3)
MIDDLE_GRAY = 127.5


def augment(images: Images, augmentation: Augmentation, rng: np.random.Generator, size: int = 0) -> Images:
    """Return augmented copies of `images`, `uint8 (N, H, W, C)`, cropped to squares where `augmentation.crop_size` is.

    Every random number is drawn for the whole batch before any pixel is changed, also for transforms that are
    switched off, so that switching one off leaves the others as they were.

    Args:
        images: the originals.
        augmentation: which transforms, and how strong.
        rng: the same state gives the same copies.
        size: height and width that the copies are resized to; 0 for no resizing.
    """
    import cv2

    maps = _inverse_maps(images.shape[:3], augmentation, rng)
    curves = _brightness_curves(len(images), augmentation, rng)
    width, height = (
        (augmentation.crop_size, augmentation.crop_size)
        if augmentation.crop_size
        else (images.shape[2], images.shape[1])
    )
    if size:
        maps, width, height = _resized(maps, (width, height), size), size, size
    augmented = np.empty((len(images), height, width, images.shape[3]), np.uint8)
    interpolation = cv2.INTER_CUBIC if augmentation.interpolation == "cubic" else cv2.INTER_LINEAR
    flags = interpolation | cv2.WARP_INVERSE_MAP
    for image, matrix, curve, out in zip(images, maps, curves, augmented, strict=True):
        warped = cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        cv2.LUT(warped, curve, dst=out)
    _erase(augmented, augmentation, rng)
    return augmented


def mix(
    images: Images, targets: NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[Images, NDArray[np.float32]]:
    """Return the mixup of a batch: each image and its target are blended with another pair.

    After Zhang et al., "mixup: Beyond empirical risk minimization", 2018.

    Args:
        images: `uint8 (N, H, W, C)`.
        targets: `float32 (N, ...)`.
        alpha: both parameters of the beta distribution that the shares are drawn from, above 0.
        rng: draws the shares and the pairs.
    """
    shares = rng.beta(alpha, alpha, len(images)).astype(np.float32)
    partners = rng.permutation(len(images))

    def blend(values: NDArray[np.float32]) -> NDArray[np.float32]:
        share = shares.reshape(-1, *[1] * (values.ndim - 1))
        return share * values + (1 - share) * values[partners]

    return np.rint(blend(images.astype(np.float32))).astype(np.uint8), blend(targets)


def _inverse_maps(
    shape: tuple[int, int, int], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return `(N, 2, 3)` affine matrices from an augmented image's `(x, y, 1)` to coordinates in the original."""
    count, height, width = shape
    angle = np.deg2rad(rng.uniform(-augmentation.rotate, augmentation.rotate, count))
    scale = rng.uniform(1 - augmentation.scale, 1 + augmentation.scale, count)
    shift = rng.uniform(-augmentation.shift, augmentation.shift, (count, 2)) * width
    mirror = np.where(rng.random(count) < 0.5 * augmentation.flip, -1.0, 1.0)
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    maps = np.empty((count, 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = mirror * cosine, -sine
    maps[:, 1, 0], maps[:, 1, 1] = mirror * sine, cosine
    if augmentation.zoom or augmentation.shear:
        # A separate random stream, so that these two do not change the other draws.
        maps[:, :, :2] @= _shear_and_stretch(count, augmentation, rng.spawn(1)[0])
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    maps[:, :, 2] = center - maps[:, :, :2] @ center + shift
    if augmentation.crop_size:  # a separate stream too
        corners = rng.spawn(1)[0].integers(
            0, (width - augmentation.crop_size + 1, height - augmentation.crop_size + 1), (count, 2)
        )
        maps[:, :, 2] += np.einsum("nij,nj->ni", maps[:, :, :2], corners)
    return maps


def _resized(maps: NDArray[np.float64], source: tuple[int, int], size: int) -> NDArray[np.float64]:
    """Return `maps` whose output, `source` pixels `(width, height)`, is resized to a square; pixel centers align."""
    ratio = np.array(source) / size
    resize = np.array([[ratio[0], 0, (ratio[0] - 1) / 2], [0, ratio[1], (ratio[1] - 1) / 2], [0, 0, 1]])
    resized: NDArray[np.float64] = maps @ resize
    return resized


def _shear_and_stretch(count: int, augmentation: Augmentation, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `(N, 2, 2)` matrices that shear verticals and scale width and height independently."""
    shear = np.tan(np.deg2rad(rng.uniform(-augmentation.shear, augmentation.shear, count)))
    scale = rng.uniform(1 - augmentation.zoom, 1 + augmentation.zoom, (count, 2))
    matrices = np.zeros((count, 2, 2))
    matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 1] = scale[:, 0], shear * scale[:, 1], scale[:, 1]
    return matrices


def _brightness_curves(count: int, augmentation: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return `uint8 (N, 256)` lookup tables of pixel values: a random gain about middle gray, and an offset."""
    gain = rng.uniform(1 - augmentation.brightness, 1 + augmentation.brightness, (count, 1))
    offset = rng.uniform(-augmentation.brightness, augmentation.brightness, (count, 1)) * 255
    curves = (np.arange(256) - MIDDLE_GRAY) * gain + MIDDLE_GRAY + offset
    return np.clip(np.rint(curves), 0, 255).astype(np.uint8)


def _erase(images: Images, augmentation: Augmentation, rng: np.random.Generator) -> None:
    """Random erasing: replace a rectangle by noise in a random part of `images`, in place."""
    count, height, width, _ = images.shape
    chosen = np.flatnonzero(rng.random(count) < augmentation.erase)
    area = rng.uniform(*ERASED_AREA, count) * height * width
    aspect = np.exp(rng.uniform(np.log(ERASED_ASPECT[0]), np.log(ERASED_ASPECT[1]), count))
    heights = np.clip(np.rint(np.sqrt(area * aspect)), 1, height).astype(int)
    widths = np.clip(np.rint(np.sqrt(area / aspect)), 1, width).astype(int)
    y = (rng.random(count) * (height - heights + 1)).astype(int)
    x = (rng.random(count) * (width - widths + 1)).astype(int)
    for i in chosen:
        patch = images[i, y[i] : y[i] + heights[i], x[i] : x[i] + widths[i]]
        patch[:] = rng.integers(0, 256, patch.shape, np.uint8)
