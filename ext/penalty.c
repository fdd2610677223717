/* Penalties of all weights of a list, in one call and one read of them.
 *
 *     elastic_penalty    l1 sum |w| + l2 sum w^2            dw = l1 sign(w) + 2 l2 w
 *     group_penalty      sum_g factor[g] ||w_g||            dw_g = factor[g] w_g / ||w_g||, 0 where w_g is
 *
 * (Hoerl & Kennard 1970, Tibshirani 1996, Zou & Hastie 2005; Yuan & Lin 2006).  A gradient is added to what
 * is there already, where add[k] says so: that of the loss, which then need not be read a second time. */
#include "generic.h"
#include "group.h"
#include "sum.h"

/* ---- each weight by itself ---- */

static inline double both(double size, double l1, double l2)
{
    return (l1 + l2 * size) * size;
}

/* Where there is no l2, 0 times the square of an infinite weight is none of its business. */
static double elastic(const real *w, size_t n, double l1, double l2)
{
    double total = 0;
    if (l2)
        ADD_ALL(total, n, both(fabs(w[at]), l1, l2));
    else if (l1)
        ADD_ALL(total, n, l1 * fabs(w[at]));
    return total;
}

/* scratch: a double for each stretch. */
void KERNEL(elastic_penalty)(real *y, const void *const *arrays, const batten_list *list, double l1, double l2,
                             double *scratch)
{
    EACH_STRETCH(list, 1, scratch[block + k] = elastic((const real *)arrays[k] + begin, end - begin, l1, l2));
    double total = 0;
    for (size_t k = 0; k < list->count; k++)
        total += sum_of_stretches(list, k, scratch);
    *y = (real)total;
}

/* What a weight has of l1 dw; a NaN goes through. */
static inline real side(real w, real l1)
{
    return w > 0 ? l1 : w < 0 ? -l1 : l1 * w;
}

static inline __attribute__((always_inline)) void elastic_loop(real *dw, const real *w, size_t n, real l1, real twice,
                                                               int add)
{
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++)
        dw[i] = (add ? dw[i] : 0) + (l1 ? side(w[i], l1) : 0) + (twice ? twice * w[i] : 0);
}

/* A loop for each, as the compiler does not take two such conditions out of one. */
static void elastic_backward(real *dw, const real *w, size_t n, real l1, real twice, int add)
{
    if (l1 && twice)
        elastic_loop(dw, w, n, l1, twice, add);
    else if (l1)
        elastic_loop(dw, w, n, l1, 0, add);
    else
        elastic_loop(dw, w, n, 0, twice, add);
}

/* l1 and l2 are those of forward, times dy. */
void KERNEL(elastic_penalty_backward)(void *const *grads, const void *const *arrays, const uint8_t *add,
                                      const batten_list *list, double l1, double l2)
{
    EACH_STRETCH(list, 2,
                 elastic_backward((real *)grads[k] + begin, (const real *)arrays[k] + begin, end - begin, (real)l1,
                                  (real)(2 * l2), add[k]));
}

/* ---- groups of weights ---- */

/* An array is (outer, count, inner) as it lies in memory, with a group for each index along its middle axis.  A thread
 * takes so many groups at a time that they make a block, or, of single columns, lines of memory. */
enum { COLUMNS = 64, ROWS = 64 };

static size_t at_a_time(batten_groups g)
{
    return g.inner == 1 ? COLUMNS : greater(1, BLOCK / greater(1, g.outer * g.inner));
}

static void norms_of_columns(double *norms, const real *w, batten_groups g, size_t from, size_t to)
{
    double squares[COLUMNS] = {0};
    for (size_t o = 0; o < g.outer; o++) {
        const real *const x = w + o * g.count + from;
        PRAGMA(omp simd)
        for (size_t j = 0; j < to - from; j++)
            squares[j] += (double)x[j] * (double)x[j];
    }
    for (size_t j = 0; j < to - from; j++)
        norms[from + j] = sqrt(squares[j]);
}

