"""Checks of how a file stores its kernels, against its card: dtype, input quantization, and the variant's claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from feredge.errors import VerificationError
from feredge.inference.artifact import Card
from feredge.inspection import variant_checks, weights


def measure_kernels(path: Path, card: Card, name: str) -> dict[str, Any]:
    """Check the stored kernels of file `name` against its card; return their `sparsity`. Needs no TensorFlow.

    Raises:
        VerificationError: kernels that are not stored as the precision says, or not as sparse as the variant says.
    """
    stored = weights.read(path)
    check_storage(stored, card, name)
    if card.precision == "int8":
        if path.suffix != ".ort" and not card.float_layers and stored.input_quantization != (np.float32(1 / 255), 0):
            raise VerificationError(
                f"{name}: expected raw pixels of scale 1/255 and zero point 0, found {stored.input_quantization}"
            )
        if stored.float_tensors and not card.float_layers:
            raise VerificationError(
                f"{name}: expected integers only, found float {', '.join(stored.float_tensors[:3])}"
            )
    zero_kernels = [kernel for kernel, values in stored.kernels.items() if not values.any()]
    if zero_kernels:
        raise VerificationError(f"{name}: expected weights, found nothing but zeros in {zero_kernels[0]}")
    variant_checks.check(stored, card.variant, name)
    return {"sparsity": stored.sparsity}


def check_storage(stored: weights.StoredTensors, card: Card, name: str) -> None:
    """Raise VerificationError unless the kernels in file `name` have the dtypes of its card's precision."""
    expected = {"dynamic-int8": "int8", "int16x8": "int8"}.get(card.precision, card.precision)
    for kernel, values in stored.kernels.items():
        is_small = card.precision == "dynamic-int8" and values.size < weights.SMALL_KERNEL
        in_float_layer = values.dtype == np.float32 and any(layer in kernel for layer in card.float_layers)
        if values.dtype != expected and not is_small and not in_float_layer:
            raise VerificationError(f"{name}: expected {expected} weights, found {values.dtype} in {kernel}")
    if not stored.kernels:
        raise VerificationError(f"{name}: expected convolutions and dense layers, found none")
