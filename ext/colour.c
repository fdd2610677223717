/* Colours of images.
 *
 * Results of bytes are cut off to whole levels where torchvision cuts them off.
 *
 * This file is compiled without fused multiply-add, as random.c is: an image that is drawn from a seed should be the
 * same on every processor, and torchvision rounds after each step as well. */
#include "image.h"
#include "sum.h"

/* ---- one element after the other ---- */

/* y (n) from x (n), shift and scale (period), which is best some vectors long.  y may be x. */
void KERNEL(standardize)(real *y, const void *x, int bytes, const real *shift, const real *scale, size_t n,
                         size_t period)
{
    PARALLEL(n, for (size_t i = 0; i < blocks_of(n, period); i++) {
        const size_t first = i * period, count = smaller(period, n - first);
        OF_BYTES_OR_REAL(standardize, y, x, shift, scale, first, count);
    });
}

/* y[i] = scale x[i] without its fraction, or the nearest level there is; 0 for NaN. */
void KERNEL(to_bytes)(uint8_t *y, const real *x, size_t n, double scale)
{
    const real s = (real)scale;
    PARALLEL(n, for (size_t block = 0; block < blocks_of(n, BLOCK); block++) {
        const size_t end = smaller(n, (block + 1) * BLOCK);
        PRAGMA(omp simd)
        for (size_t i = block * BLOCK; i < end; i++)
            put(y, i, kept(s * x[i], 1), 1);
    });
}

/* ---- a colour for each image ---- */

enum { COLOURS = 3, PERIOD = 16 * COLOURS };

INLINE void add_colour(void *y, const void *x, const double *colour, size_t first, size_t n, const int bytes)
{
    real added[PERIOD];
    for (size_t j = 0; j < PERIOD; j++)
        added[j] = (real)(colour[j % COLOURS] + (bytes ? 0.5 : 0));
    for (size_t at = first; at < first + n; at += PERIOD) {
        const size_t count = smaller(PERIOD, first + n - at);
        PRAGMA(omp simd)
        for (size_t j = 0; j < count; j++) {
            const real value = element(x, at + j, bytes) + added[j];
            put(y, at + j, bytes ? kept(value, 1) : value, bytes);
        }
    }
}

/* y[i, p, c] = x[i, p, c] + colour[i, c], for pixels p of three channels c; bytes are rounded to the nearest there is.
 * y may be x. */
void KERNEL(add_colour)(void *y, const void *x, int bytes, const double *colour, size_t images, size_t pixels)
{
    const size_t n = pixels * COLOURS, blocks = blocks_of(n, BLOCK * COLOURS);
    PARALLEL(images * n, for (size_t i = 0; i < images * blocks; i++) {
        const size_t begin = i % blocks * BLOCK * COLOURS, count = smaller(BLOCK * COLOURS, n - begin);
        OF_BYTES_OR_REAL(add_colour, y, x, colour + i / blocks * COLOURS, i / blocks * n + begin, count);
    });
}

/* ---- jitter ----
 *
 * Of a pixel (r, g, b), of its grey = 0.2989 r + 0.587 g + 0.114 b, and of the mean of grey over the image, a factor f
 * makes
 *
 *     brightness   f r,  f g,  f b
 *     contrast     f r + (1 - f) mean,  and so on
 *     saturation   f r + (1 - f) grey,  and so on
 *     hue          the colour that has gone by f of the circle of colours, with the same greatest and least channel
 *
 * each of them cut off to what there is between black and white.  An image takes the steps of its own list.  A walk
 * over it takes as many as it can: a contrast has to wait for the mean of what the steps before it make, which the walk
 * before adds up.  Pixels are taken by tiles, whose channels are put apart. */

enum { TILE = 512 };
enum { BRIGHTNESS, CONTRAST, SATURATION, HUE };

typedef real plane[TILE];

/* How an image's elements are meant. */
struct kind {
    size_t channels; /* one or three */
    int bytes;
};

