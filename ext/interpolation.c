/* Interpolation along one axis of an array (outer, length, inner).
 *
 *     y[o][i][k] = sum_t weight[t] x[o][index[t]][k],    start[i] <= t < start[i + 1]
 *
 * All kinds of interpolation are tables, and so are their gradients: the transposed table says which
 * results an element went to, in a fixed order.  An image is interpolated one axis after the other; as its channels
 * lie last, the numbers behind the axis are whole vectors.  Along the last axis of pixels they are only the channels
 * of one: 1, 3 and 4 of them have loops of their own.
 *
 * There may be several tables, of n results each, for as many equal parts of the outer axis: so every image of a
 * batch can have its own.  Of bytes the sums are of reals, and rounded.
 *
 * A row of y is made a chunk at a time, which stays in the first-level cache while terms are
 * added to it.  Threads take whole rows. */
#include "kernel.h"

/* Compiled for each type and number of channels, by constant arguments. */
#define INLINE static inline __attribute__((always_inline))

enum { CHUNK = 1024, ROWS = 16, FEW = 4 };

struct tables {
    const int64_t *start, *index;
    const double *weight;
    size_t share; /* of the outer axis, for each */
};

/* An element of an array of reals, or of bytes. */
INLINE real element(const void *x, size_t i, int bytes)
{
    return bytes ? (real)((const uint8_t *)x)[i] : ((const real *)x)[i];
}

/* y[at ...], n of them, as a sum of terms.  Reals are added where they are wanted, if they are many. */
INLINE void interpolate_chunk(void *y, size_t at, const void *x, size_t from, const int64_t *index,
                              const double *weight, size_t terms, size_t inner, size_t n, int bytes)
{
    real made[CHUNK];
    const int direct = !bytes && inner > FEW;
    real *const sum = direct ? (real *)y + at : made;
    const size_t first = terms ? from + (size_t)index[0] * inner : 0;
    const real scale = terms ? (real)weight[0] : 0;
    PRAGMA(omp simd)
    for (size_t k = 0; k < n; k++)
        sum[k] = terms ? scale * element(x, first + k, bytes) : 0;
    for (size_t t = 1; t < terms; t++) {
        const size_t next = from + (size_t)index[t] * inner;
        const real factor = (real)weight[t];
        PRAGMA(omp simd)
        for (size_t k = 0; k < n; k++)
            sum[k] += factor * element(x, next + k, bytes);
    }
    if (direct)
        return;
    PRAGMA(omp simd)
    for (size_t k = 0; k < n; k++)
        if (bytes) {
            const real rounded = sum[k] + (real)0.5;
            ((uint8_t *)y)[at + k] = (uint8_t)(rounded < 0 ? 0 : rounded < 255 ? (int32_t)rounded : 255);
        } else {
            ((real *)y)[at + k] = sum[k];
        }
}

/* Rows first .. last - 1 of all that y has. */
INLINE void interpolate_rows(void *y, const void *x, struct tables tables, size_t first, size_t last, size_t n,
                             size_t length, size_t inner, int bytes)
{
    size_t o = first / n, i = first % n;
    const int64_t *start = tables.start + o / tables.share * n;
    for (size_t row = first; row < last; row++) {
        const int64_t t = start[i];
        const size_t terms = start[i + 1] > t ? (size_t)(start[i + 1] - t) : 0;
        for (size_t begin = 0; begin < inner; begin += CHUNK)
            interpolate_chunk(y, row * inner + begin, x, o * length * inner + begin, tables.index + t,
                              tables.weight + t, terms, inner, smaller(CHUNK, inner - begin), bytes);
        if (++i == n) {
            i = 0;
            start = tables.start + ++o / tables.share * n;
        }
    }
}

INLINE void interpolate_some(void *y, const void *x, struct tables tables, size_t first, size_t last, size_t n,
                             size_t length, size_t inner, int bytes)
{
    switch (inner) {
    case 1:
        interpolate_rows(y, x, tables, first, last, n, length, 1, bytes);
        break;
    case 3:
        interpolate_rows(y, x, tables, first, last, n, length, 3, bytes);
        break;
    case 4:
        interpolate_rows(y, x, tables, first, last, n, length, 4, bytes);
        break;
    default:
        interpolate_rows(y, x, tables, first, last, n, length, inner, bytes);
    }
}

static void interpolate_reals(real *y, const real *x, struct tables tables, size_t first, size_t last, size_t n,
                              size_t length, size_t inner)
{
    interpolate_some(y, x, tables, first, last, n, length, inner, 0);
}

static void interpolate_uint8(uint8_t *y, const uint8_t *x, struct tables tables, size_t first, size_t last, size_t n,
                              size_t length, size_t inner)
{
    interpolate_some(y, x, tables, first, last, n, length, inner, 1);
}

/* y (outer, n, inner) from x (outer, length, inner); start (tables n + 1), index and weight (terms). */
void KERNEL(interpolate)(real *y, const real *x, const int64_t *start, const int64_t *index, const double *weight,
                         size_t tables, size_t outer, size_t n, size_t length, size_t inner)
{
    const size_t rows = outer * n;
    const struct tables all = {start, index, weight, outer / tables};
    PARALLEL(2 * rows * inner, for (size_t row = 0; row < rows; row += ROWS)
        interpolate_reals(y, x, all, row, smaller(row + ROWS, rows), n, length, inner););
}

void KERNEL(interpolate_bytes)(uint8_t *y, const uint8_t *x, const int64_t *start, const int64_t *index,
                               const double *weight, size_t tables, size_t outer, size_t n, size_t length, size_t inner)
{
    const size_t rows = outer * n;
    const struct tables all = {start, index, weight, outer / tables};
    PARALLEL(2 * rows * inner, for (size_t row = 0; row < rows; row += ROWS)
        interpolate_uint8(y, x, all, row, smaller(row + ROWS, rows), n, length, inner););
}
