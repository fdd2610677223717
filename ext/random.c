/* Arrays of random numbers.
 *
 * Element i of call c under key k depends on nothing but (k, c, i): not on the
 * instruction set, not on the threads.  philox.h makes groups of sixteen blocks;
 * an element takes one 32-bit word of a block, or two for a 64-bit result, and the
 * elements of a group lie word by word, sixteen lanes each:
 *
 *     32 bits:  element 64 g + 16 w + lane  =  word w of block 16 g + lane
 *     64 bits:  element 32 g + 16 p + lane  =  words 2 p and 2 p + 1 of that block
 *
 * so that every step is a loop over neighbours.  A group is made as a whole in a
 * small array, and from there it is copied, added to other numbers or multiplied by
 * them, the last one in part: noise costs no pass over memory of its own.
 *
 * The numbers themselves must not depend on the processor either.  This file is
 * compiled without fused multiply-add, and brings its own logarithm, sine and
 * cosine: series whose coefficients are plain fractions, cut where the rest is
 * below half a rounding error.  Additions, products, quotients and square roots
 * are exact to the last bit everywhere. */
#include "image.h"
#include "philox.h"

/* Vector operations that an element of a group costs, about. */
enum { COST = 32 };

typedef struct draw draw;
/* A group's words as elements of what is drawn. */
typedef void make_function(void *made, uint32_t words[WORDS][LANES], const draw *d);
/* n of these go into y, from element `at` on; they may be there already. */
typedef void put_function(const draw *d, const void *made, size_t at, size_t n);

/* An array of random numbers, and what they are. */
struct draw {
    make_function *make;
    put_function *put;
    void *y;
    const void *x;
    size_t n, size; /* elements, and the bytes of one that is made */
    uint64_t key, call;
    real low, span, last, mean, std;
    uint64_t lowest, numbers;
    int bytes, clip;
};

static void draw_group(const draw *d, size_t group)
{
    uint32_t words[WORDS][LANES];
    uint64_t room[sizeof words / sizeof(uint64_t)];
    const size_t each = sizeof words / d->size, at = group * each, n = smaller(each, d->n - at);
    void *const made = n == each && !d->x ? (char *)d->y + at * d->size : (void *)room;
    philox_group(words, group, d->key, d->call);
    d->make(made, words, d);
    d->put(d, made, at, n);
}

static void draw_all(draw d)
{
    const size_t groups = blocks_of(d.n, WORDS * LANES * sizeof(uint32_t) / d.size);
    PARALLEL(COST * d.n, for (size_t group = 0; group < groups; group++) draw_group(&d, group););
}

static void put_made(const draw *d, const void *made, size_t at, size_t n)
{
    void *const to = (char *)d->y + at * d->size;
    if (made != to)
        memcpy(to, made, n * d->size);
}

/* How many elements of type real a block gives, and the words that each takes. */
enum { REALS = 16 / sizeof(real), REAL_WORDS = sizeof(real) / 4, F32 = sizeof(real) == 4 };

/* out[i] = the block that counter[i] and key[i] give; the published test vectors want it. */
void KERNEL(philox)(uint32_t *out, const uint32_t *counter, const uint32_t *key, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct block block;
        memcpy(&block, counter + WORDS * i, sizeof block);
        block = philox(block, key[2 * i], key[2 * i + 1]);
        memcpy(out + WORDS * i, &block, sizeof block);
    }
}

/* y[i] = 64 random bits. */
static void make_bits(void *made, uint32_t words[WORDS][LANES], const draw *d)
{
    uint64_t *const y = made;
    (void)d;
    for (int pair = 0; pair < 2; pair++) {
        PRAGMA(omp simd)
        for (int lane = 0; lane < LANES; lane++)
            y[pair * LANES + lane] = words[2 * pair][lane] | (uint64_t)words[2 * pair + 1][lane] << 32;
    }
}

void KERNEL(bits)(uint64_t *y, size_t n, uint64_t key, uint64_t call)
{
    draw_all((draw){make_bits, put_made, y, NULL, n, sizeof *y, key, call, .low = 0});
}

/* y[i] = low + floor(x (high - low) / 2^64), x of 64 random bits: the upper half of
 * a 128-bit product.  No number's probability is off by more than 2^-64. */
static void make_integers(void *made, uint32_t words[WORDS][LANES], const draw *d)
{
    const uint64_t mask = 0xFFFFFFFF, low = d->lowest, s0 = d->numbers & mask, s1 = d->numbers >> 32;
    uint64_t *const y = made;
    for (int pair = 0; pair < 2; pair++) {
        PRAGMA(omp simd)
        for (int lane = 0; lane < LANES; lane++) {
            const uint64_t x0 = words[2 * pair][lane], x1 = words[2 * pair + 1][lane];
            const uint64_t middle = x1 * s0 + (x0 * s0 >> 32), other = x0 * s1 + (middle & mask);
            y[pair * LANES + lane] = low + x1 * s1 + (middle >> 32) + (other >> 32);
        }
    }
}

