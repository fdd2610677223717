/* Convolution as it stands, by matrix products.
 *
 *     y[p, k] = sum over (t, c) of X[p, (t, c)] W[(t, c), k]
 *
 * A row of X has, for one target pixel, what its taps t meet in all channels c.  X is
 * never there as a whole: a unit of work gathers the rows of some pixels, a step of its
 * columns at a time, and the tile (tile.h) multiplies them with the weights, which are
 * packed beforehand as the tile reads them.  To gather a row of a 3x3 kernel is to copy
 * three runs of memory; that is little beside what a row is multiplied with.  Where
 * every tap is one pixel, the rows lie in x as they are.
 *
 * Backward by data is the same with the roles of x and y exchanged, for each part of the
 * targets (convolution.h).
 *
 *     dw[k, (t, c)] = sum over p of dy[p, k] X[p, (t, c)]
 *
 * Backward by weights gathers the same rows, and multiplies them with dy's columns.  The
 * pixels are cut into segments that depend on the shapes alone.  Each has a sum of its
 * own, in the order of its pixels; these are then added one after the other.
 *
 * Groups are convolutions beside each other.  Padding is nought times weight. */
#include "convolution.h"
#include "tile.h"
#include <string.h>

enum { PIXELS = BATTEN_PIXELS, CHUNK = BATTEN_CHUNK };

/* A part of a pass, for one group. */
struct part {
    struct axis axis[3];
    size_t targets;           /* pixels, in all images */
    size_t terms, depth;      /* channels of a source pixel in a group, and of all its taps */
    size_t columns;           /* channels of a target pixel in a group */
    size_t lead, target_lead; /* channels of these in all groups */
    int plain;                /* whether a target's terms are a source pixel as it lies in memory, */
    int dense;                /* and the targets are all pixels of theirs */
};

/* ---- parts ---- */

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

/* The taps that meet the image from target j on: those from `low` to before `high`. */
static void meeting(const struct axis *a, size_t j, size_t *low, size_t *high)
{
    const ptrdiff_t at = a->first + (ptrdiff_t)j * a->step, taps = (ptrdiff_t)a->taps;
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
        meeting(&all, j, &low, &high);
        for (next = j + 1; next < all.count; next++) {
            meeting(&all, next, &other_low, &other_high);
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
    ptrdiff_t tap = 0;
    while (tap < period && (at - tap * d) % s)
        tap++;
    const size_t kernel = p->kernel[i], none = tap == period || (size_t)tap >= kernel;
    const size_t taps = none ? 0 : blocks_of(kernel - (size_t)tap, (size_t)period);
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
        meeting(a, j, &low, &high);
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
}

/* Makes *f part `number` of a pass; returns 0 where there are no more. */
static int part_of(struct part *f, const batten_convolution *p, int backward, size_t number)
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

/* ---- gathering ---- */

struct pixel {
    size_t image, at[3];
};

static struct pixel pixel_of(const struct part *f, size_t i)
{
    struct pixel p;
    for (int k = 2; k >= 0; k--) {
        p.at[k] = i % f->axis[k].count;
        i /= f->axis[k].count;
    }
    p.image = i;
    return p;
}

static void next_pixel(const struct part *f, struct pixel *p)
{
    for (int k = 2; k >= 0; k--) {
        if (++p->at[k] < f->axis[k].count)
            return;
        p->at[k] = 0;
    }
    p->image++;
}

/* The tile's target in memory. */
static size_t place_of(const struct part *f, const struct pixel *p)
{
    size_t at = p->image;
    for (int k = 0; k < 3; k++)
        at = at * f->axis[k].target + f->axis[k].origin + p->at[k] * f->axis[k].every;
    return at * f->target_lead;
}

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

static inline void nought(real *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = 0;
}

/* The terms from `begin` to before `end` of a pixel: x is the source's group of channels. */
static void gather(real *to, const struct part *f, const real *x, const struct pixel *p, size_t begin, size_t end)
{
    const struct axis *const a = f->axis;
    const size_t terms = f->terms, run = a[2].taps * terms;
    ptrdiff_t at[3];
    for (int k = 0; k < 3; k++)
        at[k] = a[k].first + (ptrdiff_t)p->at[k] * a[k].step;
    size_t low, high;
    meeting(&a[2], p->at[2], &low, &high);
    const int together = a[2].reach == 1 && terms == f->lead; /* the taps of a run are next to each other */

    size_t t0 = begin / run / a[1].taps, t1 = begin / run % a[1].taps;
    for (size_t left = begin / run * run; left < end; left += run) {
        const size_t from = left < begin ? begin - left : 0, to_ = smaller(end - left, run);
        const ptrdiff_t z = at[0] + (ptrdiff_t)t0 * a[0].reach, y = at[1] + (ptrdiff_t)t1 * a[1].reach;
        const int inside = z >= 0 && z < (ptrdiff_t)a[0].source && y >= 0 && y < (ptrdiff_t)a[1].source;
        size_t first = inside ? low * terms : to_, last = inside ? high * terms : to_;
        first = first < from ? from : smaller(first, to_);
        last = last < first ? first : smaller(last, to_);
        const ptrdiff_t row =
            (((ptrdiff_t)p->image * (ptrdiff_t)a[0].source + z) * (ptrdiff_t)a[1].source + y) * (ptrdiff_t)a[2].source
            + at[2];
        nought(to, first - from);
        if (together) {
            if (last > first)
                copy_run(to + (first - from), x + (row * (ptrdiff_t)f->lead + (ptrdiff_t)first), last - first);
        } else {
            for (size_t i = first, next; i < last; i = next) {
                const size_t tap = i / terms;
                next = smaller((tap + 1) * terms, last);
                copy_run(to + (i - from),
                         x + ((row + (ptrdiff_t)tap * a[2].reach) * (ptrdiff_t)f->lead + (ptrdiff_t)(i - tap * terms)),
                         next - i);
            }
        }
        nought(to + (last - from), to_ - last);
        to += to_ - from;
        if (++t1 == a[1].taps) {
            t1 = 0;
            t0++;
        }
    }
}

/* Rows that begin a multiple of a page apart fall onto each other in the first cache. */
static size_t pitch_of(size_t n)
{
    const size_t whole = blocks_of(n, LINE) * LINE;
    return whole * sizeof(real) % 1024 ? whole : whole + LINE;
}

/* ---- by data ---- */

/* What all units of a part share. */
struct job {
    const batten_convolution *p;
    const struct part *f;
    real *y;
    const real *x, *packed, *bias;
};

static size_t width_in_all(size_t columns)
{
    return blocks_of(columns, VLEN) * VLEN;
}

/* Packs the weights of a panel of columns.  Of a target's channel k and a source's c they are
 * w[k, c, tap] forward, and w[c, k, tap] backward. */
static void pack_weights(real *packed, const real *w, const batten_convolution *p, const struct part *f, int backward,
                         size_t panel)
{
    const size_t panels = blocks_of(f->columns, NR), group = panel / panels, left = panel % panels * NR;
    const size_t n = smaller(NR, f->columns - left), width = width_of(n);
    const size_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2], inner = p->channels / p->groups;
    const size_t of_column = (backward ? 1 : inner) * taps, of_term = (backward ? inner : 1) * taps;
    const real *const from = w + group * (p->features / p->groups) * inner * taps + left * of_column;
    const struct axis *const a = f->axis;
    real *to = packed + (group * width_in_all(f->columns) + left) * f->depth;

    for (size_t t0 = 0; t0 < a[0].taps; t0++)
        for (size_t t1 = 0; t1 < a[1].taps; t1++)
            for (size_t t2 = 0; t2 < a[2].taps; t2++) {
                const ptrdiff_t tap[3] = {a[0].tap + (ptrdiff_t)t0 * a[0].tap_step,
                                          a[1].tap + (ptrdiff_t)t1 * a[1].tap_step,
                                          a[2].tap + (ptrdiff_t)t2 * a[2].tap_step};
                const size_t at = ((size_t)tap[0] * p->kernel[1] + (size_t)tap[1]) * p->kernel[2] + (size_t)tap[2];
                for (size_t c = 0; c < f->terms; c++, to += width) {
                    for (size_t i = 0; i < n; i++)
                        to[i] = from[at + c * of_term + i * of_column];
                    for (size_t i = n; i < width; i++)
                        to[i] = 0;
                }
            }
}

