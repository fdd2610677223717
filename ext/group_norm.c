/* Group normalization (Wu & He 2018): the channels of an image in groups, each by its own statistics.
 *
 *     mean[n][g], var[n][g]: of the elements x[n][i][j] of all pixels i and all channels j of group g
 *     y[n][i][j] = act(gamma[j] (x[n][i][j] - mean[n][g]) rstd[n][g] + beta[j]),    rstd = 1 / sqrt(var + eps)
 *
 * An image is a matrix, of a row for each pixel, which is walked twice while it is in the
 * cache.  As in batch normalization (normalization.c) the first walk sums d = x - k and d^2
 * of each channel, where k is its first element; a group's statistics follow from those of
 * its channels without cancelling,
 *
 *     n m var = sum_j (sum_i (x[i][j] - mean_j)^2 + n (mean_j - mean)^2)     m channels, n pixels,
 *
 * and with a mean, a scale and a shift for each channel the second walk is the same, too.
 * Threads take whole images; what is summed over images, dgamma and dbeta, is added from
 * the first to the last. */
#include "columns.h"

struct image {
    size_t pixels, channels, groups;
};

static size_t channels_of_group(struct image s)
{
    return s.groups ? s.channels / s.groups : 0;
}

/* mean and rstd (groups) from sums (2, channels) of d and d^2. */
static void finish_groups(double *mean, double *rstd, const double *sums, const real *x, struct image s, double eps)
{
    const size_t width = channels_of_group(s);
    const double n = (double)s.pixels;
    for (size_t g = 0; g < s.groups; g++) {
        const size_t first = g * width, last = first + width;
        double center = 0, spread = 0;
        for (size_t j = first; j < last; j++)
            center += x[j] + sums[j] / n;
        center /= (double)width;
        for (size_t j = first; j < last; j++) {
            const double d = sums[j] / n, apart = x[j] + d - center;
            spread += sums[s.channels + j] / n - d * d + apart * apart;
        }
        spread /= (double)width;
        mean[g] = center;
        rstd[g] = 1 / sqrt((spread < 0 ? 0 : spread) + eps);
    }
}

/* What a tile's channels have of their groups' statistics. */
static void load_groups(struct columns *c, const double *mean, const double *rstd, const real *gamma, const real *beta,
                        struct tile t, struct image s)
{
    const size_t width = channels_of_group(s);
    for (size_t j = 0, g = t.column / width, end; j < t.width; g++) {
        const double center = mean[g], scale = rstd[g];
        end = smaller((g + 1) * width - t.column, t.width);
        PRAGMA(omp simd)
        for (size_t k = j; k < end; k++) {
            const double slope = (gamma ? gamma[t.column + k] : 1) * scale;
            c->mean[k] = (real)center;
            c->scale[k] = (real)slope;
            c->shift[k] = (real)((beta ? beta[t.column + k] : 0) + ((real)center - center) * slope);
        }
        j = end;
    }
}

/* sums (2, channels) += those of a tile, dy NULL for the sums of x. */
static void add_tile(double *sums, const real *dy, const real *x, struct columns *c, struct tile t, struct image s,
                     int relu)
{
    double of_tile[2][2 * COLUMNS];
    if (dy)
        sum_tile_backward(of_tile[0], of_tile[1], dy, x, c, t, s.channels, relu);
    else
        sum_tile_forward(of_tile[0], of_tile[1], x, t, s.channels);
    sums += t.column;
    PRAGMA(omp simd)
    for (size_t j = 0; j < t.width; j++) {
        sums[j] += of_tile[0][j];
        sums[s.channels + j] += of_tile[1][j];
    }
}

static void normalize_image(real *y, double *mean, double *rstd, const real *x, const real *gamma, const real *beta,
                            double *sums, struct image s, double eps, int relu)
{
    const size_t n = tiles(s.pixels, s.channels);
    struct columns c;
    memset(sums, 0, 2 * s.channels * sizeof(double));
    for (size_t i = 0; i < n; i++)
        add_tile(sums, NULL, x, NULL, tile_at(i, s.pixels, s.channels), s, 0);
    finish_groups(mean, rstd, sums, x, s, eps);
    for (size_t i = 0; i < n; i++) {
        const struct tile t = tile_at(i, s.pixels, s.channels);
        load_groups(&c, mean, rstd, gamma, beta, t, s);
        write_tile(y, x, NULL, &c, t, s.channels, relu);
    }
}

/* y (images, pixels, channels); with relu, what is negative becomes nought.  mean, rstd
 * (images, groups) are for backward.  gamma, beta (channels) may be NULL.  scratch: 2
 * channels doubles for each image.  Without pixels mean is 0 and rstd 1. */
void KERNEL(group_norm)(real *y, double *mean, double *rstd, const real *x, const real *gamma, const real *beta,
                        double *scratch, size_t images, size_t pixels, size_t channels, size_t groups, double eps,
                        int relu)
{
    const struct image s = {pixels, channels, groups};
    const size_t size = pixels * channels;
    if (!size) {
        for (size_t i = 0; i < images * groups; i++)
            mean[i] = 0, rstd[i] = 1;
        return;
    }
    PARALLEL(images > 1 ? 3 * images * size : 0, for (size_t i = 0; i < images; i++)
        normalize_image(y + i * size, mean + i * groups, rstd + i * groups, x + i * size, gamma, beta,
                        scratch + i * 2 * channels, s, eps, relu););
}

