/* How a matrix product is cut, and by whom (gemm.c does it).
 *
 * Every element of c is one sum over k, taken in steps of `depth` terms.  That
 * depends on k alone, and nothing else that is decided here can be seen in the
 * result: neither the path, nor the blocks, nor the team.
 *
 *   direct    a is read where it lies, and b as far as its columns are next to
 *             each other.  For small products, and for those of few rows or few
 *             columns, where a packed operand would hardly be read again.
 *   packed    both operands are packed block by block.
 *
 * The team never meets.  Each member computes rectangles of c and packs what it needs
 * for them itself: where two need the same rows of a, both pack these.  That costs a few
 * percent for a product that is just worth packing, and less for larger ones; waiting
 * for a shared copy cost more, and much more where another process had a core. */
#include "batten.h"

/* A packed block of a has at most 1152 x 256 elements, one of b 256 x 2048: a few
 * MiB, which the last cache holds.  The units are multiples of every variant's tile. */
enum { ROWS = 1152, ROW_UNIT = 12, COLUMNS = 2048, COLUMN_UNIT = BATTEN_COLUMNS };

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

/* Packing an element takes about as long as so many multiplications and additions. */
enum { PACKING = 8 };

/* Cuts c into a rectangle for each of the team, so that the largest costs least; units of
 * columns stay whole.  Returns the sizes of the largest in p->rows and p->columns. */
static void cut(batten_product *p)
{
    const size_t team = p->batch >= 4 * (size_t)p->team || p->batch % (size_t)p->team == 0 ? 1 : (size_t)p->team;
    double least = -1;
    for (size_t down = 1; down <= team; down++) {
        if (team % down)
            continue;
        const size_t across = team / down, rows = (p->m + down - 1) / down;
        const size_t columns = up((up(p->n, COLUMN_UNIT) + across - 1) / across, COLUMN_UNIT);
        const double cost = (double)rows * (double)columns + PACKING * ((double)rows + (double)columns);
        if (least < 0 || cost < least) {
            least = cost;
            p->down = down, p->across = across;
            p->rows = rows, p->columns = columns;
        }
    }
}

size_t batten_product_plan(batten_product *p, batten_dtype type)
{
    const double outputs = (double)p->m * (double)p->n, terms = outputs * (double)p->k;
    const double work = (double)p->batch * (outputs + terms / EASE);
    p->team = batten_team(work < 1e18 ? (size_t)work : (size_t)1e18);

    /* k = 0 has one empty step, in which c becomes act(bias + beta c). */
    p->depth = piece(p->k, BATTEN_DEPTH, 1);
    p->steps = p->k ? (p->k + p->depth - 1) / p->depth : 1;
    p->packed = terms > SMALL && p->m > FEW_ROWS && p->n > FEW_COLUMNS;
    if (!p->packed)
        return 0;

    cut(p);
    p->rows = piece(p->rows, ROWS, ROW_UNIT);
    p->columns = piece(p->columns, COLUMNS, COLUMN_UNIT);
    p->a_room = up(p->rows * p->depth, 16); /* whole cache lines, whatever the type */
    p->b_room = p->columns * p->depth;
    return (size_t)p->team * (p->a_room + p->b_room) * (type == BATTEN_F32 ? sizeof(float) : sizeof(double));
}
