typedef struct {
    const int8_t *weights; /* (kernel_height, kernel_width, output_channels) */
    const int32_t *bias;
    feredge_rescaling rescaling;
    int input_height, input_width, input_channels;
    int output_height, output_width, multiplier;
    int kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left;
    int input_zero_point, output_zero_point, low, high;
} feredge_depthwise_layer;

static void feredge_depthwise(const feredge_depthwise_layer *layer, const int8_t *input, int8_t *output)
{
    const int channels = layer->input_channels * layer->multiplier;
    for (int pixel = 0; pixel < layer->output_height * layer->output_width; pixel++) {
        const int top = pixel / layer->output_width * layer->stride_height - layer->pad_top;
        const int left = pixel % layer->output_width * layer->stride_width - layer->pad_left;
        for (int start = 0; start < channels; start += FEREDGE_BLOCK) {
            const int count = channels - start < FEREDGE_BLOCK ? channels - start : FEREDGE_BLOCK;
            int32_t sums[FEREDGE_BLOCK];
            for (int i = 0; i < count; i++)
                sums[i] = layer->bias[start + i];
            for (int y = 0; y < layer->kernel_height; y++)
                for (int x = 0; x < layer->kernel_width; x++) {
                    const int row = top + y, column = left + x;
                    if (row < 0 || row >= layer->input_height || column < 0 || column >= layer->input_width)
                        continue;
                    const int8_t *values = input + (row * layer->input_width + column) * layer->input_channels;
                    const int8_t *weights = layer->weights + (y * layer->kernel_width + x) * channels + start;
                    if (layer->multiplier == 1)
                        for (int i = 0; i < count; i++)
                            sums[i] += (values[start + i] - layer->input_zero_point) * weights[i];
                    else
                        for (int i = 0; i < count; i++)
                            sums[i] += (values[(start + i) / layer->multiplier] - layer->input_zero_point) * weights[i];
                }
            for (int i = 0; i < count; i++)
                *output++ = feredge_rescale(sums[i], &layer->rescaling, start + i, layer->output_zero_point,
                    layer->low, layer->high);
        }
    }
}
