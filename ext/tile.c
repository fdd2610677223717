/* The tile (tile.h). */
#include "tile.h"
#include "elementary.h"
#include <string.h>

static inline void ask(struct ahead *next)
{
    for (size_t i = 0; i < next->pace && next->rows; i++) {
        __builtin_prefetch(next->x + next->at, 0, 2);
        next->at += LINE;
        if (next->at >= next->length) {
            next->x += next->stride;
            next->at = 0;
            next->rows--;
        }
    }
}

/* For `rows` rows and `vectors` vectors of columns.
 *
 * Where a is packed, the memory is asked between the steps for the rows of c, one
 * after the other, and for what comes next: all at once they would hold the tile up.
 *
 * The accumulators have names because GCC 12 unrolls the loops over an array of
 * them too late to keep it in registers: left to itself it writes the tile to the
 * stack at every step.  lane, rows and vectors are constants wherever this is inlined,
 * so the unused names cost nothing. */
#define ZERO(i) vec left##i = {0}, right##i = {0};
#define ADD(i)                      \
    if (i < rows) {                 \
        const real x = a[i * lane]; \
        left##i += x * left;        \
        right##i += x * right;      \
    }
#define STORE(i)                                        \
    if (i < rows) {                                     \
        loose *const y = (loose *)(t.c + i * t.c_row);  \
        y[0] = t.scale * y[0] + t.alpha * left##i;      \
        if (vectors == 2)                               \
            y[1] = t.scale * y[1] + t.alpha * right##i; \
    }
/* 0 + is for a sum of nought, which shall not be -0 where alpha is negative. */
#define STORE_NEW(i)                                   \
    if (i < rows) {                                    \
        loose *const y = (loose *)(t.c + i * t.c_row); \
        y[0] = 0 + t.alpha * left##i;                  \
        if (vectors == 2)                              \
            y[1] = 0 + t.alpha * right##i;             \
    }
static inline __attribute__((always_inline)) void multiply_tile(const struct tile *all, const ptrdiff_t lane,
                                                                const int rows, const int vectors)
{
    const struct tile t = *all;
    const int asks = lane == 1 || t.next->rows;
    const size_t part = asks ? blocks_of(t.depth, rows) : t.run ? t.run : t.depth;
    const real *a = t.a.x, *b = t.b.x, *row = t.c;
    EACH_ROW(ZERO)
    for (size_t rest = t.depth, steps; rest; rest -= steps) {
        steps = smaller(part, rest);
        if (asks) {
            __builtin_prefetch(row, 1, 2);
            __builtin_prefetch(row + vectors * VLEN - 1, 1, 2);
            row += t.c_row;
            ask(t.next);
        }
        for (size_t p = 0; p < steps; p++, a += t.a.step, b += t.b.step) {
            const loose *const columns = (const loose *)b;
            const vec left = columns[0], right = columns[vectors - 1];
            EACH_ROW(ADD)
        }
        if (lane != 1)
            a += t.skip;
    }
    if (t.scale == 0) {
        EACH_ROW(STORE_NEW)
    } else {
        EACH_ROW(STORE)
    }
}

/* The same for as many rows as there are.  Rows of a that are next to each other, as in a
 * packed panel, need one address instead of one each. */
#define CASE(i)                                          \
    case i + 1:                                          \
        if (t->a.lane == 1)                              \
            multiply_tile(t, 1, i + 1, vectors);         \
        else                                             \
            multiply_tile(t, t->a.lane, i + 1, vectors); \
        break;
static inline __attribute__((always_inline)) void multiply_rows(const struct tile *t, const int vectors)
{
    switch (t->rows) {
        EACH_ROW(CASE)
    }
}

/* Two functions, as GCC takes long over one. */
static void multiply_wide(const struct tile *t)
{
    multiply_rows(t, 2);
}

static void multiply_narrow(const struct tile *t)
{
    multiply_rows(t, 1);
}

static void multiply_whole(const struct tile *t)
{
    if (t->columns > VLEN)
        multiply_wide(t);
    else
        multiply_narrow(t);
}

/* Columns that do not fill their vectors are computed in a copy of c. */
static void multiply_part(const struct tile *t)
{
    real copy[MR * NR] __attribute__((aligned(VBYTES)));
    struct tile there = *t;
    there.c = copy;
    there.c_row = NR;
    for (size_t r = 0; t->scale != 0 && r < t->rows; r++)
        memcpy(copy + r * NR, t->c + (ptrdiff_t)r * t->c_row, t->columns * sizeof(real));
    multiply_whole(&there);
    for (size_t r = 0; r < t->rows; r++)
        memcpy(t->c + (ptrdiff_t)r * t->c_row, copy + r * NR, t->columns * sizeof(real));
}

void KERNEL(tile)(const struct tile *t)
{
    if (t->columns == width_of(t->columns))
        multiply_whole(t);
    else
        multiply_part(t);
}

static inline void activate(real *y, size_t n, batten_activation activation)
{
    switch (activation) {
    case BATTEN_IDENTITY:
        break;
    case BATTEN_RELU:
        PRAGMA(omp simd)
        for (size_t j = 0; j < n; j++)
            y[j] = y[j] < 0 ? 0 : y[j];
        break;
    case BATTEN_SIGMOID:
        PRAGMA(omp simd)
        for (size_t j = 0; j < n; j++)
            y[j] = sigmoid_of(y[j]);
        break;
    case BATTEN_TANH:
        PRAGMA(omp simd)
        for (size_t j = 0; j < n; j++)
            y[j] = tanh_of(y[j]);
        break;
    }
}

/* Bias and activation of a row of a tile.  Inlined where n is a constant, its loops are vectors. */
static inline __attribute__((always_inline)) void finish_row(real *y, const real *restrict bias, size_t n,
                                                             batten_activation activation)
{
    if (bias)
        for (size_t j = 0; j < n; j++)
            y[j] += bias[j];
    activate(y, n, activation);
}

void KERNEL(finish)(const struct tile *t, const real *bias, batten_activation activation)
{
    for (size_t r = 0; r < t->rows; r++)
        if (t->columns == NR)
            finish_row(t->c + (ptrdiff_t)r * t->c_row, bias, NR, activation);
        else
            finish_row(t->c + (ptrdiff_t)r * t->c_row, bias, t->columns, activation);
}
