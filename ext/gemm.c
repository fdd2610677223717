/* Matrix products.
 *
 *     c = act(alpha a b + bias + beta c),     a (m, k),  b (k, n),  c (m, n),  bias (n,)
 *
 * for each of a batch.  c is computed in tiles of MR rows and two vectors of
 * columns.  A tile stays in registers while k runs: each step loads two vectors of
 * b, and each of the MR elements of a's column is multiplied to both, so that
 * loads are few beside multiplications.  From the inside out:
 *
 *   panel      the rows of a, or the columns of b, that a tile reads;
 *   strip      some column panels of b, which stay in the second cache while one row
 *              panel of a after the other meets them: c is walked along its rows;
 *   block      the row panels of a that meet all strips one after the other;
 *   step       k is cut into steps of at most DEPTH terms, so that a strip fits;
 *   rectangle  what one member of the team computes (plan.c).
 *
 * The tile asks only that the columns of b are next to each other.  It reads its panels
 * where they lie, unless they are read so often that packing them pays: then they are
 * copied in the order in which it reads them, b strip by strip, a in the first strip.
 * Who computes a rectangle packs for it alone.
 *
 * Every element of c is the same sum in the same order, whatever the tile, packing,
 * block or member of the team it falls to: over a step in order of k, beginning at
 * nought; then step after step.  It depends on its row of a and column of b only,
 * so a row alone gives the same bits as in a batch. */
#include "tile.h"
#include "turn.h"
#include <string.h>

/* One product of the batch. */
struct product {
    const batten_product *p;
    real *c, *squares;
    const real *a, *b, *bias;
};

