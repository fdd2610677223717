/* Batch normalization over the rows of a matrix (Ioffe & Szegedy 2015, Algorithm 1).
 *
 *     mean[j] = sum_i x[i][j] / n,    var[j] = sum_i (x[i][j] - mean[j])^2 / n
 *     y[i][j] = gamma[j] (x[i][j] - mean[j]) rstd[j] + beta[j],    rstd = 1 / sqrt(var + eps)
 *
 * Columns are the lanes of the vectors.  The matrix is cut into tiles of ROWS x
 * COLUMNS, which threads share; a tile leaves its sums in scratch, and the sums of
 * a column's tiles are added from the top down, so the team does not matter.  A
 * second walk over the tiles writes the result as
 *
 *     y = (x - mean) scale + shift     with three numbers a column.
 *
 * Sums are in double precision and of d = x - k, where k is the column's first
 * element: var = sum d^2 / n - (sum d / n)^2 loses no digits that matter, for k is
 * one of the n numbers and so (k - mean)^2 <= n var.  In float the mean is rounded
 * to the type when it is stored, by which x - mean would be off for columns far from
 * nought; shift makes up for it, and backward finds it again. */
#include "kernel.h"

enum { ROWS = BATTEN_TILE_ROWS, COLUMNS = 64 };

struct tile {
    size_t row, column, height, width;
};

static struct tile tile_at(size_t i, size_t rows, size_t cols)
{
    const size_t across = blocks_of(cols, COLUMNS), row = i / across * ROWS, column = i % across * COLUMNS;
    return (struct tile){row, column, smaller(ROWS, rows - row), smaller(COLUMNS, cols - column)};
}

static size_t tiles(size_t rows, size_t cols)
{
    return blocks_of(rows, ROWS) * blocks_of(cols, COLUMNS);
}

/* ---- the two walks over the tiles ---- */

/* scratch[block][0, 1][cols] = a tile's sums of d and d^2, d = x - the column's first element. */
static void sum_tile(double *scratch, const real *x, struct tile t, size_t cols)
{
    double k[COLUMNS], first[COLUMNS] = {0}, second[COLUMNS] = {0};
    for (size_t j = 0; j < t.width; j++)
        k[j] = x[t.column + j];
    for (size_t i = 0; i < t.height; i++) {
        const real *const row = x + (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++) {
            const double d = row[j] - k[j];
            first[j] += d;
            second[j] += d * d;
        }
    }
    double *const sums = scratch + t.row / ROWS * 2 * cols + t.column;
    for (size_t j = 0; j < t.width; j++)
        sums[j] = first[j], sums[cols + j] = second[j];
}

/* scratch[block][0, 1, 2][cols] = a tile's sums of d, dy and d dy, d = x - mean. */
static void sum_tile_backward(double *scratch, const real *dy, const real *x, const real *mean, struct tile t,
                              size_t cols)
{
    double center[COLUMNS], first[COLUMNS] = {0}, second[COLUMNS] = {0}, third[COLUMNS] = {0};
    for (size_t j = 0; j < t.width; j++)
        center[j] = mean[t.column + j];
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++) {
            const double d = x[at + j] - center[j], g = dy[at + j];
            first[j] += d;
            second[j] += g;
            third[j] += d * g;
        }
    }
    double *const sums = scratch + t.row / ROWS * 3 * cols + t.column;
    for (size_t j = 0; j < t.width; j++)
        sums[j] = first[j], sums[cols + j] = second[j], sums[2 * cols + j] = third[j];
}

/* The sum over all tiles of a column, from the top down. */
static double total(const double *sums, size_t rows, size_t stride)
{
    double sum = 0;
    for (size_t block = 0; block < blocks_of(rows, ROWS); block++)
        sum += sums[block * stride];
    return sum;
}

/* What a walk that writes knows of the columns of its tile. */
struct columns {
    real mean[COLUMNS], scale[COLUMNS], shift[COLUMNS], slope[COLUMNS];
};

/* y = (x - mean) scale + shift */
static void write_tile(real *y, const real *x, const struct columns *c, struct tile t, size_t cols)
{
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++)
            y[at + j] = (x[at + j] - c->mean[j]) * c->scale[j] + c->shift[j];
    }
}

