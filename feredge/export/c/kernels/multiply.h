/* feredge_multiply adds the products of FEREDGE_PIXELS patches and 8 channels' weights to their biases:
   sums[patch][channel]. `depth`, the length of a patch, is a multiple of 4; weights hold 4 inputs of each of 8
   channels, then the next 4. All variants add the same integers, so that they give the same bits. */

FEREDGE_INLINE int32_t feredge_load(const int8_t *bytes)
{
    int32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

#if (defined(__AVX512VNNI__) && defined(__AVX512VL__)) || defined(__AVXVNNI__)
#include <immintrin.h>
#define FEREDGE_PIXELS 6
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define FEREDGE_DOT(sum, weights, x) _mm256_dpbusd_epi32(sum, weights, x)
#else
#define FEREDGE_DOT(sum, weights, x) _mm256_dpbusd_avx_epi32(sum, weights, x)
#endif

/* The instruction takes unsigned weights: each is 128 too large, which subtracts 128 times the patch's sum. */
static void feredge_multiply(
    const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias, int32_t *sums)
{
    const __m256i sign = _mm256_set1_epi8(-128);
    const __m256i initial = _mm256_loadu_si256((const __m256i *)bias);
    __m256i sum[FEREDGE_PIXELS], excess[FEREDGE_PIXELS];
    for (int p = 0; p < FEREDGE_PIXELS; p++) {
        sum[p] = initial;
        excess[p] = _mm256_setzero_si256();
    }
    for (int k = 0; k < depth; k += 4, weights += 4 * FEREDGE_BLOCK) {
        const __m256i w = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)weights), sign);
        for (int p = 0; p < FEREDGE_PIXELS; p++) {
            const __m256i x = _mm256_set1_epi32(feredge_load(patches + p * depth + k));
            sum[p] = FEREDGE_DOT(sum[p], w, x);
            excess[p] = FEREDGE_DOT(excess[p], sign, x);
        }
    }
    for (int p = 0; p < FEREDGE_PIXELS; p++)
        _mm256_storeu_si256((__m256i *)(sums + p * FEREDGE_BLOCK), _mm256_sub_epi32(sum[p], excess[p]));
}

#elif defined(__AVX2__)
#include <immintrin.h>
#define FEREDGE_PIXELS 4

static void feredge_multiply(
    const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias, int32_t *sums)
{
    __m256i low[FEREDGE_PIXELS], high[FEREDGE_PIXELS]; /* two sums for each of channels 0 to 3, and 4 to 7 */
    for (int p = 0; p < FEREDGE_PIXELS; p++)
        low[p] = high[p] = _mm256_setzero_si256();
    for (int k = 0; k < depth; k += 4, weights += 4 * FEREDGE_BLOCK) {
        const __m256i w_low = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)weights));
        const __m256i w_high = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(weights + 16)));
        for (int p = 0; p < FEREDGE_PIXELS; p++) {
            const __m256i x = _mm256_cvtepi8_epi16(_mm_set1_epi32(feredge_load(patches + p * depth + k)));
            low[p] = _mm256_add_epi32(low[p], _mm256_madd_epi16(w_low, x));
            high[p] = _mm256_add_epi32(high[p], _mm256_madd_epi16(w_high, x));
        }
    }
    for (int p = 0; p < FEREDGE_PIXELS; p++) {
        const __m256i sum = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low[p], high[p]), 0xd8);
        const __m256i initial = _mm256_loadu_si256((const __m256i *)bias);
        _mm256_storeu_si256((__m256i *)(sums + p * FEREDGE_BLOCK), _mm256_add_epi32(sum, initial));
    }
}

#elif defined(__ARM_NEON)
#include <arm_neon.h>
#define FEREDGE_PIXELS 4

static void feredge_multiply(
    const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias, int32_t *sums)
{
    for (int half = 0; half < FEREDGE_BLOCK; half += 4, bias += 4, sums += 4) {
        const int8_t *w = weights + 4 * half;
#if defined(__ARM_FEATURE_DOTPROD)
        int32x4_t sum[FEREDGE_PIXELS];
        for (int p = 0; p < FEREDGE_PIXELS; p++)
            sum[p] = vld1q_s32(bias);
        for (int k = 0; k < depth; k += 4, w += 4 * FEREDGE_BLOCK) {
            const int8x16_t four = vld1q_s8(w);
            for (int p = 0; p < FEREDGE_PIXELS; p++) {
                const int32x4_t x = vdupq_n_s32(feredge_load(patches + p * depth + k));
                sum[p] = vdotq_s32(sum[p], four, vreinterpretq_s8_s32(x));
            }
        }
        for (int p = 0; p < FEREDGE_PIXELS; p++)
            vst1q_s32(sums + p * FEREDGE_BLOCK, sum[p]);
#else
        int32x4_t low[FEREDGE_PIXELS], high[FEREDGE_PIXELS]; /* two sums for each of two channels */
        for (int p = 0; p < FEREDGE_PIXELS; p++)
            low[p] = high[p] = vdupq_n_s32(0);
        for (int k = 0; k < depth; k += 4, w += 4 * FEREDGE_BLOCK) {
            const int8x16_t four = vld1q_s8(w);
            for (int p = 0; p < FEREDGE_PIXELS; p++) {
                const int8x8_t x = vreinterpret_s8_s32(vdup_n_s32(feredge_load(patches + p * depth + k)));
                low[p] = vpadalq_s16(low[p], vmull_s8(vget_low_s8(four), x));
                high[p] = vpadalq_s16(high[p], vmull_s8(vget_high_s8(four), x));
            }
        }
        for (int p = 0; p < FEREDGE_PIXELS; p++) {
            const int32x2_t first = vpadd_s32(vget_low_s32(low[p]), vget_high_s32(low[p]));
            const int32x2_t second = vpadd_s32(vget_low_s32(high[p]), vget_high_s32(high[p]));
            vst1q_s32(sums + p * FEREDGE_BLOCK, vaddq_s32(vld1q_s32(bias), vcombine_s32(first, second)));
        }
#endif
    }
}

