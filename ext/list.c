/* What is done to all arrays of a list alike.
 *
 *     power_sums    s[k] = sum_i |x[k][i]|^p;  for p = inf the greatest |x[k][i]|, for -inf the least
 *     dot_all       s[k] = sum_i x[k][i] y[k][i]
 *     scale_all     x[k][i] *= factor
 *     lerp_all      x[k][i] += weight (y[k][i] - x[k][i])
 *
 * Norms are roots of such sums, of each array or of all together.  Averages of weights are brought up to date by the
 * last: they stay the mean of all y if weight is 1 / n in the n-th call (Izmailov et al. 2018), and count newer ones
 * more if it is constant (Polyak & Juditsky 1992). */
#include "elementary.h"
#include "group.h"
#include "sum.h"

/* The larger of two numbers, NaN if one is. */
static inline real larger(real x, real y)
{
    return x > y || x != x ? x : y;
}

/* The greatest sign |x|, not below `least`. */
static real greatest(const real *x, size_t n, real sign, real least)
{
    real lanes[LANES];
    for (size_t lane = 0; lane < LANES; lane++)
        lanes[lane] = least;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        PRAGMA(omp simd)
        for (size_t lane = 0; lane < LANES; lane++)
            lanes[lane] = larger(sign * fabs(x[i + lane]), lanes[lane]);
    }
    for (; i < n; i++)
        least = larger(sign * fabs(x[i]), least);
    for (size_t lane = 0; lane < LANES; lane++)
        least = larger(lanes[lane], least);
    return least;
}

/* The terms of the usual powers wait for memory; any other costs a logarithm and an exponential. */
static double power_sum(const real *x, size_t n, double p)
{
    double total = 0;
    const real power = (real)p;
    if (p == 1)
        ADD_ALL(total, n, (double)fabs(x[at]));
    else if (p == 2)
        ADD_ALL(total, n, (double)x[at] * (double)x[at]);
    else if (p == 0)
        ADD_ALL(total, n, x[at] != 0);
    else if (isinf(p))
        return p > 0 ? greatest(x, n, 1, 0) : -greatest(x, n, -1, -INFINITY);
    else
        ADD_ALL(total, n, (double)exp_of(power * log_of(fabs(x[at]))));
    return total;
}

/* The greatest or the least of what was found of the stretches of the k-th array. */
static double extreme(const batten_list *list, size_t k, const double *found, int greatest)
{
    double most = greatest ? 0 : INFINITY;
    for (size_t block = list->starts[k] / BLOCK; block < blocks_of(list->starts[k + 1], BLOCK); block++) {
        const double part = found[block + k];
        if ((greatest ? part > most : part < most) || part != part)
            most = part;
    }
    return most;
}

/* scratch: a double for each stretch. */
void KERNEL(power_sums)(double *sums, const void *const *arrays, const batten_list *list, double p, double *scratch)
{
    EACH_STRETCH(list, p == 1 || p == 2 ? 1 : 16,
                 scratch[block + k] = power_sum((const real *)arrays[k] + begin, end - begin, p));
    for (size_t k = 0; k < list->count; k++)
        sums[k] = isinf(p) ? extreme(list, k, scratch, p > 0) : sum_of_stretches(list, k, scratch);
}

static double dot(const real *x, const real *y, size_t n)
{
    double total = 0;
    ADD_ALL(total, n, (double)x[at] * (double)y[at]);
    return total;
}

/* scratch: a double for each stretch. */
void KERNEL(dot_all)(double *sums, const void *const *arrays, const void *const *others, const batten_list *list,
                     double *scratch)
{
    EACH_STRETCH(list, 2,
                 scratch[block + k] =
                     dot((const real *)arrays[k] + begin, (const real *)others[k] + begin, end - begin));
    for (size_t k = 0; k < list->count; k++)
        sums[k] = sum_of_stretches(list, k, scratch);
}

static void scale_stretch(real *x, size_t n, real factor)
{
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

void KERNEL(scale_all)(void *const *arrays, const batten_list *list, double factor)
{
    EACH_STRETCH(list, 1, scale_stretch((real *)arrays[k] + begin, end - begin, (real)factor));
}

/* From weight 1/2 on, the distance to y is what shrinks, so that x becomes y where weight is 1. */
static void lerp_stretch(real *x, const real *y, size_t n, real weight)
{
    const int near = weight < (real)0.5;
    const real part = near ? weight : weight - 1;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++)
        x[i] = (near ? x[i] : y[i]) + part * (y[i] - x[i]);
}

void KERNEL(lerp_all)(void *const *arrays, const void *const *others, const batten_list *list, double weight)
{
    EACH_STRETCH(list, 2,
                 lerp_stretch((real *)arrays[k] + begin, (const real *)others[k] + begin, end - begin, (real)weight));
}
