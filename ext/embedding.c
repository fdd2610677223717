/* Rows of a table, by their numbers.
 *
 *     y[i] = weight[index[i]],     dweight[r] = sum over i with index[i] = r of dy[i]
 *
 * Going backward, the places i are first sorted by their row (counting them, which
 * keeps their order), so that each row of dweight is written once, by one thread, as
 * a sum in the order of the places.  Rounding: at most DEPTH terms are added one
 * after the other in `real`, and those sums in double. */
#include "kernel.h"
#include <string.h>

enum { DEPTH = 64, WIDTH = 64 };

/* y (n, cols) from weight (rows, cols); every index[n] is below rows. */
void KERNEL(embedding)(real *y, const real *weight, const int64_t *index, size_t n, size_t cols)
{
    PARALLEL(n * cols, for (size_t i = 0; i < n; i++)
        memcpy(y + i * cols, weight + (size_t)index[i] * cols, cols * sizeof(real)););
}

/* total (cols) = scale times the sum of those rows of dy (n, cols) that are named. */
static void sum_rows(real *total, const real *dy, const size_t *named, size_t count, size_t cols, double scale)
{
    for (size_t column = 0; column < cols; column += WIDTH) {
        const size_t width = smaller(WIDTH, cols - column);
        double totals[WIDTH] = {0};
        for (size_t first = 0; first < count; first += DEPTH) {
            real sums[WIDTH] = {0};
            for (size_t i = first; i < smaller(first + DEPTH, count); i++) {
                const real *const terms = dy + named[i] * cols + column;
                PRAGMA(omp simd)
                for (size_t j = 0; j < width; j++)
                    sums[j] += terms[j];
            }
            for (size_t j = 0; j < width; j++)
                totals[j] += sums[j];
        }
        for (size_t j = 0; j < width; j++)
            total[column + j] = (real)(scale * totals[j]);
    }
}

/* end[r] = how many places have a row up to r; places[...] = their numbers, row by row. */
static void sort_places(size_t *end, size_t *places, const int64_t *index, size_t n, size_t rows)
{
    memset(end, 0, rows * sizeof *end);
    for (size_t i = 0; i < n; i++)
        end[index[i]]++;
    for (size_t r = 0, before = 0; r < rows; r++) {
        const size_t count = end[r];
        end[r] = before; /* where r's places begin, and each of them moves it on */
        before += count;
    }
    for (size_t i = 0; i < n; i++)
        places[end[index[i]]++] = i;
}

/* dweight (rows, cols) from dy (n, cols).  The row padding_idx has no gradient, nor has
 * any if it is negative; by_frequency divides a row's gradient by the number of its
 * places.  scratch: rows + n. */
void KERNEL(embedding_backward)(real *dweight, const real *dy, const int64_t *index, size_t *scratch, size_t n,
                                size_t rows, size_t cols, int64_t padding_idx, int by_frequency)
{
    size_t *const end = scratch, *const places = scratch + rows;
    sort_places(end, places, index, n, rows);
    PARALLEL((rows + n) * cols, for (size_t r = 0; r < rows; r++) {
        const size_t begin = r ? end[r - 1] : 0, count = end[r] - begin;
        if (!count || (int64_t)r == padding_idx)
            memset(dweight + r * cols, 0, cols * sizeof(real));
        else
            sum_rows(dweight + r * cols, dy, places + begin, count, cols, by_frequency ? 1 / (double)count : 1);
    });
}
