/* Which algorithm a convolution is computed by, and how the work is cut.
 *
 * Elements of y and dx are each one sum, whose order depends on the shapes alone; how
 * their work is cut cannot be seen in them.  Sums of weights are cut into segments, and
 * these depend on nothing but the shapes. */
#include "batten.h"

static size_t up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* A multiplication and addition takes an eighth of an elementary operation's time, as in a product of matrices. */
static int team_for(double outputs, double terms)
{
    const double work = outputs + terms / 8;
    return batten_team(work < 1e18 ? (size_t)work : (size_t)1e18);
}

/* Rows of sums and panels of weights are padded to whole tiles of the widest variant: so many elements. */
enum { TILE = 32, VECTOR = 16 };

/* Pieces of work that a team shares well. */
enum { PIECES = 16 };

static void plan_direct(batten_convolution *p, batten_pass pass, size_t size)
{
    const int backward = pass == BATTEN_BACKWARD_DATA;
    size_t taps = 1, targets = p->batch;
    for (int i = 0; i < 3; i++) {
        taps *= p->kernel[i];
        targets *= backward ? p->in[i] : p->out[i];
    }
    const size_t inner = p->channels / p->groups, outer = p->features / p->groups;
    const size_t depth = taps * (backward ? outer : inner), columns = backward ? inner : outer;
    const size_t blocks = (targets + BATTEN_PIXELS - 1) / BATTEN_PIXELS;
    if (pass == BATTEN_BACKWARD_WEIGHTS) {
        const size_t chunks = (depth + BATTEN_CHUNK - 1) / BATTEN_CHUNK, pieces = p->groups * most(chunks, 1);
        p->segments = most(1, least(blocks, PIECES / pieces));
        p->shared = p->groups * chunks * p->segments * columns * up(least(depth, BATTEN_CHUNK), TILE);
        p->room = BATTEN_PIXELS * up(least(depth, BATTEN_CHUNK), TILE);
        return;
    }
    /* Few pixels are shared by columns, each of which has them gathered again. */
    const size_t wanted = PIECES / most(1, least(PIECES, blocks * p->groups));
    p->columns = up(most(1, (columns + wanted - 1) / wanted), TILE);
    p->shared = p->groups * up(columns, VECTOR) * depth;
    p->room = BATTEN_PIXELS * (BATTEN_DEPTH / size + 64 / size + p->columns);
}

size_t batten_convolution_plan(batten_convolution *p, batten_pass pass, batten_dtype type, int exact)
{
    const size_t size = type == BATTEN_F32 ? sizeof(float) : sizeof(double);
    double outputs = (double)p->batch * (double)p->features, terms = (double)(p->channels / p->groups);
    (void)exact;
    for (int i = 0; i < 3; i++) {
        outputs *= (double)p->out[i];
        terms *= (double)p->kernel[i];
    }
    p->algorithm = BATTEN_DIRECT;
    p->team = team_for(outputs, outputs * terms);
    plan_direct(p, pass, size);
    p->shared = up(p->shared, 64); /* whole cache lines, whatever the type */
    p->room = up(p->room, 64);
    return (p->shared + (size_t)p->team * p->room) * size;
}
