/* Images whose channels lie one after the other, with their channels last.
 *
 *     y[n][p][c] = x[n][c][p]
 *
 * Elements are moved, whatever they are: only their size counts.  A block of pixels stays in the first-level cache
 * while its channels are put between each other.  Threads take whole blocks. */
#include "image.h"

enum { PIXELS = 256 };

#define INTERLEAVE(type)                                     \
    do {                                                     \
        const type *const from = (const type *)x;            \
        type *const to = (type *)y;                          \
        for (size_t p = begin; p < end; p++)                 \
            for (size_t c = 0; c < channels; c++)            \
                to[p * channels + c] = from[c * pixels + p]; \
    } while (0)

INLINE void interleave(void *y, const void *x, size_t begin, size_t end, size_t pixels, size_t size, size_t channels)
{
    if (size == 1)
        INTERLEAVE(uint8_t);
    else if (size == 4)
        INTERLEAVE(uint32_t);
    else
        INTERLEAVE(uint64_t);
}

/* Of so many channels, a constant, so that they are moved by vectors. */
static void interleave_any(uint8_t *y, const uint8_t *x, size_t begin, size_t end, size_t pixels, size_t size,
                           size_t channels)
{
    if (channels == 3)
        interleave(y, x, begin, end, pixels, size, 3);
    else
        interleave(y, x, begin, end, pixels, size, channels);
}

/* y (images, pixels, channels) from x (images, channels, pixels), of elements of 1, 4 or 8 bytes. */
void KERNEL(interleave)(void *y, const void *x, size_t images, size_t channels, size_t pixels, size_t size)
{
    const size_t blocks = blocks_of(pixels, PIXELS), image = channels * pixels * size;
    PARALLEL(images * channels * pixels, for (size_t i = 0; i < images * blocks; i++) {
        const size_t at = i / blocks * image, begin = i % blocks * PIXELS;
        interleave_any((uint8_t *)y + at, (const uint8_t *)x + at, begin, smaller(begin + PIXELS, pixels), pixels, size,
                       channels);
    });
}