#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#define FEREDGE_PIXELS 4

static void feredge_multiply(
    const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias, int32_t *sums)
{
    for (int half = 0; half < FEREDGE_BLOCK; half += 4, bias += 4, sums += 4) {
        const int8_t *w = weights + 4 * half;
        v128_t low[FEREDGE_PIXELS], high[FEREDGE_PIXELS]; /* two sums for each of two channels */
        for (int p = 0; p < FEREDGE_PIXELS; p++)
            low[p] = high[p] = wasm_i32x4_const_splat(0);
        for (int k = 0; k < depth; k += 4, w += 4 * FEREDGE_BLOCK) {
            const v128_t four = wasm_v128_load(w);
            const v128_t w_low = wasm_i16x8_extend_low_i8x16(four), w_high = wasm_i16x8_extend_high_i8x16(four);
            for (int p = 0; p < FEREDGE_PIXELS; p++) {
                const v128_t x = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_splat(patches + p * depth + k));
                low[p] = wasm_i32x4_add(low[p], wasm_i32x4_dot_i16x8(w_low, x));
                high[p] = wasm_i32x4_add(high[p], wasm_i32x4_dot_i16x8(w_high, x));
            }
        }
        for (int p = 0; p < FEREDGE_PIXELS; p++) {
            const v128_t even = wasm_i32x4_shuffle(low[p], high[p], 0, 2, 4, 6);
            const v128_t odd = wasm_i32x4_shuffle(low[p], high[p], 1, 3, 5, 7);
            wasm_v128_store(sums + p * FEREDGE_BLOCK, wasm_i32x4_add(wasm_v128_load(bias), wasm_i32x4_add(even, odd)));
        }
    }
}

#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)
#define FEREDGE_PIXELS 2

/* Bytes 0 and 2, or 1 and 3, of a word as two signed halves. */
FEREDGE_INLINE int32_t feredge_even(int32_t word)
{
    int32_t halves;
    __asm__("sxtb16 %0, %1" : "=r"(halves) : "r"(word));
    return halves;
}

FEREDGE_INLINE int32_t feredge_odd(int32_t word)
{
    int32_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
}

FEREDGE_INLINE int32_t feredge_dot(int32_t a, int32_t b, int32_t sum)
{
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

/* Two patches with two channels at a time: each word that is loaded is used twice. */
static void feredge_multiply(
    const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias, int32_t *sums)
{
    for (int i = 0; i < FEREDGE_BLOCK; i += 2, weights += 8) {
        const int8_t *x = patches, *w = weights, *const end = patches + depth;
        int32_t sum0 = bias[i], sum1 = bias[i + 1], sum2 = sum0, sum3 = sum1;
        do {
            const int32_t word0 = feredge_load(x), word1 = feredge_load(x + depth);
            const int32_t weights0 = feredge_load(w), weights1 = feredge_load(w + 4);
            const int32_t even0 = feredge_even(word0), odd0 = feredge_odd(word0);
            const int32_t even1 = feredge_even(word1), odd1 = feredge_odd(word1);
            const int32_t first_even = feredge_even(weights0), first_odd = feredge_odd(weights0);
            sum0 = feredge_dot(even0, first_even, sum0);
            sum0 = feredge_dot(odd0, first_odd, sum0);
            sum2 = feredge_dot(even1, first_even, sum2);
            sum2 = feredge_dot(odd1, first_odd, sum2);
            const int32_t second_even = feredge_even(weights1), second_odd = feredge_odd(weights1);
            sum1 = feredge_dot(even0, second_even, sum1);
            sum1 = feredge_dot(odd0, second_odd, sum1);
            sum3 = feredge_dot(even1, second_even, sum3);
            sum3 = feredge_dot(odd1, second_odd, sum3);
            x += 4;
            w += 4 * FEREDGE_BLOCK;
        } while (x != end);
        sums[i] = sum0;
        sums[i + 1] = sum1;
        sums[FEREDGE_BLOCK + i] = sum2;
        sums[FEREDGE_BLOCK + i + 1] = sum3;
    }
}

#else
#define FEREDGE_PIXELS 2

static void feredge_multiply(
    const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias, int32_t *sums)
{
    for (int i = 0; i < FEREDGE_BLOCK; i++, weights += 4) {
        const int8_t *w = weights;
        int32_t sum0 = bias[i], sum1 = sum0;
        for (int k = 0; k < depth; k += 4, w += 4 * FEREDGE_BLOCK) {
            const int8_t *x = patches + k, *y = x + depth;
            sum0 += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
            sum1 += y[0] * w[0] + y[1] * w[1] + y[2] * w[2] + y[3] * w[3];
        }
        sums[i] = sum0;
        sums[FEREDGE_BLOCK + i] = sum1;
    }
}
#endif
