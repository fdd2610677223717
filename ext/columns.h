/* Walks over a matrix whose columns are the lanes of vectors, for normalizations of channels.
 *
 * The matrix is cut into tiles.  One walk finds two sums a column, in double precision and
 * of d = x - mean; another writes
 *
 *     y = act((x - mean) scale + shift)     with three numbers a column,
 *
 * where act is nothing, relu, or relu of the sum with another matrix.  The sums of what
 * relu stops backward find its sign by the same operations on the same numbers, so that
 * nobody need keep its result or a mask. */
#ifndef BATTEN_COLUMNS_H
#define BATTEN_COLUMNS_H

#include "bits.h"

enum { ROWS = BATTEN_TILE_ROWS, COLUMNS = 512, FINISHED = 128 };

struct tile {
    size_t row, column, height, width;
};

/* Tiles have COLUMNS columns, and the last one in a row also those that are left over:
 * none is narrower than that unless the matrix is.  Then they are the higher. */
static size_t tiles_across(size_t cols)
{
    return cols < COLUMNS ? 1 : cols / COLUMNS;
}

static size_t tile_rows(size_t cols)
{
    return cols > 0 && cols < COLUMNS ? COLUMNS / cols * ROWS : ROWS;
}

static size_t tiles_down(size_t rows, size_t cols)
{
    return blocks_of(rows, tile_rows(cols));
}

static size_t tiles(size_t rows, size_t cols)
{
    return tiles_down(rows, cols) * tiles_across(cols);
}

static struct tile tile_at(size_t i, size_t rows, size_t cols)
{
    const size_t across = tiles_across(cols), height = tile_rows(cols), row = i / across * height,
                 column = i % across * COLUMNS;
    return (struct tile){row, column, smaller(height, rows - row), i % across + 1 < across ? COLUMNS : cols - column};
}

/* What a walk knows of the columns of its tile. */
struct columns {
    real mean[2 * COLUMNS], scale[2 * COLUMNS], shift[2 * COLUMNS];
};

/* A dropout behind the walk: the bits of its mask, by what the rest is multiplied, and the gradient that arrives. */
struct dropped {
    const uint8_t *mask;
    real scale;
    const real *dy;
};

static inline real normalized(real x, real mean, real scale, real shift)
{
    return (x - mean) * scale + shift;
}

/* The sums of two terms an element, with d = x - mean: of d and d^2, of y's sign and d times
 * that, or of dy and d dy, where dy may be stopped by a relu behind y. */
enum terms { OF_X, OF_SIGN, OF_DY, OF_DY_BEFORE_RELU };

/* As many numbers as there are doubles in a register, in the type and in double. */
enum { LANES = VBYTES / sizeof(double) };
typedef real narrow __attribute__((vector_size(LANES * sizeof(real))));
typedef real loose __attribute__((vector_size(LANES * sizeof(real)), aligned(sizeof(real)), may_alias));
typedef double wide __attribute__((vector_size(VBYTES)));
typedef double loose_wide __attribute__((vector_size(VBYTES), aligned(sizeof(double)), may_alias));

/* The numbers in double.  They are named one by one because GCC 12 makes a single
 * instruction of that, and several of __builtin_convertvector. */
static inline __attribute__((always_inline)) wide widened(narrow x)
{
#if VBYTES == 64
    return (wide){x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]};
#elif VBYTES == 32
    return (wide){x[0], x[1], x[2], x[3]};
#else
    return (wide){x[0], x[1]};
#endif
}

/* dy where relu let y through. */
static inline __attribute__((always_inline)) narrow let_through(narrow dy, narrow y)
{
    const __typeof__(y <= y) stopped = y <= (narrow){0}, bits = (__typeof__(y <= y))dy;
    return (narrow)(bits & ~stopped);
}

/* What dropout makes of a vector of the gradient that arrives, and of one element; d may be NULL. */
static inline __attribute__((always_inline)) narrow arrived(const real *dy, uint64_t bits, const struct dropped *d)
{
    const narrow value = *(const loose *)dy;
    if (!d)
        return value;
    typedef integer lanes __attribute__((vector_size(LANES * sizeof(real))));
    static const integer BIT[] = {1, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7};
    lanes bit;
    memcpy(&bit, BIT, sizeof bit);
    bit = (bit & ((lanes){0} + (integer)(uint8_t)bits)) == bit;
    return value * (narrow)(bit & (lanes)(d->scale - (narrow){0}));
}

static inline real arrived_one(const real *dy, const struct dropped *d)
{
    return d ? *dy * (bits_at(d->mask, (size_t)(dy - d->dy), 1) & 1 ? d->scale : 0) : *dy;
}

