/* Convolution by fewer multiplications (Winograd 1980; Lavin & Gray 2016).
 *
 * A tile of m x m targets of a kernel of r x r taps, m + r = 7, meets 6 x 6 sources.  To
 * convolve is to multiply polynomials, and a product of polynomials may be taken point by
 * point: with the transforms below, along both axes,
 *
 *     y = collect( spread(w) . source(x) ),     36 multiplications instead of m m r r,
 *
 * which is 4 times fewer for r = 3 (m = 4), and 2.8 times for r = 5 (m = 2).  For each of
 * the 36 products the sum over channels is a product of matrices, (tiles, channels) by
 * (channels, features), which is where the time goes.
 *
 * Values are taken at the points 0, +-3/4, +-3/2 and infinity.  Errors grow with the
 * points' powers and with those of their inverses: with the usual 0, +-1, +-2 they are
 * four times as large.  These are fractions of two, so that no constant is rounded.
 *
 *     spread(y)_p   = sum over k of p^k y_k [/ product over other points q of (p - q)]
 *     collect(u)_k  = sum over p of p^k u_p [/ the same], its transpose
 *     source(x)_p   = sum over j of x_j times the coefficient of z^j in the product of (z - q)
 *
 * The gradient by data is the convolution of dy with the kernels turned round.  That by
 * weights is the transpose in w:
 *
 *     dw = collect( sum over tiles of spread(dy) . source(x) ),
 *
 * where spread and collect have changed places, and with them the divisors.
 *
 * A unit of work is some tiles: their sources are transformed, multiplied and collected
 * while they are in the second cache.  For the weights it is some tiles and features, and
 * the units' sums are added in order.  What is in memory at a time is
 *
 *     sources (36, tiles, channels), weights (36, panels, channels, columns of one),
 *     products (36, tiles, features);
 *
 * the distance of slices is an odd number of cache lines, as all 36 are written at a time. */
#include "convolution.h"
#include <string.h>

enum { SECOND_CACHE = 1 << 20 };
enum { EDGE = 6, SLICES = EDGE * EDGE };

/* What a comparison of vectors gives. */
typedef __typeof__((vec){0} < (vec){0}) mask;

#define UNROLL PRAGMA(GCC unroll 8)
#define INLINE static inline __attribute__((always_inline))

/* ---- transforms of a line ---- */

/* Of the points, and of what a product has besides: the product of (p - q) over all other points q. */
static const real NEAR = 0.75, FAR = 1.5;
static const real AT_ZERO = 1.265625, AT_NEAR = -1.8984375, AT_FAR = 7.59375;

INLINE void source(vec to[EDGE], const vec x[EDGE])
{
    const real n = NEAR * NEAR, f = FAR * FAR;
    const vec near_even = x[4] - f * x[2], near_odd = x[3] - f * x[1];
    const vec far_even = x[4] - n * x[2], far_odd = x[3] - n * x[1];
    to[0] = x[4] - (n + f) * x[2] + n * f * x[0];
    to[1] = near_even + NEAR * near_odd;
    to[2] = near_even - NEAR * near_odd;
    to[3] = far_even + FAR * far_odd;
    to[4] = far_even - FAR * far_odd;
    to[5] = x[5] - (n + f) * x[3] + n * f * x[1];
}

/* From n values to six, or back.  `divided` by what the product has besides. */
INLINE void spread(vec to[EDGE], const vec *y, const int n, const int divided)
{
    vec near_even = y[0], near_odd = NEAR * y[1], far_even = y[0], far_odd = FAR * y[1];
    if (n > 2) {
        near_even += NEAR * NEAR * y[2];
        far_even += FAR * FAR * y[2];
    }
    if (n > 3) {
        near_odd += NEAR * NEAR * NEAR * y[3];
        far_odd += FAR * FAR * FAR * y[3];
    }
    if (n > 4) {
        near_even += NEAR * NEAR * NEAR * NEAR * y[4];
        far_even += FAR * FAR * FAR * FAR * y[4];
    }
    to[0] = divided ? y[0] * (1 / AT_ZERO) : y[0];
    to[1] = near_even + near_odd;
    to[2] = near_even - near_odd;
    to[3] = far_even + far_odd;
    to[4] = far_even - far_odd;
    to[5] = y[n - 1];
    if (divided) {
        to[1] *= 1 / AT_NEAR;
        to[2] *= 1 / AT_NEAR;
        to[3] *= 1 / AT_FAR;
        to[4] *= 1 / AT_FAR;
    }
}

