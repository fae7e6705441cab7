"""Comparison of an imported network with the file's own framework, on real images, before anything is exported.

The file's network runs in a child process with limits, after its audit; the child can write to an empty folder only
(where the system has Landlock). A SavedModel's graph is never run, so its network is compared as Keras rebuilds it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import RecipeError, VerificationError
from feredge.inference.contract import Images
from feredge.inspection.child import ChildProcess
from feredge.inspection.limits import TENSORFLOW_LIMITS

PixelValue = float | tuple[float, ...]
"""An input value: of all channels, or of each."""
IMAGES_FILE = "images.npy"
COMPARISON_BATCH = 16
TOLERANCES = {
    "float32": 1e-3,  # sums in another order; the scaling is folded into float32 weights
    "float16": 0.05,  # the file computes in 11 bits, the imported network in 24
    "bfloat16": 0.2,  # in 8 bits
}
"""Bounds on the difference of an output, relative to the largest output where that is over 1."""


@dataclass(frozen=True)
class OriginalOutputs:
    """What a file's own framework computes.

    Attributes:
        rows: outputs, `float32 (N, outputs)`.
        precision: in which it computes: a key of TOLERANCES.
    """

    rows: NDArray[np.float32]
    precision: str


def run_original(path: Path, images: Images, *, low: PixelValue, high: PixelValue, output: str) -> OriginalOutputs:
    """Return the outputs of a Keras file's network in its own framework, in a child process.

    Args:
        path: the Keras file, or the folder of a SavedModel.
        images: `uint8 (N, H, W, C)`, gray or RGB.
        low: input value of a black pixel, of all channels or of each.
        high: likewise of a white pixel.
        output: name of the output; the first by default.

    Raises:
        ArtifactError: see `open_network`; or it crashes, or meets a limit.
    """
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, IMAGES_FILE), images)
        with ChildProcess(TENSORFLOW_LIMITS, writable=Path(folder)) as child:
            result = child.call(_run, path, path=path.absolute(), folder=folder, low=low, high=high, output=output)
    return OriginalOutputs(np.asarray(result["rows"], np.float32), result["precision"])


def _run(path: str, folder: str, low: PixelValue, high: PixelValue, output: str) -> dict[str, Any]:
    """Open a file and run its network on the images of `folder`; in a child process."""
    from feredge.importing.keras_file import open_network
    from feredge.importing.layers import output_names

    network = open_network(Path(path))
    images = np.load(Path(folder, IMAGES_FILE))
    index = output_names(network).index(output) if output else 0
    rows = []
    for start in range(0, len(images), COMPARISON_BATCH):
        pixels = _to_input(images[start : start + COMPARISON_BATCH], network.input_shape, low, high)
        outputs = network(pixels, training=False)
        outputs = list(outputs.values()) if isinstance(outputs, dict) else outputs
        chosen = outputs[index] if isinstance(outputs, list | tuple) else outputs
        rows.append(np.asarray(chosen, np.float32))
    precisions = {layer.compute_dtype for layer in network.layers} - {"float32"}
    precision = next((name for name in TOLERANCES if name in precisions), "float32")
    return {"rows": np.concatenate(rows).tolist(), "precision": precision}


def _to_input(images: Images, shape: tuple[int | None, ...], low: PixelValue, high: PixelValue) -> NDArray[np.float32]:
    """Return images as the network takes them: scaled, and with its channels, or flat."""
    if len(shape) == 4:
        return scale_pixels(images, shape[-1] or 1, low, high)
    pixels = scale_pixels(images, 1, low, high)
    return pixels.reshape(len(pixels), -1) if len(shape) == 2 else pixels[..., 0]


def scale_pixels(images: Images, channels: int, low: PixelValue, high: PixelValue) -> NDArray[np.float32]:
    """Return images as `float32 (N, H, W, channels)` from `low` to `high`; gray ones are repeated in each channel.

    Raises:
        RecipeError: RGB images for one channel, or `low` and `high` of another number of channels.
    """
    if np.size(low) not in (1, channels):
        raise RecipeError(f"--input-range: expected values of {channels} channel(s), found those of {np.size(low)}")
    if images.shape[-1] not in (1, channels):
        raise RecipeError(f"expected gray pictures for a network of one channel, found {images.shape[-1]} channels")
    black = np.asarray(low, np.float32)
    scale = ((np.asarray(high, np.float64) - low) / 255).astype(np.float32)
    scaled: NDArray[np.float32] = np.broadcast_to(images, (*images.shape[:-1], channels)) * scale + black
    return scaled


def compare(rows: NDArray[np.float32], original: OriginalOutputs, name: str) -> dict[str, Any]:
    """Compare the outputs of an imported network with the file's own.

    Args:
        rows: outputs of the imported network for the images of `original`.
        original: see `run_original`.
        name: of the file, for messages.

    Returns:
        Number of images, the largest difference, and the precision that the file computes in.

    Raises:
        VerificationError: another function.
    """
    if rows.shape != original.rows.shape:
        raise VerificationError(f"{name}: expected outputs {original.rows.shape}, found {rows.shape} after the import")
    scale = max(1.0, float(np.abs(original.rows).max()))
    difference = float(np.abs(rows - original.rows).max()) / scale
    tolerance = TOLERANCES[original.precision]
    if not difference <= tolerance:  # unlike `>`, this refuses NaN
        raise VerificationError(
            f"{name}: expected the outputs of its own framework within {tolerance:g}, found a difference of "
            f"{difference:.3g} after the import: a layer has no equivalent here"
        )
    return {"images": len(rows), "largest": difference, "precision": original.precision}
