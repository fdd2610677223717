/* What the machine can do at most, for the benchmarks: arithmetic, and traffic with
 * memory.
 *
 *     probe_fma     y = x after `times` times x = a x + b
 *     probe_read    y[j] = the sum of the j-th UNIT elements of x
 *     probe_copy    y = x
 *     probe_triad   y = x + s z;  where y is x, an update in place
 *
 * Each thread takes one piece of the arrays and passes over all of it `times` times.
 * Where the pieces fit into a cache the passes after the first run from there, so the
 * size of the arrays says which memory is measured; and waking the team, which takes
 * longer than a pass over a small cache, is paid for once. */
#include "kernel.h"
#include <string.h>

/* ---- arithmetic ---- */

/* A fused multiplication and addition waits four or five cycles for the one before it,
 * and two begin in each: ten chains keep both units busy.  Where they are two
 * instructions it takes more, and with a and b these fill all of 16 registers.  They
 * have names because GCC 12 writes an array of so many to the stack. */
#define EACH_CHAIN(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13)
enum { CHAINS = 14, TILE = CHAINS * VLEN };

typedef real loose __attribute__((vector_size(VBYTES), aligned(sizeof(real)), may_alias));

#define LOAD(i) vec chain##i = ((const loose *)x)[i];
#define STEP(i) chain##i = chain##i * a + b;
#define STORE(i) ((loose *)y)[i] = chain##i;

static void fma_tile(real *y, const real *x, real a, real b, size_t times)
{
    EACH_CHAIN(LOAD)
    for (size_t pass = 0; pass < times; pass++) {
        EACH_CHAIN(STEP)
    }
    EACH_CHAIN(STORE)
}

static void fma_rest(real *y, const real *x, real a, real b, size_t n, size_t times)
{
    for (size_t i = 0; i < n; i++) {
        real value = x[i];
        for (size_t pass = 0; pass < times; pass++)
            value = value * a + b;
        y[i] = value;
    }
}

/* y[n] from x[n]: 2 n times operations, and next to no traffic.  y may be x. */
void KERNEL(probe_fma)(real *y, const real *x, double a, double b, size_t n, size_t times)
{
    const size_t tiles = n / TILE, rest = tiles * TILE;
    PARALLEL(n * times, for (size_t tile = 0; tile < tiles; tile++)
        fma_tile(y + tile * TILE, x + tile * TILE, (real)a, (real)b, times););
    fma_rest(y + rest, x + rest, (real)a, (real)b, n - rest, times);
}

/* ---- memory ---- */

/* The elements of one thread.  Its ends are on multiples of UNIT, so that no two
 * threads share a cache line or one of read's sums. */
enum { UNIT = BATTEN_UNIT };
struct piece {
    size_t begin, n;
};

static struct piece piece_of(size_t i, size_t pieces, size_t n)
{
    const size_t units = blocks_of(n, UNIT);
    const size_t begin = smaller(units * i / pieces * UNIT, n), end = smaller(units * (i + 1) / pieces * UNIT, n);
    return (struct piece){begin, end - begin};
}

/* The passes are never inlined: a compiler that sees two of them could skip one. */
#define PASS static __attribute__((noinline)) void

#define SUM_ZERO(i) vec sum##i = {0};
#define SUM_ADD(i) sum##i += ((const loose *)(x + j))[i];
#define EACH_SUM(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
enum { SUMS = 8 * VLEN };

PASS read_pass(real *y, const real *x, struct piece p)
{
    for (size_t i = p.begin; i < p.begin + p.n; i += UNIT) {
        const size_t end = smaller(i + UNIT, p.begin + p.n);
        size_t j = i;
        EACH_SUM(SUM_ZERO)
        for (; j + SUMS <= end; j += SUMS) {
            EACH_SUM(SUM_ADD)
        }
        const vec all = ((sum0 + sum1) + (sum2 + sum3)) + ((sum4 + sum5) + (sum6 + sum7));
        real sum = 0;
        for (size_t lane = 0; lane < VLEN; lane++)
            sum += all[lane];
        for (; j < end; j++)
            sum += x[j];
        y[i / UNIT] = sum;
    }
}

/* y[n / UNIT, rounded up] from x[n]. */
void KERNEL(probe_read)(real *y, const real *x, size_t n, size_t times)
{
    const size_t pieces = (size_t)batten_threads();
    PARALLEL(n * times, for (size_t i = 0; i < pieces; i++)
        for (size_t pass = 0; pass < times; pass++)
            read_pass(y, x, piece_of(i, pieces, n)););
}

/* The C library's copy writes past the caches where that is faster, as no loop does by itself. */
PASS copy_pass(real *y, const real *x, struct piece p)
{
    memcpy(y + p.begin, x + p.begin, p.n * sizeof(real));
}

/* y[n] from x[n]. */
void KERNEL(probe_copy)(real *y, const real *x, size_t n, size_t times)
{
    const size_t pieces = (size_t)batten_threads();
    PARALLEL(n * times, for (size_t i = 0; i < pieces; i++)
        for (size_t pass = 0; pass < times; pass++)
            copy_pass(y, x, piece_of(i, pieces, n)););
}

PASS triad_pass(real *y, const real *x, const real *z, real s, struct piece p)
{
    PRAGMA(omp simd)
    for (size_t i = p.begin; i < p.begin + p.n; i++)
        y[i] = x[i] + s * z[i];
}

/* y[n] from x[n], z[n].  y may be either. */
void KERNEL(probe_triad)(real *y, const real *x, const real *z, double s, size_t n, size_t times)
{
    const size_t pieces = (size_t)batten_threads();
    PARALLEL(n * times, for (size_t i = 0; i < pieces; i++)
        for (size_t pass = 0; pass < times; pass++)
            triad_pass(y, x, z, (real)s, piece_of(i, pieces, n)););
}
