"""Verification of an exported file: its outputs on real images are compared with the float network's.

A difference above the precision's tolerance is an error, never a warning.
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
from feredge.recipes.variant import MIRROR_VARIANT

VERIFICATION_BATCH = 64
SINGLE_IMAGES = 5  # also run in a batch of one
COLLAPSE_SHARE = 0.95  # of predictions in one class, above that of any usable network
PROBABILITY_STEP = 1 / 256  # scale of an int8 softmax output, fixed by TFLite


@dataclass(frozen=True)
class Tolerance:
    """Bounds on the difference from the float network.

    Attributes:
        max_difference: of one probability.
        mean_difference: of all probabilities, for TOLERANCE_CLASSES classes.
        agreement: least share of images with the same predicted class.
    """

    max_difference: float
    mean_difference: float
    agreement: float


# Measured values are of `nano`, all variants, 1,024 images. The bounds are several times wider: rounding accumulates
# in deeper networks, and one image near a decision border has a large difference. They detect broken files.
PRECISION_TOLERANCES = {
    "float32": Tolerance(1e-3, 1e-4, 0.99),  # sums in another order: 1e-6 measured
    "float16": Tolerance(0.05, 0.005, 0.98),  # kernels of 11 bits: 0.005 and 3e-4 measured
    "dynamic-int8": Tolerance(0.25, 0.02, 0.95),  # kernels of 8 bits: 0.06, 0.002 and 0.99 measured
    "int8": Tolerance(0.6, 0.03, 0.90),  # activations of 8 bits as well: 0.23, 0.006 and 0.97 measured
    "int16x8": Tolerance(0.25, 0.02, 0.90),  # kernels of 8 bits, activations of 16: 8 of 128 images differ on `small`
}
TOLERANCE_CLASSES = 7
IMAGE_LIMITS = {"int16x8": 128}
"""Most images for precisions that have slow reference kernels only."""
STEEP_DIFFERENCE = 0.5
"""Bound on one probability where no image changes its class.

