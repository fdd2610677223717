/* Group normalization (Wu & He 2018): the channels of an image in groups, each by its own statistics; by itself,
 * with a relu behind it, or with another image added before that relu.
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
 * A group of one channel (instance normalization, Ulyanov et al. 2016) has that channel's.
 *
 * Threads take whole images, or share the tiles of one after the other where images are
 * large or few; the sums of tiles are added from the top down either way.  What is summed
 * over images, dgamma and dbeta, is added from the first to the last. */
#include "columns.h"

struct image {
    size_t pixels, channels, groups;
};

static size_t channels_of_group(struct image s)
{
    return s.groups ? s.channels / s.groups : 0;
}

static size_t size_of(struct image s)
{
    return s.pixels * s.channels;
}

/* Whether a team shares each image.  Waiting for each other thrice costs as much as some
 * thousand elements; against that stands what leaves the cache of one thread between the
 * walks, or, with images for few threads, what the others could have done. */
static int is_shared(struct image s, size_t images)
{
    enum { LARGE = 1 << 18, SOME = 1 << 17, FEW = 4 };
    return tiles(s.pixels, s.channels) > 1 && size_of(s) > (images < FEW ? SOME : LARGE);
}

/* of_groups[g] = the sum over g's channels of gamma v */
static void add_channels(double *of_groups, const double *v, const real *gamma, struct image s)
{
    const size_t width = channels_of_group(s);
    if (s.groups == s.channels) {
        PRAGMA(omp simd)
        for (size_t g = 0; g < s.groups; g++)
            of_groups[g] = (gamma ? gamma[g] : 1) * v[g];
        return;
    }
    for (size_t g = 0; g < s.groups; g++) {
        double sum = 0;
        PRAGMA(omp simd reduction(+ : sum))
        for (size_t j = g * width; j < (g + 1) * width; j++)
            sum += (gamma ? gamma[j] : 1) * v[j];
        of_groups[g] = sum;
    }
}

/* mean and rstd (groups) from sums (2, channels) of d and d^2, which become each channel's mean and variance. */
static void finish_groups(double *mean, double *rstd, double *sums, const real *x, struct image s, double eps)
{
    const size_t width = channels_of_group(s);
    const double a_pixel = 1 / (double)s.pixels, a_channel = 1 / (double)width;
    double *const center = sums, *const spread = sums + s.channels;
    PRAGMA(omp simd)
    for (size_t j = 0; j < s.channels; j++) {
        const double d = sums[j] * a_pixel;
        center[j] = x[j] + d;
        spread[j] = spread[j] * a_pixel - d * d;
    }
    add_channels(mean, center, NULL, s);
    for (size_t g = 0; g < (width > 1 ? s.groups : 0); g++) {
        mean[g] /= (double)width;
        PRAGMA(omp simd)
        for (size_t j = g * width; j < (g + 1) * width; j++)
            spread[j] += (center[j] - mean[g]) * (center[j] - mean[g]);
    }
    add_channels(rstd, spread, NULL, s);
    PRAGMA(omp simd)
    for (size_t g = 0; g < s.groups; g++) {
        const double var = rstd[g] * a_channel;
        rstd[g] = 1 / sqrt((var < 0 ? 0 : var) + eps);
    }
}

/* Where in a tile group g ends. */
static size_t end_of_group(size_t g, struct tile t, struct image s)
{
    return smaller((g + 1) * channels_of_group(s) - t.column, t.width);
}

/* What some of a tile's channels have of their groups' statistics, those of the next channel `step` further. */
static inline __attribute__((always_inline)) void load_run(struct columns *c, const double *mean, const double *rstd,
                                                           const real *gamma, const real *beta, struct tile t,
                                                           size_t begin, size_t end, const size_t step)
{
    PRAGMA(omp simd)
    for (size_t j = begin; j < end; j++) {
        const double center = mean[(j - begin) * step];
        const double slope = (gamma ? gamma[t.column + j] : 1) * rstd[(j - begin) * step];
        c->mean[j] = (real)center;
        c->scale[j] = (real)slope;
        c->shift[j] = (real)((beta ? beta[t.column + j] : 0) + ((real)center - center) * slope);
    }
}

