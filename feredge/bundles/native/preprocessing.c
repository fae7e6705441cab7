/* From a picture's pixels to a network's input, as feredge's Predictor does with OpenCV on x86: crop, gray, resize. */
#include <stdint.h>

#define FEREDGE_COEFFICIENT_BITS 11
#define FEREDGE_ONE (1 << FEREDGE_COEFFICIENT_BITS)

static int feredge_clip(int value, int size)
{
    return value < 0 ? 0 : value >= size ? size - 1 : value;
}

static int feredge_floor(float value)
{
    const int whole = (int)value;
    return whole - (value < (float)whole);
}

/* To nearest, halves to even. */
static int feredge_nearest(float value)
{
    const int whole = feredge_floor(value);
    const float rest = value - (float)whole;
    return whole + (rest > 0.5f || (rest == 0.5f && whole % 2));
}

/* Copy the box of a picture of 1 (gray), 3 (RGB) or 4 channels (RGBA; alpha is dropped) into `target`, of 1 channel or
   of 3. Outside the picture its border is repeated. `target` may be `picture` for the box of all of it. */
static void feredge_crop(const uint8_t *picture, int rows, int columns, int channels, int left, int top, int width,
    int height, uint8_t *target, int target_channels)
{
    for (int y = top; y < top + height; y++) {
        const uint8_t *row = picture + (long)feredge_clip(y, rows) * columns * channels;
        for (int x = left; x < left + width; x++, target += target_channels) {
            const uint8_t *from = row + feredge_clip(x, columns) * channels;
            const int red = from[0], green = from[channels > 1], blue = from[channels > 1 ? 2 : 0];
            if (target_channels == 3) {
                target[0] = (uint8_t)red;
                target[1] = (uint8_t)green;
                target[2] = (uint8_t)blue;
            } else
                target[0] = (uint8_t)(channels == 1 ? red : (9798 * red + 19235 * green + 3735 * blue + 16384) >> 15);
        }
    }
}

/* Average blocks of 2x2 pixels, in place: the result has half the rows and columns of `pixels`. */
static void feredge_halve(uint8_t *pixels, int columns, int channels, int half_rows, int half_columns)
{
    uint8_t *target = pixels;
    for (int y = 0; y < half_rows; y++)
        for (int x = 0; x < half_columns; x++)
            for (int c = 0; c < channels; c++) {
                const uint8_t *from = pixels + ((long)2 * y * columns + 2 * x) * channels + c;
                const uint8_t *below = from + (long)columns * channels;
                *target++ = (uint8_t)((from[0] + from[channels] + below[0] + below[channels] + 2) >> 2);
            }
}

typedef struct {
    int start;
    int16_t first, second; /* weights of the pixels at `start` and after it */
} feredge_sample;

/* Between which pixels an output pixel lies; `area` as INTER_AREA places them where it enlarges. */
static feredge_sample feredge_sample_at(int position, int size, int target_size, int area)
{
    const double scale = 1.0 / ((double)target_size / size);
    feredge_sample sample;
    float rest;
    if (area) {
        const double exact = position * scale;
        sample.start = (int)exact;
        rest = (float)((position + 1) - (sample.start + 1) * ((double)target_size / size));
        rest = rest <= 0 ? 0.0f : rest - (float)feredge_floor(rest);
    } else {
        const float exact = (float)((position + 0.5) * scale - 0.5);
        sample.start = feredge_floor(exact);
        rest = exact - (float)sample.start;
    }
    sample.first = (int16_t)feredge_nearest((1.0f - rest) * FEREDGE_ONE);
    sample.second = (int16_t)feredge_nearest(rest * FEREDGE_ONE);
    return sample;
}

