#include "feredge_input.h"

$PREPROCESSING
void feredge_make_input(const uint8_t *rgba, int32_t rows, int32_t columns, int32_t left, int32_t top, int32_t width,
    int32_t height, uint8_t *crop, uint8_t *input)
{
    feredge_crop(rgba, rows, columns, 4, left, top, width, height, crop, FEREDGE_INPUT_CHANNELS);
    feredge_resize(
        crop, height, width, FEREDGE_INPUT_CHANNELS, input, FEREDGE_INPUT_HEIGHT, FEREDGE_INPUT_WIDTH);
}