INLINE void collect(vec *to, const vec u[EDGE], const int n, const int divided)
{
    vec zero = u[0], near_even = u[1] + u[2], near_odd = u[1] - u[2], far_even = u[3] + u[4], far_odd = u[3] - u[4];
    if (divided) {
        zero *= 1 / AT_ZERO;
        near_even *= 1 / AT_NEAR;
        near_odd *= 1 / AT_NEAR;
        far_even *= 1 / AT_FAR;
        far_odd *= 1 / AT_FAR;
    }
    to[0] = zero + near_even + far_even;
    to[1] = NEAR * near_odd + FAR * far_odd;
    if (n > 2)
        to[2] = NEAR * NEAR * near_even + FAR * FAR * far_even;
    if (n > 3)
        to[3] = NEAR * NEAR * NEAR * near_odd + FAR * FAR * FAR * far_odd;
    if (n > 4)
        to[4] = NEAR * NEAR * NEAR * NEAR * near_even + FAR * FAR * FAR * FAR * far_even;
    to[n - 1] += u[5];
}

/* ---- transforms of a square: `from` and `to` have their rows and columns so far apart ---- */

INLINE vec at(const real *x)
{
    return *(const loose *)x;
}

INLINE void source_square(real *to, size_t slice, const real *x, ptrdiff_t row, ptrdiff_t column)
{
    vec half[EDGE][EDGE];
    UNROLL for (int j = 0; j < EDGE; j++)
    {
        vec line[EDGE], turned[EDGE];
        UNROLL for (int i = 0; i < EDGE; i++) line[i] = at(x + i * row + j * column);
        source(turned, line);
        UNROLL for (int i = 0; i < EDGE; i++) half[i][j] = turned[i];
    }
    UNROLL for (int i = 0; i < EDGE; i++)
    {
        vec line[EDGE];
        source(line, half[i]);
        UNROLL for (int j = 0; j < EDGE; j++) * (loose *)(to + (size_t)(EDGE * i + j) * slice) = line[j];
    }
}

INLINE void spread_square(real *to, size_t slice, const real *y, ptrdiff_t row, ptrdiff_t column, const int n,
                          const int divided)
{
    vec half[EDGE][EDGE];
    UNROLL for (int j = 0; j < n; j++)
    {
        vec line[EDGE], turned[EDGE];
        UNROLL for (int i = 0; i < n; i++) line[i] = at(y + i * row + j * column);
        spread(turned, line, n, divided);
        UNROLL for (int i = 0; i < EDGE; i++) half[i][j] = turned[i];
    }
    UNROLL for (int i = 0; i < EDGE; i++)
    {
        vec line[EDGE];
        spread(line, half[i], n, divided);
        UNROLL for (int j = 0; j < EDGE; j++) * (loose *)(to + (size_t)(EDGE * i + j) * slice) = line[j];
    }
}

INLINE void collect_square(vec *to, const real *u, size_t slice, const int n, const int divided)
{
    vec half[EDGE][EDGE];
    UNROLL for (int j = 0; j < EDGE; j++)
    {
        vec line[EDGE], turned[EDGE];
        UNROLL for (int i = 0; i < EDGE; i++) line[i] = at(u + (size_t)(EDGE * i + j) * slice);
        collect(turned, line, n, divided);
        UNROLL for (int i = 0; i < n; i++) half[i][j] = turned[i];
    }
    UNROLL for (int i = 0; i < n; i++) collect(to + i * n, half[i], n, divided);
}

/* ---- where things are ---- */

/* The tiles of targets and what they meet. */
struct tiling {
    size_t edge, taps;                      /* m and r */
    size_t images, rows, columns;           /* tiles, in each image down and across */
    size_t height, width, channels;         /* of the sources, */
    size_t out_height, out_width, features; /* and of the targets */
    ptrdiff_t top, left;                    /* the source that the first target's first tap meets */
};

