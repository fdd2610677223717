/* The nearest points of sets, in the place of what they are nearest to: all arrays of a list in one call.
 *
 *     norms      x[i] *= most / |x[i]|  where |x[i]| > most,  least / |x[i]|  where |x[i]| < least
 *     simplex    x[i][j] = max(x[i][j] - t[i], 0),  with the t[i] for which row i has the sum 1
 *     l1 ball    x = sign(x) max(|x| - t, 0),  with the t for which the sum of |x| is the radius
 *     box        x = min(max(x, lo), hi)
 *
 * t is the root of the excess e(t) = sum max(x - t, 0) less what it is to be, which is convex and made of straight
 * pieces: Newton's method goes up to the root from below, and reaches it when the next piece is the same as the last
 * (Michelot 1986; Condat 2016 compares the ways to get there).  Nothing is sorted.  In the last step x - t is
 * at hand for every element, and what is still missing of t is taken from it, not added to t, where it would be
 * rounded off: so the sum comes out right where x is much larger than it.
 *
 * Sums are in double, in LANES lanes, whose order depends on lengths alone.  What rounding has left beside a set is as
 * good as in it and is not moved: who is projected twice is where he was after the first time.  What is not
 * finite has no nearest point, and stays as well.
 *
 * Rows are those of the first axis, which is the outermost in memory; each belongs to the thread in whose stretch it
 * begins. */
#include "group.h"
#include "sum.h"
#include <float.h>

#define SLACK (8 * (sizeof(real) == sizeof(float) ? FLT_EPSILON : DBL_EPSILON))

/* Makes a call for each row of the arrays, a pointer and a length. */
#define EACH_ROW(work, call)                                                                             \
    EACH_STRETCH(list, work, if (begin < end) for (size_t n = cols[k], i = blocks_of(begin, n); i * n < end; i++) \
                                 call((real *)arrays[k] + i * n, n))

static inline double sum_doubles(double *lanes)
{
    PRAGMA(GCC unroll 8)
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        PRAGMA(omp simd)
        for (size_t lane = 0; lane < half; lane++)
            lanes[lane] += lanes[lane + half];
    }
    return lanes[0];
}

/* ---- norms ---- */

static double squares(const real *x, size_t n, double scale)
{
    double lanes[LANES] = {0}, rest = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        PRAGMA(omp simd)
        for (size_t lane = 0; lane < LANES; lane++) {
            const double v = scale * x[i + lane];
            lanes[lane] += v * v;
        }
    }
    for (; i < n; i++)
        rest += (scale * x[i]) * (scale * x[i]);
    return sum_doubles(lanes) + rest;
}

/* Squares that are too large or too small for double are taken of multiples. */
static double norm(const real *x, size_t n)
{
    const double sum = squares(x, n, 1), scale = sum < 1 ? 0x1p600 : 0x1p-600;
    return sum > 0x1p-900 && sum < 0x1p1000 ? sqrt(sum) : sqrt(squares(x, n, scale)) / scale;
}

static void limit_norm(real *x, size_t n, double least, double most)
{
    const double length = norm(x, n), wanted = length > most * (1 + SLACK)    ? most
                                               : length < least * (1 - SLACK) ? least
                                                                              : length;
    if (wanted == length || !isfinite(length))
        return;
    if (length < DBL_MIN) { /* no direction is nearer than another */
        for (size_t i = 0; i < n; i++)
            x[i] = (real)(wanted / sqrt((double)n));
        return;
    }
    const double factor = wanted / length;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++)
        x[i] = (real)(factor * x[i]);
}

/* Brings the norm of each row to between least and most; a row of noughts gets equal elements. */
void KERNEL(limit_norms)(void *const *arrays, const size_t *cols, const batten_list *list, double least, double most)
{
#define LIMIT(x, n) limit_norm(x, n, least, most)
    EACH_ROW(2, LIMIT);
}

/* ---- the simplex and the l1 ball ---- */

