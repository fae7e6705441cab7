/* The WebAssembly module: memory, and what JavaScript calls. Before it stand the library, the preprocessing, and the
   names FEREDGE_PREDICT_IN, FEREDGE_ARENA_BYTES, FEREDGE_HEIGHT, FEREDGE_WIDTH, FEREDGE_CHANNELS, FEREDGE_CLASSES. */
#define FEREDGE_EXPORT(name) __attribute__((export_name(#name), used)) name
#define FEREDGE_PAGE_BYTES 65536

static FEREDGE_ALIGNED int8_t arena[FEREDGE_ARENA_BYTES];
static FEREDGE_ALIGNED uint8_t image[FEREDGE_HEIGHT * FEREDGE_WIDTH * FEREDGE_CHANNELS];
static FEREDGE_ALIGNED float scores[FEREDGE_CLASSES];
extern uint8_t __heap_base;

/* The network's input, uint8 [HEIGHT][WIDTH][CHANNELS]. */
uint8_t *FEREDGE_EXPORT(input)(void)
{
    return image;
}

/* float [CLASSES], of the last call of `predict`. */
float *FEREDGE_EXPORT(probabilities)(void)
{
    return scores;
}

/* Classify the input; return the index of the most probable class. */
int FEREDGE_EXPORT(predict)(void)
{
    return FEREDGE_PREDICT_IN(arena, image, scores);
}

/* Return memory for a picture and for its crop, which the next call may return again; NULL if there is not enough. */
uint8_t *FEREDGE_EXPORT(reserve)(size_t picture_bytes, size_t crop_bytes)
{
    const size_t start = (size_t)&__heap_base, end = start + picture_bytes + crop_bytes;
    const size_t pages = end / FEREDGE_PAGE_BYTES + 1, present = __builtin_wasm_memory_size(0);
    if (end < start || (pages > present && __builtin_wasm_memory_grow(0, pages - present) == (size_t)-1))
        return NULL;
    return &__heap_base;
}

/* Turn the box of the picture in the reserved memory into the network's input; see feredge_crop. */
void FEREDGE_EXPORT(convert)(int rows, int columns, int channels, int left, int top, int width, int height)
{
    uint8_t *picture = &__heap_base, *crop = picture + (size_t)rows * columns * channels;
    feredge_crop(picture, rows, columns, channels, left, top, width, height, crop, FEREDGE_CHANNELS);
    feredge_resize(crop, height, width, FEREDGE_CHANNELS, image, FEREDGE_HEIGHT, FEREDGE_WIDTH);
}