static struct tiling tiling_of(const batten_convolution *p, int backward)
{
    const size_t r = p->kernel[2], m = EDGE + 1 - r;
    const size_t *const in = backward ? p->out : p->in, *const out = backward ? p->in : p->out;
    const ptrdiff_t turned = backward ? (ptrdiff_t)r - 1 : 0, sign = backward ? 1 : -1;
    return (struct tiling){
        .edge = m,
        .taps = r,
        .images = p->batch * p->in[0],
        .rows = blocks_of(out[1], m),
        .columns = blocks_of(out[2], m),
        .height = in[1],
        .width = in[2],
        .channels = backward ? p->features : p->channels,
        .out_height = out[1],
        .out_width = out[2],
        .features = backward ? p->channels : p->features,
        .top = sign * (ptrdiff_t)p->before[1] - turned,
        .left = sign * (ptrdiff_t)p->before[2] - turned,
    };
}

static size_t tiles_in(const struct tiling *t)
{
    return t->images * t->rows * t->columns;
}

/* The distance of slices of so many elements: an odd number of lines. */
static size_t slice_of(size_t n)
{
    return (blocks_of(n, LINE) | 1) * LINE;
}

/* ---- sources and targets ---- */

struct place {
    size_t image, row, column; /* of a tile */
};

static struct place place_of(const struct tiling *t, size_t tile)
{
    return (struct place){tile / t->columns / t->rows, tile / t->columns % t->rows, tile % t->columns};
}

/* Squares of `edge` pixels a side, in a row, each `step` pixels behind the one before. */
struct squares {
    const real *first;
    ptrdiff_t row, column; /* from a pixel to the one below and to the next */
};

enum { ACROSS = 16 }; /* squares in a row that are copied at a time, at most */

/* Where they are in the image, if all of them are inside and have whole vectors of channels; else a copy in `room`. */
static struct squares squares_at(const struct image *image, ptrdiff_t top, ptrdiff_t left, size_t rows, size_t columns,
                                 size_t channels, real *room)
{
    const size_t lead = blocks_of(channels, VLEN) * VLEN;
    if (channels == lead && top >= 0 && left >= 0 && top + (ptrdiff_t)rows <= (ptrdiff_t)image->height
        && left + (ptrdiff_t)columns <= (ptrdiff_t)image->width)
        return (struct squares){image->pixels + ((size_t)top * image->width + (size_t)left) * image->lead,
                                (ptrdiff_t)(image->width * image->lead), (ptrdiff_t)image->lead};
    copy_window(room, lead, image, top, left, rows, columns, channels);
    return (struct squares){room, (ptrdiff_t)(columns * lead), (ptrdiff_t)lead};
}

/* Transforms the sources of n tiles: to (36 slices, tiles, channels). */
static void transform_sources(real *to, size_t slice, const real *x, const struct tiling *t, size_t first, size_t n,
                              real *room)
{
    const size_t row = pitch_of(t->channels);
    for (size_t i = 0, across; i < n; i += across) {
        const struct place at = place_of(t, first + i);
        const struct image image = {x + at.image * t->height * t->width * t->channels, t->height, t->width,
                                    t->channels};
        across = smaller(smaller(ACROSS, t->columns - at.column), n - i);
        const struct squares s =
            squares_at(&image, t->top + (ptrdiff_t)(at.row * t->edge), t->left + (ptrdiff_t)(at.column * t->edge), EDGE,
                       (across - 1) * t->edge + EDGE, t->channels, room);
        for (size_t j = 0; j < across; j++)
            for (size_t c = 0; c < t->channels; c += VLEN)
                source_square(to + (i + j) * row + c, slice, s.first + j * t->edge * (size_t)s.column + c, s.row,
                              s.column);
    }
}

/* Transforms dy at the targets of n tiles: to (36 slices, tiles of so many rows, features), from feature `left` on. */
static void transform_gradients(real *to, size_t slice, size_t row, const real *dy, const struct tiling *t,
                                size_t first, size_t n, size_t left, size_t features, real *room)
{
    for (size_t i = 0, across; i < n; i += across) {
        const struct place at = place_of(t, first + i);
        const struct image image = {dy + at.image * t->out_height * t->out_width * t->features + left, t->out_height,
                                    t->out_width, t->features};
        across = smaller(smaller(ACROSS, t->columns - at.column), n - i);
        const struct squares s = squares_at(&image, (ptrdiff_t)(at.row * t->edge), (ptrdiff_t)(at.column * t->edge),
                                            t->edge, across * t->edge, features, room);
        for (size_t j = 0; j < across; j++)
            for (size_t k = 0; k < features; k += VLEN) {
                const real *const square = s.first + j * t->edge * (size_t)s.column + k;
                if (t->edge == 4)
                    spread_square(to + (i + j) * row + k, slice, square, s.row, s.column, 4, 0);
                else
                    spread_square(to + (i + j) * row + k, slice, square, s.row, s.column, 2, 0);
            }
    }
}

/* Collects a tile's targets from (36 slices, features). */
INLINE void collect_tile(real *y, const real *products, size_t slice, const struct tiling *t, size_t tile,
                         const real *bias, batten_activation activation, const int m)
{
    const struct place at = place_of(t, tile);
    const size_t top = at.row * t->edge, left = at.column * t->edge;
    const size_t height = smaller(t->edge, t->out_height - top), width = smaller(t->edge, t->out_width - left);
    real *const corner = y + ((at.image * t->out_height + top) * t->out_width + left) * t->features;
    for (size_t k = 0; k < t->features; k += VLEN) {
        const size_t n = smaller(VLEN, t->features - k);
        vec square[m * m], offset = {0};
        collect_square(square, products + k, slice, m, 0);
        if (bias)
            memcpy(&offset, bias + k, n * sizeof(real));
        UNROLL for (int i = 0; i < m * m; i++)
        {
            square[i] += offset;
            if (activation == BATTEN_RELU)
                square[i] = (vec)((mask)square[i] & ~(mask)(square[i] < 0));
        }
        real *row = corner + k;
        if (n == VLEN && height == (size_t)m && width == (size_t)m) {
            UNROLL for (int i = 0; i < m; i++, row += t->out_width * t->features) UNROLL for (int j = 0; j < m; j++)
                * (loose *)(row + (size_t)j * t->features) = square[i * m + j];
            continue;
        }
        for (size_t i = 0; i < height; i++)
            for (size_t j = 0; j < width; j++)
                memcpy(row + (i * t->out_width + j) * t->features, &square[i * (size_t)m + j], n * sizeof(real));
    }
}

static void collect_targets(real *y, const real *products, size_t slice, const struct tiling *t, size_t tile,
                            const real *bias, batten_activation activation)
{
    if (t->edge == 4)
        collect_tile(y, products, slice, t, tile, bias, activation, 4);
    else
        collect_tile(y, products, slice, t, tile, bias, activation, 2);
}

/* ---- weights ---- */

/* Transforms the weights of a panel of columns and some channels.  Of a target's channel k and a source's c they
 * are w[k, c, tap] forward, and w[c, k, tap] with the taps in opposite order backward. */
static void transform_weights(real *to, size_t slice, const real *w, const struct tiling *t, int backward, size_t panel,
                              size_t first, size_t last)
{
    const size_t left = panel * NR, n = smaller(NR, t->features - left), width = width_of(n), taps = t->taps * t->taps;
    const size_t of_column = (backward ? 1 : t->channels) * taps, of_channel = (backward ? t->features : 1) * taps;
    real square[25 * NR] __attribute__((aligned(VBYTES)));
    memset(square, 0, sizeof square);
    for (size_t c = first; c < last; c++) {
        for (size_t i = 0; i < n; i++) {
            const real *const from = w + c * of_channel + (left + i) * of_column;
            for (size_t tap = 0; tap < taps; tap++)
                square[tap * NR + i] = from[backward ? taps - 1 - tap : tap];
        }
        real *const there = to + left * t->channels + c * width;
        for (size_t i = 0; i < width; i += VLEN)
            if (t->taps == 3)
                spread_square(there + i, slice, square + i, 3 * NR, NR, 3, 1);
            else
                spread_square(there + i, slice, square + i, 5 * NR, NR, 5, 1);
    }
}

/* ---- by data ---- */

/* sources (tiles, channels) times weights (channels, features) for one slice.  Behind a panel of weights lies the
 * next, which is asked for meanwhile; behind the last one of a slice, `following`. */
