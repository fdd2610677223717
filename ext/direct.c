/* Convolution as it stands, by matrix products.
 *
 *     y[p, k] = sum over (t, c) of X[p, (t, c)] W[(t, c), k]
 *
 * A row of X has, for one target pixel, what its taps t meet in all channels c.  X is
 * never there as a whole: the tile (tile.h) reads its rows, for some pixels at a time,
 * from where they are easiest to have, and multiplies them with the weights, which are
 * packed beforehand as it reads them.  They are
 *
 *   in x              as they are, where every tap is one pixel;
 *   in a strip        a copy of the source rows that some rows of targets meet, with
 *                     noughts for padding: pixels next to each other are then so far
 *                     apart, and the taps of a row are one run of memory;
 *   gathered          pixel by pixel otherwise, and from a strip where its runs are short.
 *
 * Backward by data is the same with the roles of x and y exchanged, for each part of the
 * targets (parts.h).
 *
 *     dw[k, (t, c)] = sum over p of dy[p, k] X[p, (t, c)]
 *
 * Backward by weights gathers the same rows, and multiplies them with dy's columns.  The
 * pixels are cut into segments that depend on the shapes alone.  Each has a sum of its
 * own, in the order of its pixels; these are then added one after the other.
 *
 * Groups are convolutions beside each other.  Padding is nought times weight. */
#include "convolution.h"
#include "parts.h"
#include <string.h>

enum { PIXELS = BATTEN_PIXELS, CHUNK = BATTEN_CHUNK };

/* ---- gathering ---- */

/* A target: its image and its place among a part's targets along each axis. */
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

/* The terms from `begin` to before `end` of a pixel: x is the source's group of channels. */
static void gather(real *to, const struct part *f, const real *x, const struct pixel *p, size_t begin, size_t end)
{
    const struct axis *const a = f->axis;
    const size_t terms = f->terms, run = a[2].taps * terms;
    ptrdiff_t at[3];
    for (int k = 0; k < 3; k++)
        at[k] = a[k].first + (ptrdiff_t)p->at[k] * a[k].step;
    size_t low, high;
    batten_meeting(&a[2], p->at[2], &low, &high);
    const int together = a[2].reach == 1 && terms == f->lead; /* the taps of a run are next to each other */

    size_t t0 = begin / run / a[1].taps, t1 = begin / run % a[1].taps;
    for (size_t left = begin / run * run; left < end; left += run) {
        const size_t skipped = left < begin ? begin - left : 0, stop = smaller(end - left, run);
        const ptrdiff_t z = at[0] + (ptrdiff_t)t0 * a[0].reach, y = at[1] + (ptrdiff_t)t1 * a[1].reach;
        const int inside = z >= 0 && z < (ptrdiff_t)a[0].source && y >= 0 && y < (ptrdiff_t)a[1].source;
        size_t first = inside ? low * terms : stop, last = inside ? high * terms : stop;
        first = first < skipped ? skipped : smaller(first, stop);
        last = last < first ? first : smaller(last, stop);
        const ptrdiff_t row =
            (((ptrdiff_t)p->image * (ptrdiff_t)a[0].source + z) * (ptrdiff_t)a[1].source + y) * (ptrdiff_t)a[2].source
            + at[2];
        nought(to, first - skipped);
        if (together) {
            if (last > first)
                copy_run(to + (first - skipped), x + (row * (ptrdiff_t)f->lead + (ptrdiff_t)first), last - first);
        } else {
            for (size_t i = first, next; i < last; i = next) {
                const size_t tap = i / terms;
                next = smaller((tap + 1) * terms, last);
                copy_run(to + (i - skipped),
                         x + ((row + (ptrdiff_t)tap * a[2].reach) * (ptrdiff_t)f->lead + (ptrdiff_t)(i - tap * terms)),
                         next - i);
            }
        }
        nought(to + (last - skipped), stop - last);
        to += stop - skipped;
        if (++t1 == a[1].taps) {
            t1 = 0;
            t0++;
        }
    }
}

/* Copies the source rows that the targets of `rows` rows from `top` on meet, in plane z of an image. */
static void copy_strip(real *strip, const struct part *f, const real *image, size_t z, size_t top, size_t rows)
{
    const struct axis *const a = f->axis;
    const ptrdiff_t plane = a[0].first + (ptrdiff_t)z * a[0].step;
    const size_t down = batten_strip_rows(f, rows), across = batten_strip_columns(f),
                 pixels = a[1].source * a[2].source;
    const int inside = plane >= 0 && plane < (ptrdiff_t)a[0].source;
    const struct image source = {inside ? image + (size_t)plane * pixels * f->lead : image, inside ? a[1].source : 0,
                                 a[2].source, f->lead};
    copy_window(strip, f->lead, &source, a[1].first + (ptrdiff_t)top * a[1].step, a[2].first, down, across, f->lead);
}

/* The elements of a strip, and those of a vector behind it, in whole lines. */
static size_t strip_room(const struct part *f)
{
    return up(batten_strip_rows(f, f->strip) * batten_strip_columns(f) * f->terms + VLEN, LINE);
}

/* Copies whole vectors, also of what lies behind: for memory in which that is there, and is written later. */
static inline void copy_vectors(real *to, const real *from, size_t n)
{
    for (size_t i = 0; i < n; i += VLEN)
        *(loose *)(to + i) = *(const loose *)(from + i);
}

/* The terms from `begin` to before `end` of the targets of a strip's rows: a row of so many each. */
static void gather_strip(real *to, size_t pitch, const real *strip, const struct part *f, size_t rows, size_t begin,
                         size_t end)
{
    const struct axis *const a = f->axis;
    const size_t row = batten_strip_columns(f) * f->terms, run = f->run;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < a[2].count; j++, to += pitch) {
            const real *from = strip + i * (size_t)a[1].step * row + j * (size_t)a[2].step * f->terms;
            real *there = to;
            from += begin / run * (size_t)a[1].reach * row;
            for (size_t at = begin % run, left = end - begin, n; left; left -= n, at = 0) {
                n = smaller(run - at, left);
                copy_vectors(there, from + at, n);
                there += n;
                from += (size_t)a[1].reach * row;
            }
        }
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
    real *const to = packed + (group * width_in_all(f->columns) + left) * f->depth;

    /* Some channels at a time, all of whose taps are in memory next to each other. */
    enum { SOME = 16 };
    for (size_t some = 0; some < f->terms; some += SOME)
        for (size_t t0 = 0; t0 < a[0].taps; t0++)
            for (size_t t1 = 0; t1 < a[1].taps; t1++)
                for (size_t t2 = 0; t2 < a[2].taps; t2++) {
                    const real *const there = from + batten_tap(p, f, t0, t1, t2);
                    real *row = to + (((t0 * a[1].taps + t1) * a[2].taps + t2) * f->terms + some) * width;
                    for (size_t c = some; c < smaller(some + SOME, f->terms); c++, row += width) {
                        for (size_t i = 0; i < n; i++)
                            row[i] = there[c * of_term + i * of_column];
                        for (size_t i = n; i < width; i++)
                            row[i] = 0;
                    }
                }
}