INLINE void load(plane *to, const void *x, size_t first, size_t n, const struct kind k)
{
    PRAGMA(omp simd)
    for (size_t p = 0; p < n; p++)
        for (size_t c = 0; c < k.channels; c++)
            to[c][p] = element(x, (first + p) * k.channels + c, k.bytes);
}

INLINE void store(void *y, plane *from, size_t first, size_t n, const struct kind k)
{
    PRAGMA(omp simd)
    for (size_t p = 0; p < n; p++)
        for (size_t c = 0; c < k.channels; c++)
            put(y, (first + p) * k.channels + c, from[c][p], k.bytes);
}

INLINE real grey_of(plane *x, size_t p, const struct kind k)
{
    if (k.channels == 1)
        return x[0][p];
    const real grey = (real)0.2989 * x[0][p] + (real)0.587 * x[1][p] + (real)0.114 * x[2][p];
    return k.bytes ? (real)(int32_t)grey : grey;
}

INLINE void brighten(plane *x, size_t n, real f, const struct kind k)
{
    for (size_t c = 0; c < k.channels; c++) {
        PRAGMA(omp simd)
        for (size_t p = 0; p < n; p++)
            x[c][p] = kept(x[c][p] * f, k.bytes);
    }
}

INLINE void contrast(plane *x, size_t n, real f, real rest, const struct kind k)
{
    for (size_t c = 0; c < k.channels; c++) {
        PRAGMA(omp simd)
        for (size_t p = 0; p < n; p++)
            x[c][p] = kept(x[c][p] * f + rest, k.bytes);
    }
}

INLINE void saturate(plane *x, size_t n, real f, real g, const struct kind k)
{
    PRAGMA(omp simd)
    for (size_t p = 0; p < n; p++) {
        const real grey = g * grey_of(x, p, k);
        for (size_t c = 0; c < COLOURS; c++)
            x[c][p] = kept(x[c][p] * f + grey, k.bytes);
    }
}

/* The greater one, or NaN if one is. */
INLINE real most(real a, real b)
{
    const real greater = a > b ? a : b;
    return a != a ? a : greater;
}

/* Of an angle less than a circle too small or too large, in circles. */
INLINE real within_circle(real h)
{
    h += h < 0;
    return h - (h >= 1);
}

/* With the greatest channel v and the least one p, a pixel's hue h is where it stands on a circle of length 6, which
 * has pure red, green and blue at 0, 2 and 4.  A channel is v up to 1 away from where it is pure itself, p from 2 on,
 * and linear between: q where it falls, t where it rises. */
INLINE void turn_hue(plane *x, size_t n, real turn, const struct kind k)
{
    const real in = k.bytes ? (real)(1 / 255.) : 1;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++) {
        const real r = x[0][i] * in, g = x[1][i] * in, b = x[2][i] * in;
        const real v = most(most(r, g), b), range = v + most(most(-r, -g), -b);
        const real s = range / (range > 0 ? v : 1), divisor = range > 0 ? range : 1;
        const real from_r = (v - r) / divisor, from_g = (v - g) / divisor, from_b = (v - b) / divisor;
        real h = v == r ? from_b - from_g : v == g ? from_r + 2 - from_b : from_g + 4 - from_r;
        h = within_circle(h * (real)(1 / 6.) + 1);
        h = 6 * within_circle(h + turn);
        const real sixth = (real)((h >= 1) + (h >= 2) + (h >= 3) + (h >= 4) + (h >= 5)), part = s * (h - sixth);
        const real p = kept((1 - s) * v, 0), q = kept((1 - part) * v, 0), t = kept((part + (1 - s)) * v, 0);
        for (size_t c = 0; c < COLOURS; c++) {
            const real pure = (real)(2 * c), away = sixth - pure + (sixth < pure ? 6 : 0);
            real turned = away < 4 ? p : t;
            turned = away < 2 ? q : turned;
            turned = away < 1 ? v : turned;
            turned = away < 5 ? turned : v;
            x[c][i] = k.bytes ? kept((real)255.999 * turned, 1) : turned;
        }
    }
}