void KERNEL(integers)(int64_t *y, size_t n, int64_t low, int64_t high, uint64_t key, uint64_t call)
{
    draw d = {make_integers, put_made, y, NULL, n, sizeof *y, key, call, .lowest = (uint64_t)low};
    d.numbers = (uint64_t)high - (uint64_t)low;
    draw_all(d);
}

/* y[i] = low + (high - low) u, u a multiple of 2^-24 in [0, 1), or of 2^-53 in double.
 * Where rounding would lead to high, it is the number below. */
static void make_uniform(void *made, uint32_t words[WORDS][LANES], const draw *d)
{
    const real low = d->low, span = d->span, last = d->last;
    real *const y = made;
    for (int i = 0; i < REALS; i++) {
        const uint32_t *const x = words[REAL_WORDS * i], *const x0 = words[REAL_WORDS * i + REAL_WORDS - 1];
        PRAGMA(omp simd)
        for (int lane = 0; lane < LANES; lane++) {
            const real u =
                F32 ? (real)(int32_t)(x[lane] >> 8) * (real)0x1p-24
                    : (real)(int32_t)(x[lane] >> 5) * (real)0x1p-27 + (real)(int32_t)(x0[lane] >> 6) * (real)0x1p-53;
            const real z = low + span * u;
            y[i * LANES + lane] = z < last ? z : last;
        }
    }
}

/* The largest number that is drawn from [a, b). */
static real below(real a, real b)
{
    return a < b ? (real)(F32 ? nextafterf(b, a) : nextafter(b, a)) : a;
}

static draw uniform(put_function *put, real *y, const real *x, size_t n, double low, double high, uint64_t key,
                    uint64_t call)
{
    const real a = (real)low, b = (real)high;
    return (draw){make_uniform, put, y, x, n, sizeof *y, key, call, .low = a, .span = b - a, .last = below(a, b)};
}

void KERNEL(uniform)(real *y, size_t n, double low, double high, uint64_t key, uint64_t call)
{
    draw_all(uniform(put_made, y, NULL, n, low, high, key, call));
}

static void add(const draw *d, const void *made, size_t at, size_t n)
{
    real *const y = (real *)d->y + at;
    const real *const x = (const real *)d->x + at, *const z = made;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] + z[i];
}

/* y = x + what uniform makes; element i is the i-th in memory.  y may be x. */
void KERNEL(add_uniform)(real *y, const real *x, size_t n, double low, double high, uint64_t key, uint64_t call)
{
    draw_all(uniform(add, y, x, n, low, high, key, call));
}

/* -2 log(u 2^-31) for normal u <= 2^31.  u = 2^e m with m within a factor sqrt 2 of one, and
 *     log m = 2 (s + s^3 / 3 + s^5 / 5 + ...),   s = (m - 1) / (m + 1),   s^2 < 0.0295
 * Here and below powers of two are part of the next constant, which changes no bit. */
static inline real minus_2_log(real u)
{
    enum { MANTISSA = F32 ? 23 : 52, BIAS = F32 ? 127 : 1023, TERMS = F32 ? 5 : 11 };
#define BITS __typeof__(__builtin_choose_expr(F32, (uint32_t)0, (uint64_t)0))
    const union {
        real value;
        BITS bits;
    } one = {1}, low = {(real)0.70710678118654752440}, x = {u};
    const BITS above = x.bits + (one.bits - low.bits), exponent = above >> MANTISSA;
    const union {
        BITS bits;
        real value;
    } m = {(above & (((BITS)1 << MANTISSA) - 1)) + low.bits};
#undef BITS
    const real s = (m.value - 1) / (m.value + 1), s2 = s * s;
    real sum = 4 * (1 / (real)(2 * TERMS - 1));
    PRAGMA(GCC unroll 16)
    for (int k = TERMS - 1; k-- > 0;)
        sum = sum * s2 + 4 * (1 / (real)(2 * k + 1));
    return (real)(BIAS + 31 - (int32_t)exponent) * (real)(2 * 0.69314718055994530942) - s * sum;
}

/* Sine and cosine of t for |t| <= pi / 4: their series, in Horner's form. */
static inline void sine_cosine(real *sine, real *cosine, real t)
{
    enum { TERMS = F32 ? 6 : 10 };
    const real t2 = t * t;
    real s = 1, c = 1;
    PRAGMA(GCC unroll 16)
    for (int k = TERMS - 1; k > 0; k--) {
        s = 1 - s * t2 * (1 / (real)(2 * k * (2 * k + 1)));
        c = 1 - c * t2 * (1 / (real)(2 * k * (2 * k - 1)));
    }
    *sine = t * s;
    *cosine = c;
}

/* y[i] = std z by Box and Muller's method: a point of the plane whose
 * coordinates are standard normal has the radius sqrt(-2 log u) and any direction.
 * One element of a block gives the radius and the next the direction, and the two
 * become the coordinates.  u is the middle of one of 2^31 equal steps (2^62 in
 * double), which lets |z| reach 6.6 (9.3).  The direction is an angle of the quarter
 * that is centred on the first axis, by 30 bits (61); one more bit exchanges the
 * coordinates, and the last changes both signs. */
