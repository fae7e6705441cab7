"""Corrupted copies of the test images: what a camera, a codec or a hand does to a face, in five strengths.

After Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
2019, with strengths for small gray faces. A file that keeps its accuracy on clean images may lose it here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images

STRENGTHS: dict[str, tuple[float, float, float, float, float]] = {
    "blur": (0.5, 0.8, 1.2, 1.7, 2.4),
    "noise": (8, 14, 22, 32, 45),
    "dark": (0.7, 0.5, 0.35, 0.22, 0.12),
    "bright": (0.7, 0.5, 0.35, 0.22, 0.12),
    "low resolution": (0.67, 0.5, 0.38, 0.29, 0.21),
    "JPEG": (40, 25, 15, 9, 5),
    "occlusion": (0.2, 0.3, 0.4, 0.5, 0.6),
}
"""Gaussian blur's sigma in pixels; noise's standard deviation in gray levels; what is left of the distance to black
and to white; what is left of the width; JPEG's quality; the gray square's side as a share of the width."""


def sample(images: int, count: int, seed: int) -> NDArray[np.int64]:
    """Return which `count` of so many images are corrupted, in order; all of them if there are no more."""
    picked = np.random.default_rng(seed).permutation(images)[:count]
    return np.sort(picked)


def corrupt(images: Images, kind: str, strength: int, *, seed: int) -> Images:
    """Return a corrupted copy of `uint8 (N, H, W, 1)`; `strength` is 1 to 5. The same call gives the same copy."""
    value = STRENGTHS[kind][strength - 1]
    random = np.random.default_rng((seed, strength))
    if kind == "noise":
        return _pixels(images + random.normal(scale=value, size=images.shape))
    if kind == "dark":
        return _pixels(images * value)
    if kind == "bright":
        return _pixels(255 - (255 - images.astype(np.float64)) * value)
    if kind == "occlusion":
        return _occlude(images, value, random)
    return np.stack([_redrawn(image[:, :, 0], kind, value) for image in images])[..., None]


def _redrawn(image: Images, kind: str, value: float) -> Images:
    import cv2

    if kind == "blur":
        return cv2.GaussianBlur(image, (0, 0), value)  # type: ignore[return-value]
    if kind == "JPEG":
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(value)])[1]
        return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)  # type: ignore[return-value]
    small = cv2.resize(image, None, fx=value, fy=value, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _occlude(images: Images, share: float, random: np.random.Generator) -> Images:
    copies, (height, width) = images.copy(), images.shape[1:3]
    rows, columns = round(height * share), round(width * share)
    tops = random.integers(0, height - rows + 1, len(images))
    lefts = random.integers(0, width - columns + 1, len(images))
    for copy, top, left in zip(copies, tops, lefts, strict=True):
        copy[top : top + rows, left : left + columns] = 128
    return copies


def _pixels(values: NDArray[np.floating]) -> Images:
    pixels: Images = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels
