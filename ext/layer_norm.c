/* Normalization of each row of a matrix by itself: layer normalization (Ba, Kiros & Hinton 2016)
 *
 *     mean[i] = sum_j x[i][j] / n,    var[i] = sum_j (x[i][j] - mean[i])^2 / n
 *     y[i][j] = gamma[j] xhat[i][j] + beta[j],    xhat = (x - mean) rstd,    rstd = 1 / sqrt(var + eps)
 *
 * and by the root mean square (Zhang & Sennrich 2019), which has a mean of nought whatever x is,
 * and no beta.  That is the same walks with no mean, NULL.
 *
 * Three passes over a row that stays in the cache: its sum, the sums of d and d^2
 * for d = x - that mean, and the result.  The mean that the first sum gives is off
 * by roundings, in float by many where a row is far from nought; the second sum tells
 * by how much.  Mean and rstd are kept in double, and x - mean is taken in two steps,
 *
 *     xhat = (x - m) rstd - (mean - m) rstd,    m the mean rounded to the type,
 *
 * of which the first is exact where x is near m: no digits are lost in float either.
 *
 * Sums go to the lanes of vectors, some 64 terms each in `real`, and on in double.
 * Threads take whole rows; what is summed over rows, dgamma and dbeta, is summed over
 * blocks of ROWS rows first, and the blocks are added from the top down.
 *
 * It takes the time of its traffic with memory if that has no pauses.  So the last pass over a row
 * asks for the next row, and the pass before asks for the lines that the last will write.  And backward
 * begins with the rows that forward read last, which may still be in a cache. */
#include "sum.h"
#include <string.h>

enum { ROWS = BATTEN_LAYER_ROWS, COLUMNS = 64, LINE = 64 / sizeof(real) };

#define INLINE static inline __attribute__((always_inline))
typedef real loose __attribute__((vector_size(VBYTES), aligned(sizeof(real)), may_alias));

/* ---- pieces of rows: a vector, or what is left over at the end ---- */

/* Lanes are counted by integers as wide as the type: else GCC 12 stores halves of a vector under a mask, by an
 * instruction that touches what the mask leaves out, which may lie on a page that is not there. */
typedef __typeof__(((vec){0} < (vec){0})[0]) integer;

INLINE vec load(const real *x, size_t n, real rest)
{
    if (n == VLEN)
        return *(const loose *)x;
    real lanes[VLEN];
    PRAGMA(omp simd)
    for (integer lane = 0; lane < VLEN; lane++)
        lanes[lane] = lane < (integer)n ? x[lane] : rest;
    return *(const loose *)lanes;
}

INLINE void store(real *y, vec v, size_t n)
{
    if (n == VLEN) {
        *(loose *)y = v;
        return;
    }
    real lanes[VLEN];
    *(loose *)lanes = v;
    PRAGMA(omp simd)
    for (integer lane = 0; lane < VLEN; lane++)
        if (lane < (integer)n)
            y[lane] = lanes[lane];
}

/* gamma v, where gamma may be NULL. */
INLINE vec scaled(vec v, const real *gamma, size_t j, size_t n)
{
    return gamma ? load(gamma + j, n, 0) * v : v;
}

/* A vector's lanes, in double. */
INLINE double sum_of(vec v)
{
    real lanes[VLEN];
    memcpy(lanes, &v, sizeof v);
    return sum_lanes(lanes, VLEN);
}

/* Whether it pays to ask for what is as long as a row before it is needed: not where that pushes the row itself
 * out of the second cache. */
static int fits(size_t cols)
{
    return cols * sizeof(real) <= 128 << 10;
}

/* ---- sums of a row ---- */

struct sums {
    double t, td;
};

/* An addition waits four cycles for the one before it, and two begin in each: so there are
 * CHAINS of them for each sum.  They have names because GCC 12 writes an array to the stack. */
#define EACH_CHAIN(DO) DO(0) DO(1) DO(2) DO(3)
enum { CHAINS = 4, STEP = CHAINS * VLEN, STRETCH = 64 * STEP };

#define ZERO(chain) vec t##chain = {0}, td##chain = {0};
#define ADD(chain, at, n)                                                     \
    {                                                                         \
        const vec d = load(x + (at), n, m) - m;                               \
        const vec t = dy ? scaled(load(dy + (at), n, 0), gamma, (at), n) : d; \
        t##chain += t, td##chain += t * d;                                    \
    }
#define ADD_WHOLE(chain) ADD(chain, j + chain * VLEN, VLEN)

/* The sums of t and of t d with d = x - m, where t is d, or gamma dy if there is a dy.
 * Asks for `target`, the row that is written next, unless it is NULL. */
INLINE struct sums sum_row(const real *x, real m, const real *dy, const real *gamma, const real *target, size_t cols)
{
    struct sums s = {0, 0};
    for (size_t begin = 0; begin < cols; begin += STRETCH) {
        const size_t end = smaller(begin + STRETCH, cols);
        size_t j = begin;
        EACH_CHAIN(ZERO)
        for (; j + STEP <= end; j += STEP) {
            for (size_t k = j; target && k < j + STEP; k += LINE)
                __builtin_prefetch(target + k, 1);
            EACH_CHAIN(ADD_WHOLE)
        }
        for (; j + VLEN <= end; j += VLEN)
            ADD(0, j, VLEN)
        if (j < end)
            ADD(1, j, end - j)
        s.t += sum_of((t0 + t1) + (t2 + t3));
        s.td += sum_of((td0 + td1) + (td2 + td3));
    }
    return s;
}

/* ---- forward ---- */

/* What the last pass knows of its row. */
struct row {
    real mean, rstd, excess; /* (x - mean) rstd - excess has no mean */
    real shift, slope;       /* the means of g and g xhat; see below */
};

INLINE struct row row_of(double mean, double rstd)
{
    const real m = (real)mean;
    return (struct row){.mean = m, .rstd = (real)rstd, .excess = (real)((mean - m) * rstd)};
}

INLINE vec normalized(vec x, struct row r)
{
    return (x - r.mean) * r.rstd - r.excess;
}

INLINE void write_piece(real *y, const real *x, const real *gamma, const real *beta, struct row r, size_t j, size_t n)
{
    const vec v = scaled(normalized(load(x + j, n, 0), r), gamma, j, n);
    store(y + j, beta ? v + load(beta + j, n, 0) : v, n);
}

INLINE void normalize_row(real *y, double *mean, double *rstd, const real *x, const real *gamma, const real *beta,
                          size_t cols, double eps)
{
    const double n = cols ? (double)cols : 1;
    const real m = mean ? (real)(sum_row(x, 0, NULL, NULL, NULL, cols).t / n) : 0;
    const struct sums sums = sum_row(x, m, NULL, NULL, fits(cols) ? y : NULL, cols);
    const double d = mean ? sums.t / n : 0, spread = sums.td / n - d * d;
    *rstd = 1 / sqrt((spread < 0 ? 0 : spread) + eps);
    if (mean)
        *mean = m + d;
    const struct row r = row_of(mean ? m + d : 0, *rstd);
    const size_t next = fits(cols) ? cols : 0, whole = cols / VLEN * VLEN;
    for (size_t j = 0; j < whole; j += VLEN) {
        __builtin_prefetch(x + j + next);
        write_piece(y, x, gamma, beta, r, j, VLEN);
    }
    if (whole < cols)
        write_piece(y, x, gamma, beta, r, whole, cols - whole);
}

static void layer_norm_row(real *y, double *mean, double *rstd, const real *x, const real *gamma, const real *beta,
                           size_t cols, double eps)
{
    normalize_row(y, mean, rstd, x, gamma, beta, cols, eps);
}

static void rms_norm_row(real *y, double *rstd, const real *x, const real *gamma, size_t cols, double eps)
{
    normalize_row(y, NULL, rstd, x, gamma, NULL, cols, eps);
}

/* y (rows, cols) from x; mean, rstd (rows), kept for backward; gamma and beta (cols) may be NULL. */
void KERNEL(layer_norm)(real *y, double *mean, double *rstd, const real *x, const real *gamma, const real *beta,
                        size_t rows, size_t cols, double eps)
{
    PARALLEL(2 * rows * cols, for (size_t i = 0; i < rows; i++)
        layer_norm_row(y + i * cols, mean + i, rstd + i, x + i * cols, gamma, beta, cols, eps););
}

void KERNEL(rms_norm)(real *y, double *rstd, const real *x, const real *gamma, size_t rows, size_t cols, double eps)
{
    PARALLEL(rows * cols, for (size_t i = 0; i < rows; i++)
        rms_norm_row(y + i * cols, rstd + i, x + i * cols, gamma, cols, eps););
}

/* ---- backward ---- */

INLINE void add(real *sum, vec v, size_t n)
{
    store(sum, load(sum, n, 0) + v, n);
}

INLINE void write_piece_backward(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x, const real *gamma,
                                 struct row r, size_t j, size_t n)
{
    const vec xhat = normalized(load(x + j, n, 0), r), passed = load(dy + j, n, 0);
    store(dx + j, (scaled(passed, gamma, j, n) - r.shift - xhat * r.slope) * r.rstd, n);
    if (dgamma)
        add(dgamma + j, passed * xhat, n);
    if (dbeta)
        add(dbeta + j, passed, n);
}

/* With g = gamma dy,
 *
 *     dx = rstd (g - sum_j g / n - xhat sum_j (g xhat) / n)
 *     dgamma = sum_i dy xhat,     dbeta = sum_i dy
 *
 * of which the first sum is left out without a mean; dgamma and dbeta, which may be NULL, gather this row's terms. */
