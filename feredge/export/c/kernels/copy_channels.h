/* Copy the channels of each pixel into some of the output's. */
static void feredge_copy_channels(const int8_t *input, int8_t *output, int pixels, int channels, int output_channels)
{
    for (int pixel = 0; pixel < pixels; pixel++)
        memcpy(output + pixel * output_channels, input + pixel * channels, (size_t)channels);
}
