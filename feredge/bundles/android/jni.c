/* What Java calls. Before it stand the library, the preprocessing, and the names FEREDGE_PREDICT_IN, FEREDGE_HEIGHT,
   FEREDGE_WIDTH, FEREDGE_CHANNELS. No header of Java is needed: the one function of its interface that is used has had
   its place in the table since Java 1.4. */
#define FEREDGE_GET_DIRECT_BUFFER_ADDRESS 230
#define FEREDGE_JNI(name) __attribute__((visibility("default"))) Java_feredge_Net_##name

#if defined(__ARM_EABI__) && !defined(__ARM_FEATURE_IDIV)
/* Division of 32-bit Arm CPUs without the instruction, rounded towards zero. */
int32_t __aeabi_idiv(int32_t numerator, int32_t denominator)
{
    const uint32_t divisor = denominator < 0 ? -(uint32_t)denominator : (uint32_t)denominator;
    uint32_t rest = numerator < 0 ? -(uint32_t)numerator : (uint32_t)numerator, quotient = 0;
    for (int bit = 31; bit >= 0; bit--)
        if (rest >> bit >= divisor) {
            rest -= divisor << bit;
            quotient |= 1u << bit;
        }
    return (int32_t)((numerator ^ denominator) < 0 ? -quotient : quotient);
}
#endif

typedef const void *const *feredge_jni;

static void *feredge_address(feredge_jni *environment, void *buffer)
{
    typedef void *(*function)(feredge_jni *, void *);
    return ((function)(*environment)[FEREDGE_GET_DIRECT_BUFFER_ADDRESS])(environment, buffer);
}

/* Classify the input, uint8 [HEIGHT][WIDTH][CHANNELS]; write float [CLASSES]. */
int32_t FEREDGE_JNI(predict)(feredge_jni *environment, void *type, void *arena, void *input, void *scores)
{
    (void)type;
    return FEREDGE_PREDICT_IN(
        feredge_address(environment, arena), feredge_address(environment, input), feredge_address(environment, scores));
}

/* Turn the box of an RGBA picture into the network's input; see feredge_crop. `crop` has memory for the box. */
void FEREDGE_JNI(convert)(feredge_jni *environment, void *type, void *picture, int32_t rows, int32_t columns,
    int32_t left, int32_t top, int32_t width, int32_t height, void *crop, void *input)
{
    uint8_t *pixels = feredge_address(environment, crop);
    (void)type;
    feredge_crop(feredge_address(environment, picture), rows, columns, 4, left, top, width, height, pixels,
        FEREDGE_CHANNELS);
    feredge_resize(pixels, height, width, FEREDGE_CHANNELS, feredge_address(environment, input), FEREDGE_HEIGHT,
        FEREDGE_WIDTH);
}
