/* How a matrix product is cut, and by whom (gemm.c does it).
 *
 * Every element of c is one sum over k, taken in steps of `depth` terms.  That
 * depends on k and the type alone, and nothing else that is decided here can be seen
 * in the result: neither the rectangles, nor the blocks, nor the team.
 *
 * The team never meets.  Each member computes rectangles of c and packs what it needs
 * for them itself: where two need the same rows of a, both pack these.  That costs a few
 * percent for a product that is just worth packing, and less for larger ones; waiting
 * for a shared copy cost more, and much more where another process had a core. */
#include "batten.h"
#include "sizes.h"

/* A packed block of a has at most so many rows, and then 2.3 MiB, which the last cache holds.
 * That is a multiple of every variant's tile, and the units are of x86's. */
enum { ROWS = 1176, ROW_UNIT = 42, COLUMN_UNIT = BATTEN_COLUMNS };

/* A multiplication and addition takes an eighth of an elementary operation's time:
 * they come in vectors, and their operands from the cache. */
static const double EASE = 8;

/* n in as few pieces of at most `most` as will do: their size, a multiple of unit. */
static size_t piece(size_t n, size_t most, size_t unit)
{
    const size_t pieces = n > most ? (n + most - 1) / most : 1;
    return up((n + pieces - 1) / pieces, unit);
}

/* Packing an element takes about as long as so many multiplications and additions.  Where columns of
 * two members meet, the processor fetches ahead for the one what the other writes: that costs as much
 * as so many columns more. */
enum { PACKING = 8, BORDER = 8 };

/* Cuts c into a rectangle for each of the team, so that the largest costs least; units of
 * columns stay whole.  p->rows becomes the rows of the largest. */
static void cut(batten_product *p)
{
    const size_t team = p->batch >= 4 * (size_t)p->team || p->batch % (size_t)p->team == 0 ? 1 : (size_t)p->team;
    double least = -1;
    for (size_t down = 1; down <= team; down++) {
        if (team % down)
            continue;
        const size_t across = team / down, rows = (p->m + down - 1) / down;
        const size_t columns = up((up(p->n, COLUMN_UNIT) + across - 1) / across, COLUMN_UNIT);
        const double cost =
            (double)rows * (double)(columns + (across > 1 ? BORDER : 0)) + PACKING * ((double)rows + (double)columns);
        if (least < 0 || cost < least) {
            least = cost;
            p->down = down, p->across = across;
            p->rows = rows;
        }
    }
}

size_t batten_product_plan(batten_product *p, batten_dtype type)
{
    const double outputs = (double)p->m * (double)p->n, terms = outputs * (double)p->k;
    const double work = (double)p->batch * (outputs + terms / EASE);
    p->team = batten_team(work < 1e18 ? (size_t)work : (size_t)1e18);

    /* k = 0 has one empty step, in which c becomes act(bias + beta c). */
    const size_t size = type == BATTEN_F32 ? sizeof(float) : sizeof(double);
    p->depth = piece(p->k, BATTEN_DEPTH / size, 1);
    p->steps = p->k ? (p->k + p->depth - 1) / p->depth : 1;
    cut(p);
    p->rows = piece(p->rows, ROWS, ROW_UNIT);
    p->a_room = up(p->rows * p->depth, 16); /* whole cache lines, whatever the type */
    p->b_room = up(BATTEN_STRIP / size * p->depth, 16);
    return (size_t)p->team * (p->a_room + p->b_room) * size;
}
