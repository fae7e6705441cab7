"""What a variant's name promises of the weights in a file, looked up in the file."""

from __future__ import annotations

import numpy as np

from feredge.errors import VerificationError
from feredge.inspection.weights import Contents
from feredge.recipes.variant import parse

ROUNDING = 1e-9  # of a quotient of two whole numbers


def check(inside: Contents, variant: str, name: str) -> None:
    """Compare the kernels of file `name` with what its variant's name says.

    Raises:
        VerificationError: fewer zeros, or more different values.
    """
    what = parse(variant)
    if what.kind == "pruned":
        # A kernel of one value a channel is a normalization that became a convolution.
        weights = [values for values in inside.kernels.values() if values.size > max(values.shape)]
        zeros = sum(np.count_nonzero(values == 0) for values in weights) / sum(values.size for values in weights)
        if zeros < what.amount / 100 - ROUNDING:
            raise VerificationError(f"{name}: expected {what.amount}% of the weights zero, found {zeros:.1%}")
    if what.kind == "clustered":
        for kernel, values in inside.kernels.items():
            # As float32: numpy 2.4 does not sort large arrays of float16 right on CPUs with AVX-512.
            found = len(np.unique(values.astype(np.float32)))
            if found > what.amount:
                raise VerificationError(
                    f"{name}: expected at most {what.amount} different weights in a kernel, found {found} in {kernel}"
                )


def check_size(inside: Contents, expected: int, name: str) -> None:
    """Compare the number of weights in file `name` with its network's: channels that are gone must be gone there.

    Raises:
        VerificationError: another number.
    """
    found = sum(values.size for values in inside.kernels.values())
    if found != expected:
        raise VerificationError(f"{name}: expected {expected} weights, found {found}")
