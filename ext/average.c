/* Averages of weights, brought up to date: all arrays of a list in one call and one pass over memory.
 *
 *     y[k][i] += weight (x[k][i] - y[k][i])
 *
 * With weight 1 / (n + 1) y stays the mean of all x so far (Izmailov et al. 2018), with a constant weight the newer
 * ones count more (Polyak & Juditsky 1992).  From a half on it is what is missing of x that is taken, so that
 * y becomes x where weight is 1. */
#include "group.h"

static void lerp_stretch(real *y, const real *x, size_t n, real weight)
{
    const int near = weight < (real)0.5;
    const real part = near ? weight : weight - 1;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++)
        y[i] = (near ? y[i] : x[i]) + part * (x[i] - y[i]);
}

void KERNEL(lerp_list)(void *const *y, const void *const *x, const batten_list *list, double weight)
{
    EACH_STRETCH(list, 2, lerp_stretch((real *)y[k] + begin, (const real *)x[k] + begin, end - begin, (real)weight));
}
