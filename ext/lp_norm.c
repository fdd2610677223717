/* Batch normalization by other deviations than the standard one (Hoffer et al. 2018; Santurkar et al. 2018).
 *
 *     y[i][j] = act(gamma[j] (x[i][j] - mean[j]) rstd[j] + beta[j]),    rstd = 1 / sqrt(s^2 + eps)
 *
 *     l1:    s[j] = factor sum_i |x[i][j] - mean[j]| / n
 *     linf:  s[j] = factor max_i |x[i][j] - mean[j]|
 *
 * The caller's factor makes s an estimate of sigma.  Where batch normalization has the variance, here
 * is s^2; all else is the same, and so are the walks (batch_norm.h).
 *
 * On which side of the mean an element lies says the sign of (x - m) - (mean - m), where m is the mean
 * rounded to the type: neither difference is rounded to nought, as x - mean alone could be.  With sgn for
 * that sign and d = x - m, sum |x - mean| = sum sgn d - (mean - m) sum sgn, where nothing cancels. */
#include "batch_norm.h"

/* Without rows there are no statistics: mean is 0, rstd 1, and s is nought. */
static void nothing_kept(double *kept, const real *beta, size_t cols)
{
    for (size_t j = 0; j < cols; j++) {
        kept[j] = kept[3 * cols + j] = kept[4 * cols + j] = 0;
        kept[cols + j] = 1;
        kept[2 * cols + j] = beta ? beta[j] : 0;
    }
}

/* mean, in kept's first row, from the sums of d = x - k, where k is the column's first element. */
ONCE void finish_mean(double *kept, const real *x, const double *sums, size_t begin, size_t end, size_t rows)
{
    PRAGMA(omp simd)
    for (size_t j = begin; j < end; j++)
        kept[j] = x[j] + sums[j] / (double)rows;
}

/* From mean and s what else is kept; s^2 takes the place of the first tiles' sums. */
ONCE void keep_deviation(double *kept, real *running_mean, real *running_var, const real *gamma, const real *beta,
                         double *scratch, size_t begin, size_t end, size_t rows, size_t cols, double eps,
                         double momentum)
{
    const double *const s = kept + 3 * cols;
    PRAGMA(omp simd)
    for (size_t j = begin; j < end; j++)
        scratch[j] = s[j] * s[j];
    keep(kept, running_mean, running_var, scratch, gamma, beta, begin, end, rows, cols, eps, momentum);
}

/* dx from these of a column, sgn as above:
 *     l1:    dx = (dy - offset - sgn slope) scale
 *     linf:  dx = (dy - offset) scale, and slope less in row `extreme` */
struct gradient {
    real offset[2 * COLUMNS], slope[2 * COLUMNS];
};

static void load_gradient(struct gradient *g, const double *scratch, struct tile t, size_t cols)
{
    PRAGMA(omp simd)
    for (size_t j = 0; j < t.width; j++) {
        g->offset[j] = (real)scratch[t.column + j];
        g->slope[j] = (real)scratch[cols + t.column + j];
    }
}

/* ---- p = 1 ---- */

/* What the columns of a tile need for (x - mean) scale + shift to have the sign of x - mean. */
static void load_sides(struct columns *c, const double *kept, struct tile t)
{
    PRAGMA(omp simd)
    for (size_t j = 0; j < t.width; j++) {
        const double mean = kept[t.column + j];
        c->mean[j] = (real)mean;
        c->scale[j] = 1;
        c->shift[j] = (real)((real)mean - mean);
    }
}

static void gather_sides(double *scratch, const real *x, const double *kept, struct tile t, size_t cols)
{
    struct columns c;
    double *const sums = sums_of_tile(scratch, t, cols);
    load_sides(&c, kept, t);
    sum_tile(sums, sums + cols, x, x, &c, t, cols, OF_SIGN, NULL);
}