static void multiply(real *products, const real *sources, const real *weights, const real *following, size_t tiles,
                     const struct tiling *t)
{
    const size_t height = blocks_of(tiles, blocks_of(tiles, MR));
    const size_t row = pitch_of(t->features), lane = pitch_of(t->channels);
    const size_t calls = blocks_of(tiles, height), lines = t->channels * NR / LINE;
    const int large = SLICES * t->channels * t->features * sizeof(real) > SECOND_CACHE;
    struct ahead next = {.rows = 0};
    struct tile c = {.depth = t->channels, .c_row = (ptrdiff_t)row, .alpha = 1, .next = &next};
    for (size_t v = 0; v < t->features; v += NR) {
        c.columns = width_of(smaller(NR, t->features - v));
        c.b = (struct panel){weights + v * t->channels, 1, (ptrdiff_t)c.columns};
        if (large)
            next = (struct ahead){v + NR < t->features ? c.b.x + NR * t->channels : following,
                                  0,
                                  1,
                                  t->channels * NR,
                                  0,
                                  blocks_of(lines, calls * height)};
        for (size_t u = 0; u < tiles; u += height) {
            c.rows = smaller(height, tiles - u);
            c.a = (struct panel){sources + u * lane, (ptrdiff_t)lane, 1};
            c.c = products + u * row + v;
            KERNEL(tile)(&c);
        }
    }
}

/* Where the slices of one unit of work are in scratch. */
struct room {
    real *sources, *others, *copy; /* others: products, or gradients */
    size_t of_sources, of_others;  /* the distances of their slices */
};

static struct room room_of(real *scratch, const batten_convolution *p, size_t channels, size_t others)
{
    struct room r = {.of_sources = slice_of(p->tiles * pitch_of(channels)),
                     .of_others = slice_of(p->tiles * pitch_of(others))};
    r.sources = scratch + p->shared + myself().rank * p->room;
    r.others = r.sources + SLICES * r.of_sources;
    r.copy = r.others + SLICES * r.of_others;
    return r;
}

/* The targets of a unit's tiles, from `first` on. */
static void convolve_tiles(real *y, const real *x, const real *bias, real *scratch, const batten_convolution *p,
                           const struct tiling *t, size_t of_weights, size_t first)
{
    const size_t n = smaller(p->tiles, tiles_in(t) - first);
    const struct room r = room_of(scratch, p, t->channels, t->features);
    transform_sources(r.sources, r.of_sources, x, t, first, n, r.copy);
    for (size_t s = 0; s < SLICES; s++)
        multiply(r.others + s * r.of_others, r.sources + s * r.of_sources, scratch + s * of_weights,
                 scratch + (s + 1) % SLICES * of_weights, n, t);
    for (size_t i = 0; i < n; i++)
        collect_targets(y, r.others + i * pitch_of(t->features), r.of_others, t, first + i, bias, p->activation);
}

static void by_data(real *y, const real *x, const real *w, const real *bias, real *scratch, const batten_convolution *p,
                    int backward)
{
    enum { CHANNELS = 64 }; /* whose weights are transformed at a time */
    const struct tiling t = tiling_of(p, backward);
    const size_t panels = blocks_of(t.features, NR), blocks = blocks_of(t.channels, CHANNELS);
    const size_t of_weights = slice_of(blocks_of(t.features, VLEN) * VLEN * t.channels);
    TEAM_OF(p->team, SHARED(for (size_t i = 0; i < panels * blocks; i++) transform_weights(
                                scratch, of_weights, w, &t, backward, i / blocks, i % blocks * CHANNELS,
                                smaller(i % blocks * CHANNELS + CHANNELS, t.channels));)
                         SHARED(for (size_t first = 0; first < tiles_in(&t); first += p->tiles)
                                    convolve_tiles(y, x, bias, scratch, p, &t, of_weights, first);));
}

void KERNEL(winograd)(real *y, const real *x, const real *w, const real *bias, real *scratch,
                      const batten_convolution *p)
{
    by_data(y, x, w, bias, scratch, p, 0);
}

void KERNEL(winograd_backward_data)(real *dx, const real *dy, const real *w, const real *bias, real *scratch,
                                    const batten_convolution *p)
{
    by_data(dx, dy, w, bias, scratch, p, 1);
}

/* ---- by weights ---- */

