/* Local response normalization (Krizhevsky, Sutskever & Hinton 2012) of the rows of a matrix, whose
 * columns are channels.
 *
 *     y[c] = x[c] d[c]^-beta,    d[c] = k + alpha / size sum_{c'} x[c']^2
 *
 * over the window c - size / 2 <= c' <= c + (size - 1) / 2, as far as there are such channels.
 *
 * A strip is some rows, or a piece of a long one.  Its terms go to a buffer that stays in the
 * first-level cache, the rows apart by as many noughts as windows reach out of them: there a
 * vector of sums is the sum of a few vectors, each beginning one element behind the one before, and
 * where rows end is of no matter.  Windows of more than SPAN channels are summed in several steps.
 * No sum is made from its neighbour's, which would lose digits.
 *
 * Backward finds d again from x: that takes less time than to store it and to read it. */
#include "elementary.h"

/* A strip's buffer has ELEMENTS or a few more, the last vector being whole and windows reaching out of it. */
enum { ELEMENTS = 4096 / sizeof(real), CHANNELS = ELEMENTS / 2, SPAN = 16, ROOM = ELEMENTS + 4 * VLEN + SPAN };
enum { COST = 8 };

typedef real loose __attribute__((vector_size(VBYTES), aligned(sizeof(real)), may_alias));

/* A window is [c - before, c + after]; scale = alpha / size. */
struct windows {
    size_t cols, before, after, size;
    size_t stride, rows; /* from row to row in a buffer, and how many it has */
    real scale, beta, k;
};

/* Windows of terms, or, with two reaches, windows of terms that are made from windows. */
static struct windows windows_of(size_t cols, size_t size, double alpha, double beta, double k, size_t reaches)
{
    struct windows w = {.cols = cols, .scale = (real)(alpha / (double)size), .beta = (real)beta, .k = (real)k};
    w.before = smaller(size / 2, cols - 1);
    w.after = smaller((size - 1) / 2, cols - 1);
    w.size = w.before + 1 + w.after;
    w.stride = smaller(cols, CHANNELS) + reaches * (smaller(w.size, SPAN) - 1);
    w.rows = ELEMENTS / w.stride;
    return w;
}

/* A strip: `rows` rows of x from one on, and of these the channels first .. first + n - 1, or what there is of them. */
struct strip {
    size_t rows, n;
    ptrdiff_t first;
};

static inline size_t begin_of(struct strip s)
{
    return s.first < 0 ? smaller((size_t)-s.first, s.n) : 0;
}

static inline size_t end_of(struct strip s, size_t cols)
{
    return s.first < (ptrdiff_t)cols ? smaller((size_t)((ptrdiff_t)cols - s.first), s.n) : 0;
}

/* The channels of a strip's row that there are: `at` is where they are in x, and i in a buffer. */
#define EACH_OF_ROW(s, w, row, ...)                                                                   \
    {                                                                                                 \
        const size_t end = end_of(s, (w)->cols);                                                      \
        PRAGMA(omp simd)                                                                              \
        for (size_t j = begin_of(s); j < end; j++) {                                                  \
            const size_t i = (row) * (w)->stride + j, at = (row) * (w)->cols + (size_t)(s).first + j; \
            __VA_ARGS__                                                                               \
        }                                                                                             \
    }
#define EACH_CHANNEL(s, w, ...)                   \
    for (size_t row = 0; row < (s).rows; row++) { \
        EACH_OF_ROW(s, w, row, __VA_ARGS__)       \
    }

/* Noughts in first .. last - 1, and some behind them. */
static inline void clear(real *buffer, size_t first, size_t last)
{
    for (size_t i = first; i < last; i += VLEN)
        *(loose *)(buffer + i) = (vec){0};
}

/* terms[i] = a term of the channel `at`, or nought where there is none. */
#define FILL(terms, s, w, term)                                                          \
    for (size_t row = 0; row < (s).rows; row++) {                                        \
        clear(terms, row * (w)->stride, row * (w)->stride + begin_of(s));                \
        EACH_OF_ROW(s, w, row, (terms)[i] = term;)                                       \
        clear(terms, row * (w)->stride + end_of(s, (w)->cols), (row + 1) * (w)->stride); \
    }

/* sums[i] = terms[i] + ... + terms[i + span - 1], added to what is there unless this is the first step.
 * Several vectors at a time hide how long it takes to add.  Processors do not fetch a strip ahead while
 * this one is computed, so they are asked to: for what the next strip reads and, unless it is NULL, writes. */
enum { VECTORS = 4, LINE = 64 / sizeof(real) };
static inline void add_windows(real *sums, const real *terms, size_t n, size_t span, int first, const real *next_in,
                               const real *next_out)
{
    for (size_t i = 0; i < n; i += VECTORS * VLEN) {
        for (size_t line = i; line < i + VECTORS * VLEN; line += LINE) {
            __builtin_prefetch(next_in + line, 0, 2);
            if (next_out)
                __builtin_prefetch(next_out + line, 1, 2);
        }
        vec total[VECTORS];
        PRAGMA(GCC unroll 4)
        for (size_t v = 0; v < VECTORS; v++)
            total[v] = first ? (vec){0} : ((vec *)(sums + i))[v];
        for (const real *from = terms + i; from < terms + i + span; from++) {
            PRAGMA(GCC unroll 4)
            for (size_t v = 0; v < VECTORS; v++)
                total[v] += ((const loose *)from)[v];
        }
        PRAGMA(GCC unroll 4)
        for (size_t v = 0; v < VECTORS; v++)
            ((vec *)(sums + i))[v] = total[v];
    }
}

/* ((1 - e)^(-1/4) - 1) / e for |e| <= 1/8, as in elementary.h */
static const real ROOT[] = {0.25, 0.1562445106, 0.1171825967, 0.0966156763, 0.0821837855};

