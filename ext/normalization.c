/* Batch normalization over the rows of a matrix (Ioffe & Szegedy 2015, Algorithm 1),
 * by itself, with a relu behind it, or with another matrix added before that relu.
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
#include "kernel.h"
#include <string.h>

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

/* What so many operations an element are worth waking a team for. */
static size_t work(size_t operations, size_t rows, size_t cols)
{
    return tiles(rows, cols) > 1 ? operations * rows * cols : 0;
}

/* What a walk knows of the columns of its tile. */
struct columns {
    real mean[2 * COLUMNS], scale[2 * COLUMNS], shift[2 * COLUMNS];
};

static inline real normalized(real x, real mean, real scale, real shift)
{
    return (x - mean) * scale + shift;
}

/* ---- sums ---- */

/* The sums of two terms an element, with d = x - mean: of d and d^2, or of dy and d dy,
 * where dy may be stopped by a relu behind y. */
enum terms { OF_X, OF_DY, OF_DY_BEFORE_RELU };

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
#define ADD(i)                                                                                            \
    if (i < vectors) {                                                                                    \
        const narrow value = ((const loose *)x)[i];                                                       \
        const wide d = widened(value) - center##i;                                                        \
        wide term = d;                                                                                    \
        if (terms == OF_DY)                                                                               \
            term = widened(((const loose *)dy)[i]);                                                       \
        if (terms == OF_DY_BEFORE_RELU)                                                                   \
            term = widened(let_through(((const loose *)dy)[i], (value - mean##i) * scale##i + shift##i)); \
        first##i += term;                                                                                 \
        second##i += d * term;                                                                            \
    }
#define STORE(i)                                     \
    if (i < vectors) {                               \
        ((loose_wide *)(first + j))[i] = first##i;   \
        ((loose_wide *)(second + j))[i] = second##i; \
    }
static inline
    __attribute__((always_inline)) void sum_strip(double *first, double *second, const real *x, const real *dy,
                                                  const struct columns *c, size_t j, size_t rows, size_t cols,
                                                  size_t next, const int vectors, const enum terms terms)
{
    EACH_VECTOR(LOAD)
    for (x += j, dy += j; rows > 0; rows--, x += cols, dy += cols) {
        for (size_t k = next; vectors == VECTORS && k < next + STRIP; k += LINE) {
            __builtin_prefetch(x + k, 0, 2);
            if (terms != OF_X)
                __builtin_prefetch(dy + k, 0, 2);
        }
        EACH_VECTOR(ADD)
    }
    EACH_VECTOR(STORE)
}

/* Adds the sums of some rows, one element after the other. */
static inline __attribute__((always_inline)) void sum_rows(double *first, double *second, const real *x, const real *dy,
                                                           const struct columns *c, size_t rows, size_t cols,
                                                           const enum terms terms)
{
    for (; rows > 0; rows--, x += cols, dy += cols)
        for (size_t j = 0; j < cols; j++) {
            const double d = (double)x[j] - c->mean[j];
            double term = terms == OF_X ? d : dy[j];
            if (terms == OF_DY_BEFORE_RELU && normalized(x[j], c->mean[j], c->scale[j], c->shift[j]) <= 0)
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

/* scratch[tile][0, 1][cols] = a tile's sums.  Where fewer columns are left than a
 * vector has lanes, the last vector begins before them: some sums are found twice. */
static inline __attribute__((always_inline)) void sum_tile(double *scratch, const real *x, const real *dy,
                                                           struct columns *c, struct tile t, size_t cols,
                                                           const enum terms terms)
{
    const size_t at = t.row * cols + t.column, joined = rows_in_one(cols), rows = t.height / joined,
                 width = joined * t.width, step = joined * cols, vectors = width / LANES * LANES;
    double *const first = scratch + t.row / tile_rows(cols) * 2 * cols + t.column, *const second = first + cols;
    double sums[2][2 * COLUMNS];
    size_t j = 0;
    for (size_t k = t.width; k < width; k++) {
        c->mean[k] = c->mean[k - t.width];
        c->scale[k] = c->scale[k - t.width];
        c->shift[k] = c->shift[k - t.width];
    }
    for (; j + STRIP <= vectors; j += STRIP)
        sum_strip(sums[0], sums[1], x + at, dy + at, c, j, rows, step,
                  j + 2 * STRIP <= vectors ? STRIP : rows * step - j, VECTORS, terms);
    for (; j < vectors; j += LANES)
        sum_strip(sums[0], sums[1], x + at, dy + at, c, j, rows, step, 0, 1, terms);
    if (j < width)
        sum_strip(sums[0], sums[1], x + at, dy + at, c, width - LANES, rows, step, 0, 1, terms);
    memcpy(first, sums[0], t.width * sizeof(double));
    memcpy(second, sums[1], t.width * sizeof(double));
    for (size_t k = t.width; k < width; k += t.width) {
        PRAGMA(omp simd)
        for (j = 0; j < t.width; j++) {
            first[j] += sums[0][k + j];
            second[j] += sums[1][k + j];
        }
    }
    const size_t done = at + rows * step;
    sum_rows(first, second, x + done, dy + done, c, t.height % joined, cols, terms);
}

/* The sums over all tiles of some columns, from the top down, in the place of the first tiles'. */
static void add_tiles(double *scratch, size_t begin, size_t end, size_t rows, size_t cols)
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

/* ---- training ---- */

static void sum_tile_forward(double *scratch, const real *x, struct tile t, size_t cols)
{
    struct columns c; /* nobody knows the mean yet: the first row takes its place */
    memcpy(c.mean, x + t.column, t.width * sizeof(real));
    sum_tile(scratch, x, x, &c, t, cols, OF_X);
}

/* running = (1 - momentum) running + momentum statistic */
static inline real moved_to(real running, double momentum, double statistic)
{
    return (real)((1 - momentum) * running + momentum * statistic);
}

/* From the sums of some columns their statistics. */
static void finish(double *kept, real *running_mean, real *running_var, const real *x, const real *gamma,
                   const real *beta, double *scratch, size_t begin, size_t end, size_t rows, size_t cols, double eps,
                   double momentum)
{
    const double n = (double)rows, unbiased = rows > 1 ? n / (n - 1) : 1;
    double *const mean = kept, *const rstd = kept + cols, *const shift = kept + 2 * cols, *const var = scratch + cols;
    add_tiles(scratch, begin, end, rows, cols);
    PRAGMA(omp simd)
    for (size_t j = begin; j < end; j++) {
        const double d = scratch[j] / n, excess = var[j] / n - d * d;
        var[j] = excess < 0 ? 0 : excess;
        mean[j] = x[j] + d;
        rstd[j] = 1 / sqrt(var[j] + eps);
    }
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
static void load_columns(struct columns *c, const double *kept, const real *gamma, struct tile t, size_t cols)
{
    PRAGMA(omp simd)
    for (size_t j = 0; j < t.width; j++) {
        const size_t k = t.column + j;
        c->mean[j] = (real)kept[k];
        c->scale[j] = (real)((gamma ? gamma[k] : 1) * kept[cols + k]);
        c->shift[j] = (real)kept[2 * cols + k];
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

static void normalize_tile(real *y, const real *x, const real *z, const double *kept, const real *gamma, struct tile t,
                           size_t cols, int relu)
{
    struct columns c;
    load_columns(&c, kept, gamma, t, cols);
    write_tile(y, x, z, &c, t, cols, relu);
}

/* Both of the kernels below; z may be NULL. */
static void normalize(real *y, double *kept, real *running_mean, real *running_var, const real *x, const real *z,
                      const real *gamma, const real *beta, double *scratch, size_t rows, size_t cols, double eps,
                      double momentum, int relu)
{
    if (!rows) {
        for (size_t j = 0; j < cols; j++)
            kept[j] = 0, kept[cols + j] = 1, kept[2 * cols + j] = beta ? beta[j] : 0;
        return;
    }
    TEAM(work(3, rows, cols),
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            sum_tile_forward(scratch, x, tile_at(i, rows, cols), cols);)
        SHARED(for (size_t j = 0; j < cols; j += FINISHED)
            finish(kept, running_mean, running_var, x, gamma, beta, scratch, j, smaller(j + FINISHED, cols), rows,
                   cols, eps, momentum);)
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            normalize_tile(y, x, z, kept, gamma, tile_at(i, rows, cols), cols, relu);));
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
    normalize(y, kept, running_mean, running_var, x, NULL, gamma, beta, scratch, rows, cols, eps, momentum, relu);
}

/* The same with z (rows, cols) added before relu. */
void KERNEL(batch_norm_add_relu)(real *y, double *kept, real *running_mean, real *running_var, const real *x,
                                 const real *z, const real *gamma, const real *beta, double *scratch, size_t rows,
                                 size_t cols, double eps, double momentum)
{
    normalize(y, kept, running_mean, running_var, x, z, gamma, beta, scratch, rows, cols, eps, momentum, 1);
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

static void sum_tile_backward(double *scratch, const real *dy, const real *x, struct columns *c, struct tile t,
                              size_t cols, int relu)
{
    if (relu)
        sum_tile(scratch, x, dy, c, t, cols, OF_DY_BEFORE_RELU);
    else
        sum_tile(scratch, x, dy, c, t, cols, OF_DY);
}

/* dz = dy where relu let y through */
static void stop_rows(real *dz, const real *dy, const real *y, struct tile t, size_t cols)
{
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++)
            dz[at + j] = y[at + j] <= 0 ? 0 : dy[at + j];
    }
}

static void gather_tile(double *scratch, real *dz, const real *dy, const real *y, const real *x, const double *kept,
                        const real *gamma, struct tile t, size_t cols, int relu)
{
    struct columns c;
    load_columns(&c, kept, gamma, t, cols);
    if (dz)
        stop_rows(dz, dy, y, t, cols);
    sum_tile_backward(scratch, dz ? dz : dy, x, &c, t, cols, relu);
}

/* dx = (dy - offset - (x - mean) slope) scale */
static inline __attribute__((always_inline)) void write_rows_backward(real *dx, const real *dy, const real *x,
                                                                      const struct columns *c, const real *offset,
                                                                      const real *slope, struct tile t, size_t cols,
                                                                      const int relu)
{
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++) {
            const real y = normalized(x[at + j], c->mean[j], c->scale[j], c->shift[j]);
            const real passed = relu && y <= 0 ? 0 : dy[at + j];
            dx[at + j] = (passed - offset[j] - (x[at + j] - c->mean[j]) * slope[j]) * c->scale[j];
        }
    }
}

static void normalize_tile_backward(real *dx, const real *dy, const real *x, const double *kept, const real *gamma,
                                    const double *scratch, struct tile t, size_t cols, int relu)
{
    struct columns c;
    real offset[2 * COLUMNS], slope[2 * COLUMNS];
    load_columns(&c, kept, gamma, t, cols);
    for (size_t j = 0; j < t.width; j++) {
        offset[j] = (real)scratch[t.column + j];
        slope[j] = (real)scratch[cols + t.column + j];
    }
    if (relu)
        write_rows_backward(dx, dy, x, &c, offset, slope, t, cols, 1);
    else
        write_rows_backward(dx, dy, x, &c, offset, slope, t, cols, 0);
}

/* Both of the kernels below; dz and y may be NULL. */
static void normalize_backward(real *dx, real *dz, real *dgamma, real *dbeta, const real *dy, const real *y,
                               const real *x, const double *kept, const real *gamma, double *scratch, size_t rows,
                               size_t cols, int relu)
{
    if (!rows) {
        no_gradients(dgamma, dbeta, cols);
        return;
    }
    TEAM(work(5, rows, cols),
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            gather_tile(scratch, dz, dy, y, x, kept, gamma, tile_at(i, rows, cols), cols, relu);)
        SHARED(for (size_t j = 0; j < cols; j += FINISHED)
            finish_backward(dgamma, dbeta, kept, scratch, j, smaller(j + FINISHED, cols), rows, cols);)
        SHARED(for (size_t i = 0; i < tiles(rows, cols); i++)
            normalize_tile_backward(dx, dz ? dz : dy, x, kept, gamma, scratch, tile_at(i, rows, cols), cols, relu);));
}

/* dx (rows, cols); kept and gamma as in forward.  dgamma, dbeta and gamma (cols) may be
 * NULL.  scratch: 2 cols doubles for each row of tiles. */
void KERNEL(batch_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x, const double *kept,
                                 const real *gamma, double *scratch, size_t rows, size_t cols, int relu)
{
    normalize_backward(dx, NULL, dgamma, dbeta, dy, NULL, x, kept, gamma, scratch, rows, cols, relu);
}

/* The same for batch_norm_add_relu, whose result was y; dz is dy where relu let y through. */
void KERNEL(batch_norm_add_relu_backward)(real *dx, real *dz, real *dgamma, real *dbeta, const real *dy, const real *y,
                                          const real *x, const double *kept, const real *gamma, double *scratch,
                                          size_t rows, size_t cols)
{
    normalize_backward(dx, dz, dgamma, dbeta, dy, y, x, kept, gamma, scratch, rows, cols, 0);
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
    load_given(&c, mean, var, gamma, beta, t, eps);
    sum_tile_backward(scratch, dy, x, &c, t, cols, relu);
    if (relu)
        scale_rows(dx, dy, x, &c, t, cols, 1);
    else
        scale_rows(dx, dy, x, &c, t, cols, 0);
}

/* With dy stopped where relu did, dx = gamma dy / sqrt(var + eps), dbeta = sum dy and
 * dgamma = sum dy (x - mean) / sqrt(var + eps).  dgamma, dbeta, gamma and beta may be
 * NULL; only relu asks for beta.  scratch: 2 cols doubles for each row of tiles. */
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
