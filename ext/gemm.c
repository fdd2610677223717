/* Matrix products.
 *
 *     c = act(alpha a b + bias + beta c),     a (m, k),  b (k, n),  c (m, n),  bias (n,)
 *
 * for each of a batch.  c is computed in tiles of MR rows and two vectors of
 * columns.  A tile stays in registers while k runs: each step loads two vectors of
 * b, and each of the MR elements of a's column is multiplied to both, so that
 * loads are few beside multiplications.  From the inside out:
 *
 *   step     k is cut into steps of at most 256 terms; a panel of b (a step x the
 *            tile's columns) then stays in the first cache while it meets the
 *            panels of a (the tile's rows x a step) of one strip;
 *   strip    as many row panels of a as half of a small second cache holds; they
 *            meet every column panel of b in turn;
 *   block    what is packed at a time (plan.c): panels one behind the other, each
 *            in the order in which the tile reads it;
 *   rectangle  the blocks of one member of the team, who packs them alone.
 *
 * Where packing would not pay, the tile reads the operands where they lie: it asks
 * only that the columns of b are next to each other (plan.c says when).
 *
 * Every element of c is the same sum in the same order, whatever the tile, path,
 * block or member of the team it falls to: over a step in order of k, beginning at
 * nought; then step after step.  It depends on its row of a and column of b only,
 * so a row alone gives the same bits as in a batch. */
#include "elementary.h"
#include <string.h>
#include <tgmath.h>

/* The tile: 2 MR accumulators, two vectors of b and one element of a must fit into
 * the registers, of which x86 has 16 before AVX-512 and 32 with it. */
#if VBYTES == 64 || defined(__aarch64__)
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
enum { MR = 12 };
#else
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
enum { MR = 6 };
#endif
enum { NR = 2 * VLEN, STRIP = 576 / sizeof(real) / MR };

typedef real loose __attribute__((vector_size(VBYTES), aligned(sizeof(real)), may_alias));

/* A part of an operand: rows of a or columns of b (lanes), k along the other axis. */
struct panel {
    const real *x;
    ptrdiff_t lane, step; /* from one lane or step to the next */
};

/* ---- the tile ---- */

/* tile (MR, NR) = a b, for `rows` rows and `vectors` vectors of columns.
 *
 * The accumulators have names because GCC 12 unrolls the loops over an array of
 * them too late to keep it in registers: left to itself it writes the tile to the
 * stack at every step.  rows and vectors are constants wherever this is inlined,
 * so the unused names cost nothing. */
#define ZERO(i) vec left##i = {0}, right##i = {0};
#define ADD(i)                          \
    if (i < rows) {                     \
        const real x = a.x[i * a.lane]; \
        left##i += x * left;            \
        right##i += x * right;          \
    }
#define STORE(i)                        \
    if (i < rows) {                     \
        tile[2 * i] = left##i;          \
        if (vectors == 2)               \
            tile[2 * i + 1] = right##i; \
    }
static inline __attribute__((always_inline)) void multiply_tile(vec *tile, struct panel a, struct panel b, size_t depth,
                                                                const int rows, const int vectors)
{
    EACH_ROW(ZERO)
    for (size_t p = 0; p < depth; p++, a.x += a.step, b.x += b.step) {
        const loose *const columns = (const loose *)b.x;
        const vec left = columns[0], right = columns[vectors - 1];
        EACH_ROW(ADD)
    }
    EACH_ROW(STORE)
}

/* The same for as many rows as there are. */
#define CASE(i)                                           \
    case i + 1:                                           \
        multiply_tile(tile, a, b, depth, i + 1, vectors); \
        break;
static inline __attribute__((always_inline)) void multiply_rows(vec *tile, struct panel a, struct panel b, size_t depth,
                                                                size_t rows, const int vectors)
{
    switch (rows) {
        EACH_ROW(CASE)
    }
}

/* Rows of a that are next to each other, as in a packed panel, need one address
 * instead of one each. */
