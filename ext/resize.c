/* Images, or parts of them, brought to another size.
 *
 *     y[n][i][j] = sum_s down[i][s] (sum_t across[j][t] x[n][top[n] + i0 + s][left[n] + j0 + t])
 *
 * With n results for an axis of `length` pixels these are length / n pixels apart, and a result is
 *
 *     nearest      the pixel that begins there
 *     bilinear     of the two beside it, each the more the nearer it is
 *       antialias  or, where there become fewer, of all that are less than length / n away
 *
 * in each case a run of pixels beside each other, with their weights.  Rows are shortened first; of bytes they are
 * rounded then, and again at the end, as PyTorch's are.  Weights of bytes have few bits, so that in double all sums
 * are exact: bytes are computed with in double only.  This file is compiled without fused multiply-add, so that
 * weights, too, are the same on every processor.
 *
 * A thread makes a strip of rows of one image.  The rows that it has shortened stay in a ring that is as long as
 * two runs, in the first-level cache: each is shortened once, and none that nobody asks for.  They are so while the
 * result before is made, as to read what several stores have just written is to wait for these.  A row is widened
 * to `real` before that, so that a vector of four can be taken at the place of any pixel: what it has of the next pixel
 * is overwritten by that. */
#include "image.h"
#include "tile.h"
#include <string.h>

enum { FOUR = BATTEN_FOUR, VECTORS = 3, WIDTH = VECTORS * VLEN };

typedef real four __attribute__((vector_size(FOUR * sizeof(REAL))));
typedef int32_t whole __attribute__((vector_size(FOUR * sizeof(int32_t))));

/* The pixels of a result: so many from the first on. */
struct run {
    size_t first, count;
};

/* ---- which pixels, and how much of each ---- */

static struct run nearest_run(real *weight, size_t i, size_t n, size_t length)
{
    /* In float, as in PyTorch: where two pixels are as near, rounding decides. */
    const float apart = (float)length / (float)n;
    *weight = 1;
    return (struct run){smaller((size_t)((float)i * apart), length - 1), 1};
}

static struct run bilinear_run(real *weight, size_t i, size_t n, size_t length)
{
    const double place = ((double)i + 0.5) * ((double)length / (double)n) - 0.5, last = (double)length - 1;
    const double at = place < 0 ? 0 : place > last ? last : place;
    const size_t first = (size_t)at;
    const double behind = at - (double)first;
    weight[0] = (real)(1 - behind);
    if (behind > 0)
        weight[1] = (real)behind;
    return (struct run){first, behind > 0 ? 2 : 1};
}

static struct run antialias_run(real *weight, size_t i, size_t n, size_t length)
{
    const double apart = (double)length / (double)n, reach = apart > 1 ? apart : 1;
    const double center = ((double)i + 0.5) * apart, least = center - reach + 0.5;
    const size_t end = smaller((size_t)(center + reach + 0.5), length);
    struct run run = {least > 0 ? (size_t)least : 0, 0};
    double sum = 0;
    for (size_t k = run.first; k < end; k++)
        sum += fmax(1 - fabs((double)k + 0.5 - center) / reach, 0);
    for (size_t k = run.first; k < end; k++) {
        const double share = fmax(1 - fabs((double)k + 0.5 - center) / reach, 0) / sum;
        if (share > 0)
            weight[run.count++] = (real)share;
        else if (!run.count)
            run.first++;
    }
    return run;
}

/* Weights of bytes as multiples of 2^-bits, of as many bits as PyTorch's: so that the largest fits into 16 with a
 * sign. */
static void shorten_weights(real *weight, const struct run *runs, size_t n, size_t terms)
{
    real largest = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < runs[i].count; t++)
            largest = fmax(largest, weight[i * terms + t]);
    double unit = 1;
    for (int bits = 0; bits < 22 && 2 * unit * largest + 0.5 < 0x1p15; bits++)
        unit *= 2;
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < runs[i].count; t++)
            weight[i * terms + t] = (real)((double)(int64_t)(weight[i * terms + t] * unit + 0.5) / unit);
}

static void fill_table(struct run *runs, real *weight, size_t n, size_t length, size_t terms, batten_sampling how,
                       int bytes)
{
    for (size_t i = 0; i < n; i++)
        runs[i] = (how == BATTEN_NEAREST    ? nearest_run
                   : how == BATTEN_BILINEAR ? bilinear_run
                                            : antialias_run)(weight + i * terms, i, n, length);
    if (bytes)
        shorten_weights(weight, runs, n, terms);
}

/* ---- rows ---- */

/* What a strip is made with: the tables of both axes, and room. */
struct tables {
    const struct run *down, *across;
    const real *down_weight, *across_weight;
};

/* A row of x, of which `width` pixels are meant, as one of y is wide. */
INLINE void shorten_row(real *y, real *wide, const void *x, size_t at, size_t width, const struct tables *t,
                        const batten_resize_plan *p, size_t channels, int bytes)
{
    const size_t n = p->images.out[1];
    PRAGMA(omp simd)
    for (size_t k = 0; k < width * channels; k++)
        wide[k] = element(x, at + k, bytes);
    for (size_t j = 0; j < n; j++) {
        const struct run run = t->across[j];
        const real *const weight = t->across_weight + j * p->terms[1];
        for (size_t c = 0; c < channels; c += FOUR) {
            const real *from = wide + run.first * channels + c;
            four sum = {0}, next;
            for (size_t s = 0; s < run.count; s++, from += channels) {
                memcpy(&next, from, sizeof next);
                sum += weight[s] * next;
            }
            if (bytes)
                sum = __builtin_convertvector(__builtin_convertvector(sum + (real)0.5, whole), four);
            memcpy(y + j * channels + c, &sum, sizeof sum);
        }
    }
}

