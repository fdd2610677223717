/* Interpolation along one axis of an array (outer, length, inner).
 *
 *     y[o][i][k] = sum_t weight[t] x[o][index[t]][k],    start[i] <= t < start[i + 1]
 *
 * All kinds of interpolation are tables, and so are their gradients: the transposed table says which
 * results an element went to, in a fixed order.  An image is interpolated one axis after the other; as its channels
 * lie last, the numbers behind the axis are whole vectors.
 *
 * A row of y is written a chunk at a time, which stays in the first-level cache while terms are
 * added to it.  Threads take whole rows. */
#include "kernel.h"

enum { CHUNK = 1024, ROWS = 16 };

static void interpolate_row(real *y, const real *x, const int64_t *index, const double *weight, size_t terms,
                            size_t inner)
{
    for (size_t begin = 0; begin < inner; begin += CHUNK) {
        const size_t end = smaller(begin + CHUNK, inner);
        const real *first = x + (terms ? (size_t)index[0] * inner : 0);
        const real scale = terms ? (real)weight[0] : 0;
        PRAGMA(omp simd)
        for (size_t k = begin; k < end; k++)
            y[k] = terms ? scale * first[k] : 0;
        for (size_t t = 1; t < terms; t++) {
            const real *next = x + (size_t)index[t] * inner;
            const real factor = (real)weight[t];
            PRAGMA(omp simd)
            for (size_t k = begin; k < end; k++)
                y[k] += factor * next[k];
        }
    }
}

/* Rows first .. last - 1 of all that y has. */
static void interpolate_rows(real *y, const real *x, const int64_t *start, const int64_t *index, const double *weight,
                             size_t first, size_t last, size_t n, size_t length, size_t inner)
{
    for (size_t row = first; row < last; row++) {
        const size_t o = row / n, i = row % n;
        const int64_t t = start[i];
        interpolate_row(y + row * inner, x + o * length * inner, index + t, weight + t,
                        start[i + 1] > t ? (size_t)(start[i + 1] - t) : 0, inner);
    }
}

/* y (outer, n, inner) from x (outer, length, inner); start (n + 1), index and weight (terms). */
void KERNEL(interpolate)(real *y, const real *x, const int64_t *start, const int64_t *index, const double *weight,
                         size_t outer, size_t n, size_t length, size_t inner)
{
    const size_t rows = outer * n;
    PARALLEL(2 * rows * inner, for (size_t row = 0; row < rows; row += ROWS)
        interpolate_rows(y, x, start, index, weight, row, smaller(row + ROWS, rows), n, length, inner););
}