/* dx = (dy - shift - (x - mean) slope) scale */
static void write_tile_backward(real *dx, const real *dy, const real *x, const struct columns *c, struct tile t,
                                size_t cols)
{
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++)
            dx[at + j] = (dy[at + j] - c->shift[j] - (x[at + j] - c->mean[j]) * c->slope[j]) * c->scale[j];
    }
}

/* ---- training ---- */

/* running = (1 - momentum) running + momentum statistic, where there is one. */
static void follow(real *running, double momentum, double statistic)
{
    if (running)
        *running = (real)((1 - momentum) * *running + momentum * statistic);
}

/* From a column's sums, its statistics; then scale and shift take the place of the first tile's sums. */
static void finish(real *mean, real *rstd, real *running_mean, real *running_var, const real *first, const real *gamma,
                   const real *beta, double *sums, size_t rows, size_t cols, double eps, double momentum)
{
    const double n = (double)rows, d = total(sums, rows, 2 * cols) / n;
    const double excess = total(sums + cols, rows, 2 * cols) / n - d * d, var = excess < 0 ? 0 : excess;
    const double center = *first + d, r = 1 / sqrt(var + eps), scale = gamma ? *gamma * r : r;
    *mean = (real)center;
    *rstd = (real)r;
    follow(running_mean, momentum, center);
    follow(running_var, momentum, rows > 1 ? var * (n / (n - 1)) : var);
    sums[0] = scale;
    sums[cols] = (beta ? *beta : 0) + (*mean - center) * scale;
}

static void normalize_tile(real *y, const real *x, const real *mean, const double *scratch, struct tile t, size_t cols)
{
    struct columns c;
    for (size_t j = 0; j < t.width; j++) {
        c.mean[j] = mean[t.column + j];
        c.scale[j] = (real)scratch[t.column + j];
        c.shift[j] = (real)scratch[cols + t.column + j];
    }
    write_tile(y, x, &c, t, cols);
}

/* y (rows, cols); mean, rstd (cols) of the rows, kept for backward; the running
 * statistics (cols) move towards mean and the unbiased variance.  gamma, beta (cols)
 * and the running statistics may be NULL.  scratch: 2 cols doubles for each row of
 * tiles.  Without rows there are no statistics: mean is 0, var 1, and the running
 * ones stay. */
void KERNEL(batch_norm)(real *y, real *mean, real *rstd, real *running_mean, real *running_var, const real *x,
                        const real *gamma, const real *beta, double *scratch, size_t rows, size_t cols, double eps,
                        double momentum)
{
    if (!rows) {
        for (size_t j = 0; j < cols; j++)
            mean[j] = 0, rstd[j] = 1;
        return;
    }
    PARALLEL(2 * rows * cols, for (size_t i = 0; i < tiles(rows, cols); i++)
        sum_tile(scratch, x, tile_at(i, rows, cols), cols););
    for (size_t j = 0; j < cols; j++)
        finish(mean + j, rstd + j, running_mean ? running_mean + j : NULL, running_var ? running_var + j : NULL, x + j,
               gamma ? gamma + j : NULL, beta ? beta + j : NULL, scratch + j, rows, cols, eps, momentum);
    PARALLEL(rows * cols, for (size_t i = 0; i < tiles(rows, cols); i++)
        normalize_tile(y, x, mean, scratch, tile_at(i, rows, cols), cols););
}

/* With xhat = (x - mean) rstd:
 *
 *     dbeta = sum dy,    dgamma = sum dy xhat
 *     dx = gamma rstd (dy - sum dy / n - xhat (sum dy xhat) / n)
 *
 * d = x - mean is taken with the rounded mean, so its own mean is not quite nought:
 * sum dy xhat = rstd (sum dy d - (sum d / n) sum dy), and as xhat in the last term is
 * rstd (d - sum d / n).  Three numbers a column are left for
 * dx = (dy - shift - d slope) scale, in the place of the first tile's sums. */
