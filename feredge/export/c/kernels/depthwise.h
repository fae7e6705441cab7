#define FEREDGE_DEPTHWISE_BLOCK 16 /* channels that are summed together */

typedef struct {
    const int8_t *weights; /* (kernel_height, kernel_width, output_channels) */
    const int32_t *bias;
    feredge_rescaling rescaling;
    int input_height, input_width, input_channels;
    int output_height, output_width, multiplier;
    int kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left;
    int input_zero_point, output_zero_point, low, high;
} feredge_depthwise_layer;

/* The sums of `count` channels from `start` on at one output pixel; a constant `count` is a loop that compilers
   vectorize. */
FEREDGE_INLINE void feredge_depthwise_sums(const feredge_depthwise_layer *layer, const int8_t *input, int top, int left,
    int start, const int count, int32_t *sums)
{
    const int channels = layer->input_channels * layer->multiplier;
    for (int i = 0; i < count; i++)
        sums[i] = layer->bias[start + i];
    for (int y = top < 0 ? -top : 0; y < layer->kernel_height && top + y < layer->input_height; y++)
        for (int x = left < 0 ? -left : 0; x < layer->kernel_width && left + x < layer->input_width; x++) {
            const int8_t *values = input + ((top + y) * layer->input_width + left + x) * layer->input_channels;
            const int8_t *weights = layer->weights + (y * layer->kernel_width + x) * channels + start;
            if (layer->multiplier == 1)
                for (int i = 0; i < count; i++)
                    sums[i] += (values[start + i] - layer->input_zero_point) * weights[i];
            else
                for (int i = 0; i < count; i++)
                    sums[i] += (values[(start + i) / layer->multiplier] - layer->input_zero_point) * weights[i];
        }
}

static void feredge_depthwise(const feredge_depthwise_layer *layer, const int8_t *input, int8_t *output)
{
    const int channels = layer->input_channels * layer->multiplier;
    for (int pixel = 0; pixel < layer->output_height * layer->output_width; pixel++) {
        const int top = pixel / layer->output_width * layer->stride_height - layer->pad_top;
        const int left = pixel % layer->output_width * layer->stride_width - layer->pad_left;
        for (int start = 0; start < channels; start += FEREDGE_DEPTHWISE_BLOCK) {
            const int count = channels - start < FEREDGE_DEPTHWISE_BLOCK ? channels - start : FEREDGE_DEPTHWISE_BLOCK;
            int32_t sums[FEREDGE_DEPTHWISE_BLOCK];
            if (count == FEREDGE_DEPTHWISE_BLOCK)
                feredge_depthwise_sums(layer, input, top, left, start, FEREDGE_DEPTHWISE_BLOCK, sums);
            else
                feredge_depthwise_sums(layer, input, top, left, start, count, sums);
            feredge_rescale_block(sums, &layer->rescaling, start, count, layer->output_zero_point, layer->low,
                layer->high, output + pixel * channels + start);
        }
    }
}
