"""Checks of a file's weights against its variant's name: sparsity, distinct values, and number of weights."""

from __future__ import annotations

import numpy as np

from feredge.errors import VerificationError
from feredge.inspection.weights import StoredTensors
from feredge.recipes.variant import parse

SHARE_TOLERANCE = 1e-9  # floating-point error of a quotient of two integers


def check(stored: StoredTensors, variant_name: str, name: str) -> None:
    """Check the kernels of file `name` against what its variant's name claims.

    Raises:
        VerificationError: fewer zeros, or more distinct values.
    """
    variant = parse(variant_name)
    if variant.kind == "pruned":
        # A kernel of one value a channel is a normalization that became a convolution.
        weights = [values for values in stored.kernels.values() if values.size > max(values.shape)]
        sparsity = sum(np.count_nonzero(values == 0) for values in weights) / sum(values.size for values in weights)
        if sparsity < variant.amount / 100 - SHARE_TOLERANCE:
            raise VerificationError(f"{name}: expected {variant.amount}% of the weights zero, found {sparsity:.1%}")
    if variant.kind == "clustered":
        for kernel, values in stored.kernels.items():
            # As float32: numpy 2.4 does not sort large arrays of float16 right on CPUs with AVX-512.
            distinct = len(np.unique(values.astype(np.float32)))
            if distinct > variant.amount:
                raise VerificationError(
                    f"{name}: expected at most {variant.amount} different weights in a kernel, "
                    f"found {distinct} in {kernel}"
                )


def check_size(stored: StoredTensors, expected: int, name: str) -> None:
    """Check the number of weights in file `name`: removed channels must not be stored.

    Raises:
        VerificationError: another number.
    """
    size = sum(values.size for values in stored.kernels.values())
    if size != expected:
        raise VerificationError(f"{name}: expected {expected} weights, found {size}")
