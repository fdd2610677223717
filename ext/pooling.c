/* Pooling: of a window that moves over images, channel by channel, the largest element or the average.
 *
 *     y[n][o][c] = max_k x[n][i][c]            i = o stride - padding + k dilation,
 *     y[n][o][c] = sum_k x[n][i][c] / terms    for the taps k that are inside of the image
 *
 * Images have three axes (those with fewer have axes of length one), and lie with their
 * channels last, which are the lanes of the vectors (pooling_lanes.h).  Along an axis, an
 * output's taps are a span of inputs, and the windows that an input is in are a span of
 * outputs.  So both directions are the same walk: over the pixels of the result, each of
 * which looks at three spans of the operand.  A pixel belongs to one thread, and adds what
 * it finds in one order; windows may overlap as they like, and also a single image is shared.
 * Only where windows tile the image, backward walks over the outputs, each of which gives their
 * gradients to its inputs: it reads every dy once and writes every dx once.
 *
 * Backward of the maximum knows for each output which of its taps was taken, as a byte
 * unless windows have more taps than that: neither x nor y need be kept.
 *
 * Averages add up to DEPTH terms in `real`, and those sums in double. */
#include "kernel.h"
#include <string.h>

enum { DEPTH = 64 };
enum { PIECE = 4 * BLOCK };       /* operations that a thread takes at a time, or so */
enum { FEW = 64, CHANNELS = 64 }; /* so few pixels are shared by so many channels */
enum { AHEAD = 256 };             /* elements before which memory is asked for */

/* Positions along an axis: first, first + step, ... */
struct span {
    size_t first, count, step;
    size_t tap; /* of an output's window, the number of the first that is inside */
};

/* What the pixels of a row have in common: its first two places and what these look at. */
struct row {
    size_t pixel, image, at[2]; /* pixel: the number of its first one */
    struct span span[2];
};

struct call {
    real *to;
    const real *from;
    void *taken;        /* of each output, the tap that is its maximum */
    int64_t *positions; /* and where that lies in its image */
    const batten_window *window;
    int counted, count_padding; /* whether averages are over the number of their terms, */
    real scale;                 /* or else what the sums are multiplied by */
};

static inline int adaptive(const batten_window *w, int axis)
{
    return w->stride[axis] == 0;
}

#define INLINE static inline __attribute__((always_inline))

/* The inputs in the window of output o. */
INLINE struct span inputs_of(const batten_window *w, int axis, size_t o)
{
    const size_t in = w->in[axis], out = w->out[axis], kernel = w->kernel[axis], step = w->dilation[axis];
    if (adaptive(w, axis)) {
        const size_t first = o * in / out;
        return (struct span){first, blocks_of((o + 1) * in, out) - first, 1, 0};
    }
    /* Counted from the left end of the padding, so that no number is negative. */
    const size_t left = w->padding[axis], first = o * w->stride[axis], end = left + in;
    const size_t before = first < left ? blocks_of(left - first, step) : 0;
    const size_t inside = first + (kernel - 1) * step < end ? kernel : first < end ? blocks_of(end - first, step) : 0;
    return (struct span){first + before * step - left, inside > before ? inside - before : 0, step, before};
}

/* The outputs that have input i in their windows.  Adaptive windows are the same seen from
 * the other side: o in / out < i + 1 and (o + 1) in / out > i. */
INLINE struct span outputs_of(const batten_window *w, int axis, size_t i)
{
    const size_t in = w->in[axis], out = w->out[axis], stride = w->stride[axis], dilation = w->dilation[axis];
    if (!out)
        return (struct span){0, 0, 1, 0};
    if (adaptive(w, axis)) {
        const size_t first = i * out / in;
        return (struct span){first, blocks_of((i + 1) * out, in) - first, 1, 0};
    }
    const size_t at = i + w->padding[axis], reach = (w->kernel[axis] - 1) * dilation;
    const size_t end = smaller(at / stride + 1, out);
    size_t first = at > reach ? blocks_of(at - reach, stride) : 0, step = 1;
    if (dilation > 1) { /* windows whose taps step over i are left out */
        while (first < end && (at - first * stride) % dilation)
            first++;
        while (step * stride % dilation)
            step++;
    }
    return (struct span){first, first < end ? blocks_of(end - first, step) : 0, step, 0};
}

