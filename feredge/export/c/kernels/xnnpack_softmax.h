/* LiteRT's softmax: exponentials of differences from a table, summed in float32. */
static void feredge_softmax(const int8_t *input, int8_t *output, int rows, int count, const float *table)
{
    for (int row = 0; row < rows; row++, input += count, output += count) {
        int largest = -128;
        for (int i = 0; i < count; i++)
            largest = input[i] > largest ? input[i] : largest;
        float sum = 0.0f;
        for (int i = 0; i < count; i++)
            sum += table[255 + input[i] - largest];
        const float factor = 1.0f / (sum * 0.00390625f);
        for (int i = 0; i < count; i++) {
            volatile float product = table[255 + input[i] - largest] * factor; /* never part of a fused multiply-add */
            output[i] = (int8_t)feredge_clamp(feredge_round(product) - 128, -128, 127);
        }
    }
}
