/* TensorFlow Lite Micro's arithmetic: integers only, sums are scaled with two roundings. */
typedef struct {
    const int32_t *multiplier; /* one, or one per channel */
    const int8_t *shift;
} feredge_rescaling;

typedef struct {
    int32_t first_zero_point, second_zero_point;
    int32_t first_multiplier, first_shift, second_multiplier, second_shift, multiplier, shift;
} feredge_addition;

/* The high half of 2 * a * b, rounded; a multiplier is never -2^31, so that nothing overflows. */
FEREDGE_INLINE int32_t feredge_multiply_high(int32_t a, int32_t b)
{
    const int64_t product = (int64_t)a * b;
    return (int32_t)((product + (product >= 0 ? 1 << 30 : 1 - (1 << 30))) / ((int64_t)1 << 31));
}

/* value / 2^exponent, halves rounded away from zero. */
FEREDGE_INLINE int32_t feredge_divide_by_power(int32_t value, int exponent)
{
    const int32_t mask = (int32_t)(((int64_t)1 << exponent) - 1);
    return (value >> exponent) + ((value & mask) > (mask >> 1) + (value < 0));
}

FEREDGE_INLINE int32_t feredge_multiply_shift(int32_t value, int32_t multiplier, int shift)
{
    const int32_t shifted = shift > 0 ? value * ((int32_t)1 << shift) : value;
    return feredge_divide_by_power(feredge_multiply_high(shifted, multiplier), shift < 0 ? -shift : 0);
}

FEREDGE_INLINE int8_t feredge_rescale(
    int32_t sum, const feredge_rescaling *rescaling, int channel, int zero_point, int low, int high)
{
    const int32_t value = feredge_multiply_shift(sum, rescaling->multiplier[channel], rescaling->shift[channel]);
    /* Clamped first: an extreme value plus the zero point would overflow. */
    return (int8_t)(feredge_clamp(value, low - zero_point, high - zero_point) + zero_point);
}

/* The sums of `count` channels, the first of which is `channel`. */
FEREDGE_INLINE void feredge_rescale_block(const int32_t *sums, const feredge_rescaling *rescaling, int channel, int count,
    int zero_point, int low, int high, int8_t *output)
{
    for (int i = 0; i < count; i++)
        output[i] = feredge_rescale(sums[i], rescaling, channel + i, zero_point, low, high);
}
