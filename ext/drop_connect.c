/* DropConnect (Wan et al. 2013): a linear layer each of whose examples has weights of its own, of which a part
 * is dropped.
 *
 *     y[n][o] = scale sum over i of m[n][o][i] w[o][i] x[n][i] + bias[o],    m = 0 with probability p, else 1
 *
 *     dx[n][i] = scale sum over o of m[n][o][i] w[o][i] dy[n][o]
 *     dw[o][i] = scale sum over n of m[n][o][i] x[n][i] dy[n][o]
 *
 * The masks have an element for each example and weight, and are never stored: every pass makes the bits again where
 * it wants them.  A unit of them (mask.h) is for 32 rows and 64 columns of one example's weights, so that both passes
 * may come to it in the order that suits their sums.
 *
 * Weights, and in backward their gradients, are in a copy of a unit's size with noughts around, which stays in the
 * first cache while the examples come by.  Forward, a block of examples and rows of y belongs to one thread, which goes
 * along the columns.  Backward, a column of units does, with all that dx and dw have there, and both take part in one
 * walk.  All sums are in the order of their index, but for the lanes of y's, which are added in the end. */
#include "mask.h"

enum { ROWS = NUMBERS, COLS = PIECE, VECS = COLS / VLEN, EXAMPLES = 8 };

/* Elementary operations that a unit costs, about. */
enum { COST = 4096 };

/* A layer, and how its weights are dropped. */
struct layer {
    size_t rows, cols;
    struct chance chance;
    uint64_t key, call;
};

static size_t units(const struct layer *l)
{
    return blocks_of(l->rows, ROWS) * blocks_of(l->cols, COLS);
}

/* The unit at (row, col) of an example: bit c of kept[r] is set where weight (row + r, col + c) is kept. */
static void draw(uint64_t kept[ROWS], const struct layer *l, size_t example, size_t row, size_t col)
{
    const size_t unit = example * units(l) + row / ROWS * blocks_of(l->cols, COLS) + col / COLS;
    draw_unit(kept, l->chance, unit, l->key, l->call);
}

/* A unit's weights, or whatever belongs to them. */
typedef real unit[ROWS][COLS] __attribute__((aligned(VBYTES)));

/* Part of a unit's row: memcpy of a constant size is a few vectors. */
static inline void copy(void *to, const void *from, size_t n)
{
    if (n == COLS)
        memcpy(to, from, COLS * sizeof(real));
    else
        memcpy(to, from, n * sizeof(real));
}

static void load(unit to, const struct layer *l, const real *w, size_t row, size_t col)
{
    memset(to, 0, sizeof(unit));
    for (size_t r = 0; r < smaller(ROWS, l->rows - row); r++)
        copy(to[r], w + (row + r) * l->cols + col, smaller(COLS, l->cols - col));
}

static void store(real *w, const struct layer *l, unit from, size_t row, size_t col)
{
    for (size_t r = 0; r < smaller(ROWS, l->rows - row); r++)
        copy(w + (row + r) * l->cols + col, from[r], smaller(COLS, l->cols - col));
}

/* The lanes' sum. */
static inline real total(vec x)
{
    real lane[VLEN];
    memcpy(lane, &x, sizeof x);
    for (size_t n = VLEN / 2; n; n /= 2)
        for (size_t i = 0; i < n; i++)
            lane[i] += lane[i + n];
    return lane[0];
}

/* sum[r] += the unit's products of row r with x, lane by lane. */
static inline void multiply(vec sum[ROWS], unit w, const vec x[VECS], const uint64_t kept[ROWS], size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        const vec *const row = (const vec *)w[r];
        vec all = sum[r];
        PRAGMA(GCC unroll 32)
        for (size_t j = 0; j < VECS; j++)
            all += those(row[j], kept[r] >> j * VLEN) * x[j];
        sum[r] = all;
    }
}

/* y of some examples, at most EXAMPLES, and a unit's rows. */
static void forward_block(real *y, const struct layer *l, const real *x, const real *w, const real *bias, size_t first,
                          size_t last, size_t row, real scale)
{
    const size_t rows = smaller(ROWS, l->rows - row);
    vec sums[EXAMPLES][ROWS];
    memset(sums, 0, sizeof sums);
    for (size_t col = 0; col < l->cols; col += COLS) {
        unit weights;
        vec some[VECS] = {0};
        uint64_t kept[ROWS];
        load(weights, l, w, row, col);
        for (size_t n = first; n < last; n++) {
            copy(some, x + n * l->cols + col, smaller(COLS, l->cols - col));
            draw(kept, l, n, row, col);
            multiply(sums[n - first], weights, some, kept, rows);
        }
    }
    for (size_t n = first; n < last; n++)
        for (size_t r = 0; r < rows; r++)
            y[n * l->rows + row + r] = scale * total(sums[n - first][r]) + (bias ? bias[row + r] : 0);
}

/* y (examples, rows) from x (examples, cols), w (rows, cols) and bias (rows), which may be NULL. */
void KERNEL(drop_connect)(real *y, const real *x, const real *w, const real *bias, size_t examples, size_t rows,
                          size_t cols, double p, double scale, uint64_t key, uint64_t call)
{
    const struct layer l = {rows, cols, chance_of(p), key, call};
    const size_t across = blocks_of(rows, ROWS);
    PARALLEL(COST * examples * units(&l),
             for (size_t block = 0; block < blocks_of(examples, EXAMPLES) * across; block++) {
                 const size_t first = block / across * EXAMPLES;
                 forward_block(y, &l, x, w, bias, first, smaller(first + EXAMPLES, examples), block % across * ROWS,
                               (real)scale);
             });
}

