/* Batch normalization over the rows of a matrix (Ioffe & Szegedy 2015, Algorithm 1),
 * by itself, with a relu behind it, with another matrix added before that relu, or with
 * dropout behind it (dropout.c).
 *
 *     mean[j] = sum_i x[i][j] / n,    var[j] = sum_i (x[i][j] - mean[j])^2 / n
 *     y[i][j] = act(gamma[j] (x[i][j] - mean[j]) rstd[j] + beta[j]),    rstd = 1 / sqrt(var + eps)
 *
 * Columns are the lanes of the vectors.  The matrix is cut into tiles, which threads
 * share; a tile leaves its sums in scratch, and the sums of a column's tiles are added
 * from the top down, so the team does not matter.  A second walk over the tiles writes
 * the result as
 *
 *     y = act((x - mean) scale + shift)     with three numbers a column.
 *
 * Sums are in double precision and of d = x - k, where k is the column's first
 * element: var = sum d^2 / n - (sum d / n)^2 loses no digits that matter, for k is
 * one of the n numbers and so (k - mean)^2 <= n var.  Statistics are kept in double,
 * too.  x - mean is taken with the mean rounded to the type, by which it would be off
 * for columns far from nought; shift makes up for it.
 *
 * Backward finds the sign of what relu was given by the same operations on the same
 * numbers, so that forward need keep neither its result nor a mask. */
#include "batch_norm.h"

/* ---- training ---- */

/* From the sums of some columns their statistics. */
static void finish(double *kept, real *running_mean, real *running_var, const real *x, const real *gamma,
                   const real *beta, double *scratch, size_t begin, size_t end, size_t rows, size_t cols, double eps,
                   double momentum)
{
    const double n = (double)rows;
    double *const var = scratch + cols;
    add_tiles(scratch, begin, end, rows, cols);
    PRAGMA(omp simd)
    for (size_t j = begin; j < end; j++) {
        const double d = scratch[j] / n, excess = var[j] / n - d * d;
        var[j] = excess < 0 ? 0 : excess;
        kept[j] = x[j] + d;
    }
    keep(kept, running_mean, running_var, var, gamma, beta, begin, end, rows, cols, eps, momentum);
}

/* The same with dropout behind relu, row by row while they are in the first cache. */
static void normalize_and_thin_tile(real *y, const real *x, const double *kept, const real *gamma, struct tile t,
                                    size_t cols, const struct dropped *d)
{
    const size_t step = rows_at_once(t, cols), last = t.row + t.height;
    struct columns c;
    load_columns(&c, kept, gamma, t, cols);
    for (; t.row < last; t.row += step) {
        const size_t at = t.row * cols + t.column;
        t.height = smaller(step, last - t.row);
        write_tile(y, x, NULL, &c, t, cols, 1);
        thin_row(y + at, y + at, d, at, t.height * t.width);
    }
}

static void finish_tile(real *y, const real *x, const real *z, const double *kept, const real *gamma, struct tile t,
                        size_t cols, int relu, const struct dropped *d)
{
    if (d)
        normalize_and_thin_tile(y, x, kept, gamma, t, cols, d);
    else
        normalize_tile(y, x, z, kept, gamma, t, cols, relu);
}

/* The kernels below; z and d may be NULL. */
static void normalize(real *y, double *kept, real *running_mean, real *running_var, const real *x, const real *z,
                      const real *gamma, const real *beta, double *scratch, size_t rows, size_t cols, double eps,
                      double momentum, int relu, const struct dropped *d)
{
    if (!rows) {
        for (size_t j = 0; j < cols; j++)
            kept[j] = 0, kept[cols + j] = 1, kept[2 * cols + j] = beta ? beta[j] : 0;
        return;
    }
    TEAM(work(3, rows, cols),
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            gather_tile(scratch, x, tile_at(i, rows, cols), cols);)
        SHARED(for (size_t j = 0; j < cols; j += FINISHED)
            finish(kept, running_mean, running_var, x, gamma, beta, scratch, j, smaller(j + FINISHED, cols), rows,
                   cols, eps, momentum);)
        SHARED_BACK(i, tiles(rows, cols),
                    finish_tile(y, x, z, kept, gamma, tile_at(i, rows, cols), cols, relu, d);));
}

