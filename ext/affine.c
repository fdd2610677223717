/* Images turned, moved, stretched and sheared.
 *
 *     y[n][i][j] = x[n] at (h, w),    w = a j + b i + c,    h = d j + e i + f
 *
 * (a b c d e f), one row of the matrices, says where a pixel of y comes from; the middle of a pixel has whole
 * numbers.  Where that is outside of the image, there is the fill.  Between pixels is
 *
 *     nearest     the pixel that is nearest, and of two the one with an even number
 *     bilinear    the mean of the four pixels around, each the more the nearer it is, with those outside as 0;
 *                 their weights within the image add up to m, and y = m (mean - fill) + fill
 *
 * as in PyTorch's grid_sample and torchvision.  Threads take whole rows.
 *
 * Places are computed in double, and this file is compiled without fused multiply-add, so that every processor takes
 * the same pixels. */
#include "image.h"
#include <string.h>

enum { ROWS = 16 };

/* v rounded to a whole number, halves to an even one, if it is nowhere near the limits of a double. */
INLINE double whole(double v)
{
    const double large = 0x1.8p52;
    return v + large - large;
}

INLINE void nearest_rows(uint8_t *y, const uint8_t *x, const double *matrices, const uint8_t *fill,
                         const batten_images *m, size_t first, size_t last, size_t pixel)
{
    const size_t height = m->out[0], width = m->out[1];
    const double bottom = (double)m->in[0] - 1, right = (double)m->in[1] - 1;
    for (size_t row = first; row < last; row++) {
        const size_t n = row / height, i = row % height;
        const double *const t = matrices + 6 * n;
        const double w0 = t[1] * (double)i + t[2], h0 = t[4] * (double)i + t[5];
        const uint8_t *const image = x + n * m->in[0] * m->in[1] * pixel;
        uint8_t *const to = y + row * width * pixel;
        for (size_t j = 0; j < width; j++) {
            const double w = whole(t[0] * (double)j + w0), h = whole(t[3] * (double)j + h0);
            const int inside = (0 <= w) & (w <= right) & (0 <= h) & (h <= bottom);
            memcpy(to + j * pixel, inside ? image + ((size_t)h * m->in[1] + (size_t)w) * pixel : fill, pixel);
        }
    }
}

static void nearest_some(uint8_t *y, const uint8_t *x, const double *matrices, const uint8_t *fill,
                         const batten_images *m, size_t first, size_t last)
{
    OF_PIXELS(m->pixel, nearest_rows, y, x, matrices, fill, m, first, last);
}

/* y from x, whose pixels are so many bytes; matrices (count, 6); fill: a pixel. */
void KERNEL(affine_nearest)(uint8_t *y, const uint8_t *x, const double *matrices, const uint8_t *fill,
                            const batten_images *images)
{
    const size_t rows = images->count * images->out[0];
    PARALLEL(rows * images->out[1] * (16 + images->pixel / 8), for (size_t row = 0; row < rows; row += ROWS)
        nearest_some(y, x, matrices, fill, images, row, smaller(row + ROWS, rows)););
}

/* Bytes are rounded; the value is between 0 and 255. */
INLINE void put_nearest(void *y, size_t i, real value, int bytes)
{
    put(y, i, bytes ? (real)whole(value) : value, bytes);
}

/* The pixels around a place, and their weights: none for those outside. */
struct around {
    size_t place[4];
    real weight[4];
    int count;
};

/* Of a place with pixels on all sides, which most have; 0 for another. */
INLINE int surrounded(struct around *p, double h, double w, const batten_images *m)
{
    if (!(0 <= h && h < (double)m->in[0] - 1 && 0 <= w && w < (double)m->in[1] - 1))
        return 0;
    const size_t top = (size_t)h, left = (size_t)w, place = top * m->in[1] + left;
    const double down = h - (double)top, right = w - (double)left;
    *p = (struct around){{place, place + 1, place + m->in[1], place + m->in[1] + 1},
                         {(real)((1 - down) * (1 - right)), (real)((1 - down) * right), (real)(down * (1 - right)),
                          (real)(down * right)},
                         4};
    return 1;
}

