/* The order of an elementwise walk.
 *
 * Any order of the axes gives the same elements.  The cheapest one follows the
 * output's memory: axes are sorted by the output's stride, largest first, so
 * that the innermost walks neighbours; then two axes are joined wherever every
 * operand's outer stride is its inner stride times the inner length.  A pair of
 * arrays in the same layout, whatever it is, becomes one long row. */
#include "batten.h"

static size_t magnitude(ptrdiff_t stride)
{
    return stride < 0 ? -(size_t)stride : (size_t)stride;
}

/* Does axis i of the loop go outside axis j? */
static int outside(const batten_loop *l, size_t i, size_t j)
{
    for (size_t k = 0; k <= l->inputs; k++)
        if (magnitude(l->stride[k][i]) != magnitude(l->stride[k][j]))
            return magnitude(l->stride[k][i]) > magnitude(l->stride[k][j]);
    return i < j;
}

/* Could an outer axis and an inner one be walked as one? */
static int joined(const batten_loop *l, size_t outer, size_t inner)
{
    for (size_t k = 0; k <= l->inputs; k++)
        if (l->stride[k][outer] != l->stride[k][inner] * (ptrdiff_t)l->shape[inner])
            return 0;
    return 1;
}

static void put(batten_loop *to, size_t i, const batten_loop *from, size_t j)
{
    to->shape[i] = from->shape[j];
    for (size_t k = 0; k <= from->inputs; k++)
        to->stride[k][i] = from->stride[k][j];
}

void batten_loop_simplify(batten_loop *loop)
{
    size_t order[BATTEN_RANK], rank = 0;
    for (size_t axis = 0; axis < loop->rank; axis++) {
        if (loop->shape[axis] == 1)
            continue;
        size_t place = rank++;
        for (; place > 0 && outside(loop, axis, order[place - 1]); place--)
            order[place] = order[place - 1];
        order[place] = axis;
    }

    batten_loop simple;
    simple.rank = 0;
    simple.inputs = loop->inputs;
    for (size_t i = 0; i < rank; i++) {
        const size_t axis = order[i];
        put(&simple, simple.rank++, loop, axis);
        if (simple.rank < 2 || !joined(&simple, simple.rank - 2, simple.rank - 1))
            continue;
        const size_t length = simple.shape[simple.rank - 2];
        simple.rank--;
        put(&simple, simple.rank - 1, loop, axis);
        simple.shape[simple.rank - 1] *= length;
    }
    if (!simple.rank) { /* a single element */
        simple.rank = simple.shape[0] = 1;
        for (size_t k = 0; k <= loop->inputs; k++)
            simple.stride[k][0] = 1;
    }

    loop->rank = simple.rank;
    for (size_t i = 0; i < simple.rank; i++)
        put(loop, i, &simple, i);
}

batten_cut batten_loop_cut(const batten_loop *loop)
{
    batten_cut cut = {.rows = 1, .length = loop->shape[loop->rank - 1], .blocks = 1, .group = 1};
    for (size_t axis = 0; axis + 1 < loop->rank; axis++)
        cut.rows *= loop->shape[axis];
    if (!cut.rows || !cut.length)
        return cut;
    if (cut.length > BATTEN_BLOCK)
        cut.blocks = (cut.length + BATTEN_BLOCK - 1) / BATTEN_BLOCK;
    else
        cut.group = (BATTEN_BLOCK + cut.length - 1) / cut.length;
    cut.pieces = (cut.rows + cut.group - 1) / cut.group * cut.blocks;
    return cut;
}

size_t batten_plan_sum(batten_sum_plan *plan, batten_loop *loop)
{
    enum { GROUP = 4096, CHUNK = 64 }; /* terms in a group of short rows; columns at once */
    size_t kept = 0, outputs = 1, terms = 1;
    while (kept < loop->rank && loop->stride[0][kept])
        outputs *= loop->shape[kept++];
    if (kept == loop->rank) { /* nothing is summed: sums of one term each */
        loop->shape[loop->rank] = 1;
        for (size_t k = 0; k <= loop->inputs; k++)
            loop->stride[k][loop->rank] = 0;
        loop->rank++;
    }
    for (size_t axis = kept; axis < loop->rank; axis++)
        terms *= loop->shape[axis];

    plan->kept = kept;
    plan->outputs = outputs;
    plan->length = loop->shape[kept];
    plan->work = outputs * terms;
    plan->columns = kept && loop->stride[1][kept - 1] == 1 && loop->stride[1][loop->rank - 1] != 1;

    const size_t entry = plan->length ? terms / plan->length : 0; /* terms in one entry */
    plan->entries = entry && entry < BATTEN_SEGMENT ? BATTEN_SEGMENT / entry : 1;
    plan->segments = plan->length ? (plan->length + plan->entries - 1) / plan->entries : 1;
    plan->group = terms && terms < GROUP ? GROUP / terms : 1;
    if (plan->columns) {
        const size_t n = loop->shape[kept - 1];
        plan->parts = n ? outputs / n * ((n + CHUNK - 1) / CHUNK) : 0;
    } else {
        plan->parts = (outputs + plan->group - 1) / plan->group;
    }
    return plan->segments * outputs;
}
