/* The parts of a convolution (parts.h). */
#include "parts.h"
#include "sizes.h"

enum { STRIP_PIXELS = 256 }; /* targets of a strip, at most, unless a single row has more */

/* Strips are of rows of so many targets: shorter ones make poor tiles, longer ones take much memory. */
enum { SHORT_ROW = 8, LONG_ROW = 1024 };

static ptrdiff_t common_divisor(ptrdiff_t a, ptrdiff_t b)
{
    while (b) {
        const ptrdiff_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* n / d rounded up, for any n. */
static ptrdiff_t quotient_up(ptrdiff_t n, ptrdiff_t d)
{
    return n > 0 ? (n + d - 1) / d : -(-n / d);
}

void batten_meeting(const struct axis *a, size_t j, size_t *low, size_t *high)
{
    const ptrdiff_t at = a->first + (ptrdiff_t)j * a->step, taps = (ptrdiff_t)a->taps;
    *low = 0;
    *high = a->taps;
    if (at >= 0 && at + (taps - 1) * a->reach < (ptrdiff_t)a->source) /* without a division, as most do */
        return;
    ptrdiff_t from = quotient_up(-at, a->reach), to = quotient_up((ptrdiff_t)a->source - at, a->reach);
    to = to < 0 ? 0 : to > taps ? taps : to;
    from = from < 0 ? 0 : from > to ? to : from;
    *low = (size_t)from;
    *high = (size_t)to;
}

/* Cuts an axis of targets next to each other where the set of taps that meet the image changes; returns how
 * many parts there are, and makes *a the one of number `wanted`. */
static size_t cut_axis(struct axis *a, size_t wanted)
{
    const struct axis all = *a;
    size_t parts = 0;
    for (size_t j = 0, next; j < all.count; j = next) {
        size_t low, high, other_low, other_high;
        batten_meeting(&all, j, &low, &high);
        for (next = j + 1; next < all.count; next++) {
            batten_meeting(&all, next, &other_low, &other_high);
            if (other_low != low || other_high != high)
                break;
        }
        if (parts++ == wanted) {
            a->count = next - j;
            a->origin = all.origin + j;
            a->first = all.first + (ptrdiff_t)j * all.step + (ptrdiff_t)low * all.reach;
            a->tap = all.tap + (ptrdiff_t)low * all.tap_step;
            a->taps = high - low;
        }
    }
    return parts;
}

static struct axis axis_forward(const batten_convolution *p, int i)
{
    return (struct axis){
        .count = p->out[i],
        .taps = p->kernel[i],
        .every = 1,
        .target = p->out[i],
        .first = -(ptrdiff_t)p->before[i],
        .step = (ptrdiff_t)p->stride[i],
        .reach = (ptrdiff_t)p->dilation[i],
        .source = p->in[i],
        .tap_step = 1,
    };
}

/* x[i] was met by tap t for y[j] where i + before = j stride + t dilation.  Of the pixels i = r + j stride these
 * are the taps for which r + before - t dilation is a multiple of the stride; they are `period` apart. */
static struct axis axis_backward(const batten_convolution *p, int i, size_t r)
{
    const ptrdiff_t s = (ptrdiff_t)p->stride[i], d = (ptrdiff_t)p->dilation[i], at = (ptrdiff_t)(r + p->before[i]);
    const ptrdiff_t divisor = common_divisor(s, d), period = s / divisor;
    const ptrdiff_t kernel = (ptrdiff_t)p->kernel[i];
    ptrdiff_t tap = 0;
    while (tap < period && tap < kernel && (at - tap * d) % s)
        tap++;
    const int none = tap == period || tap >= kernel;
    const size_t taps = none ? 0 : blocks_of((size_t)(kernel - tap), (size_t)period);
    const ptrdiff_t last = none ? 0 : tap + ((ptrdiff_t)taps - 1) * period;
    return (struct axis){
        .count = r < p->in[i] ? blocks_of(p->in[i] - r, (size_t)s) : 0,
        .taps = taps,
        .origin = r,
        .every = (size_t)s,
        .target = p->in[i],
        .first = none ? 0 : (at - last * d) / s,
        .step = 1,
        .reach = d / divisor,
        .source = p->out[i],
        .tap = last,
        .tap_step = -period,
    };
}

/* Whether the taps of an axis meet so much padding that it pays to leave these out. */
static int mostly_padding(const struct axis *a)
{
    size_t met = 0;
    if (a->every != 1 || a->count > 8)
        return 0;
    for (size_t j = 0; j < a->count; j++) {
        size_t low, high;
        batten_meeting(a, j, &low, &high);
        met += high - low;
    }
    return 8 * met < 7 * a->count * a->taps;
}

/* Makes *a part `wanted` of an axis; returns how many there are. */
static size_t axis_part(struct axis *a, const batten_convolution *p, int i, int backward, size_t wanted)
{
    if (backward && p->stride[i] > 1) {
        *a = axis_backward(p, i, wanted);
        return smaller(p->stride[i], p->in[i] ? p->in[i] : 1);
    }
    *a = backward ? axis_backward(p, i, 0) : axis_forward(p, i);
    return mostly_padding(a) ? cut_axis(a, wanted) : 1;
}

/* What follows from a part's axes. */
static void join_axes(struct part *f, const batten_convolution *p, int backward)
{
    f->lead = backward ? p->features : p->channels;
    f->target_lead = backward ? p->channels : p->features;
    f->terms = f->depth = f->lead / p->groups;
    f->columns = f->target_lead / p->groups;
    f->targets = p->batch;
    f->plain = f->dense = 1;
    for (const struct axis *a = f->axis; a < f->axis + 3; a++) {
        f->targets *= a->count;
        f->depth *= a->taps;
        f->plain = f->plain && a->taps == 1 && a->step == 1 && a->first == 0 && a->count == a->source;
        f->dense = f->dense && a->count == a->target;
    }
    /* Copying a strip pays where its pixels are met several times, and where its rows make tiles. */
    const struct axis *const down = &f->axis[1], *const across = &f->axis[2];
    f->run = across->taps * f->terms;
    f->strip = 0;
    if (f->axis[0].taps == 1 && p->groups == 1 && !f->plain && across->count >= SHORT_ROW && across->count <= LONG_ROW
        && across->reach == 1 && f->depth && (ptrdiff_t)across->taps >= across->step)
        f->strip = greater(1, smaller(down->count, STRIP_PIXELS / across->count));
}

int batten_part(struct part *f, const batten_convolution *p, int backward, size_t number)
{
    for (int i = 0; i < 3; i++) {
        const size_t parts = axis_part(&f->axis[i], p, i, backward, 0);
        if (parts > 1)
            axis_part(&f->axis[i], p, i, backward, number % parts);
        number /= parts ? parts : 1;
    }
    join_axes(f, p, backward);
    return number == 0;
}

void batten_whole(struct part *f, const batten_convolution *p)
{
    for (int i = 0; i < 3; i++)
        f->axis[i] = axis_forward(p, i);
    join_axes(f, p, 0);
}

size_t batten_tap(const batten_convolution *p, const struct part *f, size_t t0, size_t t1, size_t t2)
{
    const size_t t[3] = {t0, t1, t2};
    size_t tap = 0;
    for (int i = 0; i < 3; i++)
        tap = tap * p->kernel[i] + (size_t)(f->axis[i].tap + (ptrdiff_t)t[i] * f->axis[i].tap_step);
    return tap;
}

size_t batten_blocks(const batten_convolution *p, const struct part *f)
{
    return f->strip ? p->batch * f->axis[0].count * blocks_of(f->axis[1].count, f->strip)
                    : blocks_of(f->targets, BATTEN_PIXELS);
}

size_t batten_strip_rows(const struct part *f, size_t rows)
{
    const struct axis *const a = &f->axis[1];
    return (rows - 1) * (size_t)a->step + (a->taps - 1) * (size_t)a->reach + 1;
}

size_t batten_strip_columns(const struct part *f)
{
    const struct axis *const a = &f->axis[2];
    return (a->count - 1) * (size_t)a->step + a->taps;
}