INLINE struct around pixels_around(double h, double w, const batten_images *m)
{
    struct around found = {.count = 0};
    if (!(-1 < h && h < (double)m->in[0] && -1 < w && w < (double)m->in[1]))
        return found;
    const ptrdiff_t top = (ptrdiff_t)(h + 1) - 1, left = (ptrdiff_t)(w + 1) - 1;
    const double down = h - (double)top, right = w - (double)left;
    for (int corner = 0; corner < 4; corner++) {
        const ptrdiff_t i = top + corner / 2, j = left + corner % 2;
        if (i < 0 || j < 0 || i >= (ptrdiff_t)m->in[0] || j >= (ptrdiff_t)m->in[1])
            continue;
        found.place[found.count] = (size_t)i * m->in[1] + (size_t)j;
        found.weight[found.count++] = (real)((corner / 2 ? down : 1 - down) * (corner % 2 ? right : 1 - right));
    }
    return found;
}

/* A pixel of y as the mean of so many pixels of an image. */
INLINE void mix(void *y, size_t at, const void *x, size_t image, const struct around *p, int count, const real *fill,
                size_t channels, int bytes)
{
    real inside = 0;
    for (int k = 0; k < count; k++)
        inside += p->weight[k];
    for (size_t c = 0; c < channels; c++) {
        real mean = 0;
        for (int k = 0; k < count; k++)
            mean += p->weight[k] * element(x, (image + p->place[k]) * channels + c, bytes);
        put_nearest(y, at * channels + c, inside * (mean - fill[c]) + fill[c], bytes);
    }
}

INLINE void bilinear_rows(void *y, const void *x, const double *matrices, const real *fill, const batten_images *m,
                          size_t first, size_t last, size_t channels, int bytes)
{
    const size_t height = m->out[0], width = m->out[1];
    for (size_t row = first; row < last; row++) {
        const size_t n = row / height, i = row % height, image = n * m->in[0] * m->in[1];
        const double *const t = matrices + 6 * n;
        const double w0 = t[1] * (double)i + t[2], h0 = t[4] * (double)i + t[5];
        for (size_t j = 0; j < width; j++) {
            const double h = t[3] * (double)j + h0, w = t[0] * (double)j + w0;
            struct around p;
            if (surrounded(&p, h, w, m)) {
                mix(y, row * width + j, x, image, &p, 4, fill, channels, bytes);
            } else {
                p = pixels_around(h, w, m);
                mix(y, row * width + j, x, image, &p, p.count, fill, channels, bytes);
            }
        }
    }
}

INLINE void bilinear_any(void *y, const void *x, const double *matrices, const real *fill, const batten_images *m,
                         size_t first, size_t last, int bytes)
{
    if (m->pixel == 1)
        bilinear_rows(y, x, matrices, fill, m, first, last, 1, bytes);
    else if (m->pixel == 3)
        bilinear_rows(y, x, matrices, fill, m, first, last, 3, bytes);
    else
        bilinear_rows(y, x, matrices, fill, m, first, last, m->pixel, bytes);
}

static void of_reals(real *y, const real *x, const double *matrices, const real *fill, const batten_images *m,
                     size_t first, size_t last)
{
    bilinear_any(y, x, matrices, fill, m, first, last, 0);
}

static void of_bytes(uint8_t *y, const uint8_t *x, const double *matrices, const real *fill, const batten_images *m,
                     size_t first, size_t last)
{
    bilinear_any(y, x, matrices, fill, m, first, last, 1);
}

/* y from x, whose pixels are so many channels; matrices (count, 6); fill (channels). */
void KERNEL(affine_bilinear)(real *y, const real *x, const double *matrices, const real *fill,
                             const batten_images *images)
{
    const size_t rows = images->count * images->out[0];
    PARALLEL(rows * images->out[1] * (32 + 8 * images->pixel), for (size_t row = 0; row < rows; row += ROWS)
        of_reals(y, x, matrices, fill, images, row, smaller(row + ROWS, rows)););
}

/* The same of bytes, to which the results are rounded; the fill is from 0 to 255. */
void KERNEL(affine_bilinear_bytes)(uint8_t *y, const uint8_t *x, const double *matrices, const real *fill,
                                   const batten_images *images)
{
    const size_t rows = images->count * images->out[0];
    PARALLEL(rows * images->out[1] * (32 + 8 * images->pixel), for (size_t row = 0; row < rows; row += ROWS)
        of_bytes(y, x, matrices, fill, images, row, smaller(row + ROWS, rows)););
}
