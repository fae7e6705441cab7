"""Image corruptions for robustness tests: blur, noise, exposure, resolution, JPEG and occlusion, in five severities.

After Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
2019, with severities for small images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.inference.contract import Images

CORRUPTION_STRENGTHS: dict[str, tuple[float, float, float, float, float]] = {
    "blur": (0.5, 0.8, 1.2, 1.7, 2.4),
    "noise": (8, 14, 22, 32, 45),
    "dark": (0.7, 0.5, 0.35, 0.22, 0.12),
    "bright": (0.7, 0.5, 0.35, 0.22, 0.12),
    "low resolution": (0.67, 0.5, 0.38, 0.29, 0.21),
    "JPEG": (40, 25, 15, 9, 5),
    "occlusion": (0.2, 0.3, 0.4, 0.5, 0.6),
}
"""Gaussian blur's sigma in pixels; noise's standard deviation in gray levels; factor of the distance to black and to
white; factor of the width; JPEG quality; the gray square's side as a fraction of the width."""


def sample_indices(images: int, count: int, seed: int) -> NDArray[np.int64]:
    """Return the sorted indices of at most `count` of the images, drawn at random, that are corrupted."""
    return np.sort(np.random.default_rng(seed).permutation(images)[:count])


def corrupt(images: Images, kind: str, strength: int, *, seed: int) -> Images:
    """Return a corrupted copy of `uint8 (N, H, W, C)`; `strength` is 1 to 5. Deterministic by `seed`."""
    value = CORRUPTION_STRENGTHS[kind][strength - 1]
    random = np.random.default_rng((seed, strength))
    if kind == "noise":
        return _to_uint8(images + random.normal(scale=value, size=images.shape))
    if kind == "dark":
        return _to_uint8(images * value)
    if kind == "bright":
        return _to_uint8(255 - (255 - images.astype(np.float64)) * value)
    if kind == "occlusion":
        return _occlude(images, value, random)
    return np.stack([_filter_image(image, kind, value).reshape(image.shape) for image in images])


def _filter_image(image: Images, kind: str, value: float) -> Images:
    import cv2

    if kind == "blur":
        return cv2.GaussianBlur(image, (0, 0), value)  # type: ignore[return-value]
    if kind == "JPEG":
        bgr = np.ascontiguousarray(image[:, :, ::-1])  # OpenCV's order; luma and chroma are compressed differently
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(value)])[1]
        decoded: Any = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if image.shape[2] == 1 else cv2.IMREAD_COLOR)
        return decoded.reshape(image.shape)[:, :, ::-1]  # type: ignore[no-any-return]
    small = cv2.resize(image, None, fx=value, fy=value, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _occlude(images: Images, fraction: float, random: np.random.Generator) -> Images:
    copies, (height, width) = images.copy(), images.shape[1:3]
    rows, columns = round(height * fraction), round(width * fraction)
    first_rows = random.integers(0, height - rows + 1, len(images))
    first_columns = random.integers(0, width - columns + 1, len(images))
    for copy, row, column in zip(copies, first_rows, first_columns, strict=True):
        copy[row : row + rows, column : column + columns] = 128
    return copies


def _to_uint8(values: NDArray[np.floating]) -> Images:
    pixels: Images = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels
