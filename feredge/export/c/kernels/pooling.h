typedef struct {
    int input_height, input_width, channels, output_height, output_width;
    int kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left, low, high;
} feredge_pooling_layer;

/* Maximum of each window, or, with `average`, its mean, halves rounded away from zero; padding does not count. */
static void feredge_pooling(const feredge_pooling_layer *layer, const int8_t *input, int8_t *output, int average)
{
    for (int pixel = 0; pixel < layer->output_height * layer->output_width; pixel++) {
        const int top = pixel / layer->output_width * layer->stride_height - layer->pad_top;
        const int left = pixel % layer->output_width * layer->stride_width - layer->pad_left;
        for (int channel = 0; channel < layer->channels; channel++) {
            int32_t sum = 0, largest = -128, count = 0;
            for (int row = top; row < top + layer->kernel_height; row++)
                for (int column = left; column < left + layer->kernel_width; column++) {
                    if (row < 0 || row >= layer->input_height || column < 0 || column >= layer->input_width)
                        continue;
                    const int32_t value = input[(row * layer->input_width + column) * layer->channels + channel];
                    largest = value > largest ? value : largest;
                    sum += value;
                    count++;
                }
            if (average)
                largest = (sum + (sum > 0 ? count / 2 : -(count / 2))) / count;
            *output++ = (int8_t)feredge_clamp(largest, layer->low, layer->high);
        }
    }
}