static void make_normal(void *made, uint32_t words[WORDS][LANES], const draw *d)
{
    const real std = d->std;
    real *const y = made;
    for (int i = 0; i < REALS; i += 2) {
        const uint32_t *const x = words[REAL_WORDS * i], *const x0 = words[REAL_WORDS * i + REAL_WORDS - 1];
        const uint32_t *const w = words[REAL_WORDS * (i + 1)], *const w0 = words[REAL_WORDS * (i + 2) - 1];
        PRAGMA(omp simd)
        for (int lane = 0; lane < LANES; lane++) {
            real step = (real)0.5, turn = (real)(int32_t)(w[lane] << 2);
            if (!F32) {
                step = ((real)(int32_t)(x0[lane] >> 1) + step) * (real)0x1p-31;
                turn += (real)(int32_t)(w0[lane] >> 1) * (real)0x1p-29;
            }
            const real u = (real)(int32_t)(x[lane] >> 1) + step, square = minus_2_log(u);
            const real radius = (w[lane] >> 31 ? -std : std) * (F32 ? (real)sqrtf((float)square) : (real)sqrt(square));
            real sine, cosine;
            sine_cosine(&sine, &cosine, turn * (real)(0x1p-32 * 1.57079632679489661923));
            const int exchange = w[lane] >> 30 & 1;
            y[i * LANES + lane] = radius * (exchange ? sine : cosine);
            y[(i + 1) * LANES + lane] = radius * (exchange ? cosine : sine);
        }
    }
}

static void add_mean(const draw *d, const void *made, size_t at, size_t n)
{
    const real mean = d->mean, *const z = made;
    real *const y = (real *)d->y + at;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++)
        y[i] = mean + z[i];
}

static draw normal(put_function *put, real *y, const real *x, size_t n, double mean, double std, uint64_t key,
                   uint64_t call)
{
    return (draw){make_normal, put, y, x, n, sizeof *y, key, call, .mean = (real)mean, .std = (real)std};
}

void KERNEL(normal)(real *y, size_t n, double mean, double std, uint64_t key, uint64_t call)
{
    draw_all(normal(add_mean, y, NULL, n, mean, std, key, call));
}

/* y = x + std z: the sum of x and what normal makes of mean 0.  Element i is the i-th in memory.  y may be x. */
void KERNEL(add_normal)(real *y, const real *x, size_t n, double std, uint64_t key, uint64_t call)
{
    draw_all(normal(add, y, x, n, 0, std, key, call));
}

static void multiply(const draw *d, const void *made, size_t at, size_t n)
{
    real *const y = (real *)d->y + at;
    const real *const x = (const real *)d->x + at, *const z = made;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * (1 + z[i]);
}

/* y = x m, m = 1 + std z: the product of x and what normal makes of mean 1, and in the same way dx = dy m, whose m
 * is made again.  y may be x. */
void KERNEL(multiply_normal)(real *y, const real *x, size_t n, double std, uint64_t key, uint64_t call)
{
    draw_all(normal(multiply, y, x, n, 0, std, key, call));
}

/* Of bytes, noise loses its fraction. */
static void make_noise(void *made, uint32_t words[WORDS][LANES], const draw *d)
{
    real *const y = made;
    make_normal(y, words, d);
    if (!d->bytes) {
        PRAGMA(omp simd)
        for (size_t i = 0; i < REALS * LANES; i++)
            y[i] = d->mean + y[i];
        return;
    }
    PRAGMA(omp simd)
    for (size_t i = 0; i < REALS * LANES; i++) {
        real noise = d->mean + y[i];
        noise = noise > -32768 ? noise : -32768;
        y[i] = (real)(int32_t)(noise < 32767 ? noise : 32767);
    }
}

INLINE void add_noise(const draw *d, const real *made, size_t at, size_t n, const int bytes)
{
    void *const y = d->y;
    const void *const x = d->x;
    const int clip = d->clip;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++) {
        const real sum = element(x, at + i, bytes) + made[i];
        put(y, at + i, clip ? kept(sum, bytes) : sum, bytes);
    }
}

static void put_noise(const draw *d, const void *made, size_t at, size_t n)
{
    const int bytes = d->bytes;
    OF_BYTES_OR_REAL(add_noise, d, made, at, n);
}

/* y = x + mean + std z of images, whose brightest value mean and std are parts of.  Where it is not clipped, bytes lose
 * what is above a byte.  y may be x. */
void KERNEL(noisy_image)(void *y, const void *x, int bytes, size_t n, double mean, double std, int clip, uint64_t key,
                         uint64_t call)
{
    const double brightest = bytes ? 255 : 1;
    draw d = normal(put_noise, y, x, n, brightest * mean, brightest * std, key, call);
    d.make = make_noise, d.bytes = bytes, d.clip = clip;
    draw_all(d);
}
