/* Dropout (Srivastava et al. 2014), inverted, with a mask of one bit an element.
 *
 *     y[i] = x[i] m[i],    m[i] = 0 with probability p, else scale
 *     dx[i] = dy[i] m[i]
 *
 * where scale is 1 / (1 - p) as a rule.  It is a product as in PyTorch, not a
 * choice: NaN and infinity in a dropped x give NaN, so that a broken network shows
 * at once and not in some steps only.
 *
 * An element is dropped if 16 random bits are below round(65536 p): p = 0 and p = 1
 * are exact, and between them p is off by at most 2^-17.  A group of sixteen Philox
 * blocks (philox.h) decides over 128 elements, in rows of sixteen: words 0 to 3,
 * the lower half of each before the upper one, lane by lane.  Elements count in the
 * order of memory; bit i % 8 of byte i / 8 of the mask is set where element i is
 * kept, so threads that take whole groups never share a byte. */
#include "philox.h"
#include "stream.h"

enum { GROUP = 8 * LANES, COST = 16 };

static const uint32_t BIT[LANES] = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                                    1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};

/* y = x times scale or nought, by the bits of one row; n <= LANES elements.  y may be x. */
static inline void keep(real *y, const real *x, uint32_t bits, real scale, size_t n)
{
    PRAGMA(omp simd)
    for (uint32_t lane = 0; lane < n; lane++)
        y[lane] = x[lane] * (bits & BIT[lane] ? scale : 0);
}

/* past: y is stored past the caches. */
static inline void keep_row(real *y, const real *x, uint32_t bits, real scale, size_t n, int past)
{
    if (n < LANES) {
        keep(y, x, bits, scale, n);
    } else if (past) {
        vec row[LANES / VLEN];
        keep((real *)row, x, bits, scale, LANES);
        for (size_t i = 0; i < LANES / VLEN; i++)
            stream(y + i * VLEN, row[i]);
    } else {
        keep(y, x, bits, scale, LANES);
    }
}

/* One bit for each lane that is kept: what a comparison of AVX-512 leaves, if one knows to ask for it. */
static inline uint32_t decide(const uint32_t word[LANES], int half, uint32_t threshold)
{
#if defined(__AVX512F__) && VBYTES == 64
    const __m512i random =
        _mm512_and_epi32(_mm512_srli_epi32(_mm512_loadu_si512(word), 16 * half), _mm512_set1_epi32(0xFFFF));
    return _mm512_cmpge_epu32_mask(random, _mm512_set1_epi32((int)threshold));
#else
    uint32_t bits = 0;
    PRAGMA(omp simd reduction(| : bits))
    for (uint32_t lane = 0; lane < LANES; lane++)
        bits |= (uint32_t)((word[lane] >> 16 * half & 0xFFFF) >= threshold) << lane;
    return bits;
#endif
}

/* The n elements of one group; where n is a constant, so is all that follows from it. */
static inline __attribute__((always_inline)) void drop_rows(real *y, uint8_t *mask, const real *x, size_t n,
                                                            uint32_t words[WORDS][LANES], uint32_t threshold,
                                                            real scale, int past)
{
    for (size_t i = 0; i < n; i += LANES) {
        uint32_t bits = decide(words[i / LANES / 2], i / LANES % 2, threshold);
        if (n - i < LANES)
            bits &= (1u << (n - i)) - 1; /* the last byte has no stray bits */
        mask[i / 8] = (uint8_t)bits;
        if (n - i > 8)
            mask[i / 8 + 1] = (uint8_t)(bits >> 8);
        keep_row(y + i, x + i, bits, scale, n - i, past);
    }
}

/* Elements first .. last - 1, whole groups but for the array's last one. */
static void drop_block(real *y, uint8_t *mask, const real *x, size_t first, size_t last, uint32_t threshold, real scale,
                       uint64_t key, uint64_t call, int past)
{
    for (size_t i = first; i < last; i += GROUP) {
        uint32_t words[WORDS][LANES];
        philox_group(words, i / GROUP, key, call);
        if (last - i >= GROUP)
            drop_rows(y + i, mask + i / 8, x + i, GROUP, words, threshold, scale, past);
        else
            drop_rows(y + i, mask + i / 8, x + i, last - i, words, threshold, scale, past);
    }
    if (past)
        stream_end();
}

/* y[n], mask[(n + 7) / 8] from x[n].  y may be x. */
void KERNEL(dropout)(real *y, uint8_t *mask, const real *x, size_t n, double p, double scale, uint64_t key,
                     uint64_t call)
{
    const uint32_t threshold = (uint32_t)(p * 65536 + 0.5);
    const int past = streams(y, n);
    PARALLEL(COST * n, for (size_t block = 0; block < blocks_of(n, BLOCK); block++)
        drop_block(y, mask, x, block * BLOCK, smaller(block * BLOCK + BLOCK, n), threshold, (real)scale, key, call,
                   past););
}

static void drop_block_backward(real *dx, const real *dy, const uint8_t *mask, size_t first, size_t last, real scale,
                                int past)
{
    for (size_t i = first; i < last; i += LANES) {
        const uint32_t bits = mask[i / 8] | (last - i > 8 ? (uint32_t)mask[i / 8 + 1] << 8 : 0);
        keep_row(dx + i, dy + i, bits, scale, last - i, past);
    }
    if (past)
        stream_end();
}

/* dx = dy m.  Forward was y = x m with the bits of m in mask, which is all that is kept.  dx may be dy. */
void KERNEL(dropout_backward)(real *dx, const real *dy, const uint8_t *mask, size_t n, double scale)
{
    const int past = streams(dx, n);
    PARALLEL(n, for (size_t block = 0; block < blocks_of(n, BLOCK); block++)
        drop_block_backward(dx, dy, mask, block * BLOCK, smaller(block * BLOCK + BLOCK, n), (real)scale, past););
}