static struct product product_of_batch(const struct product *all, size_t z)
{
    const batten_product *p = all->p;
    return (struct product){p,
                            all->c + (ptrdiff_t)z * p->c_batch,
                            all->squares,
                            all->a + (ptrdiff_t)z * p->a_batch,
                            all->b + (ptrdiff_t)z * p->b_batch,
                            all->bias};
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

/* Packs a panel whose steps are next to each other, square by square.  Where a square has
 * fewer lanes than a vector, what is written behind them belongs to the next step, and is
 * written again: squares go from the first steps to the last, and from the last lanes to
 * the first. */
static void pack_turned(real *to, size_t width, struct panel from, size_t lanes, size_t depth)
{
    const size_t whole = depth / VLEN * VLEN;
    for (size_t square = blocks_of(lanes, VLEN); square-- > 0;) {
        const size_t i = square * VLEN, n = smaller(VLEN, lanes - i);
        for (size_t p = 0; p < whole; p += VLEN) {
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
    }
    for (size_t p = whole; p < depth; p++)
        for (size_t i = 0; i < lanes; i++)
            to[p * width + i] = from.x[(ptrdiff_t)p + (ptrdiff_t)i * from.lane];
}

/* memcpy of a constant size is a few vectors. */
static inline void copy_lanes(real *to, const real *from, size_t n)
{
    if (n == NR)
        memcpy(to, from, NR * sizeof(real));
    else if (n == MR)
        memcpy(to, from, MR * sizeof(real));
    else
        memcpy(to, from, n * sizeof(real));
}

/* Packs lanes by panels of at most `width`, one behind the other.  Lanes that are next to each
 * other are read across all panels, as they lie.  Behind the last lanes come noughts, up to
 * `padded`; what a tile computes from those is never stored. */
static void pack(real *to, size_t width, struct panel from, size_t lanes, size_t padded, size_t depth)
{
    for (size_t p = 0; from.lane == 1 && p < depth; p++)
        for (size_t u = 0; u < lanes; u += width)
            copy_lanes(to + u * depth + p * smaller(width, padded - u), from.x + (ptrdiff_t)p * from.step + u,
                       smaller(width, lanes - u));
    for (size_t u = 0; u < lanes; u += width) {
        real *const panel = to + u * depth;
        const size_t n = smaller(width, lanes - u), all = smaller(width, padded - u);
        const struct panel part = {from.x + (ptrdiff_t)u * from.lane, from.lane, from.step};
        if (from.lane != 1 && from.step == 1)
            pack_turned(panel, all, part, n, depth);
        else if (from.lane != 1)
            for (size_t p = 0; p < depth; p++)
                for (size_t i = 0; i < n; i++)
                    panel[p * all + i] = part.x[(ptrdiff_t)p * part.step + (ptrdiff_t)i * part.lane];
        for (size_t p = 0; n < all && p < depth; p++)
            for (size_t i = n; i < all; i++)
                panel[p * all + i] = 0;
    }
}

/* The height of m rows' panels: as few panels as will do, of the same height but for the last. */
static size_t height_of(size_t m)
{
    const size_t panels = blocks_of(m, MR);
    return blocks_of(m, panels);
}

/* ---- who does what ---- */

/* Where one member of the team works: rows i and columns j of c. */
struct rectangle {
    struct range i, j;
};

/* The columns of b from `left` on that are met at a time, in one step of k. */
struct strip {
    struct panel from;
    size_t columns, depth;
};

/* Behind the last strip comes the first of the next step, and behind all of them an empty one. */
static struct strip strip_at(const struct product *q, struct range j, size_t left, size_t step)
{
    const batten_product *p = q->p;
    if (left >= j.last) {
        left = j.first;
        step++;
    }
    if (step == p->steps)
        return (struct strip){0};
    const size_t k = step * p->depth;
    return (struct strip){columns_of_b(q, left, k), smaller(STRIP, j.last - left), smaller(p->depth, p->k - k)};
}

/* The strip's memory, to be asked for in so many turns. */
static struct ahead memory_of(struct strip s, size_t turns)
{
    const int turned = s.from.lane != 1;
    const size_t rows = turned ? s.columns : s.depth, length = turned ? s.depth : s.columns;
    const size_t pace = blocks_of(rows * blocks_of(length, LINE), turns);
    return (struct ahead){s.from.x, turned ? s.from.lane : s.from.step, rows, length, 0, pace};
}

/* Whether packing pays.  A panel of a is read once for each column panel, one of b once for each
 * row panel, which takes the longer the higher that is.  Rows of a whose distance is a multiple of
 * a page fall onto each other in the first cache. */
enum { FEW_ACROSS = 12, FEW_DOWN = 5 * MR };

static int packs_a(const batten_product *p, size_t n)
{
    const ptrdiff_t stride = p->a_row == 1 ? p->a_col : p->a_row;
    const size_t across = blocks_of(n, NR);
    return across > FEW_ACROSS || (across > 1 && stride * (ptrdiff_t)sizeof(real) % 4096 == 0);
}

static int packs_b(const batten_product *p, size_t m)
{
    return p->b_col != 1 || blocks_of(m, MR) > FEW_DOWN;
}

static void square(real *y, const real *x, size_t n)
{
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * x[i];
}

/* One block: its tiles, column panel after column panel within a row panel within a strip. */
static void multiply_block(const struct product *q, struct range i, struct range j, size_t step, real *scratch)
{
    const batten_product *p = q->p;
    const size_t m = i.last - i.first, k = step * p->depth, height = height_of(m);
    const int pack_a = q->squares || packs_a(p, j.last - j.first), pack_b = q->squares || packs_b(p, m);
    const int finished = step + 1 == p->steps && (q->bias || p->activation != BATTEN_IDENTITY);
    real *const b_packed = scratch, *const a_packed = scratch + p->b_room;
    const ptrdiff_t squared = (ptrdiff_t)(p->a_room + p->b_room); /* from a packed number to its square */
    struct ahead next;
    struct tile t = {.c_row = p->c_row, .alpha = (real)p->alpha, .scale = step ? 1 : (real)p->beta, .next = &next};

    for (size_t left = j.first; left < j.last; left += STRIP) {
        const struct strip strip = strip_at(q, j, left, step);
        const size_t n = strip.columns, depth = t.depth = strip.depth;
        const size_t whole = pack_b ? 0 : n % VLEN ? n / NR * NR : n; /* columns that are read where they lie */
        if (whole < n)
            pack(b_packed, NR, columns_of_b(q, left + whole, k), n - whole, up(n - whole, VLEN), depth);
        if (q->squares)
            square(b_packed + squared, b_packed, up(n, VLEN) * depth);
        next = memory_of(strip_at(q, j, left + STRIP, step), m * blocks_of(n, NR));
        for (size_t u = 0; u < m; u += height) {
            t.rows = smaller(height, m - u);
            t.a = rows_of_a(q, i.first + u, k);
            if (pack_a) {
                real *const to = a_packed + u * depth;
                if (left == j.first) {
                    pack(to, t.rows, t.a, t.rows, t.rows, depth);
                    if (q->squares)
                        square(to + squared, to, t.rows * depth);
                }
                t.a = (struct panel){to, 1, (ptrdiff_t)t.rows};
            }
            for (size_t v = 0; v < n; v += NR) {
                t.columns = smaller(NR, n - v);
                t.b = columns_of_b(q, left + v, k);
                if (v >= whole)
                    t.b = (struct panel){b_packed + (v - whole) * depth, 1, (ptrdiff_t)width_of(t.columns)};
                t.c = q->c + (ptrdiff_t)(i.first + u) * p->c_row + (ptrdiff_t)(left + v);
                KERNEL(tile)(&t);
                if (finished)
                    KERNEL(finish)(&t, q->bias ? q->bias + left + v : NULL, p->activation);
                if (q->squares) {
                    struct tile s = t;
                    s.a.x += squared;
                    s.b.x += squared;
                    s.c = q->squares + (t.c - q->c);
                    s.alpha = 1;
                    KERNEL(tile)(&s);
                }
            }
        }
    }
}

static void multiply_rectangle(const struct product *q, struct rectangle r, real *scratch)
{
    const batten_product *p = q->p;
    for (size_t step = 0; step < p->steps; step++)
        for (size_t i = r.i.first; i < r.i.last; i += p->rows)
            multiply_block(q, (struct range){i, smaller(i + p->rows, r.i.last)}, r.j, step, scratch);
}

/* The batch's rectangles, shared among the team. */
static void multiply_share(const struct product *all, struct member me, real *scratch)
{
    const batten_product *p = all->p;
    const struct range mine = share(p->batch * p->down * p->across, me);
    for (size_t u = mine.first; u < mine.last; u++) {
        const struct product q = product_of_batch(all, u / (p->down * p->across));
        const struct range j = share(blocks_of(p->n, BATTEN_COLUMNS), (struct member){u % p->across, p->across});
        const struct rectangle r = {share(p->m, (struct member){u / p->across % p->down, p->down}),
                                    {j.first * BATTEN_COLUMNS, smaller(j.last * BATTEN_COLUMNS, p->n)}};
        multiply_rectangle(&q, r, scratch + me.rank * (p->a_room + p->b_room) * (all->squares ? 2 : 1));
    }
}

static void multiply(const struct product *all, real *scratch)
{
    const batten_product *p = all->p;
    if (!p->batch || !p->m || !p->n)
        return;
    if (p->team == 1) {
        multiply_share(all, (struct member){0, 1}, scratch);
        return;
    }
    PRAGMA(omp parallel num_threads(p->team))
    multiply_share(all, myself(), scratch);
    batten_dismiss();
}

void KERNEL(gemm)(real *c, const real *a, const real *b, const real *bias, real *scratch, const batten_product *p)
{
    const struct product all = {p, c, NULL, a, b, bias};
    multiply(&all, scratch);
}

/* c = act(alpha a b + bias), and squares (m, n) = (a * a) (b * b) of what a and b are element by element: the mean and
 * the variance of a sum whose terms are independent.  Where a and b lie packed, so do their squares, behind them: each
 * tile of c is followed by that of squares, and a and b are read once.  One product, no batch; scratch is twice of what
 * the plan says, and c is not read. */
void KERNEL(gemm_squares)(real *c, real *squares, const real *a, const real *b, const real *bias, real *scratch,
                          const batten_product *p)
{
    const struct product all = {p, c, squares, a, b, bias};
    multiply(&all, scratch);
}
