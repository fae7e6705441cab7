"""The range of pixel values that an imported network takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from feredge.errors import RecipeError

PixelRange = tuple[float, float] | tuple[Sequence[float], Sequence[float]] | Literal["imagenet"]
"""Input values of black and white pixels; or mean and standard deviation, for each channel, of pixels in 0..1."""
PixelValue = float | tuple[float, ...]
"""An input value: of all channels, or of each."""
IMAGENET_NORMALIZATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def black_and_white(values: PixelRange) -> tuple[PixelValue, PixelValue]:
    """Return the input values of black and white, of all channels or of each.

    Raises:
        RecipeError: white that is not above black, or deviations that are not positive.
    """
    if values == "imagenet":
        values = IMAGENET_NORMALIZATION
    first, second = values
    if isinstance(first, int | float) or isinstance(second, int | float):
        low, high = float(first), float(second)  # type: ignore[arg-type]  # both are numbers
        if not low < high:
            raise RecipeError(f"--input-range: expected LOW..HIGH with LOW under HIGH, found {low:g}..{high:g}")
        return low, high
    mean, deviation = tuple(map(float, first)), tuple(map(float, second))
    if len(mean) != len(deviation) or len(mean) not in (1, 3) or not min(deviation) > 0:
        raise RecipeError(
            f"--input-range: expected MEAN/DEVIATION of one channel or three, found {len(mean)} and {len(deviation)} "
            f"values, the least deviation {min(deviation, default=0):g}"
        )
    lows = tuple(-center / std for center, std in zip(mean, deviation, strict=True))
    highs = tuple((1 - center) / std for center, std in zip(mean, deviation, strict=True))
    return (lows[0], highs[0]) if len(lows) == 1 else (lows, highs)