static void finish_l1(double *kept, real *running_mean, real *running_var, const real *gamma, const real *beta,
                      double *scratch, size_t begin, size_t end, size_t rows, size_t cols, double eps, double momentum,
                      double factor)
{
    const double n = (double)rows;
    double *const s = kept + 3 * cols, *const side = kept + 4 * cols;
    add_tiles(scratch, begin, end, rows, cols);
    PRAGMA(omp simd)
    for (size_t j = begin; j < end; j++) {
        const double excess = kept[j] - (real)kept[j];
        s[j] = factor * (scratch[cols + j] - excess * scratch[j]) / n;
        side[j] = scratch[j] / n;
    }
    keep_deviation(kept, running_mean, running_var, gamma, beta, scratch, begin, end, rows, cols, eps, momentum);
}

/* y (rows, cols); with relu, what is negative becomes nought.  kept (5, cols) is for
 * backward: of each column mean, rstd, shift, s, and the mean of sgn(x - mean).  The
 * running statistics (cols) move towards mean and s^2 n / (n - 1).  gamma, beta (cols)
 * and the running statistics may be NULL.  scratch: 2 cols doubles for each row of tiles.
 * One walk more than batch normalization, as s takes the mean. */
void KERNEL(l1_batch_norm)(real *y, double *kept, real *running_mean, real *running_var, const real *x,
                           const real *gamma, const real *beta, double *scratch, size_t rows, size_t cols, double eps,
                           double momentum, double factor, int relu)
{
    if (!rows) {
        nothing_kept(kept, beta, cols);
        return;
    }
    TEAM(work(4, rows, cols),
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            gather_tile(scratch, x, tile_at(i, rows, cols), cols);)
        SHARED(for (size_t j = 0; j < cols; j += FINISHED) {
            add_tiles(scratch, j, smaller(j + FINISHED, cols), rows, cols);
            finish_mean(kept, x, scratch, j, smaller(j + FINISHED, cols), rows);
        })
        SHARED_BACK(i, tiles(rows, cols), gather_sides(scratch, x, kept, tile_at(i, rows, cols), cols);)
        SHARED(for (size_t j = 0; j < cols; j += FINISHED)
            finish_l1(kept, running_mean, running_var, gamma, beta, scratch, j, smaller(j + FINISHED, cols), rows,
                      cols, eps, momentum, factor);)
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            normalize_tile(y, x, NULL, kept, gamma, tile_at(i, rows, cols), cols, relu);));
}

/* With A = sum dy (x - mean), and dy stopped where relu did:
 *
 *     ds / dx[k] = factor / n (sgn[k] - mean sgn)
 *     dx = gamma rstd (dy - sum dy / n - A rstd^2 s ds / dx),    dgamma = A rstd,    dbeta = sum dy
 *
 * for sgn changes nowhere but at the mean, where 0 lies between its two sides' slopes. */
static void finish_l1_backward(real *dgamma, real *dbeta, const double *kept, double *scratch, size_t begin, size_t end,
                               size_t rows, size_t cols, double factor)
{
    const double n = (double)rows;
    add_tiles(scratch, begin, end, rows, cols);
    for (size_t j = begin; j < end; j++) {
        const double excess = kept[j] - (real)kept[j], rstd = kept[cols + j], s = kept[3 * cols + j],
                     side = kept[4 * cols + j], dy = scratch[j], a = scratch[cols + j] - excess * dy,
                     slope = a * rstd * rstd * s * factor / n;
        scratch[j] = dy / n - slope * side;
        scratch[cols + j] = slope;
        if (dgamma)
            dgamma[j] = (real)(a * rstd);
        if (dbeta)
            dbeta[j] = (real)dy;
    }
}

static inline __attribute__((always_inline)) void
write_rows_l1_backward(real *dx, const real *dy, const real *x, const struct columns *c, const struct columns *side,
                       const struct gradient *g, struct tile t, size_t cols, const int relu)
{
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++) {
            const real y = normalized(x[at + j], c->mean[j], c->scale[j], c->shift[j]);
            const real d = normalized(x[at + j], side->mean[j], 1, side->shift[j]);
            const real passed = relu && y <= 0 ? 0 : dy[at + j];
            const real slope = d > 0 ? g->slope[j] : d < 0 ? -g->slope[j] : 0;
            dx[at + j] = (passed - g->offset[j] - slope) * c->scale[j];
        }
    }
}

