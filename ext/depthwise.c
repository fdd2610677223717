/* Convolution of each channel by itself: as many groups as there are channels and features.
 *
 *     y[p, c] = sum over taps t of x[p + t, c] w[c, t]
 *
 * There is no product of matrices in this, as every term is used once.  The sums of some
 * channels of a target stay in registers while its taps run; taps that meet padding are left
 * out.  The weights are laid out as (taps, channels) beforehand.
 *
 * For the weights, dw[c, t] = sum over p of dy[p, c] x[p + t, c], the sums of a row of
 * targets are taken first, then those of a segment of rows, and then of all segments, whose
 * number depends on the shapes alone. */
#include "convolution.h"
#include "parts.h"

/* A row of targets: where it is, and the taps down and across planes that meet the image. */
struct row {
    size_t image, z, y;
    size_t low[2], high[2];
};

static struct row row_of(const struct part *f, size_t i)
{
    const struct axis *const a = f->axis;
    struct row r = {.image = i / a[1].count / a[0].count, .z = i / a[1].count % a[0].count, .y = i % a[1].count};
    batten_meeting(&a[0], r.z, &r.low[0], &r.high[0]);
    batten_meeting(&a[1], r.y, &r.low[1], &r.high[1]);
    return r;
}

static size_t rows_of(const struct part *f)
{
    return f->targets / greater(1, f->axis[2].count);
}

/* The channels of the target in a column of the row. */
static size_t target_of(const struct part *f, const struct row *r, size_t x)
{
    const struct axis *const a = f->axis;
    const size_t z = a[0].origin + r->z * a[0].every, y = a[1].origin + r->y * a[1].every;
    return (((r->image * a[0].target + z) * a[1].target + y) * a[2].target + a[2].origin + x * a[2].every) * f->lead;
}

/* The channels of the source that meets the first tap of a row of taps, for the target in column x. */
static ptrdiff_t source_of(const struct part *f, const struct row *r, size_t t0, size_t t1, size_t x)
{
    const struct axis *const a = f->axis;
    const ptrdiff_t z = a[0].first + (ptrdiff_t)r->z * a[0].step + (ptrdiff_t)t0 * a[0].reach;
    const ptrdiff_t y = a[1].first + (ptrdiff_t)r->y * a[1].step + (ptrdiff_t)t1 * a[1].reach;
    const ptrdiff_t at =
        (((ptrdiff_t)r->image * (ptrdiff_t)a[0].source + z) * (ptrdiff_t)a[1].source + y) * (ptrdiff_t)a[2].source
        + a[2].first + (ptrdiff_t)x * a[2].step;
    return at * (ptrdiff_t)f->lead;
}

/* Channels are taken some vectors at a time, whose sums stay in registers.  The last vector reaches back over channels
 * that were there before, and fewer channels than a vector has are taken one by one. */
enum { VECTORS = 4 };

/* The vectors to take at channel c: 4, 1, or 0 for a single number.  *c goes back where a vector has to. */
static inline int vectors_at(size_t *c, size_t channels)
{
    if (channels - *c >= VECTORS * VLEN)
        return VECTORS;
    if (channels < VLEN)
        return 0;
    *c = smaller(*c, channels - VLEN);
    return 1;
}

/* ---- by data ---- */

/* packed (taps, channels) for a part. */
static void lay_out(real *packed, const real *w, const batten_convolution *p, const struct part *f, size_t channel)
{
    const struct axis *const a = f->axis;
    const real *const from = w + channel * p->kernel[0] * p->kernel[1] * p->kernel[2];
    real *to = packed + channel;
    for (size_t t0 = 0; t0 < a[0].taps; t0++)
        for (size_t t1 = 0; t1 < a[1].taps; t1++)
            for (size_t t2 = 0; t2 < a[2].taps; t2++, to += f->lead)
                *to = from[batten_tap(p, f, t0, t1, t2)];
}