In a network with large logits, rounded kernels move the probability of an image at the border far, even in float16.
"""
MIN_CALIBRATION_AGREEMENT = 0.9  # between two calibrations, as between int8 and float32


def verify(path: Path, card: Card, images: Images, reference: Probabilities, *, name: str) -> dict[str, Any]:
    """Run a file on `images`, check its outputs and contents, and return the metrics.

    Args:
        path: the file, which may still have a temporary name.
        card: the metadata that the file must hold.
        images: validation images, `uint8 (N, H, W, C)`.
        reference: probabilities of the variant's float network for them, `float32 (N, classes)`.
        name: the file's final name, for messages.

    Raises:
        VerificationError: another card; an output of another shape, not finite, or not probabilities; an output
            that depends on the batch; of a mirror variant, one that depends on the mirroring; a TFLite file without a
            fixed batch of one; all images in one class; a difference above the precision's tolerance; kernels of
            another type than the precision's, or less sparse than the variant's.
    """
    count = IMAGE_LIMITS.get(card.precision, len(images))
    images, reference = images[:count], reference[:count]
    runner = open_artifact(path)
    if runner.card != card:
        raise VerificationError(f"{name}: expected the card that was written, found another inside the file")
    if path.suffix == ".tflite":
        check_fixed_batch(path.read_bytes(), name)
    metrics = _check_outputs(runner, card, images, reference, name)
    metrics |= measure_kernels(path, card, name)
    return metrics


def _check_outputs(runner: Runner, card: Card, images: Images, reference: Probabilities, name: str) -> dict[str, Any]:
    starts = range(0, len(images), VERIFICATION_BATCH)
    outputs = np.concatenate([runner.predict(images[start : start + VERIFICATION_BATCH]) for start in starts])
    _check_probabilities(outputs, reference.shape, name)
    single = np.concatenate([runner.predict(image[None]) for image in images[:SINGLE_IMAGES]])
    batch_difference = float(np.abs(single - outputs[: len(single)]).max())
    expected = "the same probabilities for an image alone and in a batch, within {}"
    _check_bound(batch_difference, PROBABILITY_STEP, name, expected)
    if card.variant == MIRROR_VARIANT:
        mirrored = runner.predict(np.ascontiguousarray(images[:SINGLE_IMAGES, :, ::-1]))
        mirror_difference = float(np.abs(mirrored - single).max())
        _check_bound(mirror_difference, PROBABILITY_STEP, name, "the same probabilities for a mirror image, within {}")
    shares, float_shares = _class_shares(outputs), _class_shares(reference)
    if shares.max() >= COLLAPSE_SHARE > float_shares.max():
        raise VerificationError(
            f"{name}: expected classes as the float network predicts them, "
            f"found {shares.max():.0%} of {len(images)} images called {card.classes[int(shares.argmax())]}"
        )
    difference = np.abs(outputs - reference)
    largest, mean = float(difference.max()), float(difference.mean())
    agreement = float((outputs.argmax(axis=1) == reference.argmax(axis=1)).mean())
    tolerance = PRECISION_TOLERANCES[card.precision]
    is_steep = agreement == 1.0 and card.precision != "float32"
    max_difference = max(tolerance.max_difference, STEEP_DIFFERENCE * is_steep)
    _check_bound(largest, max_difference, name, "probabilities within {} of the float network's")
    # With fewer classes, the same shift of probability is a larger mean difference.
    bound = tolerance.mean_difference * TOLERANCE_CLASSES / len(card.classes)
    _check_bound(mean, bound, name, "probabilities on average within {} of the float network's")
    # One image may always differ, or it would decide where there are few.
    allowed = max(1.0 - tolerance.agreement, 1.0 / len(images))
    _check_bound(1.0 - agreement, allowed, name, "another class than the float network's on at most {} of the images")
    return {
        "images": len(images),
        "largest": largest,
        "mean": mean,
        "agreement": agreement,
        "kl": _kl_divergence(reference, outputs),
        "confidence_drift": float(outputs.max(axis=1).mean() - reference.max(axis=1).mean()),
        "ties": _count_ties(outputs),
        "alone": batch_difference,
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
    sum_error = float(np.abs(outputs.sum(axis=1) - 1).max())
    # each class may be rounded by a step
    _check_bound(sum_error, PROBABILITY_STEP * shape[1], name, "probabilities that sum to 1 within {}")


def check_calibration(first: Probabilities, second: Probabilities) -> dict[str, float]:
    """Compare the outputs of two int8 models of one network that were calibrated on disjoint images.

    Raises:
        VerificationError: too many predicted classes differ: the calibration set is too small.
    """
    agreement = float((first.argmax(axis=1) == second.argmax(axis=1)).mean())
    bound, expected = 1.0 - MIN_CALIBRATION_AGREEMENT, "two calibrations that differ on at most {} of the images"
    _check_bound(1.0 - agreement, bound, "int8", expected)
    return {"calibration_agreement": agreement}


def _kl_divergence(reference: Probabilities, outputs: Probabilities) -> float:
    """Return the mean Kullback-Leibler divergence of `outputs` from `reference`, in nats, without zeros."""
    p, q = (np.maximum(rows.astype(np.float64), PROBABILITY_STEP / 2) for rows in (reference, outputs))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    return float((p * np.log(p / q)).sum(axis=1).mean())


def _class_shares(outputs: Probabilities) -> NDArray[np.float64]:
    return np.bincount(outputs.argmax(axis=1), minlength=outputs.shape[1]) / len(outputs)


def _count_ties(outputs: Probabilities) -> int:
    """Count the images whose two best classes have exactly the same probability."""
    best = np.sort(outputs, axis=1)[:, -2:]
    return int((best[:, 0] == best[:, 1]).sum())


def _check_bound(value: float, bound: float, name: str, expected: str) -> None:
    if not value <= bound:  # unlike `value > bound`, this refuses NaN
        raise VerificationError(f"{name}: expected {expected.format(f'{bound:.3g}')}, found {value:.3g}")