/* Bytes are whole between the steps.  This loop is by itself because GCC does not vectorize it with a limit before. */
INLINE void cut_off(plane *x, size_t n, const struct kind k)
{
    for (size_t c = 0; c < k.channels; c++) {
        PRAGMA(omp simd)
        for (size_t p = 0; p < n; p++)
            x[c][p] = (real)(int32_t)x[c][p];
    }
}

INLINE void take_step(plane *x, size_t n, int step, double factor, real mean, const struct kind k)
{
    const real f = (real)factor, rest = (real)(1 - factor);
    if (step == BRIGHTNESS)
        brighten(x, n, f, k);
    else if (step == CONTRAST)
        contrast(x, n, f, rest * mean, k);
    else if (k.channels == COLOURS && step == SATURATION)
        saturate(x, n, f, rest, k);
    else if (k.channels == COLOURS)
        turn_hue(x, n, f, k);
    if (k.bytes)
        cut_off(x, n, k);
}

/* Takes the steps from `begin` to `end`; returns the sum of grey if others follow. */
INLINE double walk(void *y, const void *x, size_t pixels, const uint8_t *steps, const double *factors, size_t begin,
                   size_t end, size_t count, real mean, const struct kind k)
{
    plane tile[COLOURS];
    double sum = 0;
    for (size_t first = 0; first < pixels; first += TILE) {
        const size_t n = smaller(TILE, pixels - first);
        load(tile, x, first, n, k);
        for (size_t step = begin; step < end; step++)
            take_step(tile, n, steps[step], factors[step], mean, k);
        if (end < count)
            ADD_ALL(sum, n, (double)grey_of(tile, at, k));
        if (begin < end || end == count)
            store(y, tile, first, n, k);
    }
    return sum;
}

/* The first contrast from a step on. */
static size_t next_contrast(const uint8_t *steps, size_t from, size_t count)
{
    while (from < count && steps[from] != CONTRAST)
        from++;
    return from;
}

INLINE void jitter_image(void *y, const void *x, size_t pixels, const uint8_t *steps, const double *factors,
                         size_t count, const struct kind k)
{
    double mean = 0;
    size_t begin = 0, end = next_contrast(steps, 0, count);
    for (;;) {
        const double sum = walk(y, begin ? y : x, pixels, steps, factors, begin, end, count, (real)mean, k);
        if (end == count)
            return;
        mean = sum / (double)pixels;
        begin = end, end = next_contrast(steps, end + 1, count);
    }
}

INLINE void jitter_any(void *y, const void *x, size_t pixels, size_t channels, const uint8_t *steps,
                       const double *factors, size_t count, const int bytes)
{
    if (channels == 1)
        jitter_image(y, x, pixels, steps, factors, count, (struct kind){1, bytes});
    else
        jitter_image(y, x, pixels, steps, factors, count, (struct kind){COLOURS, bytes});
}

static void jitter_one(void *y, const void *x, int bytes, size_t pixels, size_t channels, const uint8_t *steps,
                       const double *factors, size_t count)
{
    OF_BYTES_OR_REAL(jitter_any, y, x, pixels, channels, steps, factors, count);
}

/* y (images, pixels, channels), one channel or three, from x: steps (images, count) say what is done to each image,
 * one after the other, and factors (images, count) by how much; a hue's is a part of the circle, of no more than one.
 * y may be x. */
void KERNEL(jitter)(void *y, const void *x, int bytes, const uint8_t *steps, const double *factors, size_t images,
                    size_t pixels, size_t channels, size_t count)
{
    enum { COST = 8 };
    const size_t size = pixels * channels * (bytes ? 1 : sizeof(real));
    PARALLEL(COST * images * pixels * channels * count, for (size_t i = 0; i < images; i++) {
        char *const to = (char *)y + i * size;
        const char *const from = (const char *)x + i * size;
        jitter_one(to, from, bytes, pixels, channels, steps + i * count, factors + i * count, count);
    });
}