/* y for some vectors of channels of a target: of the taps that meet the image, x and w are what the first meets. */
static inline __attribute__((always_inline)) void convolve_vectors(real *y, const real *x, const real *w,
                                                                   const real *bias, int relu, const struct part *f,
                                                                   const size_t taps[3], const int vectors)
{
    const struct axis *const a = f->axis;
    const ptrdiff_t lead = (ptrdiff_t)f->lead, across = a[2].reach * lead;
    const ptrdiff_t down = a[1].reach * (ptrdiff_t)a[2].source * lead;
    const ptrdiff_t behind = a[0].reach * (ptrdiff_t)(a[1].source * a[2].source) * lead;
    vec sums[VECTORS] = {{0}};
    for (size_t t0 = 0; t0 < taps[0]; t0++)
        for (size_t t1 = 0; t1 < taps[1]; t1++) {
            const real *from = x + (ptrdiff_t)t0 * behind + (ptrdiff_t)t1 * down;
            const real *by = w + (t0 * a[1].taps + t1) * a[2].taps * f->lead;
            for (size_t t2 = 0; t2 < taps[2]; t2++, from += across, by += lead)
                PRAGMA(GCC unroll 4)
            for (int i = 0; i < vectors; i++)
                sums[i] += ((const loose *)from)[i] * ((const loose *)by)[i];
        }
    PRAGMA(GCC unroll 4)
    for (int i = 0; i < vectors; i++) {
        if (bias)
            sums[i] += ((const loose *)bias)[i];
        for (size_t lane = 0; relu && lane < VLEN; lane++)
            sums[i][lane] = sums[i][lane] < 0 ? 0 : sums[i][lane];
        ((loose *)y)[i] = sums[i];
    }
}

/* The same for a single channel. */
static void convolve_channel(real *y, const real *x, const real *w, const real *bias, int relu, const struct part *f,
                             const size_t taps[3])
{
    const struct axis *const a = f->axis;
    const ptrdiff_t lead = (ptrdiff_t)f->lead;
    real sum = 0;
    for (size_t t0 = 0; t0 < taps[0]; t0++)
        for (size_t t1 = 0; t1 < taps[1]; t1++)
            for (size_t t2 = 0; t2 < taps[2]; t2++) {
                const ptrdiff_t row = (ptrdiff_t)t0 * a[0].reach * (ptrdiff_t)a[1].source + (ptrdiff_t)t1 * a[1].reach;
                sum += x[(row * (ptrdiff_t)a[2].source + (ptrdiff_t)t2 * a[2].reach) * lead]
                       * w[((t0 * a[1].taps + t1) * a[2].taps + t2) * f->lead];
            }
    sum += bias ? *bias : 0;
    *y = relu && sum < 0 ? 0 : sum;
}

static void convolve_row(real *y, const real *x, const real *packed, const real *bias, const batten_convolution *p,
                         const struct part *f, size_t i)
{
    const struct row r = row_of(f, i);
    const struct axis *const a = f->axis;
    const size_t channels = f->lead;
    for (size_t j = 0; j < a[2].count; j++) {
        size_t low, high;
        batten_meeting(&a[2], j, &low, &high);
        const size_t taps[3] = {r.high[0] - r.low[0], r.high[1] - r.low[1], high - low};
        const real *const from =
            x + (source_of(f, &r, r.low[0], r.low[1], j) + (ptrdiff_t)low * a[2].reach * (ptrdiff_t)channels);
        const real *const w = packed + ((r.low[0] * a[1].taps + r.low[1]) * a[2].taps + low) * channels;
        real *const to = y + target_of(f, &r, j);
        const int relu = p->activation == BATTEN_RELU;
        for (size_t c = 0, vectors; c < channels; c += vectors ? vectors * VLEN : 1) {
            vectors = (size_t)vectors_at(&c, channels);
            const real *const offset = bias ? bias + c : NULL;
            if (vectors == VECTORS)
                convolve_vectors(to + c, from + c, w + c, offset, relu, f, taps, VECTORS);
            else if (vectors)
                convolve_vectors(to + c, from + c, w + c, offset, relu, f, taps, 1);
            else
                convolve_channel(to + c, from + c, w + c, offset, relu, f, taps);
        }
    }
}

static void by_data(real *y, const real *x, const real *w, const real *bias, real *scratch, const batten_convolution *p,
                    int backward)
{
    TEAM_OF(
        p->team, struct part f; for (size_t i = 0; batten_part(&f, p, backward, i); i++) {
            SHARED(for (size_t c = 0; c < f.lead; c++) lay_out(scratch, w, p, &f, c);)
            SHARED(for (size_t j = 0; j < rows_of(&f); j++) convolve_row(y, x, scratch, bias, p, &f, j);)
        });
}

