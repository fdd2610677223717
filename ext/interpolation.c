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
 * batch can have its own.  Weights of bytes are whole numbers, and 2^22 is one: so their sums, and what becomes of
 * these by rounding, are the same on every processor.
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

/* Both of bytes.  Sums that would not fit, which no mean has, wrap around. */
INLINE uint8_t rounded(uint32_t sum)
{
    const int32_t whole = (int32_t)(sum + (1u << (BATTEN_WEIGHT_BITS - 1))) >> BATTEN_WEIGHT_BITS;
    return (uint8_t)(whole < 0 ? 0 : whole < 255 ? whole : 255);
}

INLINE void interpolate_row_of_bytes(uint8_t *y, const uint8_t *x, const int64_t *index, const int32_t *weight,
                                     size_t terms, size_t inner)
{
    for (size_t begin = 0; begin < inner; begin += CHUNK) {
        const size_t n = smaller(CHUNK, inner - begin);
        uint32_t sum[CHUNK];
        PRAGMA(omp simd)
        for (size_t k = 0; k < n; k++)
            sum[k] = 0;
        for (size_t t = 0; t < terms; t++) {
            const uint8_t *next = x + (size_t)index[t] * inner + begin;
            const uint32_t factor = (uint32_t)weight[t];
            PRAGMA(omp simd)
            for (size_t k = 0; k < n; k++)
                sum[k] += factor * next[k];
        }
        PRAGMA(omp simd)
        for (size_t k = 0; k < n; k++)
            y[begin + k] = rounded(sum[k]);
    }
}

INLINE void interpolate_pixel_of_bytes(uint8_t *y, const uint8_t *x, const int64_t *index, const int32_t *weight,
                                       size_t terms, size_t channels)
{
    uint32_t sum[FEW] = {0};
    for (size_t t = 0; t < terms; t++)
        for (size_t c = 0; c < channels; c++)
            sum[c] += (uint32_t)weight[t] * x[(size_t)index[t] * channels + c];
    for (size_t c = 0; c < channels; c++)
        y[c] = rounded(sum[c]);
}

/* Which terms there are: a table of n results for every `share` of the outer axis. */
struct tables {
    const int64_t *start, *index;
    const void *weight;
    size_t share;
};

/* Rows `first` to `last` - 1 of all that y has. */
INLINE void interpolate_rows(void *y, const void *x, struct tables tables, size_t first, size_t last, size_t n,
                             size_t length, size_t inner, int bytes)
{
    size_t o = first / n, i = first % n;
    const int64_t *start = tables.start + o / tables.share * n;
    for (size_t row = first; row < last; row++) {
        const int64_t t = start[i], *const index = tables.index + t;
        const size_t terms = start[i + 1] > t ? (size_t)(start[i + 1] - t) : 0, image = o * length * inner;
        const void *const weight = bytes ? (const void *)((const int32_t *)tables.weight + t)
                                         : (const void *)((const double *)tables.weight + t);
        if (bytes && inner <= FEW)
            interpolate_pixel_of_bytes((uint8_t *)y + row * inner, (const uint8_t *)x + image, index, weight, terms,
                                       inner);
        else if (bytes)
            interpolate_row_of_bytes((uint8_t *)y + row * inner, (const uint8_t *)x + image, index, weight, terms,
                                     inner);
        else if (inner <= FEW)
            interpolate_pixel((real *)y + row * inner, (const real *)x + image, index, weight, terms, inner);
        else
            interpolate_row((real *)y + row * inner, (const real *)x + image, index, weight, terms, inner);
        if (++i == n) {
            i = 0;
            start = tables.start + ++o / tables.share * n;
        }
    }
}

INLINE void interpolate_any(void *y, const void *x, struct tables tables, size_t first, size_t last, size_t n,
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

static void of_reals(real *y, const real *x, struct tables tables, size_t first, size_t last, size_t n, size_t length,
                     size_t inner)
{
    interpolate_any(y, x, tables, first, last, n, length, inner, 0);
}

static void of_bytes(uint8_t *y, const uint8_t *x, struct tables tables, size_t first, size_t last, size_t n,
                     size_t length, size_t inner)
{
    interpolate_any(y, x, tables, first, last, n, length, inner, 1);
}

/* y (outer, n, inner) from x (outer, length, inner); start (tables n + 1), index and weight (terms). */
void KERNEL(interpolate)(real *y, const real *x, const int64_t *start, const int64_t *index, const double *weight,
                         size_t tables, size_t outer, size_t n, size_t length, size_t inner)
{
    const size_t rows = outer * n;
    const struct tables all = {start, index, weight, outer / tables};
    PARALLEL(2 * rows * inner, for (size_t row = 0; row < rows; row += ROWS)
        of_reals(y, x, all, row, smaller(row + ROWS, rows), n, length, inner););
}

void KERNEL(interpolate_bytes)(uint8_t *y, const uint8_t *x, const int64_t *start, const int64_t *index,
                               const int32_t *weight, size_t tables, size_t outer, size_t n, size_t length,
                               size_t inner)
{
    const size_t rows = outer * n;
    const struct tables all = {start, index, weight, outer / tables};
    PARALLEL(2 * rows * inner, for (size_t row = 0; row < rows; row += ROWS)
        of_bytes(y, x, all, row, smaller(row + ROWS, rows), n, length, inner););
}
