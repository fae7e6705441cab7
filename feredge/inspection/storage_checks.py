"""How a file stores its kernels, held against what its card says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from feredge.errors import VerificationError
from feredge.inference.artifact import Card
from feredge.inspection import variant_checks, weights


def measure_kernels(path: Path, card: Card, name: str) -> dict[str, Any]:
    """Hold the stored kernels of file `name` against its precision and variant. Needs no TensorFlow.

    Raises:
        VerificationError: kernels that are not stored as the precision says, or not as sparse as the variant says.
    """
    inside = weights.read(path)
    check_storage(inside, card, name)
    if card.precision == "int8":
        if path.suffix != ".ort" and not card.float_layers and inside.pixels != (np.float32(1 / 255), 0):
            raise VerificationError(f"{name}: expected raw pixels of scale 1/255 and zero 0, found {inside.pixels}")
        if inside.floats and not card.float_layers:
            raise VerificationError(f"{name}: expected integers only, found float {', '.join(inside.floats[:3])}")
    empty = [kernel for kernel, values in inside.kernels.items() if not values.any()]
    if empty:
        raise VerificationError(f"{name}: expected weights, found nothing but zeros in {empty[0]}")
    variant_checks.check(inside, card.variant, name)
    return {"sparsity": inside.sparsity}


def check_storage(inside: weights.Contents, card: Card, name: str) -> None:
    """Raise VerificationError unless the kernels in file `name` are stored as its card says."""
    expected = {"dynamic-int8": "int8", "int16x8": "int8"}.get(card.precision, card.precision)
    for kernel, values in inside.kernels.items():
        small = card.precision == "dynamic-int8" and values.size < weights.SMALL_KERNEL
        kept = values.dtype == np.float32 and any(layer in kernel for layer in card.float_layers)
        if values.dtype != expected and not small and not kept:
            raise VerificationError(f"{name}: expected {expected} weights, found {values.dtype} in {kernel}")
    if not inside.kernels:
        raise VerificationError(f"{name}: expected convolutions and dense layers, found none")