/* The first n of `all` bytes. */
INLINE void put_some(void *y, const void *x, size_t all, size_t n)
{
    if (n >= all)
        memcpy(y, x, all);
    else
        memcpy(y, x, n);
}

/* A row of y, n elements from its `at`-th, of as many rows in the ring as there are weights, from `slot` on. */
INLINE void add_rows(void *y, size_t at, size_t n, const real *ring, size_t slot, const real *weight, size_t count,
                     const batten_resize_plan *p, int bytes)
{
    for (size_t k = 0; k < n; k += WIDTH) {
        vec sum[VECTORS] = {{0}};
        for (size_t s = 0, row = slot; s < count; s++, row = row + 1 < 2 * p->terms[0] ? row + 1 : 0) {
            const vec *const from = (const vec *)(ring + row * p->line + k);
            PRAGMA(GCC unroll 4)
            for (size_t v = 0; v < VECTORS; v++)
                sum[v] += weight[s] * from[v];
        }
        if (bytes) {
            real made[WIDTH];
            uint8_t rounded[WIDTH];
            memcpy(made, sum, sizeof sum);
            PRAGMA(omp simd)
            for (size_t v = 0; v < WIDTH; v++)
                rounded[v] = (uint8_t)(int32_t)(made[v] + (real)0.5);
            put_some((uint8_t *)y + at + k, rounded, sizeof rounded, n - k);
        } else {
            put_some((real *)y + at + k, sum, sizeof sum, (n - k) * sizeof(real));
        }
    }
}

/* Rows `first` to `last` - 1 of image n. */
INLINE void make_strip(void *y, const void *x, real *room, const int64_t *span, const struct tables *t,
                       const batten_resize_plan *p, size_t n, size_t first, size_t last, size_t channels, int bytes)
{
    const batten_images *const m = &p->images;
    real *const wide = room, *const ring = room + p->wide;
    const size_t corner = (n * m->in[0] + (size_t)span[0]) * m->in[1] + (size_t)span[2], slots = 2 * p->terms[0];
    size_t next = 0, skipped = 0, slot = 0; /* the row to be shortened next, and how many were not */
    for (size_t i = first; i <= last; i++) {
        const size_t before = slot;
        if (i < last) {
            const struct run run = t->down[i];
            skipped += run.first > next ? run.first - next : 0;
            for (next = greater(next, run.first); next < run.first + run.count; next++)
                shorten_row(ring + (next - skipped) % slots * p->line, wide, x, (corner + next * m->in[1]) * channels,
                            (size_t)span[3], t, p, channels, bytes);
            slot = (run.first - skipped) % slots;
        }
        if (i > first)
            add_rows(y, (n * m->out[0] + i - 1) * m->out[1] * channels, m->out[1] * channels, ring, before,
                     t->down_weight + (i - 1) * p->terms[0], t->down[i - 1].count, p, bytes);
    }
}

INLINE void make_any_strip(void *y, const void *x, real *room, const int64_t *span, const struct tables *t,
                           const batten_resize_plan *p, size_t n, size_t first, size_t last, int bytes)
{
    if (p->images.pixel == 1)
        make_strip(y, x, room, span, t, p, n, first, last, 1, bytes);
    else if (p->images.pixel == 3)
        make_strip(y, x, room, span, t, p, n, first, last, 3, bytes);
    else
        make_strip(y, x, room, span, t, p, n, first, last, p->images.pixel, bytes);
}

static void make_some(void *y, const void *x, real *room, const int64_t *span, const struct tables *t,
                      const batten_resize_plan *p, size_t n, size_t first, size_t last, int bytes)
{
    if (!bytes)
        make_any_strip(y, x, room, span, t, p, n, first, last, 0);
    else if (sizeof(real) == sizeof(double)) /* see above */
        make_any_strip(y, x, room, span, t, p, n, first, last, 1);
}

/* y from x; spans (parts, 4): of rows and of columns, where a part begins and how many it has, which is at least one.
 */
void KERNEL(resize)(void *y, real *scratch, const void *x, int bytes, const int64_t *spans, const batten_resize_plan *p)
{
    const size_t *const out = p->images.out, results = out[0] + out[1], of_columns = out[0] * p->terms[0];
    struct run *const runs = (struct run *)scratch;
    real *const weights = (real *)(runs + p->parts * results);
    TEAM_OF(p->team, SHARED(for (size_t i = 0; i < p->parts; i++) {
                fill_table(runs + i * results, weights + i * p->table, out[0], (size_t)spans[4 * i + 1], p->terms[0],
                           p->how, bytes);
                fill_table(runs + i * results + out[0], weights + i * p->table + of_columns, out[1],
                           (size_t)spans[4 * i + 3], p->terms[1], p->how, bytes);
            });
            real *const room = scratch + p->shared + myself().rank * p->room;
            SHARED(for (size_t strip = 0; strip < p->images.count * p->strips; strip++) {
                const size_t n = strip / p->strips, part = p->parts > 1 ? n : 0,
                             first = strip % p->strips * BATTEN_ROWS;
                const struct tables t = {runs + part * results, runs + part * results + out[0],
                                         weights + part * p->table, weights + part * p->table + of_columns};
                make_some(y, x, room, spans + 4 * part, &t, p, n, first, smaller(first + BATTEN_ROWS, out[0]), bytes);
            }););
}
