/* Images cut out of others, from inside of them or from across their borders, and turned round.
 *
 *     y[n][i][j] = x[n][source(top[n] + i)][source(left[n] + j)]
 *
 * i and j count from the other end where image n is turned upside down, or mirrored.  Beyond the image, source is
 * of n elements a b c d
 *
 *     fill         v v|a b c d|v v       none: there is v instead
 *     edge         a a|a b c d|d d
 *     reflect      c b|a b c d|c b
 *     symmetric    b a|a b c d|d c
 *
 * so cropping, padding, flipping and all of these at once are one walk over y.  Pixels are moved, whatever is in them:
 * only their size counts.  A row is what was before the image, a run of its pixels in one piece, and what was
 * behind it.  Threads take whole rows.
 *
 * Bytes that are to be standardized have it done to their row while that is in the first-level cache; so this file is
 * compiled without fused multiply-add, as colour.c is. */
#include "image.h"
#include "tile.h"
#include <string.h>

/* The place of element i of an axis of n, or -1 where there is none. */
static inline ptrdiff_t source(ptrdiff_t i, ptrdiff_t n, batten_border border)
{
    if (0 <= i && i < n)
        return i;
    if (border == BATTEN_FILL)
        return -1;
    if (border == BATTEN_EDGE)
        return i < 0 ? 0 : n - 1;
    const ptrdiff_t once = border == BATTEN_REFLECT, period = 2 * (n - once);
    if (period == 0)
        return 0;
    i %= period;
    i += i < 0 ? period : 0;
    return i < n ? i : period - (once ? i : i + 1);
}

/* An offset near the image from which crops of an axis are the same. */
static inline ptrdiff_t nearer(int64_t offset, ptrdiff_t in, ptrdiff_t out, batten_border border)
{
    if (border == BATTEN_FILL || border == BATTEN_EDGE)
        return (ptrdiff_t)(offset < -out ? -out : offset > in ? in : offset);
    const ptrdiff_t period = 2 * (in - (border == BATTEN_REFLECT));
    return period ? (ptrdiff_t)(offset % period) : 0;
}

/* Of n pixels of y, the `begin`-th to the one before `end`, counted from the other end if they are mirrored, from x;
 * or from the fill where x has none. */
INLINE void put_around(uint8_t *y, const uint8_t *x, const uint8_t *fill, size_t begin, size_t end, size_t n,
                       ptrdiff_t left, size_t in, size_t pixel, int mirrored, batten_border border)
{
    for (size_t j = begin; j < end; j++) {
        const ptrdiff_t from = source(left + (ptrdiff_t)j, (ptrdiff_t)in, border);
        memcpy(y + (mirrored ? n - 1 - j : j) * pixel, from < 0 ? fill : x + (size_t)from * pixel, pixel);
    }
}

INLINE void crop_row(uint8_t *y, const uint8_t *x, const uint8_t *fill, size_t n, ptrdiff_t left, size_t in,
                     size_t pixel, int mirrored, batten_border border)
{
    const size_t begin = left < 0 ? smaller((size_t)-left, n) : 0;
    const ptrdiff_t rest = (ptrdiff_t)in - left;
    const size_t end = rest > (ptrdiff_t)begin ? smaller((size_t)rest, n) : begin;
    put_around(y, x, fill, 0, begin, n, left, in, pixel, mirrored, border);
    if (mirrored)
        for (size_t j = begin; j < end; j++)
            memcpy(y + (n - 1 - j) * pixel, x + (size_t)(left + (ptrdiff_t)j) * pixel, pixel);
    else if (begin < end)
        memcpy(y + begin * pixel, x + (size_t)(left + (ptrdiff_t)begin) * pixel, (end - begin) * pixel);
    put_around(y, x, fill, end, n, n, left, in, pixel, mirrored, border);
}

/* The row-th of all rows that y has. */
INLINE void crop_any_row(uint8_t *y, const uint8_t *x, const int64_t *corners, const uint8_t *turns,
                         const uint8_t *fill, const batten_images *m, batten_border border, size_t row, size_t pixel)
{
    const size_t height = m->out[0], width = m->out[1], n = row / height, i = row % height;
    const int mirrored = turns[n] & BATTEN_MIRRORED;
    const ptrdiff_t down = (ptrdiff_t)(turns[n] & BATTEN_UPSIDE_DOWN ? height - 1 - i : i);
    const ptrdiff_t top = nearer(corners[2 * n], (ptrdiff_t)m->in[0], (ptrdiff_t)height, border);
    const ptrdiff_t left = nearer(corners[2 * n + 1], (ptrdiff_t)m->in[1], (ptrdiff_t)width, border);
    const ptrdiff_t from = source(top + down, (ptrdiff_t)m->in[0], border);
    if (from < 0)
        for (size_t j = 0; j < width; j++)
            memcpy(y + j * pixel, fill, pixel);
    else
        crop_row(y, x + (n * m->in[0] + (size_t)from) * m->in[1] * pixel, fill, width, left, m->in[1], pixel, mirrored,
                 border);
}

static void crop_one(uint8_t *y, const uint8_t *x, const int64_t *corners, const uint8_t *turns, const uint8_t *fill,
                     const batten_images *m, batten_border border, size_t row)
{
    OF_PIXELS(m->pixel, crop_any_row, y, x, corners, turns, fill, m, border, row);
}

/* y from x; corners (count, 2): top and left; turns (count); fill: a pixel.  Where the border is no fill, images have
 * pixels. */
void KERNEL(crop)(uint8_t *y, const uint8_t *x, const int64_t *corners, const uint8_t *turns, const uint8_t *fill,
                  const batten_images *images, batten_border border)
{
    const size_t n = images->out[1] * images->pixel, rows = images->count * images->out[0];
    PARALLEL(rows * images->out[1] * (4 + images->pixel / 8), for (size_t row = 0; row < rows; row++)
        crop_one(y + row * n, x, corners, turns, fill, images, border, row););
}

static void standardize_row(real *y, const uint8_t *x, const real *shift, const real *scale, size_t n, size_t period)
{
    for (size_t j = 0; j < n; j += period)
        standardize(y, x, shift, scale, j, smaller(period, n - j), 1);
}

/* The same of bytes, of which there becomes (x / 255 - shift[j]) scale[j], j = the place in a row mod period, which is
 * best some vectors long; room: BATTEN_ROWS rows of bytes for each of the team, as
 * to read what has just been written pixel by pixel is to wait for it. */
void KERNEL(crop_standardize)(real *y, uint8_t *room, const uint8_t *x, const int64_t *corners, const uint8_t *turns,
                              const uint8_t *fill, const real *shift, const real *scale, size_t period,
                              const batten_images *images, batten_border border, int team)
{
    const size_t n = images->out[1] * images->pixel, rows = images->count * images->out[0];
    TEAM_OF(team, uint8_t *const bytes = room + myself().rank * BATTEN_ROWS * n;
            SHARED(for (size_t first = 0; first < rows; first += BATTEN_ROWS) {
                const size_t last = smaller(first + BATTEN_ROWS, rows);
                for (size_t row = first; row < last; row++)
                    crop_one(bytes + (row - first) * n, x, corners, turns, fill, images, border, row);
                for (size_t row = first; row < last; row++)
                    standardize_row(y + row * n, bytes + (row - first) * n, shift, scale, n, period);
            }););
}
