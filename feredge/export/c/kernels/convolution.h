typedef struct {
    const int8_t *weights; /* blocks of 8 output channels, in each 4 inputs of every channel at a time */
    const int32_t *bias;   /* with the input's zero point folded in */
    feredge_rescaling rescaling;
    int input_height, input_width, input_channels;
    int output_height, output_width, output_channels;
    int kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left;
    int input_zero_point, output_zero_point, low, high;
} feredge_convolution_layer;

/* Copy few bytes, without a call, and add FEREDGE_INPUT_OFFSET to each. */
FEREDGE_INLINE void feredge_copy(int8_t *target, const int8_t *source, int size)
{
#if FEREDGE_INPUT_OFFSET
    const __m256i sign = _mm256_set1_epi8(-FEREDGE_INPUT_OFFSET);
    for (; size >= 32; size -= 32, target += 32, source += 32)
        _mm256_storeu_si256(
            (__m256i *)target, _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)source), sign));
    for (; size >= 16; size -= 16, target += 16, source += 16)
        _mm_storeu_si128((__m128i *)target,
            _mm_xor_si128(_mm_loadu_si128((const __m128i *)source), _mm256_castsi256_si128(sign)));
#else
    for (; size >= 16; size -= 16, target += 16, source += 16)
        FEREDGE_COPY(target, source, 16);
    for (; size >= 4; size -= 4, target += 4, source += 4)
        FEREDGE_COPY(target, source, 4);
#endif
    for (; size > 0; size--)
        *target++ = (int8_t)(*source++ ^ FEREDGE_INPUT_OFFSET);
}

/* Copy the inputs of one output pixel, padded with the zero point; FEREDGE_INPUT_OFFSET is added to each. */
static void feredge_gather(const feredge_convolution_layer *layer, const int8_t *input, int pixel, int8_t *patch)
{
    const int top = pixel / layer->output_width * layer->stride_height - layer->pad_top;
    const int left = pixel % layer->output_width * layer->stride_width - layer->pad_left;
    const int channels = layer->input_channels, row_bytes = layer->kernel_width * channels;
    const int first = left < 0 ? -left : 0; /* columns of the kernel inside the image: from first to last */
    const int inside = layer->input_width - left;
    const int last = inside < layer->kernel_width ? inside : layer->kernel_width;
    const int8_t padding = (int8_t)(layer->input_zero_point ^ FEREDGE_INPUT_OFFSET);
    for (int row = top; row < top + layer->kernel_height; row++, patch += row_bytes) {
        if (row < 0 || row >= layer->input_height) {
            for (int i = 0; i < row_bytes; i++)
                patch[i] = padding;
            continue;
        }
        for (int i = 0; i < first * channels; i++)
            patch[i] = padding;
        feredge_copy(patch + first * channels, input + (row * layer->input_width + left + first) * channels,
            (last - first) * channels);
        for (int i = last * channels; i < row_bytes; i++)
            patch[i] = padding;
    }
}

static void feredge_convolution(
    const feredge_convolution_layer *layer, const int8_t *input, int8_t *output, int8_t *patches)
{
    const int inputs = layer->kernel_height * layer->kernel_width * layer->input_channels;
    const int depth = (inputs + 3) / 4 * 4, pixels = layer->output_height * layer->output_width;
    int32_t sums[FEREDGE_BLOCKS * FEREDGE_PIXELS * FEREDGE_BLOCK];
#ifdef FEREDGE_OFFSETS
    int32_t offsets[FEREDGE_PIXELS];
#endif
#if FEREDGE_PIXELS > 2 /* on the stack: the arena has memory for 2 */
    int8_t buffer[FEREDGE_PIXELS * FEREDGE_DEPTH];
    patches = buffer;
#endif
    memset(patches, 0, (size_t)((FEREDGE_PIXELS - 1) * FEREDGE_DEPTH + depth));
    for (int pixel = 0; pixel < pixels; pixel += FEREDGE_PIXELS) {
        const int filled = pixels - pixel < FEREDGE_PIXELS ? pixels - pixel : FEREDGE_PIXELS;
        for (int p = 0; p < filled; p++)
            feredge_gather(layer, input, pixel + p, patches + p * FEREDGE_DEPTH);
#ifdef FEREDGE_OFFSETS
        feredge_offsets(patches, depth, offsets);
#endif
        for (int channel = 0; channel < layer->output_channels; channel += FEREDGE_BLOCKS * FEREDGE_BLOCK) {
            const int left = layer->output_channels - channel;
            const int count = left < FEREDGE_BLOCKS * FEREDGE_BLOCK ? left : FEREDGE_BLOCKS * FEREDGE_BLOCK;
            const int8_t *const weights = layer->weights + channel * depth;
#if defined(FEREDGE_OFFSETS)
            feredge_multiply(patches, depth, weights, layer->bias + channel, offsets, sums);
#elif FEREDGE_BLOCKS > 1
            const int blocks = (count + FEREDGE_BLOCK - 1) / FEREDGE_BLOCK;
            feredge_multiply(patches, depth, weights, layer->bias + channel, sums, blocks);
#else
            feredge_multiply(patches, depth, weights, layer->bias + channel, sums);
#endif
            for (int p = 0; p < filled; p++)
                feredge_rescale_block(sums + FEREDGE_BLOCKS * FEREDGE_BLOCK * p, &layer->rescaling, channel, count,
                    layer->output_zero_point, layer->low, layer->high,
                    output + (pixel + p) * layer->output_channels + channel);
        }
    }
}