/* Which tap of output o's window input i is. */
static inline size_t tap_of(const batten_window *w, int axis, size_t o, size_t i)
{
    if (adaptive(w, axis))
        return i - o * w->in[axis] / w->out[axis];
    const size_t distance = i + w->padding[axis] - o * w->stride[axis];
    return w->dilation[axis] == 1 ? distance : distance / w->dilation[axis];
}

/* How many terms of an average output o's window has along an axis.  Padding may count,
 * but not what a last window has beyond it. */
static inline size_t terms_of(const batten_window *w, int axis, size_t o, int count_padding)
{
    if (!count_padding || adaptive(w, axis))
        return inputs_of(w, axis, o).count;
    return smaller(w->kernel[axis], w->in[axis] + 2 * w->padding[axis] - o * w->stride[axis]);
}

/* What the sum of a window is multiplied by. */
static __attribute__((noinline)) real counted_scale(const struct call *c, size_t o0, size_t o1, size_t o2)
{
    const size_t terms = terms_of(c->window, 0, o0, c->count_padding) * terms_of(c->window, 1, o1, c->count_padding)
                         * terms_of(c->window, 2, o2, c->count_padding);
    return (real)(1 / (double)terms);
}

static inline real scale_of(const struct call *c, size_t o0, size_t o1, size_t o2)
{
    return c->counted ? counted_scale(c, o0, o1, o2) : c->scale;
}

static inline size_t pixel_at(const size_t shape[3], size_t image, size_t a, size_t b, size_t c)
{
    return ((image * shape[0] + a) * shape[1] + b) * shape[2] + c;
}

static size_t taps(const batten_window *w)
{
    return w->kernel[0] * w->kernel[1] * w->kernel[2];
}

/* Where row a, b of an output's window begins, and the number of its first tap. */
static inline size_t input_at(const batten_window *w, const struct row *r, size_t a, size_t b, struct span s)
{
    return pixel_at(w->in, r->image, r->span[0].first + a * r->span[0].step, r->span[1].first + b * r->span[1].step,
                    s.first);
}

static inline size_t tap_at(const batten_window *w, const struct row *r, size_t a, size_t b, struct span s)
{
    return ((r->span[0].tap + a) * w->kernel[1] + r->span[1].tap + b) * w->kernel[2] + s.tap;
}

/* ---- a pixel's channels ---- */

/* How the taps that were taken are kept. */
enum kept { BYTES, INTEGERS };

static enum kept kept_by(const batten_window *w)
{
    return taps(w) <= BATTEN_BYTE_TAPS ? BYTES : INTEGERS;
}

typedef __typeof__(_Generic((real)0, float: (int32_t)0, double: (int64_t)0)) word; /* as wide as real */

#define NAMED(name, width) name##_##width
#define NAME(name, width) NAMED(name, width)

/* As many vectors at a time as accumulators stay in registers, one after the other by name:
 * GCC 12 writes an array of them to the stack at every step. */
#define EACH_VECTOR(DO) DO(0) DO(1) DO(2) DO(3)
enum { VECTORS = 4 };

/* LANES channels are a vector of a width; its pixels have no more than MOST, where these are few. */
#define WIDTH wide
#define LANES VLEN
#define MOST (VECTORS + 1)
#include "pooling_lanes.h"

#define IN_16_BYTES (16 * VLEN / VBYTES)
#if VBYTES > 16
#define WIDTH narrow
#define LANES IN_16_BYTES
#define MOST (VBYTES / 16)
#include "pooling_lanes.h"
#endif

#define WIDTH single
#define LANES 1
#define MOST (IN_16_BYTES - 1)
#include "pooling_lanes.h"

/* The function of the widest vectors that the channels fill: where they do not fill the
 * last one, it begins before them, and some results are found twice. */
