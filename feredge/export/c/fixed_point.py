"""TensorFlow Lite's integer arithmetic on Python integers: quantized multipliers, and gemmlowp's exponential.

Sources: tensorflow/lite/kernels/internal/common.h and quantization_util.cc, and gemmlowp's fixedpoint/fixedpoint.h
(https://github.com/google/gemmlowp). A raw value `v` with `i` integer bits stands for `v / 2 ** (31 - i)`.
"""

from __future__ import annotations

import math

INT32_MAX = (1 << 31) - 1


def quantize_multiplier(value: float) -> tuple[int, int]:
    """Return `multiplier`, in [2**30, 2**31), and `shift` with `value` near `multiplier * 2 ** (shift - 31)`."""
    if value == 0:
        return 0, 0
    fraction, shift = math.frexp(value)
    multiplier = _round(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier, shift = multiplier // 2, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def _round(value: float) -> int:
    """Round to the nearest integer, halves away from zero, as C's `round`."""
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def multiply_high(a: int, b: int) -> int:
    """Return the high half of `2 * a * b`, rounded: `SaturatingRoundingDoublingHighMul`."""
    product = a * b + ((1 << 30) if a * b >= 0 else 1 - (1 << 30))
    return min(abs(product) >> 31, INT32_MAX) * (1 if product >= 0 else -1)


def divide_by_power(value: int, exponent: int) -> int:
    """Return `value / 2 ** exponent`, halves rounded away from zero: `RoundingDivideByPOT`."""
    mask = (1 << exponent) - 1
    return (value >> exponent) + int((value & mask) > (mask >> 1) + (value < 0))


def multiply(value: int, multiplier: int, shift: int) -> int:
    """Return `value * multiplier * 2 ** (shift - 31)`, rounded twice: `MultiplyByQuantizedMultiplier`."""
    return divide_by_power(multiply_high(value << max(shift, 0), multiplier), max(-shift, 0))


def input_radius(integer_bits: int, shift: int) -> int:
    """Return the largest difference that stays in range when it is rescaled: `CalculateInputRadius`."""
    return ((1 << integer_bits) - 1) * (1 << (31 - integer_bits)) >> shift if shift >= 0 else INT32_MAX


def exp_on_negative_values(value: int, integer_bits: int) -> int:
    """Return the exponential, with 0 integer bits, of a raw value of at most 0 with `integer_bits`."""
    if value == 0:
        return INT32_MAX
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    remainder_of_quarter = (value & (quarter - 1)) - quarter
    result = _exp_near_zero(remainder_of_quarter << integer_bits)
    whole_quarters = remainder_of_quarter - value
    for exponent, factor in _EXP_FACTORS:
        if integer_bits > exponent and whole_quarters & (1 << (fraction_bits + exponent)):
            result = multiply_high(result, factor)
    return result


# Raw values with 0 integer bits of exp(-2 ** exponent).
_EXP_FACTORS = (
    (-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401), (4, 242),
)  # fmt: skip
_EXP_MINUS_EIGHTH, _ONE_THIRD = 1895147668, 715827883


def _exp_near_zero(value: int) -> int:
    """Return exp of a raw value in [-1/4, 0), by its Taylor expansion around -1/8."""
    x = value + (1 << 28)
    x2 = multiply_high(x, x)
    x3, x4 = multiply_high(x2, x), multiply_high(x2, x2)
    terms = divide_by_power(multiply_high(divide_by_power(x4, 2) + x3, _ONE_THIRD) + x2, 1)
    return _EXP_MINUS_EIGHTH + multiply_high(_EXP_MINUS_EIGHTH, x + terms)


def _reciprocal(value: int) -> int:
    """Return 1 / (1 + x) for a raw value in [0, 1) with 0 integer bits, by three Newton-Raphson steps."""
    half_denominator = (value + INT32_MAX + 1) // 2
    x = 1515870810 + multiply_high(half_denominator, -1010580540)  # 48/17 - 32/17 d, with 2 integer bits
    for _ in range(3):
        error = (1 << 29) - multiply_high(half_denominator, x)
        x += max(min(multiply_high(x, error) << 2, INT32_MAX), -INT32_MAX - 1)
    return min(x << 1, INT32_MAX)


def logistic(value: int, integer_bits: int) -> int:
    """Return the logistic function, with 0 integer bits, of a raw value with `integer_bits`."""
    if value == 0:
        return 1 << 30
    positive = _reciprocal(exp_on_negative_values(-abs(value), integer_bits))
    return positive if value > 0 else INT32_MAX - positive
