/* Which algorithm a convolution is computed by, and how the work is cut.
 *
 * Elements of y and dx are each one sum, whose order depends on the shapes alone; how
 * their work is cut cannot be seen in them.  Sums of weights are cut into segments, and
 * these depend on nothing but the shapes. */
#include "parts.h"
#include "sizes.h"

/* A multiplication and addition takes an eighth of an elementary operation's time, as in a product of matrices. */
static int team_for(double outputs, double terms)
{
    const double work = outputs + terms / 8;
    return batten_team(work < 1e18 ? (size_t)work : (size_t)1e18);
}

/* Rows of sums and panels of weights are padded to whole tiles of the widest variant: so many elements. */
enum { TILE = 32, VECTOR = 16 };

/* Pieces of work that a team shares well. */
enum { PIECES = 16 };

/* Elements of a line of the cache. */
static size_t line(size_t size)
{
    return 64 / size;
}

static size_t strip_room(const struct part *f, size_t size)
{
    return up(batten_strip_rows(f, f->strip) * batten_strip_columns(f) * f->terms + VECTOR, line(size));
}

static void plan_direct(batten_convolution *p, int backward, size_t size)
{
    const size_t depth = BATTEN_DEPTH / size;
    struct part f;
    p->shared = p->room = p->columns = 0;
    for (size_t i = 0; batten_part(&f, p, backward, i); i++) {
        /* Few pixels are shared by columns, each of which has them gathered again. */
        const size_t wanted = blocks_of(PIECES, greater(1, p->groups * batten_blocks(p, &f)));
        p->columns = greater(p->columns, up(greater(1, blocks_of(f.columns, wanted)), TILE));
    }
    for (size_t i = 0; batten_part(&f, p, backward, i); i++) {
        p->shared = greater(p->shared, p->groups * up(f.columns, VECTOR) * f.depth);
        size_t room = BATTEN_PIXELS * (depth + line(size) + p->columns);
        if (f.strip) {
            const size_t taps = smaller(greater(1, depth / greater(1, f.run)), f.axis[1].taps);
            const size_t row = up(taps * f.run, line(size)) + line(size);
            room = strip_room(&f, size) + (f.run < BATTEN_RUN ? f.strip * f.axis[2].count * row + VECTOR : 0);
        }
        p->room = greater(p->room, room);
    }
}

static void plan_direct_weights(batten_convolution *p, size_t size)
{
    struct part f;
    batten_whole(&f, p);
    const size_t chunks = blocks_of(f.depth, BATTEN_CHUNK), row = up(smaller(f.depth, BATTEN_CHUNK), TILE);
    const size_t blocks = batten_blocks(p, &f);
    p->segments = greater(1, smaller(blocks, PIECES / greater(1, p->groups * chunks)));
    p->shared = p->groups * chunks * p->segments * f.columns * row;
    p->room = f.strip ? strip_room(&f, size) + f.strip * f.axis[2].count * row + VECTOR : BATTEN_PIXELS * row;
}

/* Weights, or a segment's sums of their gradients, are (taps, channels). */
static void plan_depthwise(batten_convolution *p, batten_pass pass)
{
    struct part f;
    batten_whole(&f, p);
    p->segments = pass == BATTEN_BACKWARD_WEIGHTS ? smaller(PIECES, greater(1, f.targets / BATTEN_PIXELS)) : 1;
    p->room = 0;
    p->shared = p->segments * f.depth * f.lead;
}

static size_t pitch(size_t channels, size_t size)
{
    return up(channels, 64 / size) + 64 / size; /* winograd.c adds a cache line to some */
}

/* A slice's elements, and the line by which its distance is made odd. */
static size_t slice(size_t n, size_t size)
{
    return up(n, 64 / size) + 64 / size;
}

enum { SLICES = 36 };

static size_t tiles_of(const batten_convolution *p, const size_t out[3])
{
    const size_t edge = 7 - p->kernel[2];
    return p->batch * out[0] * blocks_of(out[1], edge) * blocks_of(out[2], edge);
}

