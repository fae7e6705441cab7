/* Copy an image into a larger one, the rest of which is `value`. */
static void feredge_pad(const int8_t *input, int8_t *output, int height, int row_bytes, int top, int bottom,
    int left_bytes, int right_bytes, int value)
{
    for (int row = -top; row < height + bottom; row++) {
        const int inside = row >= 0 && row < height;
        for (int i = 0; i < left_bytes; i++)
            *output++ = (int8_t)value;
        for (int i = 0; i < row_bytes; i++)
            *output++ = inside ? input[row * row_bytes + i] : (int8_t)value;
        for (int i = 0; i < right_bytes; i++)
            *output++ = (int8_t)value;
    }
}
