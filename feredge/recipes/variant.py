"""Variants by name: what is done to trained weights, and how much of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from feredge.errors import RecipeError

KNOWN = (
    "dense, pruned-1 to pruned-99, clustered-2 to clustered-256, channels-1 to channels-95, "
    "qat, pruned-N-qat or channels-N-qat"
)
LIMITS = {"pruned": (1, 99), "clustered": (2, 256), "channels": (1, 95)}
NO_QAT = ("clustered",)  # the rounding of int8 would pull a cluster's weights apart again


@dataclass(frozen=True)
class Variant:
    """What a variant's name says.

    Attributes:
        kind: `dense`, `pruned`, `clustered` or `channels`.
        amount: percent of the weights that are zero; values that a kernel may hold; percent of the multiply-adds
            that are gone with the channels removed. 0 for `dense`.
        quantized: trained with the rounding of int8 as its last step, so that it brings int8's ranges.
    """

    kind: str
    amount: int = 0
    quantized: bool = False

    @property
    def base(self) -> str:
        """Name of the variant that quantization-aware training starts from."""
        return f"{self.kind}-{self.amount}" if self.amount else self.kind


def parse(name: str) -> Variant:
    """Return what `name` says.

    Raises:
        RecipeError: no such variant.
    """
    if name in ("dense", "qat"):
        return Variant("dense", quantized=name == "qat")
    match = re.fullmatch(r"([a-z]+)-([1-9]\d{0,2})(-qat)?", name)
    if match:
        kind, amount, quantized = match[1], int(match[2]), bool(match[3])
        least, most = LIMITS.get(kind, (0, -1))
        if least <= amount <= most and not (quantized and kind in NO_QAT):
            return Variant(kind, amount, quantized)
    raise RecipeError(f"expected a variant {KNOWN}, found {name!r}")
