"""Verification: an exported file, run in its own runtime on real images, beside the float network it came from.

A file outside its tolerance is an error, never a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feredge.errors import VerificationError
from feredge.export.tflite.fixed_batch import check_fixed_batch
from feredge.inference.artifact import Card
from feredge.inference.contract import Images
from feredge.inference.runtimes import Probabilities, Runner, open_artifact
from feredge.inspection.storage_checks import measure_kernels

BATCH = 64
ALONE = 5  # images that are also run one by one
COLLAPSED = 0.95  # share of predictions on one class that no usable seven-class network gives
STEP = 1 / 256  # of an int8 probability in TFLite: its scale is fixed by the format


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change: of one probability, of all on average, and of the classes named."""

    largest: float
    mean: float
    agreement: float


# What was seen on `nano`, all variants, 1,024 images. The bounds stand several times wider: deeper networks add up
# more rounding, and one image near a border moves `largest` a long way. What they catch is a broken file.
TOLERANCES = {
    "float32": Tolerance(1e-3, 1e-4, 0.99),  # the same sums in another order: 1e-6 seen
    "float16": Tolerance(0.05, 0.005, 0.98),  # kernels keep 11 bits: 0.005 and 3e-4 seen
    "dynamic-int8": Tolerance(0.25, 0.02, 0.95),  # kernels keep 8 bits: 0.06, 0.002 and 0.99 seen
    "int8": Tolerance(0.6, 0.03, 0.90),  # activations too: 0.23, 0.006 and 0.97 seen
    "int16x8": Tolerance(0.25, 0.02, 0.90),  # kernels in 8 bits, the rest in 16; of 128 images, 8 differed on `small`
}
SEEN_ON = 7  # classes
SLOW = {"int16x8": 128}
"""Most images where a precision has reference kernels only."""
CALIBRATIONS_AGREE = 0.9  # share of images that two calibrations of one network call alike, as int8 and float must


def verify(path: Path, card: Card, images: Images, reference: Probabilities, *, name: str) -> dict[str, Any]:
    """Run a file on `images` and return what was measured.

    Args:
        path: the file, which may still have a temporary name.
        card: what the file must say of itself.
        images: real ones, `uint8 (N, H, W, C)`.
        reference: what the float network of the same variant gives for them, `float32 (N, classes)`.
        name: the file's final name, for messages.

    Raises:
        VerificationError: another card; an output of another shape, not finite, or not probabilities; an answer
            that depends on the batch; a TFLite file without a fixed batch of one; all images in one class;
            outside the precision's tolerance; kernels that are not stored as the precision says, or not as sparse
            as the variant says.
    """
    count = SLOW.get(card.precision, len(images))
    images, reference = images[:count], reference[:count]
    runner = open_artifact(path)
    if runner.card != card:
        raise VerificationError(f"{name}: expected the card that was written, found another inside the file")
    if path.suffix == ".tflite":
        check_fixed_batch(path.read_bytes(), name)
    figures = _measure_outputs(runner, card, images, reference, name)
    figures |= measure_kernels(path, card, name)
    return figures


def _measure_outputs(runner: Runner, card: Card, images: Images, reference: Probabilities, name: str) -> dict[str, Any]:
    outputs = np.concatenate([runner.predict(images[at : at + BATCH]) for at in range(0, len(images), BATCH)])
    _check_probabilities(outputs, reference.shape, name)
    alone = np.concatenate([runner.predict(images[at : at + 1]) for at in range(min(ALONE, len(images)))])
    apart = float(np.abs(alone - outputs[: len(alone)]).max())
    _within(apart, STEP, name, "the same answer for an image alone and in a batch, within {}")
    shares, float_shares = _shares(outputs), _shares(reference)
    if shares.max() >= COLLAPSED > float_shares.max():
        raise VerificationError(
            f"{name}: expected classes as the float network names them, "
            f"found {shares.max():.0%} of {len(images)} images called {card.classes[int(shares.argmax())]}"
        )
    difference = np.abs(outputs - reference)
    largest, mean = float(difference.max()), float(difference.mean())
    agreement = float((outputs.argmax(axis=1) == reference.argmax(axis=1)).mean())
    tolerance = TOLERANCES[card.precision]
    _within(largest, tolerance.largest, name, "probabilities within {} of the float network's")
    # As much probability in other classes is more a class where there are fewer.
    bound = tolerance.mean * SEEN_ON / len(card.classes)
    _within(mean, bound, name, "probabilities on average within {} of the float network's")
    # On a handful of images one image would decide; a file may always differ on one.
    allowed = max(1.0 - tolerance.agreement, 1.0 / len(images))
    _within(1.0 - agreement, allowed, name, "another class than the float network's on at most {} of the images")
    return {
        "images": len(images),
        "largest": largest,
        "mean": mean,
        "agreement": agreement,
        "kl": _divergence(reference, outputs),
        "confidence_drift": float(outputs.max(axis=1).mean() - reference.max(axis=1).mean()),
        "ties": _ties(outputs),
        "alone": apart,
        "shares": dict(zip(card.classes, shares.tolist(), strict=True)),
        "float_shares": dict(zip(card.classes, float_shares.tolist(), strict=True)),
    }


def _check_probabilities(outputs: Probabilities, shape: tuple[int, ...], name: str) -> None:
    if outputs.shape != shape or outputs.dtype != np.float32:
        raise VerificationError(f"{name}: expected float32 {shape}, found {outputs.dtype} {outputs.shape}")
    if not np.isfinite(outputs).all():
        raise VerificationError(
            f"{name}: expected finite probabilities, found {np.unique(outputs[~np.isfinite(outputs)])}"
        )
    off = float(np.abs(outputs.sum(axis=1) - 1).max())
    _within(off, STEP * shape[1], name, "probabilities that sum to 1 within {}")  # each may be rounded by a step


def check_calibration(one: Probabilities, other: Probabilities) -> dict[str, float]:
    """Compare what two files say that were calibrated on different images.

    Raises:
        VerificationError: they call too many images differently, so that the file is an accident of its images.
    """
    agreement = float((one.argmax(axis=1) == other.argmax(axis=1)).mean())
    _within(
        1.0 - agreement, 1.0 - CALIBRATIONS_AGREE, "int8", "two calibrations that differ on at most {} of the images"
    )
    return {"calibration_agreement": agreement}


def _divergence(reference: Probabilities, outputs: Probabilities) -> float:
    """Return the mean Kullback-Leibler divergence of `outputs` from `reference`, in nats; no answer counts as 0."""
    p, q = (np.maximum(rows.astype(np.float64), STEP / 2) for rows in (reference, outputs))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    return float((p * np.log(p / q)).sum(axis=1).mean())


def _shares(outputs: Probabilities) -> NDArray[np.float64]:
    return np.bincount(outputs.argmax(axis=1), minlength=outputs.shape[1]) / len(outputs)


def _ties(outputs: Probabilities) -> int:
    """Count the images whose two best classes have exactly the same probability."""
    best = np.sort(outputs, axis=1)[:, -2:]
    return int((best[:, 0] == best[:, 1]).sum())


def _within(found: float, bound: float, name: str, expected: str) -> None:
    if not found <= bound:  # not `>`, which would let NaN through
        raise VerificationError(f"{name}: expected {expected.format(f'{bound:.3g}')}, found {found:.3g}")
