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

enum { GROUP = 8 * LANES, COST = 16 };

/* y = x times scale or nought, by the bits of one row; n <= LANES elements.  y may be x. */
static inline void keep(real *y, const real *x, uint32_t bits, real scale, size_t n)
{
    PRAGMA(omp simd)
    for (uint32_t lane = 0; lane < n; lane++)
        y[lane] = x[lane] * (bits >> lane & 1 ? scale : 0);
}

static inline void keep_row(real *y, const real *x, uint32_t bits, real scale, size_t n)
{
    if (n >= LANES)
        keep(y, x, bits, scale, LANES);
    else
        keep(y, x, bits, scale, n);
}

/* One bit for each lane that is kept. */
static inline uint32_t decide(const uint32_t word[LANES], int half, uint32_t threshold)
{
    uint32_t bits = 0;
    PRAGMA(omp simd reduction(| : bits))
    for (uint32_t lane = 0; lane < LANES; lane++)
        bits |= (uint32_t)((word[lane] >> 16 * half & 0xFFFF) >= threshold) << lane;
    return bits;
}

static void drop_group(real *y, uint8_t *mask, const real *x, size_t n, size_t group, uint32_t threshold, real scale,
                       uint64_t key, uint64_t call)
{
    uint32_t words[WORDS][LANES];
    philox_group(words, group, key, call);
    for (size_t i = group * GROUP, row = 0; i < n && row < 2 * WORDS; i += LANES, row++) {
        uint32_t bits = decide(words[row / 2], row % 2, threshold);
        if (n - i < LANES)
            bits &= (1u << (n - i)) - 1; /* the last byte has no stray bits */
        mask[i / 8] = (uint8_t)bits;
        if (n - i > 8)
            mask[i / 8 + 1] = (uint8_t)(bits >> 8);
        keep_row(y + i, x + i, bits, scale, n - i);
    }
}

/* y[n], mask[(n + 7) / 8] from x[n].  y may be x. */
void KERNEL(dropout)(real *y, uint8_t *mask, const real *x, size_t n, double p, double scale, uint64_t key,
                     uint64_t call)
{
    const uint32_t threshold = (uint32_t)(p * 65536 + 0.5);
    PARALLEL(COST * n, for (size_t group = 0; group < blocks_of(n, GROUP); group++)
        drop_group(y, mask, x, n, group, threshold, (real)scale, key, call););
}

/* dx = dy m.  Forward was y = x m with the bits of m in mask, which is all that is kept.  dx may be dy. */
void KERNEL(dropout_backward)(real *dx, const real *dy, const uint8_t *mask, size_t n, double scale)
{
    PARALLEL(n, for (size_t row = 0; row < blocks_of(n, LANES); row++) {
        const size_t i = row * LANES;
        const uint32_t bits = mask[i / 8] | (n - i > 8 ? (uint32_t)mask[i / 8 + 1] << 8 : 0);
        keep_row(dx + i, dy + i, bits, (real)scale, n - i);
    });
}