/* Target pixels from `first` on, and columns from `left` on, of a group. */
static void convolve(const struct job *q, size_t group, size_t first, size_t left, real *room)
{
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
    const int finished = q->bias || p->activation != BATTEN_IDENTITY; /* by more than the sums */
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
                    KERNEL(tile)(&t);
                    if (end == f->depth && finished)
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

/* The targets of a strip: rows from `top` on of plane z of an image, and columns from `left` on. */
static void convolve_strip(const struct job *q, size_t image, size_t z, size_t top, size_t left, real *room)
{
    const struct part *const f = q->f;
    const struct axis *const a = f->axis;
    const batten_convolution *const p = q->p;
    const size_t rows = smaller(f->strip, a[1].count - top), columns = smaller(p->columns, f->columns - left);
    const size_t height = blocks_of(a[2].count, blocks_of(a[2].count, MR));
    const size_t row = batten_strip_columns(f) * f->terms, lane = (size_t)a[2].step * f->terms;
    /* A step has whole rows of taps.  Short runs are gathered, for the tile to go on longer. */
    const size_t taps = greater(1, DEPTH / f->run), longest = smaller(taps, a[1].taps) * f->run;
    const int gathered = f->run < BATTEN_RUN;
    real *const strip = room, *const together = room + strip_room(f);
    const size_t pitch = pitch_of(longest);
    const struct pixel corner = {image, {z, top, 0}};
    const int finished = q->bias || p->activation != BATTEN_IDENTITY;
    struct ahead none = {0};
    struct tile t = {.c_row = (ptrdiff_t)(a[2].every * f->target_lead), .alpha = 1, .next = &none};

    copy_strip(strip, f, q->x + image * a[0].source * a[1].source * a[2].source * f->lead, z, top, rows);
    for (size_t tap = 0; tap < a[1].taps; tap += taps) {
        t.depth = smaller(taps, a[1].taps - tap) * f->run;
        t.scale = tap ? 1 : 0;
        t.run = gathered ? 0 : f->run;
        t.skip = gathered ? 0 : (ptrdiff_t)((size_t)a[1].reach * row) - (ptrdiff_t)f->run;
        if (gathered)
            gather_strip(together, pitch, strip, f, rows, tap * f->run, tap * f->run + t.depth);
        for (size_t v = 0; v < columns; v += NR) {
            t.columns = smaller(NR, columns - v);
            const size_t width = width_of(t.columns);
            t.b = (struct panel){q->packed + (left + v) * f->depth + tap * f->run * width, 1, (ptrdiff_t)width};
            for (size_t i = 0; i < rows; i++)
                for (size_t u = 0; u < a[2].count; u += height) {
                    struct pixel pixel = corner;
                    pixel.at[1] += i;
                    pixel.at[2] += u;
                    t.rows = smaller(height, a[2].count - u);
                    const real *const there =
                        strip + (i * (size_t)a[1].step + tap * (size_t)a[1].reach) * row + u * lane;
                    t.a = gathered ? (struct panel){together + (i * a[2].count + u) * pitch, (ptrdiff_t)pitch, 1}
                                   : (struct panel){there, (ptrdiff_t)lane, 1};
                    t.c = q->y + place_of(f, &pixel) + left + v;
                    KERNEL(tile)(&t);
                    if (tap + taps >= a[1].taps && finished)
                        KERNEL(finish)(&t, q->bias ? q->bias + left + v : NULL, p->activation);
                }
        }
    }
}

/* Unit of work `unit` of a part. */
static void convolve_unit(const struct job *q, size_t unit, size_t across, real *room)
{
    const struct part *const f = q->f;
    const size_t left = unit % across * q->p->columns;
    unit /= across;
    if (f->strip) {
        const size_t down = blocks_of(f->axis[1].count, f->strip), planes = f->axis[0].count;
        convolve_strip(q, unit / down / planes, unit / down % planes, unit % down * f->strip, left, room);
    } else {
        const size_t down = blocks_of(f->targets, PIXELS);
        convolve(q, unit / down, unit % down * PIXELS, left, room);
    }
}

static void by_data(real *y, const real *x, const real *w, const real *bias, real *scratch, const batten_convolution *p,
                    int backward)
{
    real *const rooms = scratch + p->shared;
    TEAM_OF(
        p->team, struct part f; struct job q = {p, &f, y, x, scratch, bias};
        for (size_t i = 0; batten_part(&f, p, backward, i); i++) {
            if (!f.targets || !f.columns)
                continue;
            const size_t panels = p->groups * blocks_of(f.columns, NR), across = blocks_of(f.columns, p->columns);
            SHARED(for (size_t j = 0; j < panels; j++) pack_weights(scratch, w, p, &f, backward, j);)
            SHARED(for (size_t j = 0; j < p->groups * batten_blocks(p, &f) * across; j++)
                       convolve_unit(&q, j, across, rooms + myself().rank * p->room);)
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

/* Adds the products of some pixels: `rows` has their terms, `dy` their group's features. */
static void add_pixels(real *sums, const real *dy, const real *rows, const struct part *f, size_t pixels, size_t pitch)
{
    const size_t height = f->columns ? blocks_of(f->columns, blocks_of(f->columns, MR)) : 1;
    struct ahead none = {0};
    struct tile t = {.columns = NR, .depth = pixels, .c_row = (ptrdiff_t)pitch, .alpha = 1, .scale = 1, .next = &none};
    for (size_t v = 0; v < pitch; v += NR)
        for (size_t u = 0; u < f->columns; u += height) {
            t.rows = smaller(height, f->columns - u);
            t.a = (struct panel){dy + u, 1, (ptrdiff_t)f->target_lead};
            t.b = (struct panel){rows + v, 1, (ptrdiff_t)pitch};
            t.c = sums + u * pitch + v;
            KERNEL(tile)(&t);
        }
}

/* The sums of one segment of the pixels, for the chunk of a group's terms that begins there: sums (columns, pitch). */
static void sum_segment(real *sums, const real *dy, const real *x, const batten_convolution *p, const struct part *f,
                        size_t group, size_t segment, size_t begin, real *room)
{
    const struct axis *const a = f->axis;
    const size_t end = smaller(begin + CHUNK, f->depth), n = end - begin, pitch = row_of_sums(f, begin);
    const size_t down = f->strip ? blocks_of(a[1].count, f->strip) : 0;
    const size_t blocks = batten_blocks(p, f);
    const struct range mine = share(blocks, (struct member){segment, p->segments});
    real *const strip = room, *const rows = f->strip ? room + strip_room(f) : room;

    nought(sums, f->columns * pitch);
    for (size_t block = mine.first; block < mine.last; block++) {
        size_t first = block * PIXELS, pixels = f->strip ? 0 : smaller(PIXELS, f->targets - first);
        if (f->strip) {
            const size_t image = block / down / a[0].count, z = block / down % a[0].count,
                         top = block % down * f->strip;
            const size_t count = smaller(f->strip, a[1].count - top);
            copy_strip(strip, f, x + image * a[0].source * a[1].source * a[2].source * f->lead, z, top, count);
            gather_strip(rows, pitch, strip, f, count, begin, end);
            first = ((image * a[0].count + z) * a[1].count + top) * a[2].count;
            pixels = count * a[2].count;
        } else {
            struct pixel pixel = pixel_of(f, first);
            for (size_t i = 0; i < pixels; i++, next_pixel(f, &pixel))
                gather(rows + i * pitch, f, x + group * f->terms, &pixel, begin, end);
        }
        for (size_t i = 0; i < pixels; i++)
            nought(rows + i * pitch + n, pitch - n);
        add_pixels(sums, dy + first * f->target_lead + group * f->columns, rows, f, pixels, pitch);
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
        for (size_t i = 0, tap = begin / f->terms, c = begin % f->terms; i < n; i++) {
            to[c * taps + tap] = total[i];
            if (++c == f->terms) {
                c = 0;
                tap++;
            }
        }
    }
}

void KERNEL(direct_backward_weights)(real *dw, const real *dy, const real *x, real *scratch,
                                     const batten_convolution *p)
{
    struct part f;
    batten_whole(&f, p);
    const size_t chunks = blocks_of(f.depth, CHUNK), unit = f.columns * row_of_sums(&f, 0);
    real *const rooms = scratch + p->shared;
    TEAM_OF(p->team, SHARED(for (size_t j = 0; j < p->groups * chunks * p->segments; j++)
                                sum_segment(scratch + j * unit, dy, x, p, &f, j / p->segments / chunks, j % p->segments,
                                            j / p->segments % chunks * CHUNK, rooms + myself().rank * p->room);)
                         SHARED(for (size_t k = 0; k < p->features; k++) add_segments(dw, scratch, p, &f, k);));
}