static void write_tile_l1_backward(real *dx, const real *dy, const real *x, const double *kept, const real *gamma,
                                   const double *scratch, struct tile t, size_t cols, int relu)
{
    struct columns c, side;
    struct gradient g;
    load_columns(&c, kept, gamma, t, cols);
    load_sides(&side, kept, t);
    load_gradient(&g, scratch, t, cols);
    if (relu)
        write_rows_l1_backward(dx, dy, x, &c, &side, &g, t, cols, 1);
    else
        write_rows_l1_backward(dx, dy, x, &c, &side, &g, t, cols, 0);
}

/* dx (rows, cols), which may be dy; kept, gamma and factor as in forward.  dgamma, dbeta and
 * gamma (cols) may be NULL.  scratch: 2 cols doubles for each row of tiles. */
void KERNEL(l1_batch_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x,
                                    const double *kept, const real *gamma, double *scratch, size_t rows, size_t cols,
                                    double factor, int relu)
{
    if (!rows) {
        no_gradients(dgamma, dbeta, cols);
        return;
    }
    TEAM(work(5, rows, cols),
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            gather_tile_backward(scratch, dy, x, kept, gamma, tile_at(i, rows, cols), cols, relu, NULL);)
        SHARED(for (size_t j = 0; j < cols; j += FINISHED)
            finish_l1_backward(dgamma, dbeta, kept, scratch, j, smaller(j + FINISHED, cols), rows, cols, factor);)
        SHARED_BACK(i, tiles(rows, cols),
                    write_tile_l1_backward(dx, dy, x, kept, gamma, scratch, tile_at(i, rows, cols), cols, relu);));
}

/* ---- p = infinity ---- */

/* Where tiles leave two more numbers a column, behind all sums. */
static double *behind_sums(double *scratch, size_t rows, size_t cols)
{
    return scratch + tiles_down(rows, cols) * 2 * cols;
}

/* The least and the greatest element of each column of a tile, of which several rows are read as one. */
static void range_of_tile(double *least, double *greatest, const real *x, struct tile t, size_t cols)
{
    const size_t joined = rows_in_one(cols), width = joined * t.width, whole = t.height / joined * joined;
    real low[2 * COLUMNS], high[2 * COLUMNS];
    x += t.row * cols + t.column;
    for (size_t k = 0; k < width; k += t.width) {
        memcpy(low + k, x, t.width * sizeof(real));
        memcpy(high + k, x, t.width * sizeof(real));
    }
    for (size_t i = 0; i < t.height; i += joined) {
        const real *const row = x + i * cols;
        const size_t n = i < whole ? width : (t.height - whole) * t.width;
        PRAGMA(omp simd)
        for (size_t j = 0; j < n; j++) {
            low[j] = row[j] < low[j] ? row[j] : low[j];
            high[j] = row[j] > high[j] ? row[j] : high[j];
        }
    }
    for (size_t j = 0; j < t.width; j++) {
        least[j] = low[j];
        greatest[j] = high[j];
    }
    for (size_t k = t.width; k < width; k += t.width)
        for (size_t j = 0; j < t.width; j++) {
            least[j] = low[k + j] < least[j] ? low[k + j] : least[j];
            greatest[j] = high[k + j] > greatest[j] ? high[k + j] : greatest[j];
        }
}

static void gather_range(double *scratch, const real *x, struct tile t, size_t rows, size_t cols)
{
    double *const range = sums_of_tile(behind_sums(scratch, rows, cols), t, cols);
    gather_tile(scratch, x, t, cols);
    range_of_tile(range, range + cols, x, t, cols);
}