static void load_groups(struct columns *c, const double *mean, const double *rstd, const real *gamma, const real *beta,
                        struct tile t, struct image s)
{
    if (s.groups == s.channels) {
        load_run(c, mean + t.column, rstd + t.column, gamma, beta, t, 0, t.width, 1);
        return;
    }
    for (size_t j = 0, g = t.column / channels_of_group(s), end; j < t.width; j = end, g++) {
        end = end_of_group(g, t, s);
        load_run(c, mean + g, rstd + g, gamma, beta, t, j, end, 0);
    }
}

/* sums (2, channels) of a tile are added to those of the tiles above it; dy NULL for the sums of x. */
static void add_tile(double *sums, const real *dy, const real *x, struct columns *c, struct tile t, struct image s,
                     int relu)
{
    double below[2][2 * COLUMNS];
    double *const above[2] = {sums + t.column, sums + s.channels + t.column};
    double *const first = t.row ? below[0] : above[0], *const second = t.row ? below[1] : above[1];
    if (dy)
        sum_tile_backward(first, second, dy, x, c, t, s.channels, relu);
    else
        sum_tile_forward(first, second, x, t, s.channels);
    PRAGMA(omp simd)
    for (size_t j = 0; j < (t.row ? t.width : 0); j++) {
        above[0][j] += below[0][j];
        above[1][j] += below[1][j];
    }
}

/* ---- forward ---- */

/* Where the arrays of an image begin; z, gamma and beta may be NULL.  sums (2, channels) are of the image or, shared,
 * of each row of tiles. */
struct forward {
    real *y;
    double *mean, *rstd;
    const real *x, *z, *gamma, *beta;
    double *sums;
};

static struct forward forward_at(struct forward a, size_t i, struct image s)
{
    const size_t at = i * size_of(s), group = i * s.groups;
    a.y += at, a.x += at;
    if (a.z)
        a.z += at;
    a.mean += group, a.rstd += group;
    a.sums += i * 2 * s.channels;
    return a;
}

static void normalize_image(struct forward a, struct image s, double eps, int relu)
{
    const size_t across = tiles_across(s.channels), n = tiles(s.pixels, s.channels);
    struct columns c;
    for (size_t i = 0; i < n; i++)
        add_tile(a.sums, NULL, a.x, NULL, tile_at(i, s.pixels, s.channels), s, 0);
    finish_groups(a.mean, a.rstd, a.sums, a.x, s, eps);
    for (size_t j = 0; j < across; j++) {
        load_groups(&c, a.mean, a.rstd, a.gamma, a.beta, tile_at(j, s.pixels, s.channels), s);
        for (size_t i = n / across; i-- > 0;)
            write_tile(a.y, a.x, a.z, &c, tile_at(i * across + j, s.pixels, s.channels), s.channels, relu);
    }
}

static void gather_tile(double *sums, const real *x, struct tile t, struct image s)
{
    double *const first = sums_of_tile(sums, t, s.channels);
    sum_tile_forward(first, first + s.channels, x, t, s.channels);
}

static void normalize_tile(struct forward a, struct tile t, struct image s, int relu)
{
    struct columns c;
    load_groups(&c, a.mean, a.rstd, a.gamma, a.beta, t, s);
    write_tile(a.y, a.x, a.z, &c, t, s.channels, relu);
}

/* normalize_image by a team, each member of which calls this. */
static void share_image(struct forward a, struct image s, double eps, int relu, int team_size)
{
    const size_t n = tiles(s.pixels, s.channels);
    SHARED(for (size_t i = 0; i < n; i++) gather_tile(a.sums, a.x, tile_at(i, s.pixels, s.channels), s);)
    SHARED(for (size_t j = 0; j < s.channels; j += FINISHED)
               add_tiles(a.sums, j, smaller(j + FINISHED, s.channels), s.pixels, s.channels);)
    ALONE(finish_groups(a.mean, a.rstd, a.sums, a.x, s, eps);)
    SHARED_BACK(i, n, normalize_tile(a, tile_at(i, s.pixels, s.channels), s, relu);)
}