/* y (rows, cols); with relu, what is negative becomes nought.  kept (3, cols) is for
 * backward: of each column mean, rstd and shift.  The running statistics (cols) move
 * towards mean and the unbiased variance.  gamma, beta (cols) and the running
 * statistics may be NULL.  scratch: 2 cols doubles for each row of tiles.  Without rows
 * there are no statistics: mean is 0, var 1, and the running ones stay. */
void KERNEL(batch_norm)(real *y, double *kept, real *running_mean, real *running_var, const real *x, const real *gamma,
                        const real *beta, double *scratch, size_t rows, size_t cols, double eps, double momentum,
                        int relu)
{
    normalize(y, kept, running_mean, running_var, x, NULL, gamma, beta, scratch, rows, cols, eps, momentum, relu, NULL);
}

/* The same with z (rows, cols) added before relu. */
void KERNEL(batch_norm_add_relu)(real *y, double *kept, real *running_mean, real *running_var, const real *x,
                                 const real *z, const real *gamma, const real *beta, double *scratch, size_t rows,
                                 size_t cols, double eps, double momentum)
{
    normalize(y, kept, running_mean, running_var, x, z, gamma, beta, scratch, rows, cols, eps, momentum, 1, NULL);
}

/* batch_norm with relu, and dropout behind that: y times scale where mask's bits are set, else times 0. */
void KERNEL(batch_norm_relu_dropout)(real *y, double *kept, real *running_mean, real *running_var, const real *x,
                                     const uint8_t *mask, const real *gamma, const real *beta, double *scratch,
                                     size_t rows, size_t cols, double eps, double momentum, double drop_scale)
{
    const struct dropped d = {mask, (real)drop_scale, NULL};
    normalize(y, kept, running_mean, running_var, x, NULL, gamma, beta, scratch, rows, cols, eps, momentum, 1, &d);
}

/* With xhat = (x - mean) rstd, and dy stopped where relu did:
 *
 *     dbeta = sum dy,    dgamma = sum dy xhat
 *     dx = gamma rstd (dy - sum dy / n - xhat (sum dy xhat) / n)
 *
 * d = x - m is taken with the rounded mean m, so that xhat = rstd (d - (mean - m)) and
 *
 *     sum dy xhat = rstd (sum dy d - (mean - m) sum dy)
 *     dx = (dy - offset - d slope) scale.
 *
 * offset and slope take the place of the first tiles' sums. */
static void finish_backward(real *dgamma, real *dbeta, const double *kept, double *scratch, size_t begin, size_t end,
                            size_t rows, size_t cols)
{
    const double n = (double)rows;
    add_tiles(scratch, begin, end, rows, cols);
    for (size_t j = begin; j < (dbeta ? end : begin); j++)
        dbeta[j] = (real)scratch[j];
    for (size_t j = begin; j < end; j++) {
        const double excess = kept[j] - (real)kept[j], rstd = kept[cols + j], dy = scratch[j];
        const double dy_xhat = rstd * (scratch[cols + j] - excess * dy), slope = rstd * dy_xhat / n;
        scratch[j] = dy / n - slope * excess;
        scratch[cols + j] = slope;
        if (dgamma)
            dgamma[j] = (real)dy_xhat;
    }
}

static void stop_and_gather_tile(double *scratch, real *dz, const real *dy, const real *y, const real *x,
                                 const double *kept, const real *gamma, struct tile t, size_t cols, int relu,
                                 const struct dropped *d)
{
    if (dz)
        stop_rows(dz, dy, y, t, cols);
    gather_tile_backward(scratch, dz ? dz : dy, x, kept, gamma, t, cols, relu, d);
}

