/* The sum of a run of numbers, in an order that depends on their count alone.
 *
 * At most 64 terms are added one after the other in `real`: RUN terms go to LANES
 * lanes, and the lanes are added in pairs.  The sums of the runs are added in double. */
#ifndef BATTEN_SUM_H
#define BATTEN_SUM_H

#include "kernel.h"

enum { LANES = 16, RUN = 1024 };

/* The sum of so many lanes, a constant, in pairs; only the first stays what it is called.  GCC 12 makes
 * a few instructions of it where it unrolls it, else a loop that waits for memory. */
#define SUM_OF_LANES(name, type)                                                            \
    static inline __attribute__((always_inline)) type name(type *lanes, const size_t count) \
    {                                                                                       \
        PRAGMA(GCC unroll 8)                                                                \
        for (size_t half = count / 2; half > 0; half /= 2) {                                \
            PRAGMA(omp simd)                                                                \
            for (size_t lane = 0; lane < half; lane++)                                      \
                lanes[lane] += lanes[lane + half];                                          \
        }                                                                                   \
        return lanes[0];                                                                    \
    }
SUM_OF_LANES(sum_lanes, real)
SUM_OF_LANES(sum_doubles, double)

static inline double sum_run(const real *x, size_t n, ptrdiff_t stride)
{
    double total = 0;
    for (size_t begin = 0; begin < n; begin += RUN) {
        const real *run = x + (ptrdiff_t)begin * stride;
        const size_t count = smaller(RUN, n - begin), whole = stride == 1 ? count / LANES * LANES : 0;
        real lanes[LANES] = {0}, rest = 0;
        for (size_t i = 0; i < whole; i += LANES)
            for (size_t lane = 0; lane < LANES; lane++)
                lanes[lane] += run[i + lane];
        for (size_t i = whole; i < count; i++)
            rest += run[(ptrdiff_t)i * stride];
        total += (double)sum_lanes(lanes, LANES) + rest;
    }
    return total;
}

/* total += the sum over a row of a term that says what it is of, `at`, in the same order. */
#define ADD_ROW(total, cols, term)                                              \
    do {                                                                        \
        for (size_t begin = 0; begin < (cols); begin += RUN) {                  \
            real lanes[LANES] = {0}, rest = 0;                                  \
            const size_t end = smaller(begin + RUN, cols);                      \
            size_t j = begin;                                                   \
            for (; j + LANES <= end; j += LANES) {                              \
                PRAGMA(omp simd)                                                \
                for (size_t lane = 0; lane < LANES; lane++) {                   \
                    const size_t at = j + lane;                                 \
                    lanes[lane] += term;                                        \
                }                                                               \
            }                                                                   \
            for (size_t at = j; at < end; at++)                                 \
                rest += term;                                                   \
            total += j > begin ? (double)sum_lanes(lanes, LANES) + rest : rest; \
        }                                                                       \
    } while (0)

/* total += the sum of a term that says what it is of, `at`, in double: what a float can square, a double can add. */
#define ADD_ALL(total, n, term)                           \
    do {                                                  \
        double lanes[LANES] = {0};                        \
        size_t i = 0;                                     \
        for (; i + LANES <= (n); i += LANES) {            \
            PRAGMA(omp simd)                              \
            for (size_t lane = 0; lane < LANES; lane++) { \
                const size_t at = i + lane;               \
                lanes[lane] += term;                      \
            }                                             \
        }                                                 \
        for (size_t at = i; at < (n); at++)               \
            total += term;                                \
        for (size_t lane = 0; lane < LANES; lane++)       \
            total += lanes[lane];                         \
    } while (0)

#endif
