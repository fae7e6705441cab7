/* Element-wise, in place if `output` is an input; the second operand repeats after `period` elements. */
static void feredge_add(const feredge_addition *layer, const int8_t *first, const int8_t *second, int8_t *output,
    int size, int period, int zero_point, int low, int high)
{
    for (int start = 0; start < size; start += period)
        for (int i = 0; i < period; i++)
            output[start + i] = feredge_add_values(first[start + i], second[i], layer, zero_point, low, high);
}
