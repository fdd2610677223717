/* Sums and extrema.
 *
 *     y = scale * sum of x over the axes along which y repeats
 *     y[o][i] = max over r of x[o][r][i],   and the first r where it stands
 *
 * A sum follows a batten_loop whose output has a stride of nought along the summed
 * axes: sorted by the output's strides, those come last.  What x has next to each
 * other decides the inner loop:
 *
 *   columns   the last kept axis: the sums of up to 64 neighbours grow together,
 *             row by row;
 *   rows      otherwise: each sum by itself, along the last summed axis.
 *
 * Rounding: at most 64 terms are added one after the other in `real` (RUN terms in
 * LANES lanes of a row, DEPTH terms of a column); those sums are added in double.
 *
 * The outermost summed axis is cut into segments (layout.c), whose sums go to
 * `partial`, so that several threads can share one long sum; they are added in order.  How it is cut depends on the
 * shape alone, and so do the bits. */
#include "sum.h"

enum { DEPTH = 64, WIDTH = 64 };

/* Where the i-th of the elements along axes first .. last - 1 lies. */
static ptrdiff_t place(const batten_loop *loop, int operand, size_t first, size_t last, size_t i)
{
    ptrdiff_t offset = 0;
    for (size_t axis = last; axis-- > first; i /= loop->shape[axis])
        offset += (ptrdiff_t)(i % loop->shape[axis]) * loop->stride[operand][axis];
    return offset;
}

/* One sum over entries begin .. end - 1 of the outermost summed axis and all of the others. */
static double sum_row(const real *x, const batten_loop *loop, size_t kept, size_t begin, size_t end)
{
    const size_t last = loop->rank - 1;
    if (kept == last)
        return sum_run(x + (ptrdiff_t)begin * loop->stride[1][last], end - begin, loop->stride[1][last]);
    size_t runs = 1;
    for (size_t axis = kept + 1; axis < last; axis++)
        runs *= loop->shape[axis];
    double total = 0;
    for (size_t outer = begin; outer < end; outer++)
        for (size_t run = 0; run < runs; run++)
            total += sum_run(x + (ptrdiff_t)outer * loop->stride[1][kept] + place(loop, 1, kept + 1, last, run),
                             loop->shape[last], loop->stride[1][last]);
    return total;
}

/* The same for `width` neighbours at once. */
static void sum_columns(double *totals, const real *x, const batten_loop *loop, size_t kept, size_t begin, size_t end,
                        size_t width)
{
    size_t inner = 1;
    for (size_t axis = kept + 1; axis < loop->rank; axis++)
        inner *= loop->shape[axis];
    real sums[WIDTH];
    for (size_t j = 0; j < width; j++)
        totals[j] = 0;
    for (size_t row = begin * inner; row < end * inner; row += DEPTH) {
        for (size_t j = 0; j < width; j++)
            sums[j] = 0;
        for (size_t r = row; r < smaller(row + DEPTH, end * inner); r++) {
            const real *terms = x + place(loop, 1, kept, loop->rank, r);
            PRAGMA(omp simd)
            for (size_t j = 0; j < width; j++)
                sums[j] += terms[j];
        }
        for (size_t j = 0; j < width; j++)
            totals[j] += sums[j];
    }
}

/* Part `part` of one segment: a group of sums, or of neighbouring columns. */
static void sum_part(double *partial, const real *x, const batten_loop *loop, const batten_sum_plan *plan, size_t part)
{
    const size_t segment = part / plan->parts, first = part % plan->parts, kept = plan->kept;
    const size_t begin = segment * plan->entries, end = smaller(begin + plan->entries, plan->length);
    partial += segment * plan->outputs;
    if (plan->columns) {
        const size_t n = loop->shape[kept - 1], chunks = blocks_of(n, WIDTH), line = first / chunks;
        const size_t column = first % chunks * WIDTH;
        sum_columns(partial + line * n + column, x + place(loop, 1, 0, kept - 1, line) + (ptrdiff_t)column, loop, kept,
                    begin, end, smaller(WIDTH, n - column));
        return;
    }
    for (size_t o = first * plan->group; o < smaller((first + 1) * plan->group, plan->outputs); o++)
        partial[o] = sum_row(x + place(loop, 1, 0, kept, o), loop, kept, begin, end);
}

