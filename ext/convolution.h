/* The algorithms of convolution: each is a kernel for the shapes that the plan gives it. */
#ifndef BATTEN_CONVOLUTION_H
#define BATTEN_CONVOLUTION_H

#include "kernel.h"
#include "tile.h"

#define CONVOLUTION_BY(algorithm)                                                                                    \
    void KERNEL(algorithm)(real *y, const real *x, const real *w, const real *bias, real *scratch,                   \
                           const batten_convolution *p);                                                             \
    void KERNEL(algorithm##_backward_data)(real *dx, const real *dy, const real *w, const real *bias, real *scratch, \
                                           const batten_convolution *p);                                             \
    void KERNEL(algorithm##_backward_weights)(real *dw, const real *dy, const real *x, real *scratch,                \
                                              const batten_convolution *p);
CONVOLUTION_BY(direct)
CONVOLUTION_BY(depthwise)
CONVOLUTION_BY(winograd)
void KERNEL(scatter)(real *dx, const real *dy, const real *w, const real *bias, real *scratch,
                     const batten_convolution *p);

/* Numbers of a row in scratch that has room for n: whole lines of the cache, and not so many that rows below each
 * other fall onto the same places of the first cache. */
static inline size_t pitch_of(size_t n)
{
    const size_t whole = up(n, LINE);
    return whole * sizeof(real) % 1024 ? whole : whole + LINE;
}

/* ---- copies of images ---- */

struct image {
    const real *pixels;
    size_t height, width, lead; /* lead: numbers from a pixel to the next */
};

static inline void nought(real *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = 0;
}

/* In vectors, the last of which reaches back: a call of memcpy costs more than most of these copies. */
static inline void copy_run(real *to, const real *from, size_t n)
{
    if (n < VLEN) {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i];
        return;
    }
    for (size_t i = 0; i + VLEN <= n; i += VLEN)
        *(loose *)(to + i) = *(const loose *)(from + i);
    *(loose *)(to + n - VLEN) = *(const loose *)(from + n - VLEN);
}

/* Copies the first channels of a window of an image, with noughts for what is outside of it: to (rows, columns, lead).
 */
static inline void copy_window(real *to, size_t lead, const struct image *image, ptrdiff_t top, ptrdiff_t left,
                               size_t rows, size_t columns, size_t channels)
{
    const ptrdiff_t width = (ptrdiff_t)image->width;
    const size_t before = left < 0 ? smaller((size_t)-left, columns) : 0;
    const size_t end = left < width ? smaller((size_t)(width - left), columns) : 0,
                 behind = end < before ? before : end;
    for (size_t i = 0; i < rows; i++, to += columns * lead) {
        const ptrdiff_t y = top + (ptrdiff_t)i;
        if (y < 0 || y >= (ptrdiff_t)image->height) {
            nought(to, columns * lead);
            continue;
        }
        const real *const from = image->pixels + (y * width + left + (ptrdiff_t)before) * (ptrdiff_t)image->lead;
        nought(to, before * lead);
        if (lead == image->lead)
            copy_run(to + before * lead, from, (behind - before) * lead);
        else
            for (size_t j = before; j < behind; j++)
                copy_run(to + j * lead, from + (j - before) * image->lead, channels);
        nought(to + behind * lead, (columns - behind) * lead);
    }
}

#endif
