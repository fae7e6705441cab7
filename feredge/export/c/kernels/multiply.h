/* Patches stand FEREDGE_DEPTH bytes apart. feredge_multiply adds the products of FEREDGE_PIXELS patches and the weights
   of up to FEREDGE_BLOCKS blocks of 8 channels to their biases: sums[patch][block][channel]. `depth`, the length of a
   patch, is a multiple of 4; weights hold 4 inputs of each of 8 channels, then the next 4. All variants add the same
   integers, so that they give the same bits. */

FEREDGE_INLINE int32_t feredge_load(const int8_t *bytes)
{
    int32_t word;
    FEREDGE_COPY(&word, bytes, sizeof word);
    return word;
}

#if (defined(__AVX512VNNI__) && defined(__AVX512VL__)) || defined(__AVXVNNI__)
#include <immintrin.h>
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define FEREDGE_PIXELS 8
#define FEREDGE_BLOCKS 4
#define FEREDGE_DOT(sum, x, weights) _mm256_dpbusd_epi32(sum, x, weights)
#else
#define FEREDGE_PIXELS 6
#define FEREDGE_BLOCKS 2
#define FEREDGE_DOT(sum, x, weights) _mm256_dpbusd_avx_epi32(sum, x, weights)
#endif
/* The instruction takes unsigned inputs: in patches each is 128 too large, which the biases make up for. */
#define FEREDGE_INPUT_OFFSET 128
#define FEREDGE_BIAS(bias, weight_sum) ((bias)-128 * (weight_sum))

FEREDGE_INLINE void feredge_multiply_blocks(const int8_t *patches, int depth, const int8_t *weights,
    const int32_t *bias, int32_t *sums, const int blocks)
{
    __m256i sum[FEREDGE_BLOCKS][FEREDGE_PIXELS];
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < FEREDGE_PIXELS; p++)
            sum[b][p] = _mm256_loadu_si256((const __m256i *)(bias + FEREDGE_BLOCK * b));
    for (int k = 0; k < depth; k += 4) {
        __m256i w[FEREDGE_BLOCKS];
        for (int b = 0; b < blocks; b++)
            w[b] = _mm256_loadu_si256((const __m256i *)(weights + FEREDGE_BLOCK * (b * depth + k)));
        for (int p = 0; p < FEREDGE_PIXELS; p++) {
            const __m256i x = _mm256_set1_epi32(feredge_load(patches + p * FEREDGE_DEPTH + k));
            for (int b = 0; b < blocks; b++)
                sum[b][p] = FEREDGE_DOT(sum[b][p], x, w[b]);
        }
    }
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < FEREDGE_PIXELS; p++)
            _mm256_storeu_si256((__m256i *)(sums + FEREDGE_BLOCK * (p * FEREDGE_BLOCKS + b)), sum[b][p]);
}

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
/* The same with two blocks in a register. */
FEREDGE_INLINE void feredge_multiply_pairs(const int8_t *patches, int depth, const int8_t *weights,
    const int32_t *bias, int32_t *sums, const int pairs)
{
    __m512i sum[FEREDGE_BLOCKS / 2][FEREDGE_PIXELS];
    for (int b = 0; b < pairs; b++)
        for (int p = 0; p < FEREDGE_PIXELS; p++)
            sum[b][p] = _mm512_loadu_si512(bias + 2 * FEREDGE_BLOCK * b);
    for (int k = 0; k < depth; k += 4) {
        __m512i w[FEREDGE_BLOCKS / 2];
        for (int b = 0; b < pairs; b++) {
            const int8_t *first = weights + FEREDGE_BLOCK * (2 * b * depth + k);
            const __m256i low = _mm256_loadu_si256((const __m256i *)first);
            const __m256i high = _mm256_loadu_si256((const __m256i *)(first + FEREDGE_BLOCK * depth));
            w[b] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
        }
        for (int p = 0; p < FEREDGE_PIXELS; p++) {
            const __m512i x = _mm512_set1_epi32(feredge_load(patches + p * FEREDGE_DEPTH + k));
            for (int b = 0; b < pairs; b++)
                sum[b][p] = _mm512_dpbusd_epi32(sum[b][p], x, w[b]);
        }
    }
    for (int b = 0; b < pairs; b++)
        for (int p = 0; p < FEREDGE_PIXELS; p++)
            _mm512_storeu_si512(sums + FEREDGE_BLOCK * (p * FEREDGE_BLOCKS + 2 * b), sum[b][p]);
}

static void feredge_multiply(
    const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias, int32_t *sums, int blocks)
{
    const int paired = blocks / 2 * 2;
    if (blocks == 4)
        feredge_multiply_pairs(patches, depth, weights, bias, sums, 2);
    else if (paired)
        feredge_multiply_pairs(patches, depth, weights, bias, sums, 1);
    if (blocks > paired)
        feredge_multiply_blocks(patches, depth, weights + FEREDGE_BLOCK * paired * depth,
            bias + FEREDGE_BLOCK * paired, sums + FEREDGE_BLOCK * paired, 1);
}