/* Both of the kernels below. */
static void normalize(struct forward a, size_t images, struct image s, double eps, int relu)
{
    if (!size_of(s)) {
        for (size_t i = 0; i < images * s.groups; i++)
            a.mean[i] = 0, a.rstd[i] = 1;
        return;
    }
    if (is_shared(s, images)) {
        TEAM(3 * images * size_of(s), for (size_t i = 0; i < images; i++) {
            struct forward one = forward_at(a, i, s);
            one.sums = a.sums; /* the image before is done with it */
            share_image(one, s, eps, relu, team_size);
        });
        return;
    }
    PARALLEL(images > 1 ? 3 * images * size_of(s) : 0, for (size_t i = 0; i < images; i++)
        normalize_image(forward_at(a, i, s), s, eps, relu););
}

/* y (images, pixels, channels); with relu, what is negative becomes nought.  mean, rstd
 * (images, groups) are for backward.  gamma, beta (channels) may be NULL.  scratch: 2
 * channels doubles for each image and each row of tiles in one.  Without pixels mean is
 * 0 and rstd 1. */
void KERNEL(group_norm)(real *y, double *mean, double *rstd, const real *x, const real *gamma, const real *beta,
                        double *scratch, size_t images, size_t pixels, size_t channels, size_t groups, double eps,
                        int relu)
{
    const struct forward a = {
        .y = y, .mean = mean, .rstd = rstd, .x = x, .gamma = gamma, .beta = beta, .sums = scratch};
    normalize(a, images, (struct image){pixels, channels, groups}, eps, relu);
}

/* The same with z (images, pixels, channels) added before relu. */
void KERNEL(group_norm_add_relu)(real *y, double *mean, double *rstd, const real *x, const real *z, const real *gamma,
                                 const real *beta, double *scratch, size_t images, size_t pixels, size_t channels,
                                 size_t groups, double eps)
{
    const struct forward a = {
        .y = y, .mean = mean, .rstd = rstd, .x = x, .z = z, .gamma = gamma, .beta = beta, .sums = scratch};
    normalize(a, images, (struct image){pixels, channels, groups}, eps, 1);
}

/* ---- backward ---- */

/* Where the arrays of an image begin; gamma and beta may be NULL, and z's gradient dz with the result y.
 * sums (2, channels), offset and slope (groups) are what becomes of dy, tiles has sums for each row of tiles. */
struct backward {
    real *dx, *dz;
    const real *dy, *y, *x;
    const double *mean, *rstd;
    const real *gamma, *beta;
    double *sums, *offset, *slope, *tiles;
};

static struct backward backward_at(struct backward a, size_t i, struct image s)
{
    const size_t at = i * size_of(s), group = i * s.groups;
    a.dx += at, a.dy += at, a.x += at;
    if (a.dz)
        a.dz += at, a.y += at;
    a.mean += group, a.rstd += group, a.offset += group, a.slope += group;
    a.sums += i * 2 * s.channels;
    return a;
}

/* From the sums of dy d those of dy xhat, as below; the compiler is told of groups of one channel. */
static inline __attribute__((always_inline)) void scale_sums(struct backward a, struct image s, const size_t width)
{
    double *const dy = a.sums, *const dy_d = a.sums + s.channels;
    for (size_t g = 0; g < s.groups; g++) {
        const double rstd = a.rstd[g], excess = a.mean[g] - (real)a.mean[g];
        for (size_t j = g * width; j < (g + 1) * width; j++)
            dy_d[j] = rstd * (dy_d[j] - excess * dy[j]);
    }
}

/* With g = gamma dy, dy stopped where relu did, and xhat = (x - mean) rstd,
 *
 *     dx = rstd (g - sum g / nm - xhat sum g xhat / nm)     summed over a group
 *     dgamma = sum dy xhat,    dbeta = sum dy               summed over images and pixels
 *
 * d = x - r is taken with the rounded mean r, so that xhat = rstd (d - (mean - r)) and
 *
 *     sum dy xhat = rstd (sum dy d - (mean - r) sum dy)
 *     dx = dy scale - d slope - offset.
 *
 * sums (2, channels) are those of dy and dy d, and become those of dy and dy xhat; slope and offset are a group's. */
