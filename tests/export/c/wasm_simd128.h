/* The WebAssembly SIMD intrinsics of the kernels, lane by lane, for this CPU. RELAXED_DOT chooses what an engine does
   with the second operand of the relaxed dot product: 0 unsigned, 1 signed, 2 unsigned with saturated sums of two, 3
   signed with wrapped ones, as V8 does with AVX-VNNI, Arm's dot product, AVX2, and Arm without it. */
#pragma once
#include <stdint.h>
#include <string.h>

typedef union {
    int8_t b[16];
    int16_t h[8];
    int32_t w[4];
    float f[4];
} v128_t;

#define LANES(count, expression) \
    v128_t r; \
    for (int i = 0; i < (count); i++) \
        expression; \
    return r

static inline v128_t wasm_v128_load(const void *p) { v128_t r; memcpy(&r, p, 16); return r; }
static inline void wasm_v128_store(void *p, v128_t a) { memcpy(p, &a, 16); }
static inline v128_t wasm_v128_load32_splat(const void *p) { int32_t x; memcpy(&x, p, 4); LANES(4, r.w[i] = x); }
static inline void wasm_v128_store64_lane(void *p, v128_t a, int lane) { memcpy(p, a.b + 8 * lane, 8); }
static inline v128_t wasm_v128_xor(v128_t a, v128_t b) { LANES(4, r.w[i] = a.w[i] ^ b.w[i]); }
static inline v128_t wasm_i16x8_load8x8(const void *p) { const int8_t *x = p; LANES(8, r.h[i] = x[i]); }
static inline v128_t wasm_i16x8_extend_low_i8x16(v128_t a) { LANES(8, r.h[i] = a.b[i]); }
static inline v128_t wasm_i8x16_splat(int8_t x) { LANES(16, r.b[i] = x); }
static inline v128_t wasm_i32x4_splat(int32_t x) { LANES(4, r.w[i] = x); }
static inline v128_t wasm_i32x4_add(v128_t a, v128_t b) { LANES(4, r.w[i] = a.w[i] + b.w[i]); }
static inline v128_t wasm_i32x4_sub(v128_t a, v128_t b) { LANES(4, r.w[i] = a.w[i] - b.w[i]); }
static inline v128_t wasm_i32x4_dot_i16x8(v128_t a, v128_t b)
{
    LANES(4, r.w[i] = a.h[2 * i] * b.h[2 * i] + a.h[2 * i + 1] * b.h[2 * i + 1]);
}
static inline v128_t wasm_f32x4_splat(float x) { LANES(4, r.f[i] = x); }
static inline v128_t wasm_f32x4_convert_i32x4(v128_t a) { LANES(4, r.f[i] = (float)a.w[i]); }
static inline v128_t wasm_f32x4_mul(v128_t a, v128_t b) { LANES(4, r.f[i] = a.f[i] * b.f[i]); }
static inline v128_t wasm_f32x4_add(v128_t a, v128_t b) { LANES(4, r.f[i] = a.f[i] + b.f[i]); }
static inline v128_t wasm_f32x4_pmin(v128_t a, v128_t b) { LANES(4, r.f[i] = b.f[i] < a.f[i] ? b.f[i] : a.f[i]); }
static inline v128_t wasm_f32x4_pmax(v128_t a, v128_t b) { LANES(4, r.f[i] = a.f[i] < b.f[i] ? b.f[i] : a.f[i]); }
static inline int32_t clamp(int32_t x, int32_t low, int32_t high) { return x < low ? low : x > high ? high : x; }
static inline v128_t wasm_i16x8_narrow_i32x4(v128_t a, v128_t b)
{
    LANES(8, r.h[i] = (int16_t)clamp(i < 4 ? a.w[i] : b.w[i - 4], -32768, 32767));
}
static inline v128_t wasm_i8x16_narrow_i16x8(v128_t a, v128_t b)
{
    LANES(16, r.b[i] = (int8_t)clamp(i < 8 ? a.h[i] : b.h[i - 8], -128, 127));
}
static inline v128_t shuffle(v128_t a, v128_t b, const int *from)
{
    LANES(4, r.w[i] = from[i] < 4 ? a.w[from[i]] : b.w[from[i] - 4]);
}
#define wasm_i32x4_shuffle(a, b, ...) shuffle(a, b, (const int[]){__VA_ARGS__})
#define wasm_i8x16_const(...) ((v128_t){.b = {__VA_ARGS__}})
#define wasm_i8x16_const_splat wasm_i8x16_splat
#define wasm_i32x4_const_splat wasm_i32x4_splat
#define wasm_f32x4_const_splat wasm_f32x4_splat
#define wasm_i32x4_extract_lane(a, lane) ((a).w[lane])

static inline int32_t pair(int32_t sum)
{
    return RELAXED_DOT == 2 ? clamp(sum, -32768, 32767) : RELAXED_DOT == 3 ? (int16_t)sum : sum;
}
static inline v128_t wasm_i32x4_relaxed_dot_i8x16_i7x16_add(v128_t a, v128_t b, v128_t sum)
{
    int32_t products[16];
    for (int i = 0; i < 16; i++)
        products[i] = a.b[i] * (RELAXED_DOT % 2 ? b.b[i] : (uint8_t)b.b[i]);
    LANES(4, r.w[i] = sum.w[i] + pair(products[4 * i] + products[4 * i + 1]) + pair(products[4 * i + 2] + products[4 * i + 3]));
}