#else
static void feredge_multiply(
    const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias, int32_t *sums, int blocks)
{
    if (blocks == 2)
        feredge_multiply_blocks(patches, depth, weights, bias, sums, 2);
    else
        feredge_multiply_blocks(patches, depth, weights, bias, sums, 1);
}
#endif

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
            const __m256i x = _mm256_cvtepi8_epi16(_mm_set1_epi32(feredge_load(patches + p * FEREDGE_DEPTH + k)));
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
                const int32x4_t x = vdupq_n_s32(feredge_load(patches + p * FEREDGE_DEPTH + k));
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
                const int8x8_t x = vreinterpret_s8_s32(vdup_n_s32(feredge_load(patches + p * FEREDGE_DEPTH + k)));
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

static void feredge_multiply_halves(
    const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias, int32_t *sums)
{
    for (int half = 0; half < FEREDGE_BLOCK; half += 4, bias += 4, sums += 4) {
        const int8_t *w = weights + 4 * half;
        v128_t low[FEREDGE_PIXELS], high[FEREDGE_PIXELS]; /* two sums for each of two channels */
        for (int p = 0; p < FEREDGE_PIXELS; p++)
            low[p] = high[p] = wasm_i32x4_const_splat(0);
        for (int k = 0; k < depth; k += 4, w += 4 * FEREDGE_BLOCK) {
            const v128_t w_low = wasm_i16x8_load8x8(w), w_high = wasm_i16x8_load8x8(w + 8);
            for (int p = 0; p < FEREDGE_PIXELS; p++) {
                const v128_t x = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_splat(patches + p * FEREDGE_DEPTH + k));
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

#if !defined(__wasm_relaxed_simd__)
#define feredge_multiply feredge_multiply_halves
#else
/* Engines differ: the second operand's bytes are unsigned, or signed, or sums of two products do not fit. In the last
   case these kernels are not used. In the first each weight is 128 too large, which subtracts 128 times a patch's sum. */
#define FEREDGE_OFFSETS
#define FEREDGE_DOT(sum, x, weights) wasm_i32x4_relaxed_dot_i8x16_i7x16_add(x, weights, sum)
typedef enum { FEREDGE_DOT_INEXACT, FEREDGE_DOT_SIGNED, FEREDGE_DOT_UNSIGNED } feredge_dot_kind;

FEREDGE_INLINE feredge_dot_kind feredge_probe_dot(void)
{
    const v128_t x = wasm_i8x16_const(127, 127, 127, 127, -128, -128, -128, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const v128_t weights = wasm_i8x16_const(-1, -1, -1, -1, -128, -128, -128, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const v128_t sum = FEREDGE_DOT(wasm_i32x4_const_splat(0), x, weights);
    const int32_t first = wasm_i32x4_extract_lane(sum, 0), second = wasm_i32x4_extract_lane(sum, 1);
    if (first == 4 * 127 * 255 && second == 4 * -128 * 128)
        return FEREDGE_DOT_UNSIGNED;
    return first == 4 * 127 * -1 && second == 4 * -128 * -128 ? FEREDGE_DOT_SIGNED : FEREDGE_DOT_INEXACT;
}

static void feredge_offsets(const int8_t *patches, int depth, int32_t *offsets)
{
    const int factor = feredge_probe_dot() == FEREDGE_DOT_UNSIGNED ? -128 : 0;
    for (int p = 0; p < FEREDGE_PIXELS; p++, patches += FEREDGE_DEPTH) {
        v128_t sum = wasm_i32x4_const_splat(0);
        int32_t rest = 0;
        int k = 0;
        for (; k + 16 <= depth; k += 16)
            sum = FEREDGE_DOT(sum, wasm_v128_load(patches + k), wasm_i8x16_const_splat(1));
        for (; k < depth; k++)
            rest += patches[k];
        offsets[p] = factor * (rest + wasm_i32x4_extract_lane(sum, 0) + wasm_i32x4_extract_lane(sum, 1)
            + wasm_i32x4_extract_lane(sum, 2) + wasm_i32x4_extract_lane(sum, 3));
    }
}

static void feredge_multiply(const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias,
    const int32_t *offsets, int32_t *sums)
{
    const feredge_dot_kind kind = feredge_probe_dot();
    const v128_t sign = wasm_i8x16_splat(kind == FEREDGE_DOT_UNSIGNED ? -128 : 0);
    v128_t low[FEREDGE_PIXELS], high[FEREDGE_PIXELS]; /* channels 0 to 3, and 4 to 7 */
    if (kind == FEREDGE_DOT_INEXACT) {
        feredge_multiply_halves(patches, depth, weights, bias, sums);
        return;
    }
    for (int p = 0; p < FEREDGE_PIXELS; p++) {
        low[p] = wasm_i32x4_add(wasm_v128_load(bias), wasm_i32x4_splat(offsets[p]));
        high[p] = wasm_i32x4_add(wasm_v128_load(bias + 4), wasm_i32x4_splat(offsets[p]));
    }
    for (int k = 0; k < depth; k += 4, weights += 4 * FEREDGE_BLOCK) {
        const v128_t w_low = wasm_v128_xor(wasm_v128_load(weights), sign);
        const v128_t w_high = wasm_v128_xor(wasm_v128_load(weights + 16), sign);
        for (int p = 0; p < FEREDGE_PIXELS; p++) {
            const v128_t x = wasm_v128_load32_splat(patches + p * FEREDGE_DEPTH + k);
            low[p] = FEREDGE_DOT(low[p], x, w_low);
            high[p] = FEREDGE_DOT(high[p], x, w_high);
        }
    }
    for (int p = 0; p < FEREDGE_PIXELS; p++) {
        wasm_v128_store(sums + p * FEREDGE_BLOCK, low[p]);
        wasm_v128_store(sums + p * FEREDGE_BLOCK + 4, high[p]);
    }
}
#endif

#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__) && FEREDGE_DEPTH < 4096
#define FEREDGE_PIXELS 2

/* 4 inputs of two patches and two channels: each word that is loaded is used twice. Bytes 0 and 2 of a word, and 1 and
   3, become pairs of 16 bits, whose products are added in pairs. */
#define FEREDGE_STEP \
    "ldr %[odd1], [%[x], %[distance]]\n\tldr %[odd0], [%[x]], #4\n\tldr %[odd], [%[w]], #4\n\t" \
    "sxtb16 %[even0], %[odd0]\n\tsxtb16 %[even1], %[odd1]\n\tsxtb16 %[even], %[odd]\n\t" \
    "sxtb16 %[odd0], %[odd0], ror #8\n\tsxtb16 %[odd1], %[odd1], ror #8\n\tsxtb16 %[odd], %[odd], ror #8\n\t" \
    "smlad %[sum0], %[even0], %[even], %[sum0]\n\tsmlad %[sum2], %[even1], %[even], %[sum2]\n\t" \
    "smlad %[sum0], %[odd0], %[odd], %[sum0]\n\tsmlad %[sum2], %[odd1], %[odd], %[sum2]\n\t" \
    "ldr %[odd], [%[w]], #28\n\tsxtb16 %[even], %[odd]\n\tsxtb16 %[odd], %[odd], ror #8\n\t" \
    "smlad %[sum1], %[even0], %[even], %[sum1]\n\tsmlad %[sum3], %[even1], %[even], %[sum3]\n\t" \
    "smlad %[sum1], %[odd0], %[odd], %[sum1]\n\tsmlad %[sum3], %[odd1], %[odd], %[sum3]\n\t"
#define FEREDGE_STEPS(steps) \
    __asm__(steps \
        : [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2), [sum3] "+r"(sum3), [x] "+r"(x), [w] "+r"(w), \
        [even0] "=&r"(even0), [even1] "=&r"(even1), [odd0] "=&r"(odd0), [odd1] "=&r"(odd1), [even] "=&r"(even), \
        [odd] "=&r"(odd) \
        : [distance] "i"(FEREDGE_DEPTH) \
        : "memory")

static void feredge_multiply(
    const int8_t *patches, int depth, const int8_t *weights, const int32_t *bias, int32_t *sums)
{
    for (int i = 0; i < FEREDGE_BLOCK; i += 2, weights += 8) {
        const int8_t *x = patches, *w = weights, *const end = patches + depth / 16 * 16;
        int32_t sum0 = bias[i], sum1 = bias[i + 1], sum2 = sum0, sum3 = sum1;
        int32_t even0, even1, odd0, odd1, even, odd;
        while (x != end)
            FEREDGE_STEPS(FEREDGE_STEP FEREDGE_STEP FEREDGE_STEP FEREDGE_STEP);
        while (x != patches + depth)
            FEREDGE_STEPS(FEREDGE_STEP);
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
            const int8_t *x = patches + k, *y = x + FEREDGE_DEPTH;
            sum0 += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
            sum1 += y[0] * w[0] + y[1] * w[1] + y[2] * w[2] + y[3] * w[3];
        }
        sums[i] = sum0;
        sums[FEREDGE_BLOCK + i] = sum1;
    }
}
#endif

#ifndef FEREDGE_INPUT_OFFSET
#define FEREDGE_BLOCKS 1
#define FEREDGE_INPUT_OFFSET 0
#define FEREDGE_BIAS(bias, weight_sum) (bias)
#endif