/* to = from times scale or nought, by the mask; the first of n elements is number `at` of it.  to may be from. */
static inline void thin_row(real *to, const real *from, const struct dropped *d, size_t at, size_t n)
{
    const vec scale = d->scale - (vec){0};
    size_t j = 0;
    for (; j + PIECE <= n; j += PIECE) {
        const uint64_t bits = bits_at(d->mask, at + j, PIECE);
        PRAGMA(GCC unroll 32)
        for (size_t k = 0; k < PIECE; k += VLEN)
            *(unaligned *)(to + j + k) = *(const unaligned *)(from + j + k) * those(scale, bits >> k);
    }
    for (; j + VLEN <= n; j += VLEN)
        *(unaligned *)(to + j) = *(const unaligned *)(from + j) * those(scale, bits_at(d->mask, at + j, VLEN));
    for (; j < n; j++)
        to[j] = from[j] * (bits_at(d->mask, at + j, 1) & 1 ? d->scale : 0);
}

/* 1 where y > 0, -1 where y < 0, else 0. */
static inline __attribute__((always_inline)) narrow sign_of(narrow y)
{
    const narrow one = (narrow){0} + 1;
    typedef __typeof__(y < y) bits;
    return (narrow)(((y > 0) & (bits)one) | ((y < 0) & (bits)-one));
}

/* first, second = the sums of `vectors` vectors of columns, as many as there are registers
 * for.  Processors do not fetch ahead what is read in so short pieces, so each row asks
 * for the piece that the next strip reads, `next` elements on.  The accumulators have names because GCC 12
 * writes an array of them to the stack at every step. */
#if VBYTES == 64 || defined(__aarch64__)
#define EACH_VECTOR(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
enum { VECTORS = 8, STRIP = VECTORS * LANES };
#else
#define EACH_VECTOR(DO) DO(0) DO(1) DO(2) DO(3)
enum { VECTORS = 4, STRIP = VECTORS * LANES };
#endif

enum { LINE = 64 / sizeof(real) }; /* of a cache */

#define OF_COLUMNS(v, i) ((const loose *)((v) + j))[i < vectors ? i : 0]
#define LOAD(i)                                                                        \
    const narrow mean##i = OF_COLUMNS(c->mean, i), scale##i = OF_COLUMNS(c->scale, i), \
                 shift##i = OF_COLUMNS(c->shift, i);                                   \
    const wide center##i = widened(mean##i);                                           \
    wide first##i = {0}, second##i = {0};