/* Target pixels from `first` on, and columns from `left` on, of a group. */
static void convolve(const struct job *q, size_t group, size_t first, size_t left, real *room)
{
    static const real noughts[NR] __attribute__((aligned(VBYTES)));
    const struct part *const f = q->f;
    const batten_convolution *const p = q->p;
    const size_t pixels = smaller(PIXELS, f->targets - first), columns = smaller(p->columns, f->columns - left);
    const size_t height = blocks_of(pixels, blocks_of(pixels, MR)), steps = blocks_of(f->depth, DEPTH);
    const size_t pitch = pitch_of(smaller(f->depth, DEPTH));
    const real *const x = q->x + group * f->terms, *const packed =
                                                       q->packed + group * width_in_all(f->columns) * f->depth;
    const real *const bias = q->bias ? q->bias + group * f->columns + left : NULL;
    real *const apart = room + PIXELS * (DEPTH + LINE); /* where the targets are not next to each other */
    const size_t row = f->dense ? f->target_lead : NR * blocks_of(columns, NR);
    real *const c = f->dense ? q->y + first * row + group * f->columns + left : apart;
    struct ahead none = {0};
    struct tile t = {.c_row = (ptrdiff_t)row, .alpha = 1, .next = &none};

    for (size_t step = 0; step < (steps ? steps : 1); step++) {
        const size_t begin = step * DEPTH, end = smaller(begin + DEPTH, f->depth);
        t.depth = end - begin;
        t.scale = step ? 1 : 0;
        for (size_t strip = 0; strip < columns; strip += STRIP) {
            struct pixel pixel = pixel_of(f, first);
            for (size_t u = 0; u < pixels; u += height) {
                t.rows = smaller(height, pixels - u);
                t.a = (struct panel){room + u * pitch, (ptrdiff_t)pitch, 1};
                if (f->plain)
                    t.a = (struct panel){x + (first + u) * f->lead + begin, (ptrdiff_t)f->lead, 1};
                else if (strip == 0 && t.depth)
                    for (size_t i = 0; i < t.rows; i++, next_pixel(f, &pixel))
                        gather(room + (u + i) * pitch, f, x, &pixel, begin, end);
                for (size_t v = strip; v < smaller(strip + STRIP, columns); v += NR) {
                    t.columns = smaller(NR, columns - v);
                    const size_t width = width_of(t.columns);
                    t.b = (struct panel){packed + (left + v) * f->depth + begin * width, 1, (ptrdiff_t)width};
                    t.c = c + u * row + v;
                    t.old = step ? t.c : noughts;
                    t.old_row = step ? t.c_row : 0;
                    KERNEL(tile)(&t);
                    if (end == f->depth)
                        KERNEL(finish)(&t, bias ? bias + v : NULL, p->activation);
                }
            }
        }
    }
    if (!f->dense) {
        struct pixel pixel = pixel_of(f, first);
        for (size_t i = 0; i < pixels; i++, next_pixel(f, &pixel))
            memcpy(q->y + place_of(f, &pixel) + group * f->columns + left, apart + i * row, columns * sizeof(real));
    }
}

static void by_data(real *y, const real *x, const real *w, const real *bias, real *scratch, const batten_convolution *p,
                    int backward)
{
    real *const rooms = scratch + p->shared;
    TEAM_OF(
        p->team, struct part f; struct job q = {p, &f, y, x, scratch, bias};
        for (size_t i = 0; part_of(&f, p, backward, i); i++) {
            if (!f.targets || !f.columns)
                continue;
            const size_t panels = p->groups * blocks_of(f.columns, NR), across = blocks_of(f.columns, p->columns);
            const size_t down = blocks_of(f.targets, PIXELS);
            SHARED(for (size_t j = 0; j < panels; j++) pack_weights(scratch, w, p, &f, backward, j);)
            SHARED(for (size_t j = 0; j < p->groups * down * across; j++)
                       convolve(&q, j / across / down, j / across % down * PIXELS, j % across * p->columns,
                                rooms + myself().rank * p->room);)
        });
}

void KERNEL(direct)(real *y, const real *x, const real *w, const real *bias, real *scratch, const batten_convolution *p)
{
    by_data(y, x, w, bias, scratch, p, 0);
}

