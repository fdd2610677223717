/* Layer normalization (Ba, Kiros & Hinton 2016): each row of a matrix by itself.
 *
 *     mean[i] = sum_j x[i][j] / n,    var[i] = sum_j (x[i][j] - mean[i])^2 / n
 *     y[i][j] = gamma[j] xhat[i][j] + beta[j],    xhat = (x - mean) rstd,    rstd = 1 / sqrt(var + eps)
 *
 * Three passes over a row that stays in the cache: its sum, the sums of d and d^2
 * for d = x - that mean, and the result.  The mean that the first sum gives is off
 * by roundings, in float by many where a row is far from nought; the second sum tells
 * by how much.  Mean and rstd are kept in double, and x - mean is taken in two steps,
 *
 *     (x - m) - (mean - m),    m the mean rounded to the type,
 *
 * of which the first is exact where x is near m: no digits are lost in float either.
 *
 * Sums go to LANES lanes, at most 64 terms each in `real`, and on in double (sum.h).
 * Threads take whole rows; what is summed over rows, dgamma and dbeta, is summed over
 * blocks of ROWS rows first, and the blocks are added from the top down. */
#include "sum.h"
#include <string.h>

enum { ROWS = BATTEN_LAYER_ROWS, COLUMNS = 64 };

struct statistics {
    real mean, excess, rstd; /* x - mean - excess has no mean */
};

static inline struct statistics rounded(double mean, double rstd)
{
    return (struct statistics){(real)mean, (real)(mean - (real)mean), (real)rstd};
}

static inline real normalized(real x, struct statistics s)
{
    return (x - s.mean - s.excess) * s.rstd;
}

static void normalize_row(real *y, double *mean, double *rstd, const real *x, const real *gamma, const real *beta,
                          size_t cols, double eps)
{
    const double n = cols ? (double)cols : 1;
    const real m = (real)(sum_run(x, cols, 1) / n);
    double d = 0, d2 = 0;
    ADD_ROW(d, cols, x[at] - m);
    ADD_ROW(d2, cols, (x[at] - m) * (x[at] - m));
    d /= n;
    const double spread = d2 / n - d * d;
    *mean = m + d;
    *rstd = 1 / sqrt((spread < 0 ? 0 : spread) + eps);
    const struct statistics s = rounded(*mean, *rstd);
    PRAGMA(omp simd)
    for (size_t j = 0; j < cols; j++)
        y[j] = normalized(x[j], s) * (gamma ? gamma[j] : 1) + (beta ? beta[j] : 0);
}

/* y (rows, cols) from x; mean, rstd (rows), kept for backward; gamma and beta (cols) may be NULL. */
void KERNEL(layer_norm)(real *y, double *mean, double *rstd, const real *x, const real *gamma, const real *beta,
                        size_t rows, size_t cols, double eps)
{
    PARALLEL(3 * rows * cols, for (size_t i = 0; i < rows; i++)
        normalize_row(y + i * cols, mean + i, rstd + i, x + i * cols, gamma, beta, cols, eps););
}

/* With g = gamma dy,
 *
 *     dx = rstd (g - sum_j g / n - xhat sum_j (g xhat) / n)
 *     dgamma = sum_i dy xhat,     dbeta = sum_i dy
 *
 * sums (2, cols), which may be NULL, gathers the terms of dgamma and dbeta. */
static void normalize_row_backward(real *dx, real *sums, const real *dy, const real *x, struct statistics s,
                                   const real *gamma, size_t cols)
{
    double first = 0, second = 0;
    ADD_ROW(first, cols, (gamma ? gamma[at] : 1) * dy[at]);
    ADD_ROW(second, cols, (gamma ? gamma[at] : 1) * dy[at] * normalized(x[at], s));
    const real shift = (real)(first / (double)cols), slope = (real)(second / (double)cols);
    PRAGMA(omp simd)
    for (size_t j = 0; j < cols; j++)
        dx[j] = ((gamma ? gamma[j] : 1) * dy[j] - shift - normalized(x[j], s) * slope) * s.rstd;
    if (!sums)
        return;
    PRAGMA(omp simd)
    for (size_t j = 0; j < cols; j++) {
        sums[j] += dy[j] * normalized(x[j], s);
        sums[cols + j] += dy[j];
    }
}

/* Rows first .. last - 1. */
static void normalize_block_backward(real *dx, real *sums, const real *dy, const real *x, const double *mean,
                                     const double *rstd, const real *gamma, size_t first, size_t last, size_t cols)
{
    if (sums)
        memset(sums, 0, 2 * cols * sizeof(real));
    for (size_t i = first; i < last; i++)
        normalize_row_backward(dx + i * cols, sums, dy + i * cols, x + i * cols, rounded(mean[i], rstd[i]), gamma,
                               cols);
}

/* total (cols) of the blocks' sums, columns first .. last - 1. */
static void add_blocks(real *total, const real *sums, size_t blocks, size_t first, size_t last, size_t stride)
{
    double totals[COLUMNS] = {0};
    for (size_t block = 0; block < blocks; block++)
        for (size_t j = first; j < last; j++)
            totals[j - first] += sums[block * stride + j];
    for (size_t j = first; j < last; j++)
        total[j] = (real)totals[j - first];
}

/* dx (rows, cols); dgamma, dbeta, gamma (cols) may be NULL.  scratch: 2 cols for each
 * block of rows, where dgamma or dbeta is wanted. */
void KERNEL(layer_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x, const double *mean,
                                 const double *rstd, const real *gamma, real *scratch, size_t rows, size_t cols)
{
    const size_t blocks = blocks_of(rows, ROWS);
    const int summed = dgamma || dbeta;
    PARALLEL(4 * rows * cols, for (size_t block = 0; block < blocks; block++)
        normalize_block_backward(dx, summed ? scratch + block * 2 * cols : NULL, dy, x, mean, rstd, gamma,
                                 block * ROWS, smaller(block * ROWS + ROWS, rows), cols););
    if (!summed)
        return;
    PARALLEL(2 * blocks * cols, for (size_t strip = 0; strip < blocks_of(cols, COLUMNS); strip++) {
        const size_t first = strip * COLUMNS, last = smaller(first + COLUMNS, cols);
        if (dgamma)
            add_blocks(dgamma, scratch, blocks, first, last, 2 * cols);
        if (dbeta)
            add_blocks(dbeta, scratch + cols, blocks, first, last, 2 * cols);
    });
}
