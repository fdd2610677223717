/* Elementwise kernels from one expression each.
 *
 *     MAP(name, expression in x)                          y = f(x)
 *     MAP2(name, expression in x and y)                   z = f(x, y), either may repeat
 *     GRADIENT(name, kept, expression in dy and kept)     dx = f(dy, kept)
 *     MAP4(name, p, q, u, v, expression in these)         z = f(p, q, u, v), any may repeat
 *
 * Expressions may also use the scalars a and b.  All operands follow a
 * batten_loop: its last axis is the row, the outer axes are counted like an
 * odometer.  The walk is cut into pieces (batten_loop_cut), and threads take whole
 * ones, so the split between vectors and left-over elements is the same for any
 * team.  The output may be one of the inputs, element for element.
 *
 * There is one loop for each expression, over neighbours and of whole vectors, which the
 * compiler vectorises.  An operand that lies otherwise is packed first, a chunk of a row at
 * a time, into a buffer that stays in the first-level cache.  What is left over of a vector
 * is filled up to one: so an element's result does not depend on its place, as it might if
 * other instructions came to its turn, and each expression is compiled once. */
#ifndef BATTEN_ELEMENTWISE_H
#define BATTEN_ELEMENTWISE_H

#include "sum.h"
#include <string.h>

enum { CHUNK = RUN };

/* z[i] = f(in[0][i], in[1][i], ...; a, b), i < n <= CHUNK, whole vectors */
typedef void chunk_function(real *z, const real *const *in, size_t n, real a, real b);

/* Where a walk stands. */
struct place {
    size_t rows, count; /* rows of the piece that are still to come, this one included; elements of each */
    size_t index[BATTEN_RANK];
    ptrdiff_t offset[1 + BATTEN_INPUTS]; /* of the row's first element, for each operand */
};

static inline void start_piece(struct place *at, const batten_loop *loop, const batten_cut *cut, size_t piece)
{
    const size_t inner = loop->rank - 1, first = piece / cut->blocks * cut->group;
    const size_t begin = piece % cut->blocks * BLOCK;
    at->rows = smaller(cut->group, cut->rows - first);
    at->count = smaller(BLOCK, cut->length - begin);
    for (size_t k = 0; k <= loop->inputs; k++)
        at->offset[k] = (ptrdiff_t)begin * loop->stride[k][inner];
    for (size_t axis = inner, rest = first; axis-- > 0; rest /= loop->shape[axis]) {
        at->index[axis] = rest % loop->shape[axis];
        for (size_t k = 0; k <= loop->inputs; k++)
            at->offset[k] += (ptrdiff_t)at->index[axis] * loop->stride[k][axis];
    }
}

/* On to the next row; false after the last one. */
static inline int next_row(struct place *at, const batten_loop *loop)
{
    if (!--at->rows)
        return 0;
    for (size_t axis = loop->rank - 1; axis-- > 0;) {
        const ptrdiff_t back = ++at->index[axis] < loop->shape[axis] ? 0 : (ptrdiff_t)loop->shape[axis];
        for (size_t k = 0; k <= loop->inputs; k++)
            at->offset[k] += (1 - back) * loop->stride[k][axis];
        if (!back)
            break;
        at->index[axis] = 0;
    }
    return 1;
}

/* An operand's elements beside each other: where they lie, or in a buffer. */
struct packed {
    const real *repeated; /* what fills the buffer's first `count` elements, if it is one number */
    size_t count;
    real buffer[CHUNK];
};

static inline const real *pack(struct packed *p, const real *x, size_t n, ptrdiff_t stride)
{
    if (stride == 1)
        return x;
    if (stride == 0 && p->repeated == x && p->count >= n)
        return p->buffer;
    p->repeated = stride == 0 ? x : NULL;
    p->count = n;
    if (stride == 0)
        for (size_t i = 0; i < n; i++)
            p->buffer[i] = *x;
    else
        for (size_t i = 0; i < n; i++)
            p->buffer[i] = x[(ptrdiff_t)i * stride];
    return p->buffer;
}

/* The same for less than a vector. */
static void apply_to_rest(chunk_function *f, real *z, const real *const *in, size_t inputs, size_t n, real a, real b)
{
    real result[VLEN], operands[BATTEN_INPUTS][VLEN] = {0};
    const real *filled[BATTEN_INPUTS];
    for (size_t k = 0; k < inputs; k++)
        filled[k] = memcpy(operands[k], in[k], n * sizeof(real));
    f(result, filled, VLEN, a, b);
    memcpy(z, result, n * sizeof(real));
}