/* dx = (dy - offset - (x - mean) slope) scale, with the gradient that dropout leaves of dy */
static inline __attribute__((always_inline)) void write_rows_backward(real *dx, const real *dy, const real *x,
                                                                      const struct columns *c, const real *offset,
                                                                      const real *slope, struct tile t, size_t cols,
                                                                      const int relu, const struct dropped *d)
{
    const size_t step = rows_at_once(t, cols);
    real thinned[2 * COLUMNS];
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        const real *const from = d ? thinned + i % step * t.width : dy + at;
        if (d && i % step == 0)
            thin_row(thinned, dy + at, d, at, smaller(step, t.height - i) * t.width);
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++) {
            const real y = normalized(x[at + j], c->mean[j], c->scale[j], c->shift[j]);
            const real passed = relu && y <= 0 ? 0 : from[j];
            dx[at + j] = (passed - offset[j] - (x[at + j] - c->mean[j]) * slope[j]) * c->scale[j];
        }
    }
}

static void normalize_tile_backward(real *dx, const real *dy, const real *x, const double *kept, const real *gamma,
                                    const double *scratch, struct tile t, size_t cols, int relu,
                                    const struct dropped *d)
{
    struct columns c;
    real offset[2 * COLUMNS], slope[2 * COLUMNS];
    load_columns(&c, kept, gamma, t, cols);
    for (size_t j = 0; j < t.width; j++) {
        offset[j] = (real)scratch[t.column + j];
        slope[j] = (real)scratch[cols + t.column + j];
    }
    if (d)
        write_rows_backward(dx, dy, x, &c, offset, slope, t, cols, 1, d);
    else if (relu)
        write_rows_backward(dx, dy, x, &c, offset, slope, t, cols, 1, NULL);
    else
        write_rows_backward(dx, dy, x, &c, offset, slope, t, cols, 0, NULL);
}

/* The kernels below; dz and y, and d may be NULL. */
static void normalize_backward(real *dx, real *dz, real *dgamma, real *dbeta, const real *dy, const real *y,
                               const real *x, const double *kept, const real *gamma, double *scratch, size_t rows,
                               size_t cols, int relu, const struct dropped *d)
{
    if (!rows) {
        no_gradients(dgamma, dbeta, cols);
        return;
    }
    TEAM(work(5, rows, cols),
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            stop_and_gather_tile(scratch, dz, dy, y, x, kept, gamma, tile_at(i, rows, cols), cols, relu, d);)
        SHARED(for (size_t j = 0; j < cols; j += FINISHED)
            finish_backward(dgamma, dbeta, kept, scratch, j, smaller(j + FINISHED, cols), rows, cols);)
        SHARED_BACK(i, tiles(rows, cols),
                    normalize_tile_backward(dx, dz ? dz : dy, x, kept, gamma, scratch, tile_at(i, rows, cols), cols,
                                            relu, d);));
}

/* dx (rows, cols), which may be dy; kept and gamma as in forward.  dgamma, dbeta and gamma (cols) may be
 * NULL.  scratch: 2 cols doubles for each row of tiles. */
void KERNEL(batch_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x, const double *kept,
                                 const real *gamma, double *scratch, size_t rows, size_t cols, int relu)
{
    normalize_backward(dx, NULL, dgamma, dbeta, dy, NULL, x, kept, gamma, scratch, rows, cols, relu, NULL);
}

/* The same for batch_norm_relu_dropout. */
void KERNEL(batch_norm_relu_dropout_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x,
                                              const uint8_t *mask, const double *kept, const real *gamma,
                                              double *scratch, size_t rows, size_t cols, double drop_scale)
{
    const struct dropped d = {mask, (real)drop_scale, dy};
    normalize_backward(dx, NULL, dgamma, dbeta, dy, NULL, x, kept, gamma, scratch, rows, cols, 1, &d);
}

/* The same for batch_norm_add_relu, whose result was y; dz is dy where relu let y through, and may be written over it.
 */
