/* The gradient by data of images that are much larger than their result, for want of padding.
 *
 *     products[o, (t, c)] = sum over k of dy[o, k] w[k, c, t],     dx[o + t, c] += products[o, (t, c)]
 *
 * To gather the pixels of dy that each pixel of dx was met by is to multiply with padding most
 * of the time, where images are small: one of 12 x 12 meets kernels of 5 x 5 in 8 x 8 places,
 * and has more than twice as many pixels.  Here every product is of numbers that are there.
 * An image belongs to one member of the team, which adds its products in order of their
 * pixels. */
#include "convolution.h"

enum { PIXELS = BATTEN_PIXELS };

/* The numbers of taps and channels, and the same in whole tiles. */
static size_t columns_of(const batten_convolution *p)
{
    return p->kernel[0] * p->kernel[1] * p->kernel[2] * p->channels;
}

static size_t row_of(const batten_convolution *p)
{
    return up(columns_of(p), NR);
}

/* Packs a panel of columns (t, c): packed (features, NR). */
static void pack(real *packed, const real *w, const batten_convolution *p, size_t left)
{
    const size_t columns = columns_of(p), taps = columns / p->channels;
    for (size_t k = 0; k < p->features; k++, packed += NR)
        for (size_t j = 0; j < NR; j++) {
            const size_t column = left + j;
            packed[j] =
                column < columns ? w[(k * p->channels + column % p->channels) * taps + column / p->channels] : 0;
        }
}

/* products (pixels, row) of some pixels of dy. */
static void multiply(real *products, const real *dy, const real *packed, const batten_convolution *p, size_t pixels)
{
    const size_t row = row_of(p), height = blocks_of(pixels, blocks_of(pixels, MR));
    struct ahead none = {0};
    struct tile t = {.columns = NR, .c_row = (ptrdiff_t)row, .alpha = 1, .next = &none};
    for (size_t k = 0; k < p->features; k += DEPTH)
        for (size_t v = 0; v < row; v += NR) {
            t.depth = smaller(DEPTH, p->features - k);
            t.b = (struct panel){packed + v * p->features + k * NR, 1, NR};
            for (size_t u = 0; u < pixels; u += height) {
                t.rows = smaller(height, pixels - u);
                t.a = (struct panel){dy + u * p->features + k, (ptrdiff_t)p->features, 1};
                t.c = products + u * row + v;
                t.scale = k ? 1 : 0;
                KERNEL(tile)(&t);
            }
        }
}

/* Adds the products of a pixel of dy where its taps are: dx begins at the first. */
static void add(real *dx, const real *products, const batten_convolution *p)
{
    const size_t run = p->kernel[2] * p->channels;
    for (size_t t0 = 0; t0 < p->kernel[0]; t0++)
        for (size_t t1 = 0; t1 < p->kernel[1]; t1++, products += run) {
            real *const to = dx + (t0 * p->in[1] + t1) * p->in[2] * p->channels;
            PRAGMA(omp simd)
            for (size_t i = 0; i < run; i++)
                to[i] += products[i];
        }
}

static void scatter_image(real *dx, const real *dy, const real *packed, const real *bias, real *room,
                          const batten_convolution *p)
{
    const size_t channels = p->channels, pixels = p->in[0] * p->in[1] * p->in[2];
    const size_t *const out = p->out, outputs = out[0] * out[1] * out[2];
    nought(dx, pixels * channels);
    for (size_t first = 0; first < outputs; first += PIXELS) {
        const size_t n = smaller(PIXELS, outputs - first);
        multiply(room, dy + first * p->features, packed, p, n);
        for (size_t i = 0; i < n; i++) {
            const size_t o = first + i, z = o / out[2] / out[1], y = o / out[2] % out[1], x = o % out[2];
            add(dx + ((z * p->in[1] + y) * p->in[2] + x) * channels, room + i * row_of(p), p);
        }
    }
    for (size_t i = 0; bias && i < pixels; i++)
        for (size_t c = 0; c < channels; c++)
            dx[i * channels + c] += bias[c];
    for (size_t i = 0; p->activation == BATTEN_RELU && i < pixels * channels; i++)
        dx[i] = dx[i] < 0 ? 0 : dx[i];
}

void KERNEL(scatter)(real *dx, const real *dy, const real *w, const real *bias, real *scratch,
                     const batten_convolution *p)
{
    const size_t pixels = p->in[0] * p->in[1] * p->in[2], outputs = p->out[0] * p->out[1] * p->out[2];
    real *const rooms = scratch + p->shared;
    TEAM_OF(p->team,
            SHARED(for (size_t left = 0; left < row_of(p); left += NR) pack(scratch + left * p->features, w, p, left);)
                SHARED(for (size_t i = 0; i < p->batch; i++)
                           scatter_image(dx + i * pixels * p->channels, dy + i * outputs * p->features, scratch, bias,
                                         rooms + myself().rank * p->room, p);));
}