/* d^(-1/4) of a normal d.  A quarter of d's bits leads to a guess z whose fourth power is off by an
 * eighth at most: d z^4 = 1 - e.  In double a step of Newton's kind follows, whose error is of the order of e^3. */
static inline real inverse_fourth_root(real d)
{
    const double guess = 1.25 * (BIAS - 0.05) * (double)((bits)1 << MANTISSA);
    real z = real_of((bits)guess - (bits_of(d) >> 2)), e = 1 - d * (z * z) * (z * z);
    z += z * e * POLYNOMIAL(ROOT, e);
    if (sizeof(real) == sizeof(double)) {
        e = 1 - d * (z * z) * (z * z);
        z += z * e * ((real)0.25 + (real)0.15625 * e);
    }
    return d == INFINITY ? 0 : z;
}

/* p = d^-beta and, unless q is NULL, q = d^(-beta - 1).  With the usual beta = 3/4 they are z^3 and z^7,
 * z = d^(-1/4), which halves the time of the whole; but z is only sought where d is sure to be normal.
 * next_out is for add_windows. */
static inline void powers(real *p, real *q, const real *x, struct strip s, const struct windows *w,
                          const real *next_out)
{
    real terms[ROOM] __attribute__((aligned(VBYTES))), sums[ROOM] __attribute__((aligned(VBYTES)));
    const size_t n = s.rows * w->stride;
    for (size_t step = 0; step < w->size; step += SPAN) {
        const size_t span = smaller(SPAN, w->size - step);
        const struct strip reached = {s.rows, s.n + span - 1, s.first - (ptrdiff_t)w->before + (ptrdiff_t)step};
        FILL(terms, reached, w, x[at] * x[at]);
        add_windows(sums, terms, n, span, step == 0, x + s.rows * w->cols, next_out);
    }
    if (w->beta == (real)0.75 && w->k >= SMALLEST && w->scale >= 0) {
        PRAGMA(omp simd)
        for (size_t i = 0; i < n; i++) {
            const real z = inverse_fourth_root(w->k + w->scale * sums[i]);
            p[i] = z * z * z;
            if (q)
                q[i] = z * z * z * (z * z * (z * z));
        }
    } else {
        PRAGMA(omp simd)
        for (size_t i = 0; i < n; i++) {
            const real d = w->k + w->scale * sums[i];
            p[i] = exp_of(-w->beta * log_of(d));
            if (q)
                q[i] = p[i] / d;
        }
    }
}

static void normalize_rows(real *y, const real *x, size_t rows, const struct windows *w)
{
    real p[ROOM];
    for (size_t c = 0; c < w->cols; c += CHANNELS) {
        const struct strip own = {rows, smaller(CHANNELS, w->cols - c), (ptrdiff_t)c};
        powers(p, NULL, x, own, w, y + rows * w->cols);
        EACH_CHANNEL(own, w, y[at] = x[at] * p[i];)
    }
}

/* y (rows, cols); size >= 1.  y is not x. */
void KERNEL(response_norm)(real *y, const real *x, size_t rows, size_t cols, size_t size, double alpha, double beta,
                           double k)
{
    if (!cols)
        return;
    const struct windows w = windows_of(cols, size, alpha, beta, k, 1);
    PARALLEL(COST * rows * cols, for (size_t i = 0; i < rows; i += w.rows)
        normalize_rows(y + i * cols, x + i * cols, smaller(w.rows, rows - i), &w););
}

/* With t[c] = dy[c] x[c] d[c]^(-beta - 1),
 *
 *     dx[c] = dy[c] d[c]^-beta - 2 alpha beta / size x[c] sum_{c'} t[c']
 *
 * over the c' whose windows have c in them: c - (size - 1) / 2 <= c' <= c + size / 2. */
static void normalize_rows_backward(real *dx, const real *dy, const real *x, size_t rows, const struct windows *w)
{
    real p[ROOM], q[ROOM], own_p[ROOM], terms[ROOM] __attribute__((aligned(VBYTES))),
        sums[ROOM] __attribute__((aligned(VBYTES)));
    const real slope = 2 * w->scale * w->beta;
    const size_t n = rows * w->stride;
    for (size_t c = 0; c < w->cols; c += CHANNELS) {
        const struct strip own = {rows, smaller(CHANNELS, w->cols - c), (ptrdiff_t)c};
        for (size_t step = 0; step < w->size; step += SPAN) {
            const size_t span = smaller(SPAN, w->size - step);
            const struct strip reached = {rows, own.n + span - 1, own.first - (ptrdiff_t)w->after + (ptrdiff_t)step};
            powers(p, q, x, reached, w, NULL);
            FILL(terms, reached, w, dy[at] * (x[at] * q[i]));
            add_windows(sums, terms, n, span, step == 0, dy + rows * w->cols, dx + rows * w->cols);
            if (step <= w->after && w->after < step + span) /* then own channels are among those that are reached */
                memcpy(own_p, p + w->after - step, n * sizeof(real));
        }
        EACH_CHANNEL(own, w, dx[at] = dy[at] * own_p[i] - slope * x[at] * sums[i];)
    }
}

/* dx (rows, cols), which is neither dy nor x. */
void KERNEL(response_norm_backward)(real *dx, const real *dy, const real *x, size_t rows, size_t cols, size_t size,
                                    double alpha, double beta, double k)
{
    if (!cols)
        return;
    const struct windows w = windows_of(cols, size, alpha, beta, k, 2);
    PARALLEL(2 * COST * rows * cols, for (size_t i = 0; i < rows; i += w.rows)
        normalize_rows_backward(dx + i * cols, dy + i * cols, x + i * cols, smaller(w.rows, rows - i), &w););
}