static void finish_linf(double *kept, real *running_mean, real *running_var, const real *x, const real *gamma,
                        const real *beta, double *scratch, size_t begin, size_t end, size_t rows, size_t cols,
                        double eps, double momentum, double factor)
{
    double *const least = behind_sums(scratch, rows, cols), *const greatest = least + cols, *const s = kept + 3 * cols,
                  *const extreme = kept + 4 * cols;
    add_tiles(scratch, begin, end, rows, cols);
    finish_mean(kept, x, scratch, begin, end, rows);
    for (size_t block = 1; block < tiles_down(rows, cols); block++)
        for (size_t j = begin; j < end; j++) {
            const double low = least[block * 2 * cols + j], high = greatest[block * 2 * cols + j];
            least[j] = low < least[j] ? low : least[j];
            greatest[j] = high > greatest[j] ? high : greatest[j];
        }
    for (size_t j = begin; j < end; j++) {
        const double below = kept[j] - least[j], above = greatest[j] - kept[j];
        s[j] = factor * (above >= below ? above : below);
        extreme[j] = above >= below ? greatest[j] : least[j];
    }
    keep_deviation(kept, running_mean, running_var, gamma, beta, scratch, begin, end, rows, cols, eps, momentum);
}

/* As l1_batch_norm; but the last row of kept is the element farthest from the mean, the
 * greatest one where the least is as far.  scratch: 4 cols doubles for each row of tiles. */
void KERNEL(linf_batch_norm)(real *y, double *kept, real *running_mean, real *running_var, const real *x,
                             const real *gamma, const real *beta, double *scratch, size_t rows, size_t cols, double eps,
                             double momentum, double factor, int relu)
{
    if (!rows) {
        nothing_kept(kept, beta, cols);
        return;
    }
    TEAM(work(4, rows, cols),
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            gather_range(scratch, x, tile_at(i, rows, cols), rows, cols);)
        SHARED(for (size_t j = 0; j < cols; j += FINISHED)
            finish_linf(kept, running_mean, running_var, x, gamma, beta, scratch, j, smaller(j + FINISHED, cols), rows,
                        cols, eps, momentum, factor);)
        SHARED_BACK(i, tiles(rows, cols),
                    normalize_tile(y, x, NULL, kept, gamma, tile_at(i, rows, cols), cols, relu);));
}

/* The first row of a tile in which the extreme of each column stands, counted in the matrix; or `rows`. */
static void find_extremes(double *found, const real *x, const double *kept, struct tile t, size_t rows, size_t cols)
{
    const size_t joined = rows_in_one(cols), width = joined * t.width, whole = t.height / joined * joined;
    real extreme[2 * COLUMNS], first[2 * COLUMNS];
    x += t.row * cols + t.column;
    for (size_t k = 0; k < width; k += t.width)
        for (size_t j = 0; j < t.width; j++) {
            extreme[k + j] = (real)kept[4 * cols + t.column + j];
            first[k + j] = -1;
        }
    for (size_t i = whole < t.height ? whole + joined : whole; i > 0; i -= joined) { /* from below: the first stays */
        const real *const row = x + (i - joined) * cols;
        const size_t n = i <= whole ? width : (t.height - whole) * t.width;
        const real at = (real)(i - joined);
        PRAGMA(omp simd)
        for (size_t j = 0; j < n; j++)
            first[j] = row[j] == extreme[j] ? at : first[j];
    }
    for (size_t j = 0; j < t.width; j++)
        found[j] = (double)rows;
    for (size_t r = 0; r < joined; r++)
        for (size_t j = 0; j < t.width; j++) {
            const real at = first[r * t.width + j];
            const double row = (double)(t.row + r) + at;
            if (at >= 0 && row < found[j])
                found[j] = row;
        }
}

static void gather_and_find(double *scratch, const real *dy, const real *x, const double *kept, const real *gamma,
                            struct tile t, size_t rows, size_t cols, int relu)
{
    gather_tile_backward(scratch, dy, x, kept, gamma, t, cols, relu, NULL);
    find_extremes(sums_of_tile(behind_sums(scratch, rows, cols), t, cols), x, kept, t, rows, cols);
}

