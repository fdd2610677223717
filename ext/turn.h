/* Turning squares of numbers: how rows that lie in memory become columns. */
#ifndef BATTEN_TURN_H
#define BATTEN_TURN_H

#include "tile.h"

/* EACH_LANE(DO) is DO(0), DO(1), ... for every element of a vector. */
#define LANES_2(DO, i) DO(i), DO(i + 1)
#define LANES_4(DO, i) LANES_2(DO, i), LANES_2(DO, i + 2)
#define LANES_8(DO, i) LANES_4(DO, i), LANES_4(DO, i + 4)
#define LANES_16(DO, i) LANES_8(DO, i), LANES_8(DO, i + 8)
#define LANES_OF(n) LANES_##n
#define LANES(n) LANES_OF(n)
#define EACH_LANE(DO) LANES(VLEN)(DO, 0)

/* Turns a square of numbers, so that its columns become rows: for W = 1, 2, 4, ... all
 * pairs of rows W apart exchange the elements that are W apart. */
#define UPPER(lane) ((lane) & W ? VLEN + (lane) - W : (lane))
#define LOWER(lane) ((lane) & W ? VLEN + (lane) : ((lane) + W) % (2 * VLEN))
#define EXCHANGE(w)                                                                             \
    if (w < VLEN) {                                                                             \
        enum { W = w };                                                                         \
        PRAGMA(GCC unroll 16)                                                                   \
        for (int i = 0; i < VLEN; i++)                                                          \
            if (!(i & W)) {                                                                     \
                const vec upper = rows[i], lower = rows[(i + W) % VLEN];                        \
                rows[i] = __builtin_shufflevector(upper, lower, EACH_LANE(UPPER));              \
                rows[(i + W) % VLEN] = __builtin_shufflevector(upper, lower, EACH_LANE(LOWER)); \
            }                                                                                   \
    }
static inline __attribute__((always_inline)) void turn(vec *rows)
{
    EXCHANGE(1)
    EXCHANGE(2)
    EXCHANGE(4)
    EXCHANGE(8)
}

#endif
