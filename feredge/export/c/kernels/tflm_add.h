FEREDGE_INLINE int8_t feredge_add_values(
    int first, int second, const feredge_addition *layer, int zero_point, int low, int high)
{
    const int32_t a = (first - layer->first_zero_point) * ((int32_t)1 << 20);
    const int32_t b = (second - layer->second_zero_point) * ((int32_t)1 << 20);
    const int32_t sum = feredge_multiply_shift(a, layer->first_multiplier, layer->first_shift)
        + feredge_multiply_shift(b, layer->second_multiplier, layer->second_shift);
    const int32_t value = feredge_multiply_shift(sum, layer->multiplier, layer->shift);
    return (int8_t)(feredge_clamp(value, low - zero_point, high - zero_point) + zero_point);
}
