/* 1 / (1 + x) for x in [0, 1) with 31 fractional bits, by three Newton-Raphson steps (gemmlowp). */
static int32_t feredge_reciprocal(int32_t value)
{
    const int32_t half_denominator = (int32_t)(((int64_t)value + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + feredge_multiply_high(half_denominator, -1010580540); /* 48/17 - 32/17 d, 29 bits */
    for (int step = 0; step < 3; step++) {
        const int32_t error = ((int32_t)1 << 29) - feredge_multiply_high(half_denominator, x);
        x += feredge_multiply_high(x, error) * 4;
    }
    return x >= (int32_t)1 << 30 ? INT32_MAX : x * 2;
}

/* gemmlowp's softmax: exponentials of differences from a table, with 31 fractional bits, summed with 19. */
static void feredge_softmax(const int8_t *input, int8_t *output, int rows, int count, const int32_t *table)
{
    for (int row = 0; row < rows; row++, input += count, output += count) {
        int largest = -128, headroom = 0;
        for (int i = 0; i < count; i++)
            largest = input[i] > largest ? input[i] : largest;
        uint32_t sum = 0;
        for (int i = 0; i < count; i++)
            sum += (uint32_t)feredge_divide_by_power(table[255 + input[i] - largest], 12);
        while (!(sum >> 31)) {
            sum <<= 1;
            headroom++;
        }
        const int32_t scale = feredge_reciprocal((int32_t)(sum - ((uint32_t)1 << 31)));
        for (int i = 0; i < count; i++) {
            const int32_t product = feredge_multiply_high(scale, table[255 + input[i] - largest]);
            const int32_t value = feredge_divide_by_power(product, 12 - headroom + 23);
            output[i] = (int8_t)feredge_clamp(value - 128, -128, 127);
        }
    }
}
