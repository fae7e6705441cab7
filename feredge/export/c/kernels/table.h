/* An element-wise function by its table of 256 values; in place if `output` is `input`. */
static void feredge_table(const int8_t *input, int8_t *output, int size, const int8_t *table)
{
    for (int i = 0; i < size; i++)
        output[i] = table[input[i] + 128];
}
