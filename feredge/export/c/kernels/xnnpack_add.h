FEREDGE_INLINE int8_t feredge_add_values(
    int first, int second, const feredge_addition *layer, int zero_point, int low, int high)
{
    const int32_t sum = layer->bias + first * layer->first_multiplier + second * layer->second_multiplier;
    return (int8_t)(feredge_clamp(sum >> layer->shift, low - zero_point, high - zero_point) + zero_point);
}
