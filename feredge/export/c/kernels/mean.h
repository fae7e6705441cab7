typedef struct {
    feredge_rescaling rescaling;
    int pixels, channels, input_zero_point, output_zero_point;
} feredge_mean_layer;

/* The mean of each channel over all pixels. */
static void feredge_mean(const feredge_mean_layer *layer, const int8_t *input, int8_t *output)
{
    for (int channel = 0; channel < layer->channels; channel++) {
        int32_t sum = 0;
        for (int pixel = 0; pixel < layer->pixels; pixel++)
            sum += input[pixel * layer->channels + channel];
        output[channel] = feredge_rescale(sum - layer->pixels * layer->input_zero_point, &layer->rescaling, 0,
            layer->output_zero_point, -128, 127);
    }
}