void KERNEL(depthwise)(real *y, const real *x, const real *w, const real *bias, real *scratch,
                       const batten_convolution *p)
{
    by_data(y, x, w, bias, scratch, p, 0);
}

void KERNEL(depthwise_backward_data)(real *dx, const real *dy, const real *w, const real *bias, real *scratch,
                                     const batten_convolution *p)
{
    by_data(dx, dy, w, bias, scratch, p, 1);
}

/* ---- by weights ---- */

/* The targets of a row that a tap meets in the image: those from `low` to before `high`. */
static void met(const struct axis *a, size_t tap, size_t *low, size_t *high)
{
    const struct axis turned = {
        .taps = a->count, .reach = a->step, .first = a->first, .step = a->reach, .source = a->source};
    batten_meeting(&turned, tap, low, high);
}

/* sums += dy x for some vectors of channels of so many targets of a row; the first lanes may be there already. */
static inline __attribute__((always_inline)) void add_vectors(real *sums, const real *dy, const real *x, size_t targets,
                                                              size_t lead, size_t step, size_t there, const int vectors)
{
    vec of_row[VECTORS] = {{0}};
    for (size_t j = 0; j < targets; j++, dy += lead, x += step)
        PRAGMA(GCC unroll 4)
    for (int i = 0; i < vectors; i++)
        of_row[i] += ((const loose *)dy)[i] * ((const loose *)x)[i];
    for (int i = 0; i < vectors; i++)
        for (size_t lane = there; lane < VLEN; lane++)
            sums[i * VLEN + lane] += of_row[i][lane];
}

static real sum_channel(const real *dy, const real *x, size_t targets, size_t lead, size_t step)
{
    real sum = 0;
    for (size_t j = 0; j < targets; j++)
        sum += dy[j * lead] * x[j * step];
    return sum;
}

/* sums (taps, channels) of a segment of rows. */
static void sum_segment(real *sums, const real *dy, const real *x, const batten_convolution *p, const struct part *f,
                        size_t segment)
{
    const struct axis *const a = f->axis;
    const size_t channels = f->lead, step = (size_t)a[2].step * channels;
    const struct range mine = share(rows_of(f), (struct member){segment, p->segments});
    for (size_t i = 0; i < f->depth * channels; i++)
        sums[i] = 0;
    for (size_t i = mine.first; i < mine.last; i++) {
        const struct row r = row_of(f, i);
        for (size_t t0 = r.low[0]; t0 < r.high[0]; t0++)
            for (size_t t1 = r.low[1]; t1 < r.high[1]; t1++)
                for (size_t t2 = 0; t2 < a[2].taps; t2++) {
                    size_t low, high;
                    met(&a[2], t2, &low, &high);
                    if (low == high)
                        continue;
                    real *const to = sums + ((t0 * a[1].taps + t1) * a[2].taps + t2) * channels;
                    const real *const g = dy + target_of(f, &r, low);
                    const real *const from =
                        x + (source_of(f, &r, t0, t1, low) + (ptrdiff_t)t2 * a[2].reach * (ptrdiff_t)channels);
                    for (size_t c = 0, vectors; c < channels; c += vectors ? vectors * VLEN : 1) {
                        const size_t next = c;
                        vectors = (size_t)vectors_at(&c, channels);
                        if (vectors == VECTORS)
                            add_vectors(to + c, g + c, from + c, high - low, channels, step, 0, VECTORS);
                        else if (vectors)
                            add_vectors(to + c, g + c, from + c, high - low, channels, step, next - c, 1);
                        else
                            to[c] += sum_channel(g + c, from + c, high - low, channels, step);
                    }
                }
    }
}

void KERNEL(depthwise_backward_weights)(real *dw, const real *dy, const real *x, real *scratch,
                                        const batten_convolution *p)
{
    struct part f;
    batten_whole(&f, p);
    const size_t channels = f.lead, n = f.depth * channels;
    TEAM_OF(p->team, SHARED(for (size_t s = 0; s < p->segments; s++) sum_segment(scratch + s * n, dy, x, p, &f, s);)
                         SHARED(for (size_t c = 0; c < channels; c++) for (size_t t = 0; t < f.depth; t++) {
                             real total = 0;
                             for (size_t s = 0; s < p->segments; s++)
                                 total += scratch[s * n + t * channels + c];
                             dw[c * f.depth + t] = total;
                         }));
}
