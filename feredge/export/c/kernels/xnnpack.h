#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif

/* XNNPACK's arithmetic: sums are scaled in float32, clamped, and rounded to nearest, ties to even. */
typedef struct {
    const float *scale; /* one, or one per channel */
} feredge_rescaling;

typedef struct {
    int32_t first_multiplier, second_multiplier, bias, shift;
} feredge_addition;

/* Adding 1.5 * 2^23 leaves no fractional bits; |value| is far below 2^22. */
FEREDGE_INLINE int32_t feredge_round(float value)
{
    return (int32_t)(value + 12582912.0f) - 12582912;
}

FEREDGE_INLINE int8_t feredge_rescale(
    int32_t sum, const feredge_rescaling *rescaling, int channel, int zero_point, int low, int high)
{
    float value = (float)sum * rescaling->scale[channel];
    const float least = (float)(low - zero_point), largest = (float)(high - zero_point);
    value = value < least ? least : value;
    value = value > largest ? largest : value;
    return (int8_t)(feredge_round(value) + zero_point);
}

/* The sums of `count` channels, the first of which is `channel`. */
FEREDGE_INLINE void feredge_rescale_block(const int32_t *sums, const feredge_rescaling *rescaling, int channel, int count,
    int zero_point, int low, int high, int8_t *output)
{
    const float *const scale = rescaling->scale + channel;
    const feredge_rescaling block = {scale};
    int i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= count; i += 16) {
        __m512 values = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums + i));
        values = _mm512_mul_ps(values, _mm512_loadu_ps(scale + i));
        values = _mm512_max_ps(values, _mm512_set1_ps((float)(low - zero_point)));
        values = _mm512_min_ps(values, _mm512_set1_ps((float)(high - zero_point)));
        const __m512i rounded = _mm512_add_epi32(_mm512_cvtps_epi32(values), _mm512_set1_epi32(zero_point));
        _mm_storeu_si128((__m128i *)(output + i), _mm512_cvtepi32_epi8(rounded));
    }
#endif
#if defined(__AVX2__)
    for (; i + 8 <= count; i += 8) {
        __m256 values = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(sums + i)));
        values = _mm256_mul_ps(values, _mm256_loadu_ps(scale + i));
        values = _mm256_max_ps(values, _mm256_set1_ps((float)(low - zero_point)));
        values = _mm256_min_ps(values, _mm256_set1_ps((float)(high - zero_point)));
        const __m256i rounded = _mm256_add_epi32(_mm256_cvtps_epi32(values), _mm256_set1_epi32(zero_point));
        const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
        _mm_storel_epi64((__m128i *)(output + i), _mm_packs_epi16(halves, halves));
    }
#elif defined(__wasm_simd128__)
    const v128_t least = wasm_f32x4_splat((float)(low - zero_point));
    const v128_t largest = wasm_f32x4_splat((float)(high - zero_point));
    const v128_t zero = wasm_i32x4_splat(0x4B400000 - zero_point);
    for (; i + 8 <= count; i += 8) {
        v128_t halves[2];
        for (int h = 0; h < 2; h++) {
            v128_t values = wasm_f32x4_convert_i32x4(wasm_v128_load(sums + i + 4 * h));
            values = wasm_f32x4_mul(values, wasm_v128_load(scale + i + 4 * h));
            values = wasm_f32x4_pmin(largest, wasm_f32x4_pmax(least, values));
            values = wasm_f32x4_add(values, wasm_f32x4_const_splat(12582912.0f)); /* its bits end with the integer */
            halves[h] = wasm_i32x4_sub(values, zero);
        }
        const v128_t packed = wasm_i16x8_narrow_i32x4(halves[0], halves[1]);
        wasm_v128_store64_lane(output + i, wasm_i8x16_narrow_i16x8(packed, packed), 0);
    }
#endif
    for (; i < count; i++)
        output[i] = feredge_rescale(sums[i], &block, i, zero_point, low, high);
}