static void multiply_wide(vec *tile, struct panel a, struct panel b, size_t depth, size_t rows)
{
    if (a.lane == 1)
        multiply_rows(tile, (struct panel){a.x, 1, a.step}, b, depth, rows, 2);
    else
        multiply_rows(tile, a, b, depth, rows, 2);
}

/* For a last panel that has one vector of columns or less. */
static void multiply_narrow(vec *tile, struct panel a, struct panel b, size_t depth, size_t rows)
{
    if (a.lane == 1)
        multiply_rows(tile, (struct panel){a.x, 1, a.step}, b, depth, rows, 1);
    else
        multiply_rows(tile, a, b, depth, rows, 1);
}

/* ---- what becomes of a tile ---- */

/* One product of the batch. */
struct product {
    const batten_product *p;
    real *c;
    const real *a, *b, *bias;
};

static struct product product_of_batch(const struct product *all, size_t z)
{
    const batten_product *p = all->p;
    return (struct product){p, all->c + (ptrdiff_t)z * p->c_batch, all->a + (ptrdiff_t)z * p->a_batch,
                            all->b + (ptrdiff_t)z * p->b_batch, all->bias};
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

/* Adds n columns of a tile's row, the sum of one step, to c; bias and activation
 * come with the last step.  Inlined where n is a constant, its loops are vectors. */
static inline __attribute__((always_inline)) void add_row(real *restrict y, const real *restrict sum,
                                                          const real *restrict bias, size_t n, size_t step,
                                                          const batten_product *p)
{
    const real alpha = (real)p->alpha, beta = (real)p->beta;
    if (step == 0 && beta == 0)
        for (size_t j = 0; j < n; j++)
            y[j] = alpha * sum[j];
    else if (step == 0)
        for (size_t j = 0; j < n; j++)
            y[j] = beta * y[j] + alpha * sum[j];
    else
        for (size_t j = 0; j < n; j++)
            y[j] += alpha * sum[j];
    if (step + 1 < p->steps)
        return;
    if (bias)
        for (size_t j = 0; j < n; j++)
            y[j] += bias[j];
    activate(y, n, p->activation);
}

/* The tile of c at row i and column j, for one step of k. */
static void multiply(const struct product *q, struct panel a, struct panel b, size_t i, size_t rows, size_t j,
                     size_t columns, size_t step, size_t depth)
{
    vec tile[2 * MR];
    if (columns > VLEN)
        multiply_wide(tile, a, b, depth, rows);
    else
        multiply_narrow(tile, a, b, depth, rows);
    const real *const bias = q->bias ? q->bias + j : NULL;
    for (size_t r = 0; r < rows; r++) {
        real *const y = q->c + (ptrdiff_t)(i + r) * q->p->c_row + (ptrdiff_t)j;
        const real *const sum = (const real *)(tile + 2 * r);
        if (columns == NR)
            add_row(y, sum, bias, NR, step, q->p);
        else
            add_row(y, sum, bias, columns, step, q->p);
    }
}

/* ---- operands ---- */

static struct panel rows_of_a(const struct product *q, size_t i, size_t k)
{
    const ptrdiff_t row = q->p->a_row, col = q->p->a_col;
    return (struct panel){q->a + (ptrdiff_t)i * row + (ptrdiff_t)k * col, row, col};
}

static struct panel columns_of_b(const struct product *q, size_t j, size_t k)
{
    const ptrdiff_t row = q->p->b_row, col = q->p->b_col;
    return (struct panel){q->b + (ptrdiff_t)j * col + (ptrdiff_t)k * row, col, row};
}

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

/* Copies a panel whose steps are next to each other so that its lanes are: square by
 * square.  Where a square has fewer lanes than a vector, what is written behind them
 * belongs to the next step, and is written again: squares go from the last lanes to
 * the first, and then on to the next steps. */
static void pack_turned(real *to, size_t width, struct panel from, size_t lanes, size_t depth)
{
    const size_t whole = depth / VLEN * VLEN;
    for (size_t p = 0; p < whole; p += VLEN)
        for (size_t square = blocks_of(lanes, VLEN); square-- > 0;) {
            const size_t i = square * VLEN, n = smaller(VLEN, lanes - i);
            const real *const x = from.x + (ptrdiff_t)i * from.lane + (ptrdiff_t)p;
            real *const y = to + p * width + i;
            vec rows[VLEN];
            PRAGMA(GCC unroll 16)
            for (size_t r = 0; r < VLEN; r++)
                rows[r] = *(const loose *)(x + (ptrdiff_t)smaller(r, n - 1) * from.lane);
            turn(rows);
            PRAGMA(GCC unroll 16)
            for (size_t r = 0; r + 1 < VLEN; r++)
                *(loose *)(y + r * width) = rows[r];
            memcpy(y + (VLEN - 1) * width, &rows[VLEN - 1], n * sizeof(real));
        }
    for (size_t p = whole; p < depth; p++)
        for (size_t i = 0; i < lanes; i++)
            to[p * width + i] = from.x[(ptrdiff_t)p + (ptrdiff_t)i * from.lane];
}

/* Copies a panel so that each step's lanes are next to each other, with noughts
 * behind them up to width; what a tile computes from those is never stored. */
static struct panel pack(real *to, size_t width, struct panel from, size_t lanes, size_t depth)
{
    if (from.step == 1 && from.lane != 1)
        pack_turned(to, width, from, lanes, depth);
    else
        for (size_t p = 0; p < depth; p++)
            for (size_t i = 0; i < lanes; i++)
                to[p * width + i] = from.x[(ptrdiff_t)p * from.step + (ptrdiff_t)i * from.lane];
    for (size_t p = 0; p < depth && lanes < width; p++)
        for (size_t i = lanes; i < width; i++)
            to[p * width + i] = 0;
    return (struct panel){to, 1, (ptrdiff_t)width};
}

/* The columns that the tile reads for a panel of so many. */
static size_t width_of(size_t columns)
{
    return columns > VLEN ? NR : VLEN;
}

/* The height of m rows' panels: as few panels as will do, of the same height but for the last. */
static size_t height_of(size_t m)
{
    const size_t panels = blocks_of(m, MR);
    return blocks_of(m, panels);
}

/* ---- who does what ---- */

struct member {
    size_t rank, team;
};
struct range {
    size_t first, last;
};

static struct member myself(void)
{
#ifdef _OPENMP
    return (struct member){(size_t)omp_get_thread_num(), (size_t)omp_get_num_threads()};
#else
    return (struct member){0, 1};
#endif
}

static struct range share(size_t n, struct member me)
{
    return (struct range){n * me.rank / me.team, n * (me.rank + 1) / me.team};
}

/* A run of the batch's tiles, counted row panel after row panel within a column
 * panel.  A panel of b that has to be packed is packed for the run's tiles of its column. */
static void multiply_direct(const struct product *all, struct member me)
{
    const batten_product *p = all->p;
    real packed[BATTEN_DEPTH * NR] __attribute__((aligned(64)));
    const size_t height = height_of(p->m), down = blocks_of(p->m, height), across = blocks_of(p->n, NR);
    const struct range tiles = share(p->batch * across * down, me);
    for (size_t t = tiles.first, next; t < tiles.last; t = next) {
        const struct product q = product_of_batch(all, t / (across * down));
        const size_t first = t % down, last = smaller(down, first + tiles.last - t);
        const size_t j = t / down % across * NR, columns = smaller(NR, p->n - j);
        next = t + last - first;
        for (size_t step = 0; step < p->steps; step++) {
            const size_t k = step * p->depth, depth = smaller(p->depth, p->k - k);
            struct panel b = columns_of_b(&q, j, k);
            if (b.lane != 1 || columns != width_of(columns))
                b = pack(packed, width_of(columns), b, columns, depth);
            for (size_t i = first * height; i < smaller(last * height, p->m); i += height)
                multiply(&q, rows_of_a(&q, i, k), b, i, smaller(height, p->m - i), j, columns, step, depth);
        }
    }
}

/* Where one member of the team works: rows i and columns j of c. */
struct rectangle {
    struct range i, j;
};

/* One block: packs its operands, then computes its tiles, row panel after row panel
 * within a column panel within a strip.  b stays packed for all blocks below each other. */
static void multiply_block(const struct product *q, struct range i, struct range j, int first, size_t step,
                           real *scratch)
{
    const batten_product *p = q->p;
    const size_t m = i.last - i.first, n = j.last - j.first;
    const size_t k = step * p->depth, depth = smaller(p->depth, p->k - k);
    const size_t height = height_of(m), down = blocks_of(m, height);
    real *const b_packed = scratch, *const a_packed = scratch + p->b_room;

    for (size_t v = 0; first && v < n; v += NR) {
        const size_t lanes = smaller(NR, n - v);
        pack(b_packed + v * depth, width_of(lanes), columns_of_b(q, j.first + v, k), lanes, depth);
    }
    for (size_t u = 0; u < m; u += height) {
        const size_t lanes = smaller(height, m - u);
        pack(a_packed + u * depth, lanes, rows_of_a(q, i.first + u, k), lanes, depth);
    }
    for (size_t top = 0; top < down; top += STRIP)
        for (size_t v = 0; v < n; v += NR) {
            const size_t columns = smaller(NR, n - v);
            const struct panel b = {b_packed + v * depth, 1, (ptrdiff_t)width_of(columns)};
            for (size_t u = top * height; u < smaller((top + STRIP) * height, m); u += height) {
                const size_t rows = smaller(height, m - u);
                const struct panel a = {a_packed + u * depth, 1, (ptrdiff_t)rows};
                multiply(q, a, b, i.first + u, rows, j.first + v, columns, step, depth);
            }
        }
}

static void multiply_rectangle(const struct product *q, struct rectangle r, real *scratch)
{
    const batten_product *p = q->p;
    for (size_t j = r.j.first; j < r.j.last; j += p->columns)
        for (size_t step = 0; step < p->steps; step++)
            for (size_t i = r.i.first; i < r.i.last; i += p->rows)
                multiply_block(q, (struct range){i, smaller(i + p->rows, r.i.last)},
                               (struct range){j, smaller(j + p->columns, r.j.last)}, i == r.i.first, step, scratch);
}

/* The batch's rectangles, shared among the team. */
static void multiply_packed(const struct product *all, struct member me, real *scratch)
{
    const batten_product *p = all->p;
    const struct range mine = share(p->batch * p->down * p->across, me);
    for (size_t u = mine.first; u < mine.last; u++) {
        const struct product q = product_of_batch(all, u / (p->down * p->across));
        const struct range j = share(blocks_of(p->n, BATTEN_COLUMNS), (struct member){u % p->across, p->across});
        const struct rectangle r = {share(p->m, (struct member){u / p->across % p->down, p->down}),
                                    {j.first * BATTEN_COLUMNS, smaller(j.last * BATTEN_COLUMNS, p->n)}};
        multiply_rectangle(&q, r, scratch + me.rank * (p->a_room + p->b_room));
    }
}

static void multiply_share(const struct product *all, struct member me, real *scratch)
{
    if (all->p->packed)
        multiply_packed(all, me, scratch);
    else
        multiply_direct(all, me);
}

void KERNEL(gemm)(real *c, const real *a, const real *b, const real *bias, real *scratch, const batten_product *p)
{
    const struct product all = {p, c, a, b, bias};
    if (!p->batch || !p->m || !p->n)
        return;
    if (p->team == 1) {
        multiply_share(&all, (struct member){0, 1}, scratch);
        return;
    }
    PRAGMA(omp parallel num_threads(p->team))
    multiply_share(&all, myself(), scratch);
    batten_dismiss();
}
