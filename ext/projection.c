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
 * Sums are in an order that depends on lengths alone, those of excesses in double.  A group that only rounding has put
 * beside the set is not moved, so that projecting twice is projecting once; nor is one with NaN or an infinite
 * norm, to which nothing is nearest.
 *
 * A group belongs to the thread in whose stretch it would begin if groups lay end to end. */
#include "group.h"
#include "sum.h"
#include <float.h>

enum { WIDTH = 64 };

#define SLACK (8 * (sizeof(real) == sizeof(float) ? FLT_EPSILON : DBL_EPSILON))

/* Makes a call for each of the units that an array g is made of, which are `many` groups, n elements; the first is the
 * i-th group. */
#define EACH_UNIT(work, many, ...)                                                                            \
    EACH_STRETCH(                                                                                             \
        list, work, const batten_groups g = groups[k]; if (begin < end) {                                     \
            const size_t n = g.outer * g.inner * (many);                                                      \
            for (size_t unit = blocks_of(begin, n), i = unit * (many); unit * n < end; unit++, i += (many)) { \
                __VA_ARGS__;                                                                                  \
            }                                                                                                 \
        })

/* ---- norms ---- */

static double group_squares(const real *x, batten_groups g)
{
    double sum = 0;
    for (size_t outer = 0; outer < g.outer; outer++, x += g.count * g.inner)
        ADD_ROW(sum, g.inner, x[at] * x[at]);
    return sum;
}

/* A norm, of a multiple whose square is not beyond double, as that of x may be. */
static double group_norm(const real *x, batten_groups g, double scale)
{
    double sum = 0;
    for (size_t outer = 0; outer < g.outer; outer++, x += g.count * g.inner)
        for (size_t i = 0; i < g.inner; i++)
            sum += (scale * x[i]) * (scale * x[i]);
    return sqrt(sum) / scale;
}

/* What a group is to be multiplied by, the sum of whose squares is known. */
static double factor_of(real *x, batten_groups g, double sum, double least, double most)
{
    const int single = sizeof(real) == sizeof(float);
    const double low = single ? 0x1p-60 : 0x1p-900, high = 1 / low, scale = single ? 1 : sum < 1 ? 0x1p600 : 0x1p-600;
    const double length = sum > low && sum < high ? sqrt(sum) : group_norm(x, g, scale);
    if (!isfinite(length) || (length <= most * (1 + SLACK) && length >= least * (1 - SLACK)))
        return 1;
    if (length >= DBL_MIN)
        return (length > most ? most : least) / length;
    /* No direction is nearer than another. */
    for (size_t outer = 0; outer < g.outer; outer++)
        for (size_t inner = 0; inner < g.inner; inner++)
            x[outer * g.count * g.inner + inner] = (real)(least / sqrt((double)(g.outer * g.inner)));
    return 1;
}

static void multiply(real *x, size_t n, double factor)
{
    const real rounded = (real)factor;
    if (isnormal(rounded)) {
        PRAGMA(omp simd)
        for (size_t i = 0; i < n; i++)
            x[i] *= rounded;
    } else
        for (size_t i = 0; i < n; i++)
            x[i] = (real)(factor * x[i]);
}

/* Groups whose elements come in long runs.  Norms come first, so that one need not be waited for while the next is
 * added up. */
static void limit_runs(real *x, batten_groups g, size_t many, double least, double most)
{
    double factors[WIDTH];
    for (size_t i = 0; i < many; i++)
        factors[i] = factor_of(x + i * g.inner, g, group_squares(x + i * g.inner, g), least, most);
    for (size_t i = 0; i < many; i++)
        for (size_t outer = 0; outer < (factors[i] == 1 ? 0 : g.outer); outer++)
            multiply(x + (outer * g.count + i) * g.inner, g.inner, factors[i]);
}

/* Groups whose elements come in short runs, or one by one, beside those of the others. */
static void limit_columns(real *x, batten_groups g, size_t many, double least, double most)
{
    const size_t width = many * g.inner, line = g.count * g.inner;
    double sums[WIDTH] = {0}, factors[WIDTH];
    for (size_t outer = 0; outer < g.outer; outer++) {
        PRAGMA(omp simd)
        for (size_t j = 0; j < width; j++)
            sums[j] += (double)x[outer * line + j] * x[outer * line + j];
    }
    int idle = 1;
    for (size_t j = 0; j < width; j += g.inner) {
        double sum = 0;
        for (size_t i = j; i < j + g.inner; i++)
            sum += sums[i];
        const double factor = factor_of(x + j, g, sum, least, most);
        for (size_t i = j; i < j + g.inner; i++)
            factors[i] = factor;
        idle = idle && factor == 1;
    }
    for (size_t outer = 0; outer < (idle ? 0 : g.outer); outer++) {
        PRAGMA(omp simd)
        for (size_t j = 0; j < width; j++)
            x[outer * line + j] = (real)(factors[j] * x[outer * line + j]);
    }
}

static int in_columns(batten_groups g)
{
    return g.outer > 1 && g.inner <= WIDTH / 2;
}

/* How many groups are taken together: columns that make lines of memory, or runs that stay in the first-level cache. */
static size_t together(batten_groups g)
{
    const size_t room = in_columns(g) ? WIDTH : 8192 / sizeof(real);
    return greater(1, smaller(WIDTH, room / (in_columns(g) ? g.inner : g.outer * g.inner)));
}

/* Brings the norm of each group to between least and most; one of noughts gets equal elements. */
void KERNEL(limit_norms)(void *const *arrays, const batten_groups *groups, const batten_list *list, double least,
                         double most)
{
    EACH_UNIT(2, together(g), const size_t many = smaller(together(g), g.count - i);
              (in_columns(g) ? limit_columns : limit_runs)((real *)arrays[k] + i * g.inner, g, many, least, most));
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
        total.sum += sum_doubles(sums, LANES);
        total.count += sum_doubles(counts, LANES);
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

/* The elements of a group lie next to each other. */
void KERNEL(simplex)(void *const *arrays, const batten_groups *groups, const batten_list *list)
{
    EACH_UNIT(16, 1, project_to_simplex((real *)arrays[k] + i * n, n));
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