#define ADD(i)                                                                                                        \
    if (i < vectors) {                                                                                                \
        const narrow value = ((const loose *)x)[i];                                                                   \
        const wide from_mean = widened(value) - center##i;                                                            \
        wide term = from_mean;                                                                                        \
        if (terms == OF_SIGN)                                                                                         \
            term = widened(sign_of((value - mean##i) * scale##i + shift##i));                                         \
        if (terms == OF_DY)                                                                                           \
            term = widened(arrived(dy + i * LANES, bits >> i * LANES, d));                                            \
        if (terms == OF_DY_BEFORE_RELU)                                                                               \
            term = widened(                                                                                           \
                let_through(arrived(dy + i * LANES, bits >> i * LANES, d), (value - mean##i) * scale##i + shift##i)); \
        first##i += term;                                                                                             \
        second##i += from_mean * term;                                                                                \
    }
#define STORE(i)                                     \
    if (i < vectors) {                               \
        ((loose_wide *)(first + j))[i] = first##i;   \
        ((loose_wide *)(second + j))[i] = second##i; \
    }
static inline __attribute__((always_inline)) void sum_strip(double *first, double *second, const real *x,
                                                            const real *dy, const struct columns *c, size_t j,
                                                            size_t rows, size_t cols, size_t next, const int vectors,
                                                            const enum terms terms, const struct dropped *d)
{
    EACH_VECTOR(LOAD)
    for (x += j, dy += j; rows > 0; rows--, x += cols, dy += cols) {
        for (size_t k = next; vectors == VECTORS && k < next + STRIP; k += LINE) {
            __builtin_prefetch(x + k, 0, 2);
            if (terms >= OF_DY)
                __builtin_prefetch(dy + k, 0, 2);
        }
        const uint64_t bits = d ? bits_at(d->mask, (size_t)(dy - d->dy), (size_t)vectors * LANES) : 0;
        EACH_VECTOR(ADD)
    }
    EACH_VECTOR(STORE)
}

/* Adds the sums of some rows, one element after the other. */
static inline __attribute__((always_inline)) void sum_rows(double *first, double *second, const real *x, const real *dy,
                                                           const struct columns *c, size_t rows, size_t cols,
                                                           const enum terms terms, const struct dropped *dropped)
{
    for (; rows > 0; rows--, x += cols, dy += cols)
        for (size_t j = 0; j < cols; j++) {
            const double d = (double)x[j] - c->mean[j];
            const real y = normalized(x[j], c->mean[j], c->scale[j], c->shift[j]);
            double term = terms == OF_X ? d : terms == OF_SIGN ? (y > 0) - (y < 0) : arrived_one(dy + j, dropped);
            if (terms == OF_DY_BEFORE_RELU && y <= 0)
                term = 0;
            first[j] += term;
            second[j] += d * term;
        }
}

/* How many rows of a narrow matrix are read as one row of a wider one, which is of whole strips. */
static size_t rows_in_one(size_t cols)
{
    const size_t power = cols & -cols, rows = power && power < STRIP ? STRIP / power : 1;
    return rows * cols <= COLUMNS ? rows : 1;
}

/* first, second = the sums of a tile's columns.  Where fewer columns are left than a
 * vector has lanes, the last vector begins before them: some sums are found twice. */
static inline __attribute__((always_inline)) void sum_tile(double *first, double *second, const real *x, const real *dy,
                                                           struct columns *c, struct tile t, size_t cols,
                                                           const enum terms terms, const struct dropped *d)
{
    const size_t at = t.row * cols + t.column, joined = rows_in_one(cols), rows = t.height / joined,
                 width = joined * t.width, step = joined * cols;
    double of_joined[2][COLUMNS];
    double *const one = joined > 1 ? of_joined[0] : first, *const other = joined > 1 ? of_joined[1] : second;
    size_t j = 0;
    for (size_t k = t.width; k < width; k++) {
        c->mean[k] = c->mean[k - t.width];
        c->scale[k] = c->scale[k - t.width];
        c->shift[k] = c->shift[k - t.width];
    }
    for (; j + STRIP <= width; j += STRIP)
        sum_strip(one, other, x + at, dy + at, c, j, rows, step, j + 2 * STRIP <= width ? STRIP : rows * step - j,
                  VECTORS, terms, d);
    for (; j < width; j += LANES)
        sum_strip(one, other, x + at, dy + at, c, smaller(j, width - LANES), rows, step, 0, 1, terms, d);
    if (joined > 1) {
        memcpy(first, one, t.width * sizeof(double));
        memcpy(second, other, t.width * sizeof(double));
    }
    for (size_t k = t.width; k < width; k += t.width) {
        PRAGMA(omp simd)
        for (j = 0; j < t.width; j++) {
            first[j] += one[k + j];
            second[j] += other[k + j];
        }
    }
    const size_t done = at + rows * step;
    sum_rows(first, second, x + done, dy + done, c, t.height % joined, cols, terms, d);
}

static void sum_tile_forward(double *first, double *second, const real *x, struct tile t, size_t cols)
{
    struct columns c; /* nobody knows the mean yet: the first row takes its place */
    memcpy(c.mean, x + t.column, t.width * sizeof(real));
    sum_tile(first, second, x, x, &c, t, cols, OF_X, NULL);
}

/* d, a dropout behind a relu, may be NULL. */
static void sum_tile_backward(double *first, double *second, const real *dy, const real *x, struct columns *c,
                              struct tile t, size_t cols, int relu, const struct dropped *d)
{
    if (d)
        sum_tile(first, second, x, dy, c, t, cols, OF_DY_BEFORE_RELU, d);
    else if (relu)
        sum_tile(first, second, x, dy, c, t, cols, OF_DY_BEFORE_RELU, NULL);
    else
        sum_tile(first, second, x, dy, c, t, cols, OF_DY, NULL);
}

/* The place in scratch, (2, cols) for each row of tiles, where a tile leaves its sums. */
static inline double *sums_of_tile(double *scratch, struct tile t, size_t cols)
{
    return scratch + t.row / tile_rows(cols) * 2 * cols + t.column;
}

/* The sums over all tiles of some columns, from the top down, in the place of the first tiles'. */
ONCE void add_tiles(double *scratch, size_t begin, size_t end, size_t rows, size_t cols)
{
    for (size_t block = 1; block < tiles_down(rows, cols); block++) {
        const double *const sums = scratch + block * 2 * cols;
        PRAGMA(omp simd)
        for (size_t j = begin; j < end; j++) {
            scratch[j] += sums[j];
            scratch[cols + j] += sums[cols + j];
        }
    }
}

/* Without rows all sums are nought. */
static void no_gradients(real *dgamma, real *dbeta, size_t cols)
{
    for (size_t j = 0; j < cols; j++) {
        if (dgamma)
            dgamma[j] = 0;
        if (dbeta)
            dbeta[j] = 0;
    }
}

static inline __attribute__((always_inline)) void write_rows(real *y, const real *x, const real *z,
                                                             const struct columns *c, struct tile t, size_t cols,
                                                             const int relu, const int added)
{
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++) {
            real value = normalized(x[at + j], c->mean[j], c->scale[j], c->shift[j]);
            if (added)
                value += z[at + j];
            y[at + j] = relu && value < 0 ? 0 : value;
        }
    }
}

static void write_tile(real *y, const real *x, const real *z, const struct columns *c, struct tile t, size_t cols,
                       int relu)
{
    if (z)
        write_rows(y, x, z, c, t, cols, 1, 1);
    else if (relu)
        write_rows(y, x, z, c, t, cols, 1, 0);
    else
        write_rows(y, x, z, c, t, cols, 0, 0);
}

/* How many rows of a tile dropout takes as one: those of a narrow matrix, which have no others' between them. */
static inline size_t rows_at_once(struct tile t, size_t cols)
{
    return t.width == cols && cols ? greater(2 * COLUMNS / cols, 1) : 1;
}

/* dz = dy where relu let y through */
static inline void stop_rows(real *dz, const real *dy, const real *y, struct tile t, size_t cols)
{
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++)
            dz[at + j] = y[at + j] <= 0 ? 0 : dy[at + j];
    }
}

#endif
