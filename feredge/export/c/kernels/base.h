/* What all kernels share. Requires C99 or C++11, and int8_t in two's complement with arithmetic right shifts. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "expected a little-endian target, found a big-endian one"
#endif
#if defined(__FAST_MATH__)
#error "expected exact float32 arithmetic, found -ffast-math"
#endif

#if defined(__GNUC__)
#define FEREDGE_COPY __builtin_memcpy /* of a few bytes: inlined, also with -ffreestanding */
#define FEREDGE_ALIGNED __attribute__((aligned(16)))
#define FEREDGE_INLINE static inline __attribute__((unused)) /* not every network and target needs every one */
#elif defined(_MSC_VER)
#define FEREDGE_COPY memcpy
#define FEREDGE_ALIGNED __declspec(align(16))
#define FEREDGE_INLINE static __inline
#else
#define FEREDGE_COPY memcpy
#define FEREDGE_ALIGNED
#define FEREDGE_INLINE static inline
#endif

#define FEREDGE_BLOCK 8  /* output channels whose weights are stored together */
#define FEREDGE_CHUNK 32 /* elements of an element-wise operation that are computed before any is stored */

FEREDGE_INLINE int32_t feredge_clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}
