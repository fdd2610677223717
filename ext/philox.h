/* Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw
 * ("Parallel random numbers: as easy as 1, 2, 3", 2011).
 *
 * A block of four 32-bit words is a pure function of a 128-bit counter and a
 * 64-bit key: ten rounds of two multiplications that are as good as random.  There
 * is no state to carry from one block to the next, so any thread can make any part
 * of a stream.
 *
 * Here the key is the seed and the counter is (block, call): each draw of an array
 * is one call, and its blocks are numbered from nought.  Blocks are made sixteen at
 * a time, one in each lane of the vectors; sixteen whatever the processor's width,
 * as the order of the elements must not depend on it. */
#ifndef BATTEN_PHILOX_H
#define BATTEN_PHILOX_H

#include "kernel.h"
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { LANES = 16, WORDS = 4, ROUNDS = 10 };

struct block {
    uint32_t word[WORDS];
};

static inline struct block philox(struct block x, uint32_t key0, uint32_t key1)
{
    PRAGMA(GCC unroll 10)
    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t a = (uint64_t)0xD2511F53 * x.word[0], b = (uint64_t)0xCD9E8D57 * x.word[2];
        x = (struct block){
            {(uint32_t)(b >> 32) ^ x.word[1] ^ key0, (uint32_t)b, (uint32_t)(a >> 32) ^ x.word[3] ^ key1, (uint32_t)a}};
        key0 += 0x9E3779B9;
        key1 += 0xBB67AE85;
    }
    return x;
}

/* A vector of numbers below 2^32 that may have anything above these bits, as products do,
 * so that nothing has to be cut off; and one of twice as many words, which are their lower halves. */
typedef uint64_t wide __attribute__((vector_size(VBYTES)));
typedef uint32_t narrow __attribute__((vector_size(VBYTES), aligned(4), may_alias));
enum { WIDE = VBYTES / 8, NARROW = VBYTES / 4 };

/* Where they are in two vectors of `wide`. */
#if VBYTES == 64
#define LOWER_HALVES 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#elif VBYTES == 32
#define LOWER_HALVES 0, 2, 4, 6, 8, 10, 12, 14
#else
#define LOWER_HALVES 0, 2, 4, 6
#endif

/* The products of 32 bits each with a factor.  GCC multiplies 64 bits where it is not told, which NEON
 * cannot but one by one. */
static inline wide multiplied(wide x, uint32_t factor)
{
#if defined(__AVX512F__) && VBYTES == 64
    return (wide)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi64(factor));
#elif defined(__AVX2__) && VBYTES == 32
    return (wide)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(factor));
#elif defined(__SSE2__) && VBYTES == 16
    return (wide)_mm_mul_epu32((__m128i)x, _mm_set1_epi64x(factor));
#elif defined(__aarch64__)
    return (wide)vmull_u32(vmovn_u64((uint64x2_t)x), vdup_n_u32(factor));
#else
    return (x & 0xFFFFFFFF) * factor;
#endif
}

/* x[w][lane]: word w of block first + lane, with anything above it. */
static inline void philox_lanes(wide x[WORDS], uint64_t first, uint64_t key, uint64_t call)
{
    static const uint64_t LANE[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    wide zero = {0}, x0, x1 = zero + (first >> 32), x2 = zero + (uint32_t)call, x3 = zero + (call >> 32);
    memcpy(&x0, LANE, sizeof x0);
    x0 += first;
    uint32_t key0 = (uint32_t)key, key1 = (uint32_t)(key >> 32);
    PRAGMA(GCC unroll 10)
    for (int round = 0; round < ROUNDS; round++) {
        const wide a = multiplied(x0, 0xD2511F53), b = multiplied(x2, 0xCD9E8D57);
        x0 = b >> 32 ^ x1 ^ key0, x1 = b;
        x2 = a >> 32 ^ x3 ^ key1, x3 = a;
        key0 += 0x9E3779B9;
        key1 += 0xBB67AE85;
    }
    x[0] = x0, x[1] = x1, x[2] = x2, x[3] = x3;
}

/* words[w][lane]: word w of block 16 group + lane.  They are stored by whole vectors: a load of one that was stored
 * by halves has to wait until both are in the cache. */
static inline void philox_group(uint32_t words[WORDS][LANES], size_t group, uint64_t key, uint64_t call)
{
    PRAGMA(GCC unroll 4)
    for (size_t begin = 0; begin < LANES; begin += NARROW) {
        const uint64_t first = (uint64_t)group * LANES + begin;
        wide x[WORDS], y[WORDS];
        philox_lanes(x, first, key, call);
        philox_lanes(y, first + WIDE, key, call);
        PRAGMA(GCC unroll 4)
        for (int w = 0; w < WORDS; w++)
            *(narrow *)&words[w][begin] = __builtin_shufflevector((narrow)x[w], (narrow)y[w], LOWER_HALVES);
    }
}

/* pairs[w][lane]: words 2 w and 2 w + 1 of block 16 group + lane, the latter in the upper half. */
static inline void philox_pairs(uint64_t pairs[WORDS / 2][LANES], size_t group, uint64_t key, uint64_t call)
{
    PRAGMA(GCC unroll 8)
    for (size_t begin = 0; begin < LANES; begin += WIDE) {
        wide x[WORDS];
        philox_lanes(x, (uint64_t)group * LANES + begin, key, call);
        PRAGMA(GCC unroll 2)
        for (int w = 0; w < WORDS / 2; w++)
            *(wide *)&pairs[w][begin] = (x[2 * w] & 0xFFFFFFFF) | x[2 * w + 1] << 32;
    }
}

#endif