/* And for any n. */
static void apply(chunk_function *f, real *z, const real *in[], size_t inputs, size_t n, real a, real b)
{
    const size_t whole = n / VLEN * VLEN;
    if (whole)
        f(z, in, whole, a, b);
    if (whole == n)
        return;
    for (size_t k = 0; k < inputs; k++)
        in[k] += whole;
    apply_to_rest(f, z + whole, in, inputs, n - whole, a, b);
}

/* Writes a piece of z or, where z is NULL, returns the sum of what would be written. */
ONCE double walk_piece(chunk_function *f, real *z, const real *const *x, real a, real b, const batten_loop *loop,
                       const batten_cut *cut, size_t piece)
{
    const size_t inner = loop->rank - 1;
    const ptrdiff_t stride = loop->stride[0][inner];
    struct packed operands[BATTEN_INPUTS];
    const real *in[BATTEN_INPUTS];
    real results[CHUNK];
    struct place at;
    size_t waiting = 0; /* results that are still to be summed */
    double total = 0;
    for (size_t k = 0; k < loop->inputs; k++)
        operands[k].repeated = NULL;
    start_piece(&at, loop, cut, piece);
    do {
        for (size_t begin = 0, n; begin < at.count; begin += n) {
            n = smaller(CHUNK - waiting, at.count - begin);
            for (size_t k = 0; k < loop->inputs; k++) {
                const ptrdiff_t step = loop->stride[k + 1][inner];
                in[k] = pack(&operands[k], x[k] + at.offset[k + 1] + (ptrdiff_t)begin * step, n, step);
            }
            real *const to = z ? z + at.offset[0] + (ptrdiff_t)begin * stride : NULL;
            apply(f, z && stride == 1 ? to : results + waiting, in, loop->inputs, n, a, b);
            if (z && stride != 1)
                for (size_t i = 0; i < n; i++)
                    to[(ptrdiff_t)i * stride] = results[i];
            if (!z && (waiting += n) == CHUNK) {
                total += sum_run(results, CHUNK, 1);
                waiting = 0;
            }
        }
    } while (next_row(&at, loop));
    return total + sum_run(results, waiting, 1);
}

static void walk(chunk_function *f, real *z, const real *const *x, double a, double b, const batten_loop *loop)
{
    const batten_cut cut = batten_loop_cut(loop);
    PARALLEL(cut.rows * cut.length, for (size_t piece = 0; piece < cut.pieces; piece++)
                                        walk_piece(f, z, x, (real)a, (real)b, loop, &cut, piece););
}

#define MAP(name, expression)                                                              \
    static void name##_chunk(real *z, const real *const *in, size_t n, real a, real b)     \
    {                                                                                      \
        (void)a, (void)b;                                                                  \
        EACH_OF_WHOLE(i, n) {                                                              \
            const real x = in[0][i];                                                       \
            z[i] = expression;                                                             \
        }                                                                                  \
    }                                                                                      \
    void KERNEL(name)(real *y, const real *x, double a, double b, const batten_loop *loop) \
    {                                                                                      \
        walk(name##_chunk, y, (const real *[]){x}, a, b, loop);                            \
    }

#define OF_TWO(name, p, q, expression)                                                                    \
    static void name##_chunk(real *z, const real *const *in, size_t n, real a, real b)                    \
    {                                                                                                     \
        (void)a, (void)b;                                                                                 \
        EACH_OF_WHOLE(i, n) {                                                                             \
            const real p = in[0][i], q = in[1][i];                                                        \
            z[i] = expression;                                                                            \
        }                                                                                                 \
    }                                                                                                     \
    void KERNEL(name)(real *z, const real *x, const real *y, double a, double b, const batten_loop *loop) \
    {                                                                                                     \
        walk(name##_chunk, z, (const real *[]){x, y}, a, b, loop);                                        \
    }
#define MAP2(name, expression) OF_TWO(name, x, y, expression)
#define GRADIENT(name, kept, expression) OF_TWO(name, dy, kept, expression)

#define MAP4(name, p, q, u, v, expression)                                                                     \
    static void name##_chunk(real *z, const real *const *in, size_t n, real a, real b)                         \
    {                                                                                                          \
        (void)a, (void)b;                                                                                      \
        EACH_OF_WHOLE(i, n) {                                                                                  \
            const real p = in[0][i], q = in[1][i], u = in[2][i], v = in[3][i];                                 \
            (void)u, (void)v;                                                                                  \
            z[i] = expression;                                                                                 \
        }                                                                                                      \
    }                                                                                                          \
    void KERNEL(name)(real *z, const real *x, const real *y, const real *u, const real *v, double a, double b, \
                      const batten_loop *loop)                                                                 \
    {                                                                                                          \
        walk(name##_chunk, z, (const real *[]){x, y, u, v}, a, b, loop);                                       \
    }

#endif