static void finish_backward(real *dgamma, real *dbeta, real rstd, const real *gamma, double *sums, size_t rows,
                            size_t cols)
{
    const double n = rows ? (double)rows : 1, r = rstd;
    const double d = total(sums, rows, 3 * cols) / n, dy = total(sums + cols, rows, 3 * cols);
    const double d_dy = total(sums + 2 * cols, rows, 3 * cols) - d * dy, slope = r * r * d_dy / n;
    if (dgamma)
        *dgamma = (real)(r * d_dy);
    if (dbeta)
        *dbeta = (real)dy;
    sums[0] = gamma ? *gamma * r : r;
    sums[cols] = dy / n - slope * d;
    sums[2 * cols] = slope;
}

static void normalize_tile_backward(real *dx, const real *dy, const real *x, const real *mean, const double *scratch,
                                    struct tile t, size_t cols)
{
    struct columns c;
    for (size_t j = 0; j < t.width; j++) {
        c.mean[j] = mean[t.column + j];
        c.scale[j] = (real)scratch[t.column + j];
        c.shift[j] = (real)scratch[cols + t.column + j];
        c.slope[j] = (real)scratch[2 * cols + t.column + j];
    }
    write_tile_backward(dx, dy, x, &c, t, cols);
}

/* dx (rows, cols); dgamma, dbeta, gamma (cols) may be NULL.  scratch: 3 cols doubles
 * for each row of tiles, and for one if there is none. */
void KERNEL(batch_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x, const real *mean,
                                 const real *rstd, const real *gamma, double *scratch, size_t rows, size_t cols)
{
    PARALLEL(3 * rows * cols, for (size_t i = 0; i < tiles(rows, cols); i++)
        sum_tile_backward(scratch, dy, x, mean, tile_at(i, rows, cols), cols););
    for (size_t j = 0; j < cols; j++)
        finish_backward(dgamma ? dgamma + j : NULL, dbeta ? dbeta + j : NULL, rstd[j], gamma ? gamma + j : NULL,
                        scratch + j, rows, cols);
    PARALLEL(2 * rows * cols, for (size_t i = 0; i < tiles(rows, cols); i++)
        normalize_tile_backward(dx, dy, x, mean, scratch, tile_at(i, rows, cols), cols););
}

/* ---- inference: mean and var are given ---- */

static void infer_tile(real *y, const real *x, const real *mean, const real *var, const real *gamma, const real *beta,
                       struct tile t, size_t cols, double eps)
{
    struct columns c;
    for (size_t j = 0; j < t.width; j++) {
        const size_t k = t.column + j;
        c.mean[j] = mean ? mean[k] : 0;
        c.scale[j] = (real)((gamma ? gamma[k] : 1) / sqrt(var[k] + eps));
        c.shift[j] = beta ? beta[k] : 0;
    }
    write_tile(y, x, &c, t, cols);
}

/* y = gamma (x - mean) / sqrt(var + eps) + beta; gamma and beta may be NULL. */
void KERNEL(batch_norm_inference)(real *y, const real *x, const real *mean, const real *var, const real *gamma,
                                  const real *beta, size_t rows, size_t cols, double eps)
{
    PARALLEL(rows * cols, for (size_t i = 0; i < tiles(rows, cols); i++)
        infer_tile(y, x, mean, var, gamma, beta, tile_at(i, rows, cols), cols, eps););
}

/* dx = gamma dy / sqrt(var + eps), which is forward without mean and beta;
 * dbeta = sum dy, dgamma = sum dy (x - mean) / sqrt(var + eps).  dgamma, dbeta and
 * gamma may be NULL.  scratch: 3 cols doubles for each row of tiles. */
void KERNEL(batch_norm_inference_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x,
                                           const real *mean, const real *var, const real *gamma, double *scratch,
                                           size_t rows, size_t cols, double eps)
{
    PARALLEL(4 * rows * cols, for (size_t i = 0; i < tiles(rows, cols); i++) {
        const struct tile t = tile_at(i, rows, cols);
        infer_tile(dx, dy, NULL, var, gamma, NULL, t, cols, eps);
        sum_tile_backward(scratch, dy, x, mean, t, cols);
    });
    for (size_t j = 0; j < cols; j++) {
        if (dgamma)
            dgamma[j] = (real)(total(scratch + 2 * cols + j, rows, 3 * cols) / sqrt(var[j] + eps));
        if (dbeta)
            dbeta[j] = (real)total(scratch + cols + j, rows, 3 * cols);
    }
}
