/* The nearest points of sets, which take the place of what they are nearest to: all arrays of a list in one call.
 *
 *     norms      x[i] *= most / |x[i]|  where |x[i]| > most,  least / |x[i]|  where |x[i]| < least
 *     simplex    x[i][j] = max(x[i][j] - t[i], 0),  with the t[i] for which row i has the sum 1
 *     l1 ball    x = sign(x) max(|x| - t, 0),  with the t for which the sum of |x| is the radius
 *     box        x = min(max(x, lo), hi)
 *
 * The excess e(t) = sum max(x - t, 0) is convex and made of straight pieces.  So Newton's method, begun below the t at
 * which it has the value asked for, goes up and not beyond, and is there when no further element falls below t
 * (Michelot 1986; Condat 2016 compares the ways): t is exact, and nothing is sorted.  What rounding leaves
 * missing of t is taken from each x - t, as t itself may be too large to take it up.
 *
 * Sums are in double, in LANES lanes, in an order that depends on lengths alone.  A row that only rounding has put
 * beside the set is not moved, so that projecting twice is projecting once; nor is one with NaN or an infinite
 * norm, to which nothing is nearest.
 *
 * Rows are along the first axis, the outermost in memory.  Each belongs to the thread in whose stretch it begins. */
#include "group.h"
#include "sum.h"
#include <float.h>

#define SLACK (8 * (sizeof(real) == sizeof(float) ? FLT_EPSILON : DBL_EPSILON))

/* Makes a call for each row of the arrays, a pointer and a length. */
#define EACH_ROW(work, call)                                                                          \
    EACH_STRETCH(list, work,                                                                          \
                 if (begin < end) for (size_t n = cols[k], i = blocks_of(begin, n); i * n < end; i++) \
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

/* e(t), and of how many elements.  NaN is in the sum. */
typedef struct {
    double sum, count;
} excess;

/* Of x - from, or of |x|. */
static inline __attribute__((always_inline)) double above(real x, int absolute, double from, double t)
{
    return (absolute ? fabs((double)x) : x - from) - t;
}

/* Few terms are added one after the other, as what is then missing of t is no better than the sum. */
static inline __attribute__((always_inline)) excess excess_of(const real *x, size_t n, int absolute, double from,
                                                              double t)
{
    enum { SHORT = 256 };
    excess total = {0, 0};
    for (size_t begin = 0; begin < n; begin += SHORT) {
        const size_t end = smaller(begin + SHORT, n);
        double sums[LANES] = {0}, counts[LANES] = {0};
        size_t i = begin;
        for (; i + LANES <= end; i += LANES) {
            PRAGMA(omp simd)
            for (size_t lane = 0; lane < LANES; lane++) {
                const double v = above(x[i + lane], absolute, from, t);
                sums[lane] += v <= 0 ? 0 : v;
                counts[lane] += v > 0 ? 1 : 0;
            }
        }
        for (size_t lane = 0; i < end; i++, lane++) {
            const double v = above(x[i], absolute, from, t);
            sums[lane] += v <= 0 ? 0 : v;
            counts[lane] += v > 0 ? 1 : 0;
        }
        total.sum += sum_doubles(sums);
        total.count += sum_doubles(counts);
    }
    return total;
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
    double lost = 0; /* of the sum, by rounding (Kahan 1965) */
    result[0] = result[1] = 0;
    for (size_t i = 0; i < sums; i += 2) {
        const double term = partial[i] - lost, sum = result[0] + term;
        lost = (sum - result[0]) - term;
        result[0] = sum;
        result[1] += partial[i + 1];
    }
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
