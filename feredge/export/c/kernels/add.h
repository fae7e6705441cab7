/* Element-wise, in place if `output` is an input; the second operand repeats after `period` elements. Results of a
   chunk are collected first: compilers vectorize that, where `output` may be an input they would not. */
static void feredge_add(const feredge_addition *layer, const int8_t *first, const int8_t *second, int8_t *output,
    int size, int period, int zero_point, int low, int high)
{
    int8_t chunk[FEREDGE_CHUNK];
    for (int start = 0; start < size; start += period)
        for (int i = 0; i < period; i += FEREDGE_CHUNK) {
            const int8_t *a = first + start + i, *b = second + i;
            const int count = period - i < FEREDGE_CHUNK ? period - i : FEREDGE_CHUNK;
            if (count == FEREDGE_CHUNK) {
                for (int k = 0; k < FEREDGE_CHUNK; k++)
                    chunk[k] = feredge_add_values(a[k], b[k], layer, zero_point, low, high);
                FEREDGE_COPY(output + start + i, chunk, FEREDGE_CHUNK);
            } else
                for (int k = 0; k < count; k++)
                    output[start + i + k] = feredge_add_values(a[k], b[k], layer, zero_point, low, high);
        }
}