/* Adds gradients (tiles, features) times sources (tiles, channels) to the sums of one slice (features, channels). */
static void add_products(real *sums, const real *gradients, size_t lead, const real *sources, size_t features,
                         size_t channels, size_t tiles, int first)
{
    const size_t height = blocks_of(features, blocks_of(features, MR));
    const size_t row = pitch_of(channels);
    struct ahead none = {0};
    struct tile c = {.depth = tiles, .c_row = (ptrdiff_t)row, .alpha = 1, .scale = first ? 0 : 1, .next = &none};
    for (size_t v = 0; v < channels; v += NR) {
        c.columns = width_of(smaller(NR, channels - v));
        c.b = (struct panel){sources + v, 1, (ptrdiff_t)row};
        for (size_t u = 0; u < features; u += height) {
            c.rows = smaller(height, features - u);
            c.a = (struct panel){gradients + u, 1, (ptrdiff_t)lead};
            c.c = sums + u * row + v;
            KERNEL(tile)(&c);
        }
    }
}

/* The weights' gradients of a feature from the sums of its segments. */
INLINE void collect_feature(real *dw, real *sums, size_t slice, size_t segment, size_t segments, size_t channels,
                            const int r)
{
    for (size_t c = 0; c < channels; c += VLEN) {
        for (size_t s = 0; s < SLICES && segments > 1; s++) {
            vec total = at(sums + s * slice + c);
            for (size_t i = 1; i < segments; i++)
                total += at(sums + i * segment + s * slice + c);
            *(loose *)(sums + s * slice + c) = total;
        }
        vec square[25];
        collect_square(square, sums + c, slice, r, 1);
        for (size_t i = 0; i < smaller(VLEN, channels - c); i++)
            for (int tap = 0; tap < r * r; tap++)
                dw[(c + i) * (size_t)(r * r) + (size_t)tap] = square[tap][i];
    }
}

static void collect_weights(real *dw, real *sums, size_t slice, size_t segment, size_t segments, const struct tiling *t)
{
    if (t->taps == 3)
        collect_feature(dw, sums, slice, segment, segments, t->channels, 3);
    else
        collect_feature(dw, sums, slice, segment, segments, t->channels, 5);
}

/* The sums of a segment of the tiles, for the features from `block` on: sums (36 slices, features, channels). */
static void sum_segment(real *sums, size_t of_sums, const real *dy, const real *x, real *scratch,
                        const batten_convolution *p, const struct tiling *t, size_t block, size_t segment)
{
    const size_t features = smaller(p->columns, t->features - block), row = pitch_of(p->columns);
    const struct range mine = share(tiles_in(t), (struct member){segment, p->segments});
    const struct room r = room_of(scratch, p, t->channels, p->columns);
    for (size_t first = mine.first; first < mine.last; first += p->tiles) {
        const size_t n = smaller(p->tiles, mine.last - first);
        transform_sources(r.sources, r.of_sources, x, t, first, n, r.copy);
        transform_gradients(r.others, r.of_others, row, dy, t, first, n, block, features, r.copy);
        for (size_t s = 0; s < SLICES; s++)
            add_products(sums + s * of_sums, r.others + s * r.of_others, row, r.sources + s * r.of_sources, features,
                         t->channels, n, first == mine.first);
    }
}

static void by_weights(real *dw, const real *dy, const real *x, real *scratch, const batten_convolution *p)
{
    const struct tiling t = tiling_of(p, 0);
    const size_t across = blocks_of(t.features, p->columns), segments = p->segments;
    const size_t of_sums = slice_of(p->columns * pitch_of(t.channels)), unit = SLICES * of_sums;
    TEAM_OF(p->team,
            SHARED(for (size_t j = 0; j < across * segments; j++) sum_segment(
                       scratch + j * unit, of_sums, dy, x, scratch, p, &t, j / segments * p->columns, j % segments);)
                SHARED(for (size_t k = 0; k < t.features; k++) collect_weights(
                           dw + k * t.channels * t.taps * t.taps,
                           scratch + k / p->columns * segments * unit + k % p->columns * pitch_of(t.channels), of_sums,
                           unit, segments, &t);));
}

void KERNEL(winograd_backward_weights)(real *dw, const real *dy, const real *x, real *scratch,
                                       const batten_convolution *p)
{
    by_weights(dw, dy, x, scratch, p);
}