void KERNEL(direct_backward_data)(real *dx, const real *dy, const real *w, const real *bias, real *scratch,
                                  const batten_convolution *p)
{
    by_data(dx, dy, w, bias, scratch, p, 1);
}

/* ---- by weights ---- */

/* Sums for the chunk of terms that begins there, in whole tiles. */
static size_t row_of_sums(const struct part *f, size_t begin)
{
    return blocks_of(smaller(CHUNK, f->depth - begin), NR) * NR;
}

/* The sums of one segment of the pixels, for a chunk of a group's terms: sums (columns, pitch). */
static void sum_segment(real *sums, const real *dy, const real *x, const batten_convolution *p, const struct part *f,
                        size_t group, size_t segment, size_t begin, real *room)
{
    const size_t n = smaller(CHUNK, f->depth - begin), pitch = row_of_sums(f, begin);
    const size_t height = f->columns ? blocks_of(f->columns, blocks_of(f->columns, MR)) : 1;
    const size_t blocks = blocks_of(f->targets, PIXELS);
    const struct range mine = share(blocks, (struct member){segment, p->segments});
    struct ahead none = {0};
    struct tile t = {.columns = NR, .c_row = (ptrdiff_t)pitch, .alpha = 1, .next = &none, .old_row = (ptrdiff_t)pitch};

    nought(sums, f->columns * pitch);
    for (size_t block = mine.first; block < mine.last; block++) {
        const size_t first = block * PIXELS;
        struct pixel pixel = pixel_of(f, first);
        t.depth = smaller(PIXELS, f->targets - first);
        t.scale = 1;
        for (size_t i = 0; i < t.depth; i++, next_pixel(f, &pixel)) {
            gather(room + i * pitch, f, x + group * f->terms, &pixel, begin, begin + n);
            nought(room + i * pitch + n, pitch - n);
        }
        for (size_t v = 0; v < pitch; v += NR)
            for (size_t u = 0; u < f->columns; u += height) {
                t.rows = smaller(height, f->columns - u);
                t.a =
                    (struct panel){dy + first * f->target_lead + group * f->columns + u, 1, (ptrdiff_t)f->target_lead};
                t.b = (struct panel){room + v, 1, (ptrdiff_t)pitch};
                t.c = sums + u * pitch + v;
                t.old = t.c;
                KERNEL(tile)(&t);
            }
    }
}

/* Adds the segments' sums for a feature, and puts them where its weights are. */
static void add_segments(real *dw, real *sums, const batten_convolution *p, const struct part *f, size_t feature)
{
    const size_t group = feature / f->columns, row = feature % f->columns, chunks = blocks_of(f->depth, CHUNK);
    const size_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2], unit = f->columns * row_of_sums(f, 0);
    real *const to = dw + feature * f->depth;
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        const size_t begin = chunk * CHUNK, n = smaller(CHUNK, f->depth - begin), pitch = row_of_sums(f, begin);
        real *const total = sums + ((group * chunks + chunk) * p->segments) * unit + row * pitch;
        for (size_t segment = 1; segment < p->segments; segment++)
            for (size_t i = 0; i < n; i++)
                total[i] += total[segment * unit + i];
        for (size_t i = 0; i < n; i++)
            to[(begin + i) % f->terms * taps + (begin + i) / f->terms] = total[i];
    }
}

void KERNEL(direct_backward_weights)(real *dw, const real *dy, const real *x, real *scratch,
                                     const batten_convolution *p)
{
    struct part f;
    for (int i = 0; i < 3; i++)
        f.axis[i] = axis_forward(p, i);
    join_axes(&f, p, 0);
    const size_t chunks = blocks_of(f.depth, CHUNK), unit = f.columns * row_of_sums(&f, 0);
    real *const rooms = scratch + p->shared;
    TEAM_OF(p->team, SHARED(for (size_t j = 0; j < p->groups * chunks * p->segments; j++)
                                sum_segment(scratch + j * unit, dy, x, p, &f, j / p->segments / chunks, j % p->segments,
                                            j / p->segments % chunks * CHUNK, rooms + myself().rank * p->room);)
                         SHARED(for (size_t k = 0; k < p->features; k++) add_segments(dw, scratch, p, &f, k);));
}
