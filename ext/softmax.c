/* Softmax over rows, and the cross-entropy that is fused with it.
 *
 *     y[i][j] = exp(x[i][j] - m[i]) / sum_k exp(x[i][k] - m[i]),   m[i] = max_k x[i][k]
 *     lse[i] = m[i] + log sum_k exp(x[i][k] - m[i])
 *
 * Subtracting the row's maximum keeps exp in range and cancels in the quotient.
 * Passes over a row find it in the first-level cache; rows are independent, so
 * threads take whole rows and never meet.  Maxima and sums go to lanes (sum.h): in one
 * chain, each term would wait for the one before.
 *
 * Cross-entropy with label smoothing s and class weights w (1 without), t the target:
 *
 *     loss[i] = (1 - s) w[t] (lse - x[i][t]) + s / C sum_c w[c] (lse - x[i][c])
 *
 * and nought where the target is ignored.  Its gradient is
 *
 *     dx[i][j] = dloss[i] ((p_j W - (1 - s) w[t] [j = t] - s / C w[j])),
 *     W = (1 - s) w[t] + s / C sum_c w[c],   p_j = exp(x[i][j] - lse[i]),
 *
 * so that the logits and one number a row are all that is kept. */
#include "elementary.h"
#include "sum.h"

enum { COST = 16 }; /* an exponential in elementary operations, or so */

/* A NaN wins, so that it spreads over its row. */
static inline real larger(real m, real x)
{
    return ((x > m) | (x != x)) ? x : m;
}

static real row_max(const real *x, size_t cols)
{
    real lanes[LANES], m = -INFINITY;
    size_t j = 0;
    for (size_t lane = 0; lane < LANES; lane++)
        lanes[lane] = -INFINITY;
    for (; j + LANES <= cols; j += LANES) {
        PRAGMA(omp simd)
        for (size_t lane = 0; lane < LANES; lane++)
            lanes[lane] = larger(lanes[lane], x[j + lane]);
    }
    for (size_t lane = 0; j && lane < LANES; lane++)
        m = larger(m, lanes[lane]);
    for (; j < cols; j++)
        m = larger(m, x[j]);
    return m;
}

/* Where all are -inf, lse is -inf and not the NaN of -inf minus -inf. */
static real row_logsumexp(const real *x, size_t cols)
{
    const real m = row_max(x, cols);
    if (m == -INFINITY || m == INFINITY)
        return m;
    double total = 0;
    ADD_ROW(total, cols, exp_of(x[at] - m));
    return m + log_of((real)total);
}

static void softmax_row(real *y, const real *x, size_t cols)
{
    const real m = row_max(x, cols);
    double total = 0;
    ADD_ROW(total, cols, y[at] = exp_of(x[at] - m));
    const real scale = (real)(1 / total);
    for (size_t j = 0; j < cols; j++)
        y[j] *= scale;
}

void KERNEL(softmax)(real *y, const real *x, size_t rows, size_t cols)
{
    PARALLEL(rows * cols * COST, for (size_t i = 0; i < rows; i++) softmax_row(y + i * cols, x + i * cols, cols););
}

/* dx = y (dy - sum_k dy_k y_k) */
static void softmax_backward_row(real *dx, const real *dy, const real *y, size_t cols)
{
    double total = 0;
    ADD_ROW(total, cols, dy[at] * y[at]);
    const real dot = (real)total;
    PRAGMA(omp simd)
    for (size_t j = 0; j < cols; j++)
        dx[j] = y[j] * (dy[j] - dot);
}

void KERNEL(softmax_backward)(real *dx, const real *dy, const real *y, size_t rows, size_t cols)
{
    PARALLEL(rows * cols,
             for (size_t i = 0; i < rows; i++) softmax_backward_row(dx + i * cols, dy + i * cols, y + i * cols, cols););
}

