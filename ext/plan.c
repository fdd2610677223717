/* How a matrix product is cut, and by whom (gemm.c does it).
 *
 * Every element of c is one sum over k, taken in steps of `depth` terms.  That
 * depends on k alone, and nothing else that is decided here can be seen in the
 * result: neither the path, nor the blocks, nor the team.
 *
 *   direct    a is read where it lies, and b as far as its columns are next to
 *             each other.  For small products, and for those of few rows or few
 *             columns, where a packed operand would hardly be read again.
 *   together  both operands are packed block by block, and the team shares first
 *             the packing and then the tiles of c.  The team meets twice a block.
 *   each      the same, but every member takes whole products of the batch and
 *             packs for itself, so that nobody waits. */
#include "batten.h"

/* A packed block of a has at most 1152 x 256 elements, one of b 256 x 2048: a few
 * MiB, which the last cache holds.  The units are multiples of every variant's tile. */
enum { ROWS = 1152, ROW_UNIT = 12, COLUMNS = 2048, COLUMN_UNIT = 32 };

/* Below these, packing costs more than it brings. */
enum { FEW_ROWS = 16, FEW_COLUMNS = 32, SMALL = 64 * 64 * 64 };

/* A multiplication and addition takes an eighth of an elementary operation's time:
 * they come in vectors, and their operands from the cache. */
static const double EASE = 8;

static size_t up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* n in as few pieces of at most `most` as will do: their size, a multiple of unit. */
static size_t piece(size_t n, size_t most, size_t unit)
{
    const size_t pieces = n > most ? (n + most - 1) / most : 1;
    return up((n + pieces - 1) / pieces, unit);
}

size_t batten_product_plan(batten_product *p, batten_dtype type)
{
    const double outputs = (double)p->m * (double)p->n, terms = outputs * (double)p->k;
    const double work = (double)p->batch * (outputs + terms / EASE);
    p->team = batten_team(work < 1e18 ? (size_t)work : (size_t)1e18);

    /* k = 0 has one empty step, in which c becomes act(bias + beta c). */
    p->depth = piece(p->k, BATTEN_DEPTH, 1);
    p->steps = p->k ? (p->k + p->depth - 1) / p->depth : 1;
    p->rows = piece(p->m, ROWS, ROW_UNIT);
    p->columns = piece(p->n, COLUMNS, COLUMN_UNIT);

    if (terms <= SMALL || p->m <= FEW_ROWS || p->n <= FEW_COLUMNS) {
        p->path = BATTEN_DIRECT;
        p->a_room = p->b_room = 0;
        return 0;
    }
    p->path = p->batch >= 4 * (size_t)p->team ? BATTEN_EACH : BATTEN_TOGETHER;
    p->a_room = up(p->rows * p->depth, 16); /* whole cache lines, whatever the type */
    p->b_room = p->columns * p->depth;
    const size_t places = p->path == BATTEN_EACH ? (size_t)p->team : 1;
    return places * (p->a_room + p->b_room) * (type == BATTEN_F32 ? sizeof(float) : sizeof(double));
}