static void finish_groups_backward(struct backward a, struct image s)
{
    const double share = 1 / ((double)s.pixels * (double)channels_of_group(s));
    add_channels(a.offset, a.sums, a.gamma, s);
    add_channels(a.slope, a.sums + s.channels, a.gamma, s);
    PRAGMA(omp simd)
    for (size_t g = 0; g < s.groups; g++) {
        const double excess = a.mean[g] - (real)a.mean[g], total = a.offset[g];
        const double along = a.rstd[g] * (a.slope[g] - excess * total);
        a.slope[g] = a.rstd[g] * a.rstd[g] * along * share;
        a.offset[g] = a.rstd[g] * total * share - a.slope[g] * excess;
    }
    if (s.groups == s.channels)
        scale_sums(a, s, 1);
    else
        scale_sums(a, s, channels_of_group(s));
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

/* What the columns of a tile have for dx, beside what they have for y. */
struct slopes {
    real offset[2 * COLUMNS], slope[2 * COLUMNS];
};

static inline __attribute__((always_inline)) void load_run_of_slopes(struct slopes *c, const double *offset,
                                                                     const double *slope, size_t begin, size_t end,
                                                                     const size_t step)
{
    PRAGMA(omp simd)
    for (size_t j = begin; j < end; j++) {
        c->offset[j] = (real)offset[(j - begin) * step];
        c->slope[j] = (real)slope[(j - begin) * step];
    }
}

static void load_slopes(struct slopes *c, struct backward a, struct tile t, struct image s)
{
    if (s.groups == s.channels) {
        load_run_of_slopes(c, a.offset + t.column, a.slope + t.column, 0, t.width, 1);
        return;
    }
    for (size_t j = 0, g = t.column / channels_of_group(s), end; j < t.width; j = end, g++) {
        end = end_of_group(g, t, s);
        load_run_of_slopes(c, a.offset + g, a.slope + g, j, end, 0);
    }
}

static void write_tile_backward(struct backward a, const struct columns *c, const struct slopes *of, struct tile t,
                                struct image s, int relu)
{
    const real *const dy = a.dz ? a.dz : a.dy;
    if (relu)
        write_rows_backward(a.dx, dy, a.x, c, of->offset, of->slope, t, s.channels, 1);
    else
        write_rows_backward(a.dx, dy, a.x, c, of->offset, of->slope, t, s.channels, 0);
}

static void normalize_image_backward(struct backward a, struct image s, int relu)
{
    const size_t across = tiles_across(s.channels), n = tiles(s.pixels, s.channels);
    struct columns c;
    struct slopes of;
    for (size_t j = 0; j < across; j++) {
        load_groups(&c, a.mean, a.rstd, a.gamma, a.beta, tile_at(j, s.pixels, s.channels), s);
        for (size_t i = j; i < n; i += across) {
            const struct tile t = tile_at(i, s.pixels, s.channels);
            if (a.dz)
                stop_rows(a.dz, a.dy, a.y, t, s.channels);
            add_tile(a.sums, a.dz ? a.dz : a.dy, a.x, &c, t, s, relu);
        }
    }
    finish_groups_backward(a, s);
    for (size_t j = 0; j < across; j++) {
        if (across > 1)
            load_groups(&c, a.mean, a.rstd, a.gamma, a.beta, tile_at(j, s.pixels, s.channels), s);
        load_slopes(&of, a, tile_at(j, s.pixels, s.channels), s);
        for (size_t i = n / across; i-- > 0;)
            write_tile_backward(a, &c, &of, tile_at(i * across + j, s.pixels, s.channels), s, relu);
    }
}

static void gather_tile_backward(struct backward a, struct tile t, struct image s, int relu)
{
    struct columns c;
    double *const first = sums_of_tile(a.tiles, t, s.channels);
    load_groups(&c, a.mean, a.rstd, a.gamma, a.beta, t, s);
    if (a.dz)
        stop_rows(a.dz, a.dy, a.y, t, s.channels);
    sum_tile_backward(first, first + s.channels, a.dz ? a.dz : a.dy, a.x, &c, t, s.channels, relu);
}

static void normalize_tile_backward(struct backward a, struct tile t, struct image s, int relu)
{
    struct columns c;
    struct slopes of;
    load_groups(&c, a.mean, a.rstd, a.gamma, a.beta, t, s);
    load_slopes(&of, a, t, s);
    write_tile_backward(a, &c, &of, t, s, relu);
}

/* normalize_image_backward by a team. */
static void share_image_backward(struct backward a, struct image s, int relu, int team_size)
{
    const size_t n = tiles(s.pixels, s.channels);
    SHARED(for (size_t i = 0; i < n; i++) gather_tile_backward(a, tile_at(i, s.pixels, s.channels), s, relu);)
    SHARED(for (size_t j = 0; j < s.channels; j += FINISHED)
               add_tiles(a.tiles, j, smaller(j + FINISHED, s.channels), s.pixels, s.channels);)
    ALONE(memcpy(a.sums, a.tiles, 2 * s.channels * sizeof(double)); finish_groups_backward(a, s);)
    SHARED_BACK(i, n, normalize_tile_backward(a, tile_at(i, s.pixels, s.channels), s, relu);)
}

/* dgamma and dbeta of some channels, from the images' sums, which are added in the place of the first one's. */
static void add_images(real *dgamma, real *dbeta, double *sums, size_t begin, size_t end, size_t images,
                       size_t channels)
{
    double *const of_dy = sums, *const of_dy_xhat = sums + channels;
    for (size_t i = 1; i < images; i++) {
        PRAGMA(omp simd)
        for (size_t j = begin; j < end; j++) {
            of_dy[j] += of_dy[i * 2 * channels + j];
            of_dy_xhat[j] += of_dy_xhat[i * 2 * channels + j];
        }
    }
    for (size_t j = begin; j < (dgamma ? end : begin); j++)
        dgamma[j] = (real)of_dy_xhat[j];
    for (size_t j = begin; j < (dbeta ? end : begin); j++)
        dbeta[j] = (real)of_dy[j];
}

/* All images by a team. */
static void normalize_images_backward(struct backward a, real *dgamma, real *dbeta, size_t images, struct image s,
                                      int relu, int team_size)
{
    if (is_shared(s, images)) {
        for (size_t i = 0; i < images; i++)
            share_image_backward(backward_at(a, i, s), s, relu, team_size);
    } else {
        SHARED(for (size_t i = 0; i < images; i++) normalize_image_backward(backward_at(a, i, s), s, relu);)
    }
    SHARED(for (size_t j = 0; j < s.channels; j += FINISHED)
               add_images(dgamma, dbeta, a.sums, j, smaller(j + FINISHED, s.channels), images, s.channels);)
}

/* Both of the kernels below. */
static void normalize_backward(struct backward a, real *dgamma, real *dbeta, double *scratch, size_t images,
                               struct image s, int relu)
{
    if (!size_of(s) || !images) {
        no_gradients(dgamma, dbeta, s.channels);
        return;
    }
    a.sums = scratch;
    a.offset = a.sums + images * 2 * s.channels;
    a.slope = a.offset + images * s.groups;
    a.tiles = a.slope + images * s.groups;
    TEAM(images > 1 || is_shared(s, images) ? 5 * images * size_of(s) : 0,
         normalize_images_backward(a, dgamma, dbeta, images, s, relu, team_size););
}

/* dx (images, pixels, channels), which may be dy; mean, rstd and gamma as in forward.  dgamma, dbeta, gamma
 * and beta may be NULL; only relu asks for beta.  scratch: 2 (channels + groups) doubles
 * for each image, and 2 channels for each row of tiles. */
void KERNEL(group_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x, const double *mean,
                                 const double *rstd, const real *gamma, const real *beta, double *scratch,
                                 size_t images, size_t pixels, size_t channels, size_t groups, int relu)
{
    const struct backward a = {.dx = dx, .dy = dy, .x = x, .mean = mean, .rstd = rstd, .gamma = gamma, .beta = beta};
    normalize_backward(a, dgamma, dbeta, scratch, images, (struct image){pixels, channels, groups}, relu);
}

/* The same for group_norm_add_relu, whose result was y; dz, which may be dy, is dy
 * where relu let y through. */
void KERNEL(group_norm_add_relu_backward)(real *dx, real *dz, real *dgamma, real *dbeta, const real *dy, const real *y,
                                          const real *x, const double *mean, const double *rstd, const real *gamma,
                                          double *scratch, size_t images, size_t pixels, size_t channels, size_t groups)
{
    const struct backward a = {
        .dx = dx, .dz = dz, .dy = dy, .y = y, .x = x, .mean = mean, .rstd = rstd, .gamma = gamma};
    normalize_backward(a, dgamma, dbeta, scratch, images, (struct image){pixels, channels, groups}, 0);
}