/* With g = gamma dy, dy stopped where relu did, and xhat = (x - mean) rstd,
 *
 *     dx = rstd (g - sum g / nm - xhat sum g xhat / nm)     summed over a group
 *     dgamma = sum dy xhat,    dbeta = sum dy               summed over images and pixels
 *
 * d = x - r is taken with the rounded mean r, so that xhat = rstd (d - (mean - r)) and
 *
 *     sums[0] = sum_i dy,    sums[1] = sum_i dy xhat = rstd (sum_i dy d - (mean - r) sum_i dy)
 *     dx = dy scale - d slope - offset.
 *
 * sums (4, channels) are these two and each channel's offset and slope. */
static void finish_groups_backward(double *sums, const double *mean, const double *rstd, const real *gamma,
                                   struct image s)
{
    const size_t width = channels_of_group(s);
    const double n = (double)s.pixels * (double)width;
    double *const of_dy = sums, *const of_dy_xhat = sums + s.channels, *const offset = sums + 2 * s.channels,
                  *const slope = sums + 3 * s.channels;
    for (size_t g = 0; g < s.groups; g++) {
        const size_t first = g * width, last = first + width;
        const double excess = mean[g] - (real)mean[g];
        double total = 0, along = 0;
        for (size_t j = first; j < last; j++) {
            of_dy_xhat[j] = rstd[g] * (of_dy_xhat[j] - excess * of_dy[j]);
            total += (gamma ? gamma[j] : 1) * of_dy[j];
            along += (gamma ? gamma[j] : 1) * of_dy_xhat[j];
        }
        for (size_t j = first; j < last; j++) {
            slope[j] = rstd[g] * rstd[g] * along / n;
            offset[j] = rstd[g] * total / n - slope[j] * excess;
        }
    }
}

/* dx = dy scale - (x - mean) slope - offset */
static inline __attribute__((always_inline)) void write_rows_backward(real *dx, const real *dy, const real *x,
                                                                      const struct columns *c, const real *offset,
                                                                      const real *slope, struct tile t, size_t cols,
                                                                      const int relu)
{
    for (size_t i = 0; i < t.height; i++) {
        const size_t at = (t.row + i) * cols + t.column;
        PRAGMA(omp simd)
        for (size_t j = 0; j < t.width; j++) {
            const real y = normalized(x[at + j], c->mean[j], c->scale[j], c->shift[j]);
            const real passed = relu && y <= 0 ? 0 : dy[at + j];
            dx[at + j] = passed * c->scale[j] - ((x[at + j] - c->mean[j]) * slope[j] + offset[j]);
        }
    }
}

static void write_tile_backward(real *dx, const real *dy, const real *x, const double *sums, const struct columns *c,
                                struct tile t, struct image s, int relu)
{
    real offset[2 * COLUMNS], slope[2 * COLUMNS];
    for (size_t j = 0; j < t.width; j++) {
        offset[j] = (real)sums[2 * s.channels + t.column + j];
        slope[j] = (real)sums[3 * s.channels + t.column + j];
    }
    if (relu)
        write_rows_backward(dx, dy, x, c, offset, slope, t, s.channels, 1);
    else
        write_rows_backward(dx, dy, x, c, offset, slope, t, s.channels, 0);
}

static void normalize_image_backward(real *dx, double *sums, const real *dy, const real *x, const double *mean,
                                     const double *rstd, const real *gamma, const real *beta, struct image s, int relu)
{
    const size_t n = tiles(s.pixels, s.channels);
    struct columns c;
    memset(sums, 0, 2 * s.channels * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        const struct tile t = tile_at(i, s.pixels, s.channels);
        load_groups(&c, mean, rstd, gamma, beta, t, s);
        add_tile(sums, dy, x, &c, t, s, relu);
    }
    finish_groups_backward(sums, mean, rstd, gamma, s);
    for (size_t i = 0; i < n; i++) {
        const struct tile t = tile_at(i, s.pixels, s.channels);
        load_groups(&c, mean, rstd, gamma, beta, t, s);
        write_tile_backward(dx, dy, x, sums, &c, t, s, relu);
    }
}

/* dgamma and dbeta of some channels, from the images' sums, which are added in the place of the first one's. */
static void add_images(real *dgamma, real *dbeta, double *sums, size_t begin, size_t end, size_t images,
                       size_t channels)
{
    double *const of_dy = sums, *const of_dy_xhat = sums + channels;
    for (size_t i = 1; i < images; i++) {
        PRAGMA(omp simd)
        for (size_t j = begin; j < end; j++) {
            of_dy[j] += of_dy[i * 4 * channels + j];
            of_dy_xhat[j] += of_dy_xhat[i * 4 * channels + j];
        }
    }
    for (size_t j = begin; j < (dgamma ? end : begin); j++)
        dgamma[j] = (real)of_dy_xhat[j];
    for (size_t j = begin; j < (dbeta ? end : begin); j++)
        dbeta[j] = (real)of_dy[j];
}

/* dx (images, pixels, channels); mean, rstd and gamma as in forward.  dgamma, dbeta, gamma
 * and beta may be NULL; only relu asks for beta.  scratch: 4 channels doubles for each image. */
void KERNEL(group_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x, const double *mean,
                                 const double *rstd, const real *gamma, const real *beta, double *scratch,
                                 size_t images, size_t pixels, size_t channels, size_t groups, int relu)
{
    const struct image s = {pixels, channels, groups};
    const size_t size = pixels * channels;
    if (!size || !images) {
        no_gradients(dgamma, dbeta, channels);
        return;
    }
    PARALLEL(images > 1 ? 5 * images * size : 0, for (size_t i = 0; i < images; i++)
        normalize_image_backward(dx + i * size, scratch + i * 4 * channels, dy + i * size, x + i * size,
                                 mean + i * groups, rstd + i * groups, gamma, beta, s, relu););
    PARALLEL(2 * images * channels, for (size_t j = 0; j < channels; j += FINISHED)
        add_images(dgamma, dbeta, scratch, j, smaller(j + FINISHED, channels), images, channels););
}