static void plan_winograd(batten_convolution *p, batten_pass pass, size_t size)
{
    enum { CACHE = 3 << 18, LEAST = 64, FEATURES = 64 };
    const int backward = pass == BATTEN_BACKWARD_DATA;
    const size_t channels = backward ? p->features : p->channels, features = backward ? p->channels : p->features;
    const size_t edge = 7 - p->kernel[2], *const out = backward ? p->in : p->out;
    const size_t tiles = tiles_of(p, out);
    /* A row of squares: ACROSS in winograd.c, and never more than an image has. */
    const size_t across = smaller(16, (out[2] + edge - 1) / edge);
    const size_t squares = 6 * ((across - 1) * edge + 6) * up(greater(p->channels, p->features), line(size));
    p->columns = pass == BATTEN_BACKWARD_WEIGHTS ? smaller(features, FEATURES) : features;
    const size_t most_tiles = greater(LEAST, CACHE / (SLICES * size * (channels + p->columns)));
    const size_t units = up((tiles + most_tiles - 1) / most_tiles, (size_t)p->team);
    p->tiles = pass == BATTEN_BACKWARD_WEIGHTS ? smaller(tiles, most_tiles) : (tiles + units - 1) / units;
    p->room = SLICES * (slice(p->tiles * pitch(channels, size), size) + slice(p->tiles * pitch(p->columns, size), size))
              + squares;
    if (pass == BATTEN_BACKWARD_WEIGHTS) {
        const size_t across = (features + FEATURES - 1) / FEATURES;
        p->segments = greater(1, smaller(8 / across, tiles / p->tiles));
        p->shared = across * p->segments * SLICES * slice(p->columns * pitch(channels, size), size);
    } else {
        p->shared = SLICES * slice(up(features, VECTOR) * channels, size);
    }
}

/* Whether Winograd's algorithm can be used, for squares of 3 or 5 taps of planes and a stride of one, and pays.
 *
 * Measured forward with AVX-512 on two threads, it takes a share of the direct time of
 *     0.64 with 16 channels and features, images of 16 x 16;    fewer do not fill a vector
 *     0.31 for images of 4 x 4, 0.73 of 5 x 5, 0.56 of 7 x 7;   smaller ones are mostly padding
 *     0.93 and 1.2 with 128 and 256 of both and 16 tiles, 3.6 with 4 tiles, as the weights are transformed for them. */
static int winograd_pays(const batten_convolution *p)
{
    enum { CHANNELS = 16, PIXELS = 4, FEW = 16 };
    const size_t r = p->kernel[2];
    for (int i = 0; i < 3; i++)
        if (p->stride[i] != 1 || p->dilation[i] != 1)
            return 0;
    if (p->kernel[0] != 1 || p->before[0] || p->in[0] != p->out[0] || p->kernel[1] != r || (r != 3 && r != 5))
        return 0;
    return p->groups == 1 && smaller(p->channels, p->features) >= CHANNELS && smaller(p->out[1], p->out[2]) >= PIXELS
           && tiles_of(p, p->out) >= FEW;
}

/* Whether most of what the gradient by data would gather is padding: there is none in the images, which have at
 * least twice as many pixels as their result. */
static int scattering_pays(const batten_convolution *p)
{
    size_t in = 1, out = 1, taps = 1;
    for (int i = 0; i < 3; i++) {
        if (p->stride[i] != 1 || p->dilation[i] != 1 || p->before[i] || p->in[i] != p->out[i] + p->kernel[i] - 1)
            return 0;
        in *= p->in[i];
        out *= p->out[i];
        taps *= p->kernel[i];
    }
    return p->groups == 1 && in >= 2 * out && taps * p->channels >= TILE && p->features >= 8;
}

static void plan_scatter(batten_convolution *p)
{
    const size_t row = up(p->kernel[0] * p->kernel[1] * p->kernel[2] * p->channels, TILE);
    p->shared = row * p->features;
    p->room = BATTEN_PIXELS * row;
}

size_t batten_convolution_plan(batten_convolution *p, batten_pass pass, batten_dtype type, int exact)
{
    const size_t size = type == BATTEN_F32 ? sizeof(float) : sizeof(double);
    double outputs = (double)p->batch * (double)p->features, terms = (double)(p->channels / p->groups);
    for (int i = 0; i < 3; i++) {
        outputs *= (double)p->out[i];
        terms *= (double)p->kernel[i];
    }
    p->team = team_for(outputs, outputs * terms);
    p->algorithm = BATTEN_DIRECT;
    if (p->groups > 1 && p->groups == p->channels && p->groups == p->features)
        p->algorithm = BATTEN_DEPTHWISE;
    else if (pass == BATTEN_BACKWARD_DATA && scattering_pays(p))
        p->algorithm = BATTEN_SCATTER;
    else if (!exact && type == BATTEN_F32 && outputs > 0 && winograd_pays(p))
        p->algorithm = BATTEN_WINOGRAD;

    if (p->algorithm == BATTEN_DEPTHWISE)
        plan_depthwise(p, pass);
    else if (p->algorithm == BATTEN_SCATTER)
        plan_scatter(p);
    else if (p->algorithm == BATTEN_WINOGRAD)
        plan_winograd(p, pass, size);
    else if (pass == BATTEN_BACKWARD_WEIGHTS)
        plan_direct_weights(p, size);
    else
        plan_direct(p, pass == BATTEN_BACKWARD_DATA, size);
    p->shared = up(p->shared, 64); /* whole cache lines, whatever the type */
    p->room = up(p->room, 64);
    return (p->shared + (size_t)p->team * p->room) * size;
}
