/* What the kinds of batch normalization share (normalization.c, lp_norm.c), which differ in the deviation that
 * a column is divided by: what forward keeps of a column, and how the running statistics follow. */
#ifndef BATTEN_BATCH_NORM_H
#define BATTEN_BATCH_NORM_H

#include "columns.h"

/* What so many operations an element are worth waking a team for. */
static inline size_t work(size_t operations, size_t rows, size_t cols)
{
    return tiles(rows, cols) > 1 ? operations * rows * cols : 0;
}

static inline void gather_tile(double *scratch, const real *x, struct tile t, size_t cols)
{
    double *const sums = sums_of_tile(scratch, t, cols);
    sum_tile_forward(sums, sums + cols, x, t, cols);
}

/* running = (1 - momentum) running + momentum statistic */
static inline real moved_to(real running, double momentum, double statistic)
{
    return (real)((1 - momentum) * running + momentum * statistic);
}

/* From mean, the first row of kept, and var the next two, rstd and shift; and the running statistics' move. */
ONCE void keep(double *kept, real *running_mean, real *running_var, const double *var, const real *gamma,
               const real *beta, size_t begin, size_t end, size_t rows, size_t cols, double eps, double momentum)
{
    const double n = (double)rows, unbiased = rows > 1 ? n / (n - 1) : 1;
    double *const mean = kept, *const rstd = kept + cols, *const shift = kept + 2 * cols;
    PRAGMA(omp simd)
    for (size_t j = begin; j < end; j++)
        rstd[j] = 1 / sqrt(var[j] + eps);
    PRAGMA(omp simd)
    for (size_t j = begin; j < end; j++)
        shift[j] = (beta ? beta[j] : 0) + ((real)mean[j] - mean[j]) * ((gamma ? gamma[j] : 1) * rstd[j]);
    PRAGMA(omp simd)
    for (size_t j = begin; j < (running_mean ? end : begin); j++)
        running_mean[j] = moved_to(running_mean[j], momentum, mean[j]);
    PRAGMA(omp simd)
    for (size_t j = begin; j < (running_var ? end : begin); j++)
        running_var[j] = moved_to(running_var[j], momentum, var[j] * unbiased);
}

/* What forward kept of a tile's columns, in the type. */
ONCE void load_columns(struct columns *c, const double *kept, const real *gamma, struct tile t, size_t cols)
{
    PRAGMA(omp simd)
    for (size_t j = 0; j < t.width; j++) {
        const size_t k = t.column + j;
        c->mean[j] = (real)kept[k];
        c->scale[j] = (real)((gamma ? gamma[k] : 1) * kept[cols + k]);
        c->shift[j] = (real)kept[2 * cols + k];
    }
}

static inline void normalize_tile(real *y, const real *x, const real *z, const double *kept, const real *gamma,
                                  struct tile t, size_t cols, int relu)
{
    struct columns c;
    load_columns(&c, kept, gamma, t, cols);
    write_tile(y, x, z, &c, t, cols, relu);
}

ONCE void gather_tile_backward(double *scratch, const real *dy, const real *x, const double *kept, const real *gamma,
                               struct tile t, size_t cols, int relu, const struct dropped *d)
{
    struct columns c;
    double *const sums = sums_of_tile(scratch, t, cols);
    load_columns(&c, kept, gamma, t, cols);
    sum_tile_backward(sums, sums + cols, dy, x, &c, t, cols, relu, d);
}

#endif
