"""Runners for fitted baselines, from pixels to probabilities, with the interface of a network's runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import PictureError
from feredge.inference.contract import Images
from feredge.inference.runtimes import OnnxRunner, Probabilities, Runner

HOG_CELL = 8  # pixels


def open_baseline(path: Path, *, threads: int = 1) -> Runner:
    """Load a fitted baseline: `uint8 (N, H, W, C)` to `float32 (N, classes)`.

    Raises:
        ArtifactError: not a feredge file, or a damaged one.
    """
    runner = OnnxRunner(path, threads=threads)
    return HogRunner(runner) if runner.card.recipe.get("features") == "hog" else runner


class HogRunner:
    """A model with HOG features as input, computed by OpenCV, because ONNX has no operator for them."""

    def __init__(self, runner: OnnxRunner) -> None:
        self.card = runner.card
        self._runner = runner
        self._hog = _Hog(self.card.contract.height, self.card.contract.width)

    def predict(self, batch: Images) -> Probabilities:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        self.card.contract.check_batch(batch)
        return self._runner.predict(self._hog(batch))  # type: ignore[arg-type]  # precomputed features


def hog(images: Images) -> NDArray[np.float32]:
    """Return histograms of oriented gradients, `float32 (N, features)`, of `uint8 (N, H, W, C)` images.

    9 unsigned orientations, cells of 8x8 pixels, blocks of 2x2 cells normalised by L2-Hys, after Dalal and Triggs,
    "Histograms of oriented gradients for human detection", 2005, as OpenCV computes them: in RGB images each pixel's
    gradient is that of the channel where it is largest.

    Raises:
        PictureError: height or width not a multiple of 8, or under 16.
    """
    return _Hog(*images.shape[1:3])(images)


class _Hog:
    def __init__(self, height: int, width: int) -> None:
        if height % HOG_CELL or width % HOG_CELL or min(height, width) < 2 * HOG_CELL:
            raise PictureError(f"HOG: expected height and width in multiples of 8 from 16, found {height}x{width}")
        import cv2

        block, cell = (2 * HOG_CELL, 2 * HOG_CELL), (HOG_CELL, HOG_CELL)
        self._descriptor: Any = cv2.HOGDescriptor((width, height), block, cell, cell, 9)

    def __call__(self, images: Images) -> NDArray[np.float32]:
        features = np.empty((len(images), self._descriptor.getDescriptorSize()), np.float32)
        for row, image in zip(features, images, strict=True):
            row[:] = self._descriptor.compute(np.ascontiguousarray(image)).ravel()
        return features
