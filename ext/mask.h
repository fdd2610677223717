/* Masks that keep elements at random, one bit each.
 *
 * An element is dropped if a number below 1, of 64 random binary digits, is below p, which so is exact.  The digits
 * come one after the other, each for a unit of 2048 elements by one group of Philox blocks (philox.h), as long as p
 * has digits left and there are numbers that are equal to it so far: one digit for p = 1/2, twelve or so for most
 * others.  Digit d of unit u is group 64 u + d of the draw, so a unit's mask is a function of (key, call) and of its
 * place.
 *
 * Bits count as elements do, in the order of memory, and are set where an element is kept. */
#ifndef BATTEN_MASK_H
#define BATTEN_MASK_H

#include "bits.h"
#include "philox.h"

enum { NUMBERS = WORDS / 2 * LANES, UNIT = NUMBERS * PIECE, DIGITS = 64 };

/* With what probability elements are dropped. */
struct chance {
    uint64_t digits; /* of p, behind the binary point */
    uint64_t kept;   /* a piece before the first digit: all, unless p is 1 */
};

static inline struct chance chance_of(double p)
{
    return p < 1 ? (struct chance){(uint64_t)(p * 0x1p64), UINT64_MAX} : (struct chance){0, 0};
}

/* The bits of a unit, a piece of 64 elements a number. */
static inline void draw_unit(uint64_t kept[NUMBERS], struct chance chance, size_t unit, uint64_t key, uint64_t call)
{
    uint64_t equal[NUMBERS], any = UINT64_MAX;
    size_t group = unit * DIGITS;
    for (size_t i = 0; i < NUMBERS; i++)
        kept[i] = chance.kept, equal[i] = UINT64_MAX;
    for (uint64_t rest = chance.digits; rest && any; rest <<= 1) {
        uint64_t pairs[WORDS / 2][LANES] __attribute__((aligned(VBYTES)));
        philox_pairs(pairs, group++, key, call);
        const uint64_t *const random = (const uint64_t *)pairs, digit = rest >> 63 ? UINT64_MAX : 0;
        any = 0;
        PRAGMA(omp simd reduction(| : any))
        for (size_t i = 0; i < NUMBERS; i++) {
            const uint64_t unlike = equal[i] & (random[i] ^ digit);
            kept[i] &= ~(unlike & digit);
            equal[i] &= ~unlike;
            any |= equal[i];
        }
    }
}

#endif
