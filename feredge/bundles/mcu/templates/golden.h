/* Golden vectors of @NAME@: @IMAGES@ drawn images, and the probabilities that @RUNTIME@ gives
   (arithmetic: @ARITHMETIC@). */
#ifndef @UPPER@_GOLDEN_H
#define @UPPER@_GOLDEN_H

#include "@SYMBOL@.h"

#define @UPPER@_GOLDEN_IMAGES @IMAGES@

static const uint8_t @SYMBOL@_golden_pixels[@UPPER@_GOLDEN_IMAGES][@PIXELS@] = {
@PIXEL_ROWS@
};

static const float @SYMBOL@_golden_probabilities[@UPPER@_GOLDEN_IMAGES][@UPPER@_CLASSES] = {
@PROBABILITY_ROWS@
};

/* Classify every golden image. Returns -1 if all answers are equal, bit for bit, else the first row that is not. */
static int @SYMBOL@_self_test(void)
{
    for (int row = 0; row < @UPPER@_GOLDEN_IMAGES; row++) {
        float probabilities[@UPPER@_CLASSES];
        @SYMBOL@_predict(@SYMBOL@_golden_pixels[row], probabilities);
        for (int i = 0; i < @UPPER@_CLASSES; i++)
            if (probabilities[i] != @SYMBOL@_golden_probabilities[row][i])
                return row;
    }
    return -1;
}

#endif
