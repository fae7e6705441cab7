/* From a picture to the network's input, as feredge's Predictor does it. */
#ifndef FEREDGE_INPUT_H
#define FEREDGE_INPUT_H
#include <stdint.h>

#define FEREDGE_INPUT_HEIGHT $HEIGHT
#define FEREDGE_INPUT_WIDTH $WIDTH
#define FEREDGE_INPUT_CHANNELS $CHANNELS

/* Crop the box of an RGBA picture, whose border is repeated outside of it, and resize it to `input`, uint8
   [HEIGHT][WIDTH][CHANNELS]. `crop` has memory for width * height * CHANNELS bytes. */
void feredge_make_input(const uint8_t *rgba, int32_t rows, int32_t columns, int32_t left, int32_t top, int32_t width,
    int32_t height, uint8_t *crop, uint8_t *input);

#endif
