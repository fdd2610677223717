/* Elementwise kernels from one expression each.
 *
 *     MAP(name, expression in x)                  y = f(x)
 *     MAP2(name, expression in x and y)           z = f(x, y), either may repeat
 *     GRADIENT(name, kept, expression in dy and kept)     dx = f(dy, kept)
 *
 * Expressions may also use the scalars a and b.  All operands follow a
 * batten_loop: its last axis is the row that the compiler vectorises when the
 * strides are one; the outer axes are counted like an odometer.  Rows are cut
 * into blocks of BLOCK elements, and threads take whole blocks, so the split
 * between vectors and left-over elements is the same for any team.  The output
 * may be one of the inputs, element for element. */
#ifndef BATTEN_ELEMENTWISE_H
#define BATTEN_ELEMENTWISE_H

#include "kernel.h"

typedef void row_function(real *z, const real *x, const real *y, size_t n, ptrdiff_t sz, ptrdiff_t sx, ptrdiff_t sy,
                          real a, real b);

/* Rows first .. last - 1 of the walk, from their begin-th element on. */
static void walk_rows(row_function *row, real *z, const real *x, const real *y, real a, real b, const batten_loop *loop,
                      size_t first, size_t last, size_t begin, size_t count)
{
    const size_t inner = loop->rank - 1;
    const ptrdiff_t sz = loop->stride[0][inner], sx = loop->stride[1][inner], sy = loop->stride[2][inner];
    size_t index[BATTEN_RANK], rest = first;
    z += (ptrdiff_t)begin * sz, x += (ptrdiff_t)begin * sx, y += (ptrdiff_t)begin * sy;
    for (size_t axis = inner; axis-- > 0; rest /= loop->shape[axis]) {
        index[axis] = rest % loop->shape[axis];
        z += (ptrdiff_t)index[axis] * loop->stride[0][axis];
        x += (ptrdiff_t)index[axis] * loop->stride[1][axis];
        y += (ptrdiff_t)index[axis] * loop->stride[2][axis];
    }
    for (size_t r = first; r < last; r++) {
        row(z, x, y, count, sz, sx, sy, a, b);
        for (size_t axis = inner; axis-- > 0;) {
            const ptrdiff_t back = ++index[axis] < loop->shape[axis] ? 0 : (ptrdiff_t)loop->shape[axis];
            z += (1 - back) * loop->stride[0][axis];
            x += (1 - back) * loop->stride[1][axis];
            y += (1 - back) * loop->stride[2][axis];
            if (!back)
                break;
            index[axis] = 0;
        }
    }
}

static void walk(row_function *row, real *z, const real *x, const real *y, double a, double b, const batten_loop *loop)
{
    const size_t n = loop->shape[loop->rank - 1];
    size_t rows = 1;
    for (size_t axis = 0; axis + 1 < loop->rank; axis++)
        rows *= loop->shape[axis];
    if (!rows || !n)
        return;
    /* Long rows are cut; short rows go in groups, so that a thread's place is worked out once a group. */
    const size_t blocks = blocks_of(n, BLOCK), group = blocks > 1 ? 1 : blocks_of(BLOCK, n);
    PARALLEL(rows * n, for (size_t piece = 0; piece < blocks_of(rows, group) * blocks; piece++) {
        const size_t first = piece / blocks * group, begin = piece % blocks * BLOCK;
        walk_rows(row, z, x, y, (real)a, (real)b, loop, first, smaller(first + group, rows),
                  begin, smaller(BLOCK, n - begin));
    });
}

/* z[i] = f(x[i], y[i]) along one row; with constant strides the compiler sees vectors. */
#define ROW(f, sz, sx, sy)                                   \
    do {                                                     \
        PRAGMA(omp simd)                                     \
        for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++)         \
            z[i * (sz)] = f(x[i * (sx)], y[i * (sy)], a, b); \
    } while (0)

#define ELEMENTWISE(name, rows, p, q, expression)                                                                     \
    static inline real name##_at(real p, real q, real a, real b)                                                      \
    {                                                                                                                 \
        (void)p, (void)q, (void)a, (void)b;                                                                           \
        return expression;                                                                                            \
    }                                                                                                                 \
    static void name##_row(real *z, const real *x, const real *y, size_t n, ptrdiff_t sz, ptrdiff_t sx, ptrdiff_t sy, \
                           real a, real b)                                                                            \
    {                                                                                                                 \
        rows(name##_at) else ROW(name##_at, sz, sx, sy);                                                              \
    }

#define ALIKE(f)                       \
    if (sz == 1 && sx == 1 && sy == 1) \
        ROW(f, 1, 1, 1);
#define REPEATED(f)                                          \
    ALIKE(f)                                                 \
    else if (sz == 1 && sx == 1 && sy == 0) ROW(f, 1, 1, 0); \
    else if (sz == 1 && sx == 0 && sy == 1) ROW(f, 1, 0, 1);

#define MAP(name, expression)                                                              \
    ELEMENTWISE(name, ALIKE, x, same, expression)                                          \
    void KERNEL(name)(real *y, const real *x, double a, double b, const batten_loop *loop) \
    {                                                                                      \
        walk(name##_row, y, x, x, a, b, loop);                                             \
    }
#define MAP2_ROWS(name, rows, p, q, expression)                                                           \
    ELEMENTWISE(name, rows, p, q, expression)                                                             \
    void KERNEL(name)(real *z, const real *x, const real *y, double a, double b, const batten_loop *loop) \
    {                                                                                                     \
        walk(name##_row, z, x, y, a, b, loop);                                                            \
    }
#define MAP2(name, expression) MAP2_ROWS(name, REPEATED, x, y, expression)
#define GRADIENT(name, kept, expression) MAP2_ROWS(name, ALIKE, dy, kept, expression)

#endif