/* dx += what the rows of the unit bring, dw += what the example brings, of which the caller knows what is wanted.  Four
 * vectors of columns at a time share the bits of a row and its dy. */
static inline __attribute__((always_inline)) void multiply_back(vec dx[VECS], unit dw, const real dy[ROWS],
                                                                const vec x[VECS], unit w, const uint64_t kept[ROWS],
                                                                size_t rows, const int wants_dx, const int wants_dw)
{
    for (size_t j = 0; j < VECS; j += 4) {
        const vec x0 = x[j], x1 = x[j + 1], x2 = x[j + 2], x3 = x[j + 3];
        vec dx0 = dx[j], dx1 = dx[j + 1], dx2 = dx[j + 2], dx3 = dx[j + 3];
        for (size_t r = 0; r < rows; r++) {
            const vec *const row = (const vec *)w[r] + j;
            vec *const drow = (vec *)dw[r] + j;
            const uint64_t bits = kept[r] >> j * VLEN;
            const real d = dy[r];
            if (wants_dx) {
                dx0 += those(row[0], bits) * d;
                dx1 += those(row[1], bits >> VLEN) * d;
                dx2 += those(row[2], bits >> 2 * VLEN) * d;
                dx3 += those(row[3], bits >> 3 * VLEN) * d;
            }
            if (wants_dw) {
                drow[0] += those(x0, bits) * d;
                drow[1] += those(x1, bits >> VLEN) * d;
                drow[2] += those(x2, bits >> 2 * VLEN) * d;
                drow[3] += those(x3, bits >> 3 * VLEN) * d;
            }
        }
        dx[j] = dx0, dx[j + 1] = dx1, dx[j + 2] = dx2, dx[j + 3] = dx3;
    }
}

/* dx and dw of a column of units. */
static inline __attribute__((always_inline)) void backward_column(real *dx, real *dw, const struct layer *l,
                                                                  const real *dy, const real *x, const real *w,
                                                                  size_t examples, size_t col, real scale)
{
    const size_t cols = smaller(COLS, l->cols - col);
    for (size_t n = 0; dx && n < examples; n++)
        memset(dx + n * l->cols + col, 0, cols * sizeof(real));
    for (size_t row = 0; row < l->rows; row += ROWS) {
        const size_t rows = smaller(ROWS, l->rows - row);
        unit weights, gradient = {{0}};
        vec some[VECS] = {0}, sum[VECS] = {0};
        if (dx)
            load(weights, l, w, row, col);
        for (size_t n = 0; n < examples; n++) {
            uint64_t kept[ROWS];
            real scaled[ROWS];
            draw(kept, l, n, row, col);
            for (size_t r = 0; r < rows; r++)
                scaled[r] = scale * dy[n * l->rows + row + r];
            if (dx)
                copy(sum, dx + n * l->cols + col, cols);
            if (dw)
                copy(some, x + n * l->cols + col, cols);
            multiply_back(sum, gradient, scaled, some, weights, kept, rows, dx != NULL, dw != NULL);
            if (dx)
                copy(dx + n * l->cols + col, sum, cols);
        }
        if (dw)
            store(dw, l, gradient, row, col);
    }
}

/* A function for each of what may be wanted, as the loops inside are short. */
static void backward_both(real *dx, real *dw, const struct layer *l, const real *dy, const real *x, const real *w,
                          size_t examples, size_t col, real scale)
{
    if (!dx)
        backward_column(NULL, dw, l, dy, x, w, examples, col, scale);
    else if (!dw)
        backward_column(dx, NULL, l, dy, x, w, examples, col, scale);
    else
        backward_column(dx, dw, l, dy, x, w, examples, col, scale);
}

/* dx (examples, cols) and dw (rows, cols) from dy (examples, rows), w and x.  Without dx neither it nor w is there,
 * and without dw neither it nor x. */
void KERNEL(drop_connect_backward)(real *dx, real *dw, const real *dy, const real *x, const real *w, size_t examples,
                                   size_t rows, size_t cols, double p, double scale, uint64_t key, uint64_t call)
{
    const struct layer l = {rows, cols, chance_of(p), key, call};
    PARALLEL(COST * examples * units(&l), for (size_t block = 0; block < blocks_of(cols, COLS); block++)
        backward_both(dx, dw, &l, dy, x, w, examples, block * COLS, (real)scale););
}

/* y = scale m w (rows, cols) with the mask of one example.  y may be w. */
void KERNEL(drop_connect_weight)(real *y, const real *w, size_t example, size_t rows, size_t cols, double p,
                                 double scale, uint64_t key, uint64_t call)
{
    const struct layer l = {rows, cols, chance_of(p), key, call};
    const size_t across = blocks_of(cols, COLS);
    PARALLEL(COST * units(&l), for (size_t block = 0; block < blocks_of(rows, ROWS) * across; block++) {
        const size_t row = block / across * ROWS, col = block % across * COLS;
        uint64_t kept[ROWS];
        unit weights;
        draw(kept, &l, example, row, col);
        load(weights, &l, w, row, col);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t j = 0; j < VECS; j++)
                ((vec *)weights[r])[j] = those(((vec *)weights[r])[j], kept[r] >> j * VLEN) * (real)scale;
        store(y, &l, weights, row, col);
    });
}