/* With A as above, and row k that of the extreme, the first where several are equal:
 *
 *     ds / dx[i] = factor sgn[k] (1 where i is k, less 1 / n)
 *     dx = gamma rstd (dy - sum dy / n - A rstd^2 s ds / dx) */
static void finish_linf_backward(real *dgamma, real *dbeta, const double *kept, double *scratch, size_t begin,
                                 size_t end, size_t rows, size_t cols, double factor)
{
    const double n = (double)rows;
    double *const row = behind_sums(scratch, rows, cols);
    add_tiles(scratch, begin, end, rows, cols);
    for (size_t block = tiles_down(rows, cols); block-- > 1;)
        for (size_t j = begin; j < end; j++) {
            const double other = row[block * 2 * cols + j];
            row[j] = other < row[j] ? other : row[j];
        }
    for (size_t j = begin; j < end; j++) {
        const double excess = kept[j] - (real)kept[j], rstd = kept[cols + j],
                     s = kept[4 * cols + j] < kept[j] ? -kept[3 * cols + j] : kept[3 * cols + j], dy = scratch[j],
                     a = scratch[cols + j] - excess * dy, slope = a * rstd * rstd * s * factor;
        scratch[j] = (dy - slope) / n;
        scratch[cols + j] = slope;
        if (dgamma)
            dgamma[j] = (real)(a * rstd);
        if (dbeta)
            dbeta[j] = (real)dy;
    }
}

static inline __attribute__((always_inline)) void write_rows_linf_backward(real *dx, const real *dy, const real *x,
                                                                           const struct columns *c,
                                                                           const struct gradient *g, struct tile t,
                                                                           size_t cols, const int relu)
{
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++) {
            const real stopped = relu && normalized(x[at + j], c->mean[j], c->scale[j], c->shift[j]) <= 0;
            dx[at + j] = ((stopped ? 0 : dy[at + j]) - g->offset[j]) * c->scale[j];
        }
    }
}

static void write_tile_linf_backward(real *dx, const real *dy, const real *x, const double *kept, const real *gamma,
                                     double *scratch, struct tile t, size_t rows, size_t cols, int relu)
{
    const double *const row = behind_sums(scratch, rows, cols) + t.column;
    struct columns c;
    struct gradient g;
    load_columns(&c, kept, gamma, t, cols);
    load_gradient(&g, scratch, t, cols);
    if (relu)
        write_rows_linf_backward(dx, dy, x, &c, &g, t, cols, 1);
    else
        write_rows_linf_backward(dx, dy, x, &c, &g, t, cols, 0);
    for (size_t j = 0; j < t.width; j++)
        if (row[j] >= (double)t.row && row[j] < (double)(t.row + t.height))
            dx[(size_t)row[j] * cols + t.column + j] -= g.slope[j] * c.scale[j];
}

/* As l1_batch_norm_backward.  x is only read for relu, and to find the extremes.  scratch: 4
 * cols doubles for each row of tiles. */
void KERNEL(linf_batch_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x,
                                      const double *kept, const real *gamma, double *scratch, size_t rows, size_t cols,
                                      double factor, int relu)
{
    if (!rows) {
        no_gradients(dgamma, dbeta, cols);
        return;
    }
    TEAM(work(5, rows, cols),
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            gather_and_find(scratch, dy, x, kept, gamma, tile_at(i, rows, cols), rows, cols, relu);)
        SHARED(for (size_t j = 0; j < cols; j += FINISHED)
            finish_linf_backward(dgamma, dbeta, kept, scratch, j, smaller(j + FINISHED, cols), rows, cols, factor);)
        SHARED_BACK(i, tiles(rows, cols),
                    write_tile_linf_backward(dx, dy, x, kept, gamma, scratch, tile_at(i, rows, cols), rows, cols,
                                             relu);));
}