INLINE void normalize_row_backward(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x,
                                   const double *mean, double rstd, const real *gamma, size_t cols)
{
    const double n = (double)cols, center = mean ? *mean : 0;
    struct row r = row_of(center, rstd);
    const struct sums sums = sum_row(x, r.mean, dy, gamma, fits(cols) ? dx : NULL, cols);
    r.shift = mean ? (real)(sums.t / n) : 0;
    r.slope = (real)((sums.td - (center - r.mean) * sums.t) * rstd / n);
    const size_t next = fits(cols) ? cols : 0, whole = cols / VLEN * VLEN;
    for (size_t j = 0; j < whole; j += VLEN) {
        __builtin_prefetch(x + j + next);
        __builtin_prefetch(dy + j + next);
        write_piece_backward(dx, dgamma, dbeta, dy, x, gamma, r, j, VLEN);
    }
    if (whole < cols)
        write_piece_backward(dx, dgamma, dbeta, dy, x, gamma, r, whole, cols - whole);
}

INLINE void normalize_rows_backward(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x,
                                    const double *mean, const double *rstd, const real *gamma, size_t rows, size_t cols)
{
    if (dgamma)
        memset(dgamma, 0, cols * sizeof(real));
    if (dbeta)
        memset(dbeta, 0, cols * sizeof(real));
    for (size_t i = 0; i < rows; i++)
        normalize_row_backward(dx + i * cols, dgamma, dbeta, dy + i * cols, x + i * cols, mean ? mean + i : NULL,
                               rstd[i], gamma, cols);
}

/* A block's rows, of which sums (2, cols), if there is room for them, are the terms of dgamma and dbeta. */
static void layer_norm_block_backward(real *dx, real *sums, const real *dy, const real *x, const double *mean,
                                      const double *rstd, const real *gamma, size_t rows, size_t cols)
{
    if (sums)
        normalize_rows_backward(dx, sums, sums + cols, dy, x, mean, rstd, gamma, rows, cols);
    else
        normalize_rows_backward(dx, NULL, NULL, dy, x, mean, rstd, gamma, rows, cols);
}

/* The same, of which sums (cols) are the terms of dgamma. */
static void rms_norm_block_backward(real *dx, real *sums, const real *dy, const real *x, const double *rstd,
                                    const real *gamma, size_t rows, size_t cols)
{
    if (sums)
        normalize_rows_backward(dx, sums, NULL, dy, x, NULL, rstd, gamma, rows, cols);
    else
        normalize_rows_backward(dx, NULL, NULL, dy, x, NULL, rstd, gamma, rows, cols);
}

/* A strip of total (cols), of the blocks' sums, which lie `stride` apart. */
static void add_blocks(real *total, const real *sums, size_t strip, size_t blocks, size_t cols, size_t stride)
{
    const size_t first = strip * COLUMNS, last = smaller(first + COLUMNS, cols);
    double totals[COLUMNS] = {0};
    for (size_t block = 0; block < blocks; block++)
        for (size_t j = first; j < last; j++)
            totals[j - first] += sums[block * stride + j];
    for (size_t j = first; j < last; j++)
        total[j] = (real)totals[j - first];
}

/* A single block is work for one. */
static size_t work_of(size_t blocks, size_t rows, size_t cols)
{
    return blocks > 1 ? 2 * rows * cols : 0;
}

/* dx (rows, cols), which may be dy; dgamma, dbeta, gamma (cols) may be NULL.  scratch: 2 cols for each
 * block of rows, where dgamma or dbeta is wanted. */
void KERNEL(layer_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x, const double *mean,
                                 const double *rstd, const real *gamma, real *scratch, size_t rows, size_t cols)
{
    const size_t blocks = blocks_of(rows, ROWS), strips = blocks_of(cols, COLUMNS), stride = 2 * cols;
    const int summed = dgamma || dbeta;
    TEAM(work_of(blocks, rows, cols),
         SHARED_BACK(block, blocks, const size_t first = block * ROWS, at = first * cols;
                     layer_norm_block_backward(dx + at, summed ? scratch + block * stride : NULL, dy + at, x + at,
                                               mean + first, rstd + first, gamma, smaller(ROWS, rows - first), cols);)
         SHARED(for (size_t strip = 0; strip < strips; strip++) {
             if (dgamma)
                 add_blocks(dgamma, scratch, strip, blocks, cols, stride);
             if (dbeta)
                 add_blocks(dbeta, scratch + cols, strip, blocks, cols, stride);
         }));
}

/* The same without a mean and a beta; scratch: cols for each block of rows, where dgamma is wanted. */
void KERNEL(rms_norm_backward)(real *dx, real *dgamma, const real *dy, const real *x, const double *rstd,
                               const real *gamma, real *scratch, size_t rows, size_t cols)
{
    const size_t blocks = blocks_of(rows, ROWS), strips = dgamma ? blocks_of(cols, COLUMNS) : 0;
    TEAM(work_of(blocks, rows, cols),
         SHARED_BACK(block, blocks, const size_t first = block * ROWS, at = first * cols;
                     rms_norm_block_backward(dx + at, dgamma ? scratch + block * cols : NULL, dy + at, x + at,
                                             rstd + first, gamma, smaller(ROWS, rows - first), cols);)
         SHARED(for (size_t strip = 0; strip < strips; strip++)
             add_blocks(dgamma, scratch, strip, blocks, cols, cols);));
}
