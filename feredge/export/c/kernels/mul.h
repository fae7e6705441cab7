typedef struct {
    feredge_rescaling rescaling;
    int first_zero_point, second_zero_point, zero_point, low, high;
} feredge_product_layer;

/* Element-wise, in place if `output` is an input; the second operand repeats after `period` elements. */
static void feredge_mul(const feredge_product_layer *layer, const int8_t *first, const int8_t *second, int8_t *output,
    int size, int period)
{
    for (int start = 0; start < size; start += period)
        for (int i = 0; i < period; i++) {
            const int32_t product = (first[start + i] - layer->first_zero_point) * (second[i] - layer->second_zero_point);
            output[start + i]
                = feredge_rescale(product, &layer->rescaling, 0, layer->zero_point, layer->low, layer->high);
        }
}
