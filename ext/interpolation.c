/* Interpolation along one axis of an array (outer, length, inner).
 *
 *     y[o][i][k] = sum_t weight[t] x[o][index[t]][k],    start[i] <= t < start[i + 1]
 *
 * All kinds of interpolation are tables, and so are their gradients: the transposed table says which
 * results an element went to, in a fixed order.  An image is interpolated one axis after the other; as its channels
 * lie last, the numbers behind the axis are whole vectors.  Along the last axis of pixels they are only the channels
 * of one: 1, 3 and 4 of them have loops of their own.
 *
 * A row of y is made a chunk at a time, which stays in the first-level cache while terms are
 * added to it.  Threads take whole rows. */
#include "kernel.h"

/* Compiled for each number of channels, by a constant argument. */
#define INLINE static inline __attribute__((always_inline))

enum { CHUNK = 1024, ROWS = 16, FEW = 4 };

/* y[k] = the sum of weight[t] x[index[t] inner + k], of `terms`. */
INLINE void interpolate_row(real *y, const real *x, const int64_t *index, const double *weight, size_t terms,
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

/* The same of the few channels of a pixel, whose sums stay in registers. */
INLINE void interpolate_pixel(real *y, const real *x, const int64_t *index, const double *weight, size_t terms,
                              size_t channels)
{
    real sum[FEW];
    for (size_t c = 0; c < channels; c++)
        sum[c] = terms ? (real)weight[0] * x[(size_t)index[0] * channels + c] : 0;
    for (size_t t = 1; t < terms; t++)
        for (size_t c = 0; c < channels; c++)
            sum[c] += (real)weight[t] * x[(size_t)index[t] * channels + c];
    for (size_t c = 0; c < channels; c++)
        y[c] = sum[c];
}

/* Rows `first` to `last` - 1 of all that y has. */
INLINE void interpolate_rows(real *y, const real *x, const int64_t *start, const int64_t *index, const double *weight,
                             size_t first, size_t last, size_t n, size_t length, size_t inner)
{
    size_t o = first / n, i = first % n;
    for (size_t row = first; row < last; row++) {
        const int64_t t = start[i];
        const size_t terms = start[i + 1] > t ? (size_t)(start[i + 1] - t) : 0;
        (inner <= FEW ? interpolate_pixel : interpolate_row)(y + row * inner, x + o * length * inner, index + t,
                                                             weight + t, terms, inner);
        if (++i == n) {
            i = 0;
            o++;
        }
    }
}

static void interpolate_some(real *y, const real *x, const int64_t *start, const int64_t *index, const double *weight,
                             size_t first, size_t last, size_t n, size_t length, size_t inner)
{
    switch (inner) {
    case 1:
        interpolate_rows(y, x, start, index, weight, first, last, n, length, 1);
        break;
    case 3:
        interpolate_rows(y, x, start, index, weight, first, last, n, length, 3);
        break;
    case 4:
        interpolate_rows(y, x, start, index, weight, first, last, n, length, 4);
        break;
    default:
        interpolate_rows(y, x, start, index, weight, first, last, n, length, inner);
    }
}

/* y (outer, n, inner) from x (outer, length, inner); start (n + 1), index and weight (terms). */
void KERNEL(interpolate)(real *y, const real *x, const int64_t *start, const int64_t *index, const double *weight,
                         size_t outer, size_t n, size_t length, size_t inner)
{
    const size_t rows = outer * n;
    PARALLEL(2 * rows * inner, for (size_t row = 0; row < rows; row += ROWS)
        interpolate_some(y, x, start, index, weight, row, smaller(row + ROWS, rows), n, length, inner););
}
