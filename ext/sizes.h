/* Arithmetic of sizes. */
#ifndef BATTEN_SIZES_H
#define BATTEN_SIZES_H

#include <stddef.h>

static inline size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t greater(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline size_t blocks_of(size_t n, size_t block)
{
    return (n + block - 1) / block;
}

/* n, or the next multiple of a unit. */
static inline size_t up(size_t n, size_t unit)
{
    return blocks_of(n, unit) * unit;
}

#endif
