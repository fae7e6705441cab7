"""Names of compression variants: the method and its amount, such as `pruned-80`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from feredge.errors import RecipeError
from feredge.inference.artifact import MIRROR_VARIANT as MIRROR_VARIANT

VIEWS = 2
"""Of an image, in the mirror variant."""
VARIANT_NAMES = (
    f"dense, {MIRROR_VARIANT}, pruned-1 to pruned-99, clustered-2 to clustered-256, channels-1 to channels-95, "
    "qat, pruned-N-qat or channels-N-qat"
)
AMOUNT_RANGES = {"pruned": (1, 99), "clustered": (2, 256), "channels": (1, 95)}
NO_QAT = ("clustered",)  # per-channel rounding to int8 would give a cluster's weights different values again


@dataclass(frozen=True)
class Variant:
    """A parsed variant name.

    Attributes:
        kind: `dense`, `pruned`, `clustered` or `channels`.
        amount: `pruned`: percent of zero weights; `clustered`: distinct values per kernel at most; `channels`: percent
            of the multiply-adds removed. 0 for `dense`.
        quantized: ends with quantization-aware training, which yields the int8 ranges.
    """

    kind: str
    amount: int = 0
    quantized: bool = False

    @property
    def base(self) -> str:
        """Name of the variant that quantization-aware training starts from; the variant's own without QAT."""
        return f"{self.kind}-{self.amount}" if self.amount else self.kind


def parse(name: str) -> Variant:
    """Parse a variant name. The weights of MIRROR_VARIANT are those of `dense`, and so is what is returned.

    Raises:
        RecipeError: no such variant.
    """
    if name in ("dense", "qat", MIRROR_VARIANT):
        return Variant("dense", quantized=name == "qat")
    match = re.fullmatch(r"([a-z]+)-([1-9]\d{0,2})(-qat)?", name)
    if match:
        kind, amount, quantized = match[1], int(match[2]), bool(match[3])
        minimum, maximum = AMOUNT_RANGES.get(kind, (0, -1))
        if minimum <= amount <= maximum and not (quantized and kind in NO_QAT):
            return Variant(kind, amount, quantized)
    raise RecipeError(f"expected a variant {VARIANT_NAMES}, found {name!r}")
