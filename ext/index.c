/* Indices are looked at before a kernel follows them. */
#include "batten.h"

static int outside(int64_t index, int64_t end, const int64_t *ignored)
{
    return (uint64_t)index >= (uint64_t)end && !(ignored && index == *ignored);
}

size_t batten_find_outside(const int64_t *index, size_t n, int64_t end, const int64_t *ignored)
{
    enum { BLOCK = 256 }; /* whole blocks are looked at without a branch for each index */
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t last = n - first < BLOCK ? n : first + BLOCK;
        int any = 0;
        for (size_t i = first; i < last; i++)
            any |= outside(index[i], end, ignored);
        for (size_t i = first; any && i < last; i++)
            if (outside(index[i], end, ignored))
                return i;
    }
    return n;
}

size_t batten_count_other(const int64_t *index, size_t n, int64_t value)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += index[i] != value;
    return count;
}