void KERNEL(batch_norm_add_relu_backward)(real *dx, real *dz, real *dgamma, real *dbeta, const real *dy, const real *y,
                                          const real *x, const double *kept, const real *gamma, double *scratch,
                                          size_t rows, size_t cols)
{
    normalize_backward(dx, dz, dgamma, dbeta, dy, y, x, kept, gamma, scratch, rows, cols, 0, NULL);
}

/* ---- inference: mean and var are given ---- */

static void load_given(struct columns *c, const real *mean, const real *var, const real *gamma, const real *beta,
                       struct tile t, double eps)
{
    PRAGMA(omp simd)
    for (size_t j = 0; j < t.width; j++) {
        const size_t k = t.column + j;
        c->mean[j] = mean[k];
        c->scale[j] = (real)((gamma ? gamma[k] : 1) / sqrt(var[k] + eps));
        c->shift[j] = beta ? beta[k] : 0;
    }
}

static void infer_tile(real *y, const real *x, const real *mean, const real *var, const real *gamma, const real *beta,
                       struct tile t, size_t cols, double eps, int relu)
{
    struct columns c;
    load_given(&c, mean, var, gamma, beta, t, eps);
    write_tile(y, x, NULL, &c, t, cols, relu);
}

/* y = gamma (x - mean) / sqrt(var + eps) + beta; with relu, what is negative becomes
 * nought.  gamma and beta may be NULL. */
void KERNEL(batch_norm_inference)(real *y, const real *x, const real *mean, const real *var, const real *gamma,
                                  const real *beta, size_t rows, size_t cols, double eps, int relu)
{
    PARALLEL(work(1, rows, cols), for (size_t i = 0; i < tiles(rows, cols); i++)
        infer_tile(y, x, mean, var, gamma, beta, tile_at(i, rows, cols), cols, eps, relu););
}

/* dx = dy scale */
static inline __attribute__((always_inline)) void
scale_rows(real *dx, const real *dy, const real *x, const struct columns *c, struct tile t, size_t cols, const int relu)
{
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++) {
            const real y = normalized(x[at + j], c->mean[j], c->scale[j], c->shift[j]);
            dx[at + j] = (relu && y <= 0 ? 0 : dy[at + j]) * c->scale[j];
        }
    }
}

static void infer_tile_backward(real *dx, const real *dy, const real *x, const real *mean, const real *var,
                                const real *gamma, const real *beta, double *scratch, struct tile t, size_t cols,
                                double eps, int relu)
{
    struct columns c;
    double *const sums = sums_of_tile(scratch, t, cols);
    load_given(&c, mean, var, gamma, beta, t, eps);
    sum_tile_backward(sums, sums + cols, dy, x, &c, t, cols, relu, NULL);
    if (relu)
        scale_rows(dx, dy, x, &c, t, cols, 1);
    else
        scale_rows(dx, dy, x, &c, t, cols, 0);
}

/* With dy stopped where relu did, dx = gamma dy / sqrt(var + eps), dbeta = sum dy and
 * dgamma = sum dy (x - mean) / sqrt(var + eps).  dx may be dy; dgamma, dbeta, gamma and beta
 * may be NULL; only relu asks for beta.  scratch: 2 cols doubles for each row of tiles. */
void KERNEL(batch_norm_inference_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x,
                                           const real *mean, const real *var, const real *gamma, const real *beta,
                                           double *scratch, size_t rows, size_t cols, double eps, int relu)
{
    if (!rows) {
        no_gradients(dgamma, dbeta, cols);
        return;
    }
    PARALLEL(work(4, rows, cols), for (size_t i = 0; i < tiles(rows, cols); i++)
        infer_tile_backward(dx, dy, x, mean, var, gamma, beta, scratch, tile_at(i, rows, cols), cols, eps, relu););
    add_tiles(scratch, 0, cols, rows, cols);
    for (size_t j = 0; j < cols; j++) {
        if (dgamma)
            dgamma[j] = (real)(scratch[cols + j] / sqrt(var[j] + eps));
        if (dbeta)
            dbeta[j] = (real)scratch[j];
    }
}