void KERNEL(sum)(real *y, const real *x, double scale, double *partial, const batten_loop *loop,
                 const batten_sum_plan *plan)
{
    PARALLEL(plan->work, for (size_t part = 0; part < plan->parts * plan->segments; part++)
                             sum_part(partial, x, loop, plan, part););
    for (size_t o = 0; o < plan->outputs; o++) {
        double total = 0;
        for (size_t segment = 0; segment < plan->segments; segment++)
            total += partial[segment * plan->outputs + o];
        y[place(loop, 0, 0, plan->kept, o)] = (real)(scale * total);
    }
}

/* Whether v comes before the best so far, where `sign` is 1 for the largest and -1 for the smallest.  A NaN is beyond
 * all numbers. */
static inline int beyond(real v, real best, real sign)
{
    return sign * v > sign * best || (v != v && best == best);
}

/* One row of results: the extremum of `inner` columns of x (n, inner). */
static void extremum(real *y, int64_t *index, const real *x, size_t n, size_t inner, real sign)
{
    for (size_t i = 0; i < inner; i++) {
        y[i] = x[i];
        index[i] = 0;
    }
    for (size_t r = 1; r < n; r++)
        for (size_t i = 0; i < inner; i++) {
            const real v = x[r * inner + i], best = y[i];
            const int better = beyond(v, best, sign);
            y[i] = better ? v : best;
            index[i] = better ? (int64_t)r : index[i];
        }
}

/* The extremum of x[0 .. RUN - 1], whichever of equals. */
static real extremum_of_run(const real *x, real sign)
{
    real lanes[LANES];
    for (size_t lane = 0; lane < LANES; lane++)
        lanes[lane] = x[lane];
    for (size_t i = LANES; i < RUN; i += LANES) {
        PRAGMA(omp simd)
        for (size_t lane = 0; lane < LANES; lane++)
            lanes[lane] = beyond(x[i + lane], lanes[lane], sign) ? x[i + lane] : lanes[lane];
    }
    real best = lanes[0];
    for (size_t lane = 1; lane < LANES; lane++)
        best = beyond(lanes[lane], best, sign) ? lanes[lane] : best;
    return best;
}

/* The same for a single column, whose elements would wait for each other: where it stands is only sought in the first
 * run that has it. */
static void extremum_of_row(real *y, int64_t *index, const real *x, size_t n, real sign)
{
    const size_t whole = n / RUN * RUN;
    size_t first = 0;
    real best = x[0];
    for (size_t begin = 0; begin < whole; begin += RUN) {
        const real v = extremum_of_run(x + begin, sign);
        if (beyond(v, best, sign)) {
            best = v;
            first = begin;
        }
    }
    while (x[first] != best && (x[first] == x[first] || best == best))
        first++;
    for (size_t r = whole; r < n; r++)
        if (beyond(x[r], x[first], sign))
            first = r;
    *y = x[first];
    *index = (int64_t)first;
}

static void extrema(real *y, int64_t *index, const real *x, size_t outer, size_t n, size_t inner, real sign)
{
    if (inner == 1)
        PARALLEL(outer * n, for (size_t o = 0; o < outer; o++)
                                extremum_of_row(y + o, index + o, x + o * n, n, sign););
    else
        PARALLEL(outer * n * inner, for (size_t o = 0; o < outer; o++)
                                        extremum(y + o * inner, index + o * inner, x + o * n * inner, n, inner, sign););
}

void KERNEL(max)(real *y, int64_t *index, const real *x, size_t outer, size_t n, size_t inner)
{
    extrema(y, index, x, outer, n, inner, 1);
}

void KERNEL(min)(real *y, int64_t *index, const real *x, size_t outer, size_t n, size_t inner)
{
    extrema(y, index, x, outer, n, inner, -1);
}