static void norms_of_groups(double *norms, const real *w, batten_groups g, size_t from, size_t to)
{
    if (g.inner == 1) {
        norms_of_columns(norms, w, g, from, to);
        return;
    }
    for (size_t j = from; j < to; j++) {
        double total = 0;
        for (size_t o = 0; o < g.outer; o++) {
            const real *const x = w + (o * g.count + j) * g.inner;
            ADD_ALL(total, g.inner, (double)x[at] * (double)x[at]);
        }
        norms[j] = sqrt(total);
    }
}

/* Makes a call for groups from .. to - 1 of an array, and for all of them. */
#define EACH_GROUPS(g, call) \
    PARALLEL((g).outer *(g).count * (g).inner, for (size_t from = 0; from < (g).count; from += at_a_time(g)) { \
        const size_t to = smaller(from + at_a_time(g), (g).count);                                         \
        call;                                                                                              \
    })

/* norms: of all groups of all arrays, one behind the other.  factors[k] is for all groups of the k-th array. */
void KERNEL(group_penalty)(real *y, double *norms, const void *const *arrays, const batten_groups *groups,
                           const double *factors, size_t count)
{
    double total = 0;
    for (size_t k = 0; k < count; k++) {
        const batten_groups g = groups[k];
        EACH_GROUPS(g, norms_of_groups(norms, (const real *)arrays[k], g, from, to));
        double sum = 0;
        for (size_t j = 0; j < g.count; j++)
            sum += norms[j];
        total += factors[k] * sum;
        norms += g.count;
    }
    *y = (real)total;
}

static inline real scale_of(double norm, double factor)
{
    return norm == 0 ? 0 : (real)(factor / norm);
}

static void scaled_row(real *dw, const real *w, size_t n, real scale, int add)
{
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++)
        dw[i] = (add ? dw[i] : 0) + scale * w[i];
}

static void groups_backward(real *dw, const real *w, const double *norms, batten_groups g, size_t from, size_t to,
                            double factor, int add)
{
    for (size_t o = 0; o < g.outer; o++)
        for (size_t j = from; j < to; j++) {
            const size_t place = (o * g.count + j) * g.inner;
            scaled_row(dw + place, w + place, g.inner, scale_of(norms[j], factor), add);
        }
}

static void scaled_columns(real *dw, const real *w, const real *scale, size_t n, int add)
{
    PRAGMA(omp simd)
    for (size_t j = 0; j < n; j++)
        dw[j] = (add ? dw[j] : 0) + scale[j] * w[j];
}

/* The same of single columns, in rows from .. to - 1: a few columns of many rows would be slow to write. */
static void columns_backward(real *dw, const real *w, const double *norms, batten_groups g, size_t from, size_t to,
                             double factor, int add)
{
    enum { WIDTH = 512 };
    real scale[WIDTH];
    for (size_t j = 0; j < g.count; j += WIDTH) {
        const size_t width = smaller(WIDTH, g.count - j);
        for (size_t i = 0; i < width; i++)
            scale[i] = scale_of(norms[j + i], factor);
        for (size_t o = from; o < to; o++)
            scaled_columns(dw + o * g.count + j, w + o * g.count + j, scale, width, add);
    }
}

/* factors are those of forward, times dy. */
void KERNEL(group_penalty_backward)(void *const *grads, const double *norms, const void *const *arrays,
                                    const uint8_t *add, const batten_groups *groups, const double *factors,
                                    size_t count)
{
    for (size_t k = 0; k < count; k++) {
        const batten_groups g = groups[k];
        real *const dw = (real *)grads[k];
        const real *const w = (const real *)arrays[k];
        if (g.inner == 1)
            PARALLEL(g.outer * g.count, for (size_t o = 0; o < g.outer; o += ROWS) { columns_backward(dw, w, norms, g, o, smaller(o + ROWS, g.outer), factors[k], add[k]);
            });
        else
            EACH_GROUPS(g, groups_backward(dw, w, norms, g, from, to, factors[k], add[k]));
        norms += g.count;
    }
}
