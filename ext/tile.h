/* The tile: the innermost part of matrix products and convolutions.
 *
 *     c = scale c + alpha a b,     a (rows, depth),  b (depth, columns)
 *
 * for up to MR rows and two vectors of columns.  c stays in registers while the steps
 * of depth run: each loads two vectors of b, and each of the rows' elements of a is
 * multiplied to both, so that loads are few beside multiplications.
 *
 * Every element of c is one sum in order of the steps, beginning at nought, whatever
 * the tile that it falls to. */
#ifndef BATTEN_TILE_H
#define BATTEN_TILE_H

#include "kernel.h"

/* The tile: 2 MR accumulators, two vectors of b and one element of a must fit into
 * the registers, of which x86 has 16 before AVX-512 and 32 with it.  ARM has 32, too, but
 * takes no operand from memory: GCC 12 loads several elements of a ahead, and from 13 rows
 * on writes accumulators to the stack for that. */
#if VBYTES == 64
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13)
enum { MR = 14 };
#elif defined(__aarch64__)
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
enum { MR = 12 };
#else
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
enum { MR = 6 };
#endif
enum {
    NR = 2 * VLEN,
    DEPTH = BATTEN_DEPTH / sizeof(real),
    STRIP = BATTEN_STRIP / sizeof(real),
    LINE = 64 / sizeof(real) /* of the cache */
};

typedef real loose __attribute__((vector_size(VBYTES), aligned(sizeof(real)), may_alias));

/* A part of an operand: rows of a or columns of b (lanes), k along the other axis. */
struct panel {
    const real *x;
    ptrdiff_t lane, step; /* from one lane or step to the next */
};

/* Rows of memory that will be read soon. */
struct ahead {
    const real *x;
    ptrdiff_t stride;    /* from one row to the next */
    size_t rows, length; /* how many are left, and their elements */
    size_t at;           /* the element of the first row from which on it is left */
    size_t pace;         /* cache lines to ask for at a time */
};

/* One tile of c, for one step of k: c = scale c + alpha a b.  With a scale of nought c is not read. */
struct tile {
    struct panel a, b;
    size_t rows, columns, depth;
    size_t run; /* steps of a after which it goes on `skip` elements further; 0 if it does not */
    ptrdiff_t skip;
    real *c;
    ptrdiff_t c_row; /* from one row to the next */
    real alpha, scale;
    struct ahead *next; /* what the memory is asked for meanwhile */
};

/* The columns that the tile reads for a panel of so many. */
static inline size_t width_of(size_t columns)
{
    return columns > VLEN ? NR : VLEN;
}

/* Computes a tile. */
void KERNEL(tile)(const struct tile *t);

/* y += bias, if there is one, and its activation, for the rows of a tile. */
void KERNEL(finish)(const struct tile *t, const real *bias, batten_activation activation);

/* ---- who does what ---- */

struct member {
    size_t rank, team;
};
struct range {
    size_t first, last;
};

static inline struct member myself(void)
{
#ifdef _OPENMP
    return (struct member){(size_t)omp_get_thread_num(), (size_t)omp_get_num_threads()};
#else
    return (struct member){0, 1};
#endif
}

static inline struct range share(size_t n, struct member me)
{
    return (struct range){n * me.rank / me.team, n * (me.rank + 1) / me.team};
}

#endif