#if VBYTES > 16
#define WIDEST(name, channels) \
    ((channels) >= VLEN ? NAME(name, wide) : (channels) >= IN_16_BYTES ? NAME(name, narrow) : NAME(name, single))
#else
#define WIDEST(name, channels) ((channels) >= VLEN ? NAME(name, wide) : NAME(name, single))
#endif

/* ---- the walk ---- */

typedef struct span spans(const batten_window *w, int axis, size_t at);
typedef void pixels(const struct call *c, const struct row *r, size_t first, size_t end, size_t channel,
                    size_t channels);

/* The result's pixels in pieces, or pieces of their channels. */
struct walk {
    const size_t *shape;
    spans *of;
    pixels *each;
    size_t pixels, piece, across;
};

static void walk_piece(const struct call *c, const struct walk *walk, size_t i)
{
    const batten_window *const w = c->window;
    const size_t part = i % walk->across, channel = part * CHANNELS;
    const size_t channels = part + 1 < walk->across ? CHANNELS : w->channels - channel;
    const size_t begin = i / walk->across * walk->piece, end = smaller(begin + walk->piece, walk->pixels);
    for (size_t pixel = begin, next; pixel < end; pixel = next) {
        const size_t length = walk->shape[2], row = pixel / length, first = row * length;
        next = smaller(first + length, end);
        struct row r = {.pixel = first, .image = row / walk->shape[1] / walk->shape[0]};
        r.at[0] = row / walk->shape[1] % walk->shape[0];
        r.at[1] = row % walk->shape[1];
        for (int axis = 0; axis < 2; axis++)
            r.span[axis] = walk->of(w, axis, r.at[axis]);
        walk->each(c, &r, pixel - first, next - first, channel, channels);
    }
}

/* Every tap of every output is looked at once, in both directions. */
static void walk_over(const struct call *c, const size_t shape[3], spans *of, pixels *each)
{
    const batten_window *const w = c->window;
    const size_t pixels = w->images * shape[0] * shape[1] * shape[2];
    const size_t work = w->images * w->out[0] * w->out[1] * w->out[2] * w->channels * taps(w);
    const size_t across = pixels < FEW && w->channels > CHANNELS ? w->channels / CHANNELS : 1;
    if (!pixels || !w->channels)
        return;
    const size_t piece = across > 1 ? 1 : PIECE / (work / pixels + 1) + 1;
    const struct walk walk = {shape, of, each, pixels, piece, across};
    PARALLEL(work, for (size_t i = 0; i < blocks_of(pixels, piece) * across; i++) walk_piece(c, &walk, i););
}

static struct span inputs(const batten_window *w, int axis, size_t o)
{
    return inputs_of(w, axis, o);
}

static struct span outputs(const batten_window *w, int axis, size_t i)
{
    return outputs_of(w, axis, i);
}

/* Whether each input is in one window, so that an output can write the gradients of its inputs. */
static int exclusive(const batten_window *w)
{
    int all = 1;
    for (int axis = 0; axis < 3; axis++)
        all &= w->stride[axis] == w->kernel[axis] && w->padding[axis] == 0
               && (w->dilation[axis] == 1 || w->kernel[axis] == 1) && w->out[axis] * w->stride[axis] == w->in[axis];
    return all;
}

/* ---- the kernels ---- */

/* y (images, out, channels), and of the same shape, unless it is NULL, taken: the number of
 * the tap that is the maximum, a byte up to BATTEN_BYTE_TAPS taps, else an int32_t.  The first
 * of equals is taken, and before any number a NaN (of several the last, as PyTorch does). */
void KERNEL(max_pool)(real *y, void *taken, const real *x, const batten_window *window)
{
    const struct call call = {.to = y, .from = x, .taken = taken, .window = window};
    walk_over(&call, window->out, inputs,
              kept_by(window) == BYTES ? WIDEST(max_bytes, window->channels) : WIDEST(max_integers, window->channels));
}