/* e(t), and of how many elements. */
typedef struct {
    double sum, count;
} excess;

/* Of x - from, or of |x|. */
static inline __attribute__((always_inline)) double above(real x, int absolute, double from, double t)
{
    return (absolute ? fabs((double)x) : x - from) - t;
}

static inline __attribute__((always_inline)) excess excess_of(const real *x, size_t n, int absolute, double from,
                                                              double t)
{
    double sums[LANES] = {0}, counts[LANES] = {0};
    excess rest = {0, 0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        PRAGMA(omp simd)
        for (size_t lane = 0; lane < LANES; lane++) {
            const double v = above(x[i + lane], absolute, from, t);
            sums[lane] += v > 0 ? v : 0;
            counts[lane] += v > 0 ? 1 : 0;
        }
    }
    for (; i < n; i++) {
        const double v = above(x[i], absolute, from, t);
        rest.sum += v > 0 ? v : 0;
        rest.count += v > 0 ? 1 : 0;
    }
    return (excess){sum_doubles(sums) + rest.sum, sum_doubles(counts) + rest.count};
}

static void project_to_simplex(real *x, size_t n)
{
    real least = x[0], most = x[0];
    double broken = 0;
    ADD_ROW(broken, n, x[at] - x[at]); /* nought for numbers, NaN for all else */
    PRAGMA(omp simd reduction(min : least) reduction(max : most))
    for (size_t i = 0; i < n; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    if (broken != 0 || (least >= 0 && fabs(excess_of(x, n, 0, 0, 0).sum - 1) <= SLACK))
        return;
    /* Counted from the largest element, t is between -1 and 0. */
    double t = -1, count;
    excess e = excess_of(x, n, 0, most, t);
    do {
        count = e.count;
        t += (e.sum - 1) / count;
        e = excess_of(x, n, 0, most, t);
    } while (e.count < count);
    const double missing = (e.sum - 1) / e.count;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++) {
        const double v = above(x[i], 0, most, t) - missing;
        x[i] = v > 0 ? (real)v : 0;
    }
}

void KERNEL(simplex)(void *const *arrays, const size_t *cols, const batten_list *list)
{
    EACH_ROW(16, project_to_simplex);
}

/* result: e(t) of |x| over all arrays, and of how many elements; partial has room for as much of each block. */
void KERNEL(excess)(double *result, double *partial, void *const *arrays, const batten_list *list, double t)
{
    const size_t sums = 2 * blocks_of(elements(list), BLOCK);
    for (size_t i = 0; i < sums; i++)
        partial[i] = 0;
    EACH_STRETCH(list, 2, const excess e = excess_of((const real *)arrays[k] + begin, end - begin, 1, 0, t);
                 partial[2 * block] += e.sum; partial[2 * block + 1] += e.count);
    result[0] = result[1] = 0;
    for (size_t i = 0; i < sums; i++)
        result[i % 2] += partial[i];
}

static void shrink_piece(real *x, size_t n, double t, double missing)
{
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++) {
        const double v = above(x[i], 1, 0, t) - missing;
        x[i] = v > 0 ? (real)(x[i] < 0 ? -v : v) : 0;
    }
}

/* Moves all elements by t + missing towards nought. */
void KERNEL(soft_threshold)(void *const *arrays, const batten_list *list, double t, double missing)
{
    EACH_STRETCH(list, 2, shrink_piece((real *)arrays[k] + begin, end - begin, t, missing));
}

/* ---- the box ---- */

static void clamp_piece(real *x, size_t n, real lo, real hi)
{
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++) {
        const real raised = x[i] < lo ? lo : x[i];
        x[i] = raised > hi ? hi : raised;
    }
}

/* NaN stays what it is. */
void KERNEL(clamp_all)(void *const *arrays, const batten_list *list, double lo, double hi)
{
    EACH_STRETCH(list, 1, clamp_piece((real *)arrays[k] + begin, end - begin, (real)lo, (real)hi));
}
