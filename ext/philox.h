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

/* words[w][lane]: word w of block 16 group + lane. */
static inline void philox_group(uint32_t words[WORDS][LANES], size_t group, uint64_t key, uint64_t call)
{
    const uint64_t first = (uint64_t)group * LANES;
    PRAGMA(omp simd)
    for (uint32_t lane = 0; lane < LANES; lane++) {
        const struct block counter = {
            {(uint32_t)first + lane, (uint32_t)(first >> 32), (uint32_t)call, (uint32_t)(call >> 32)}};
        const struct block block = philox(counter, (uint32_t)key, (uint32_t)(key >> 32));
        words[0][lane] = block.word[0];
        words[1][lane] = block.word[1];
        words[2][lane] = block.word[2];
        words[3][lane] = block.word[3];
    }
}

#endif