static void log_softmax_row(real *y, const real *x, size_t cols)
{
    const real m = row_max(x, cols);
    double total = 0;
    ADD_ROW(total, cols, exp_of(x[at] - m));
    const real log_total = log_of((real)total);
    PRAGMA(omp simd)
    for (size_t j = 0; j < cols; j++)
        y[j] = (x[j] - m) - log_total;
}

void KERNEL(log_softmax)(real *y, const real *x, size_t rows, size_t cols)
{
    PARALLEL(rows * cols * COST, for (size_t i = 0; i < rows; i++) log_softmax_row(y + i * cols, x + i * cols, cols););
}

/* dx = dy - exp(y) sum_k dy_k */
static void log_softmax_backward_row(real *dx, const real *dy, const real *y, size_t cols)
{
    const real total = (real)sum_run(dy, cols, 1);
    PRAGMA(omp simd)
    for (size_t j = 0; j < cols; j++)
        dx[j] = dy[j] - exp_of(y[j]) * total;
}

void KERNEL(log_softmax_backward)(real *dx, const real *dy, const real *y, size_t rows, size_t cols)
{
    PARALLEL(rows * cols * COST, for (size_t i = 0; i < rows; i++)
                                     log_softmax_backward_row(dx + i * cols, dy + i * cols, y + i * cols, cols););
}

void KERNEL(logsumexp)(real *y, const real *x, size_t rows, size_t cols)
{
    PARALLEL(rows * cols * COST, for (size_t i = 0; i < rows; i++) y[i] = row_logsumexp(x + i * cols, cols););
}

static void cross_entropy_row(real *loss, real *lse, const real *x, int64_t target, const real *weight, size_t cols,
                              int ignored, double smoothing)
{
    *lse = row_logsumexp(x, cols);
    *loss = 0;
    if (ignored)
        return;
    const real own = weight ? weight[target] : 1;
    *loss = (real)(1 - smoothing) * own * (*lse - x[target]);
    if (smoothing == 0) /* then an infinite logit elsewhere does no harm */
        return;
    double others = 0;
    ADD_ROW(others, cols, (weight ? weight[at] : 1) * (*lse - x[at]));
    *loss += (real)(smoothing / (double)cols * others);
}

void KERNEL(cross_entropy)(real *loss, real *lse, const real *x, const int64_t *target, const real *weight, size_t rows,
                           size_t cols, int64_t ignore_index, double smoothing)
{
    PARALLEL(rows * cols * COST,
             for (size_t i = 0; i < rows; i++) cross_entropy_row(loss + i, lse + i, x + i * cols, target[i], weight,
                                                                 cols, target[i] == ignore_index, smoothing););
}

static void cross_entropy_backward_row(real *dx, real dloss, const real *x, real lse, int64_t target,
                                       const real *weight, size_t cols, int ignored, double smoothing)
{
    if (ignored) {
        for (size_t j = 0; j < cols; j++)
            dx[j] = 0;
        return;
    }
    const real share = (real)(smoothing / (double)cols), own = (real)(1 - smoothing) * (weight ? weight[target] : 1);
    double sum = own;
    if (smoothing != 0)
        ADD_ROW(sum, cols, share * (weight ? weight[at] : 1));
    const real total = (real)sum;
    PRAGMA(omp simd)
    for (size_t j = 0; j < cols; j++)
        dx[j] = dloss * (exp_of(x[j] - lse) * total - share * (weight ? weight[j] : 1));
    dx[target] -= dloss * own;
}

void KERNEL(cross_entropy_backward)(real *dx, const real *dloss, const real *x, const real *lse, const int64_t *target,
                                    const real *weight, size_t rows, size_t cols, int64_t ignore_index,
                                    double smoothing)
{
    PARALLEL(rows * cols * COST, for (size_t i = 0; i < rows; i++) cross_entropy_backward_row(
                                     dx + i * cols, dloss[i], x + i * cols, lse[i], target[i], weight, cols,
                                     target[i] == ignore_index, smoothing););
}