/* dx[i] = the sum of dy over the outputs that took i. */
void KERNEL(max_pool_backward)(real *dx, const real *dy, const void *taken, const batten_window *window)
{
    const struct call call = {.to = dx, .from = dy, .taken = (void *)taken, .window = window};
    const int bytes = kept_by(window) == BYTES;
    if (exclusive(window))
        walk_over(&call, window->out, inputs,
                  bytes ? WIDEST(max_give_bytes, window->channels) : WIDEST(max_give_integers, window->channels));
    else
        walk_over(&call, window->in, outputs,
                  bytes ? WIDEST(max_gather_bytes, window->channels) : WIDEST(max_gather_integers, window->channels));
}

/* Where in its image output `at` has a tap, by its number. */
static size_t position_of(const batten_window *w, const size_t at[3], size_t tap)
{
    size_t position = 0, length = 1;
    for (int axis = 2; axis >= 0; axis--) {
        const size_t k = tap % w->kernel[axis], o = at[axis], in = w->in[axis];
        const size_t i = adaptive(w, axis) ? o * in / w->out[axis] + k
                                           : o * w->stride[axis] + k * w->dilation[axis] - w->padding[axis];
        position += i * length;
        length *= in;
        tap /= w->kernel[axis];
    }
    return position;
}

static void write_positions(const struct call *c, const struct row *r, size_t first, size_t end, size_t channel,
                            size_t channels)
{
    const int bytes = kept_by(c->window) == BYTES;
    for (size_t o = first; o < end; o++)
        for (size_t j = channel; j < channel + channels; j++) {
            const size_t to = (r->pixel + o) * c->window->channels + j, at[3] = {r->at[0], r->at[1], o};
            const size_t tap = bytes ? ((const uint8_t *)c->taken)[to] : (size_t)((const int32_t *)c->taken)[to];
            c->positions[to] = (int64_t)position_of(c->window, at, tap);
        }
}

/* positions, of y's shape: where in its image lies what was taken, counted along the axes of `in`. */
void KERNEL(max_pool_positions)(int64_t *positions, const void *taken, const batten_window *window)
{
    const struct call call = {.taken = (void *)taken, .positions = positions, .window = window};
    walk_over(&call, window->out, inputs, write_positions);
}

/* Whether all windows have as many terms as taps. */
static int whole(const batten_window *w, int count_padding)
{
    int all = 1;
    for (int axis = 0; axis < 3; axis++) {
        const size_t padding = w->padding[axis], end = w->in[axis] + (count_padding ? 2 * padding : 0);
        all &= !adaptive(w, axis) && (count_padding || padding == 0)
               && (w->out[axis] - 1) * w->stride[axis] + w->kernel[axis] <= end;
    }
    return all;
}

static struct call averaging(real *to, const real *from, const batten_window *w, int count_padding, double divisor)
{
    const int counted = divisor == 0 && !whole(w, count_padding);
    const double scale = 1 / (divisor != 0 ? divisor : (double)taps(w));
    return (struct call){
        .to = to, .from = from, .window = w, .counted = counted, .count_padding = count_padding, .scale = (real)scale};
}

/* y (images, out, channels) = the windows' sums over divisor; if that is nought, over the
 * number of their terms, among which padding may count. */
void KERNEL(average_pool)(real *y, const real *x, const batten_window *window, int count_padding, double divisor)
{
    const struct call call = averaging(y, x, window, count_padding, divisor);
    walk_over(&call, window->out, inputs,
              taps(window) > DEPTH ? WIDEST(average_deep, window->channels) : WIDEST(average, window->channels));
}

/* dx[i] = the sum of dy over the windows that i is in, each divided as there. */
void KERNEL(average_pool_backward)(real *dx, const real *dy, const batten_window *window, int count_padding,
                                   double divisor)
{
    const struct call call = averaging(dx, dy, window, count_padding, divisor);
    if (exclusive(window))
        walk_over(&call, window->out, inputs, WIDEST(average_give, window->channels));
    else
        walk_over(&call, window->in, outputs, WIDEST(average_gather, window->channels));
}
