/* Bits that say something of elements: bit i % 8 of byte i / 8 says it of element i.  They are taken in pieces of 64.
 */
#ifndef BATTEN_BITS_H
#define BATTEN_BITS_H

#include "kernel.h"
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

enum { PIECE = 64 };

/* A vector anywhere, and one of as many truths, each of all bits or none. */
typedef real unaligned __attribute__((vector_size(VBYTES), aligned(sizeof(real)), may_alias));
typedef __typeof__(__builtin_choose_expr(sizeof(real) == 4, (int32_t)0, (int64_t)0)) integer;
typedef integer truths __attribute__((vector_size(VBYTES)));

/* x in the lanes whose bits are set, else nought. */
static inline vec those(vec x, uint64_t bits)
{
#if defined(__AVX512F__) && VBYTES == 64
    return sizeof(real) == 4 ? (vec)_mm512_maskz_mov_epi32((__mmask16)bits, (__m512i)x)
                             : (vec)_mm512_maskz_mov_epi64((__mmask8)bits, (__m512i)x);
#else
    static const integer BIT[] = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                                  1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
    truths bit;
    memcpy(&bit, BIT, sizeof bit);
    return (vec)((truths)x & ((((truths){0} + (integer)bits) & bit) == bit));
#endif
}

/* A bit for each lane that is true. */
static inline uint64_t bits_of(truths lanes)
{
#if defined(__AVX512DQ__) && VBYTES == 64
    return sizeof(real) == 4 ? _mm512_movepi32_mask((__m512i)lanes) : _mm512_movepi64_mask((__m512i)lanes);
#elif defined(__AVX2__) && VBYTES == 32
    return (uint32_t)(sizeof(real) == 4 ? _mm256_movemask_ps((__m256)lanes) : _mm256_movemask_pd((__m256d)lanes));
#elif defined(__SSE2__) && VBYTES == 16
    return (uint32_t)(sizeof(real) == 4 ? _mm_movemask_ps((__m128)lanes) : _mm_movemask_pd((__m128d)lanes));
#else
    uint64_t bits = 0;
    for (size_t i = 0; i < VLEN; i++)
        bits |= (uint64_t)(lanes[i] & 1) << i;
    return bits;
#endif
}

/* The bits of n <= 16 elements from one anywhere, or of a whole piece, and others above them. */
static inline uint64_t bits_at(const uint8_t *mask, size_t first, size_t n)
{
    const size_t last = (first + n - 1) / 8;
    uint64_t bits = mask[first / 8];
    if (n == PIECE) {
        memcpy(&bits, mask + first / 8, sizeof bits);
        return bits >> first % 8 | (uint64_t)mask[last] << 1 << (63 - first % 8);
    }
    if (n > 8)
        bits |= (uint64_t)mask[first / 8 + 1] << 8 | (uint64_t)mask[last] << 16;
    else
        bits |= (uint64_t)mask[last] << 8;
    return bits >> first % 8;
}

/* The bits of n <= PIECE elements, and their place in a mask. */
static inline uint64_t load_bits(const uint8_t *mask, size_t n)
{
    uint64_t bits = 0;
    if (n == PIECE) /* a single instruction, where the size is known */
        memcpy(&bits, mask, sizeof bits);
    else
        memcpy(&bits, mask, blocks_of(n, 8));
    return bits;
}

static inline void store_bits(uint8_t *mask, uint64_t bits, size_t n)
{
    if (n == PIECE) {
        memcpy(mask, &bits, sizeof bits);
    } else {
        bits &= ((uint64_t)1 << n) - 1; /* the last byte has no stray bits */
        memcpy(mask, &bits, blocks_of(n, 8));
    }
}

#endif