static void feredge_resize_linear(const uint8_t *pixels, int rows, int columns, int channels, uint8_t *target,
    int height, int width, int area)
{
    for (int y = 0; y < height; y++) {
        const feredge_sample down = feredge_sample_at(y, rows, height, area);
        const uint8_t *row = pixels + (long)feredge_clip(down.start, rows) * columns * channels;
        const uint8_t *below = pixels + (long)feredge_clip(down.start + 1, rows) * columns * channels;
        for (int x = 0; x < width; x++) {
            const feredge_sample across = feredge_sample_at(x, columns, width, area);
            const int at = feredge_clip(across.start, columns) * channels;
            const int next = feredge_clip(across.start + 1, columns) * channels;
            for (int c = 0; c < channels; c++) {
                const int upper = row[at + c] * across.first + row[next + c] * across.second;
                const int lower = below[at + c] * across.first + below[next + c] * across.second;
                *target++ = (uint8_t)(((((upper >> 4) * down.first) >> 16) + (((lower >> 4) * down.second) >> 16) + 2) >> 2);
            }
        }
    }
}

typedef struct {
    int start, end; /* the whole pixels under an output pixel; before and after them parts of two more, or nothing */
    float before, whole, after;
} feredge_span;

static feredge_span feredge_span_at(int position, int size, int target_size)
{
    const double scale = 1.0 / ((double)target_size / size);
    const double from = position * scale, to = from + scale;
    const double cell = scale < size - from ? scale : size - from;
    feredge_span span = {(int)from, (int)to, 0.0f, (float)(1.0 / cell), 0.0f};
    span.start += span.start < from;
    span.end = span.end < size - 1 ? span.end : size - 1;
    span.start = span.start < span.end ? span.start : span.end;
    if (span.start - from > 1e-3)
        span.before = (float)((span.start - from) / cell);
    if (to - span.end > 1e-3) {
        const double part = to - span.end < 1.0 ? to - span.end : 1.0;
        span.after = (float)((part < cell ? part : cell) / cell);
    }
    return span;
}

static float feredge_weight(const feredge_span *span, int position)
{
    return position < span->start ? span->before : position < span->end ? span->whole : span->after;
}

static void feredge_resize_area(const uint8_t *pixels, int rows, int columns, int channels, uint8_t *target,
    int height, int width)
{
    for (int y = 0; y < height; y++) {
        const feredge_span down = feredge_span_at(y, rows, height);
        for (int x = 0; x < width; x++) {
            const feredge_span across = feredge_span_at(x, columns, width);
            for (int c = 0; c < channels; c++) {
                float sum = 0.0f;
                for (int i = down.start - (down.before > 0); i < down.end + (down.after > 0); i++) {
                    const uint8_t *row = pixels + (long)i * columns * channels + c;
                    float line = 0.0f;
                    for (int k = across.start - (across.before > 0); k < across.end + (across.after > 0); k++)
                        line += row[(long)k * channels] * feredge_weight(&across, k);
                    sum += line * feredge_weight(&down, i);
                }
                *target++ = (uint8_t)feredge_clip(feredge_nearest(sum), 256);
            }
        }
    }
}

/* Whole factors: OpenCV then adds integers. */
static void feredge_resize_blocks(const uint8_t *pixels, int columns, int channels, uint8_t *target, int height,
    int width, int down, int across)
{
    const float scale = 1.0f / (float)(down * across);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++) {
                int sum = 0;
                for (int i = 0; i < down; i++)
                    for (int k = 0; k < across; k++)
                        sum += pixels[((long)(y * down + i) * columns + x * across + k) * channels + c];
                *target++ = (uint8_t)feredge_nearest((float)sum * scale);
            }
}

/* Halve by averaging while possible, then sample between pixels; long pictures by area. `pixels` is overwritten. */
static void feredge_resize(
    uint8_t *pixels, int rows, int columns, int channels, uint8_t *target, int height, int width)
{
    while (rows >= 2 * height && columns >= 2 * width) {
        feredge_halve(pixels, columns, channels, rows / 2, columns / 2);
        rows /= 2;
        columns /= 2;
    }
    if (rows < 2 * height && columns < 2 * width)
        feredge_resize_linear(pixels, rows, columns, channels, target, height, width, 0);
    else if (rows < height || columns < width)
        feredge_resize_linear(pixels, rows, columns, channels, target, height, width, 1);
    else if (rows % height == 0 && columns % width == 0)
        feredge_resize_blocks(pixels, columns, channels, target, height, width, rows / height, columns / width);
    else
        feredge_resize_area(pixels, rows, columns, channels, target, height, width);
}
