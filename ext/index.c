/* Indices are looked at before a kernel follows them. */
#include "batten.h"

size_t batten_find_outside(const int64_t *index, size_t n, int64_t end, int64_t ignored)
{
    enum { BLOCK = 256 }; /* whole blocks are looked at without a branch for each index */
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t last = n - first < BLOCK ? n : first + BLOCK;
        int outside = 0;
        for (size_t i = first; i < last; i++)
            outside |= (uint64_t)index[i] >= (uint64_t)end && index[i] != ignored;
        for (size_t i = first; outside && i < last; i++)
            if ((uint64_t)index[i] >= (uint64_t)end && index[i] != ignored)
                return i;
    }
    return n;
}
