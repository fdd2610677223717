/* The walk over the arrays of a list: all of them in one call and one pass over memory.
 *
 * They are cut as if they lay end to end, into blocks of BLOCK elements, of which every
 * thread takes its share: many small arrays do as well as a big one.  What a block has
 * of one array is a stretch of it. */
#ifndef BATTEN_GROUP_H
#define BATTEN_GROUP_H

#include "kernel.h"

static inline size_t elements(const batten_list *list)
{
    return list->starts[list->count];
}

/* The last array that begins at or before a place. */
static inline size_t array_at(const batten_list *list, size_t place)
{
    size_t k = 0, above = list->count;
    while (above - k > 1) {
        const size_t middle = (k + above) / 2;
        if (list->starts[middle] <= place)
            k = middle;
        else
            above = middle;
    }
    return k;
}

static inline int reaches(const batten_list *list, size_t k, size_t block)
{
    return k < list->count && list->starts[k] < (block + 1) * BLOCK;
}

/* Where a cut at a place goes through the k-th array: at a multiple of LINE elements,
 * so that its loops see whole lines of memory whatever lies before it. */
static inline size_t cut(const batten_list *list, size_t k, size_t place)
{
    enum { LINE = 64 };
    const size_t start = list->starts[k], end = list->starts[k + 1];
    return place >= end ? end - start : place <= start ? 0 : (place - start) / LINE * LINE;
}

/* Makes a call for each stretch, the elements from begin to end of the k-th array; work is for one element.  Its
 * number, block + k, is no other's and below blocks + count; those of one array follow one another. */
#define EACH_STRETCH(list, work, ...) \
    PARALLEL((work) * elements(list), for (size_t block = 0; block < blocks_of(elements(list), BLOCK); block++) { \
        for (size_t k = array_at(list, block * BLOCK); reaches(list, k, block); k++) { \
            const size_t begin = cut(list, k, block * BLOCK), end = cut(list, k, (block + 1) * BLOCK); \
            __VA_ARGS__; \
        } \
    })

/* The sum of what was found of the stretches of the k-th array. */
static inline double sum_of_stretches(const batten_list *list, size_t k, const double *found)
{
    double total = 0;
    for (size_t block = list->starts[k] / BLOCK; block < blocks_of(list->starts[k + 1], BLOCK); block++)
        total += found[block + k];
    return total;
}

#endif
