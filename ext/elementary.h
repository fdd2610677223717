/* Elementary functions of a real, without branches, so that loops of them are
 * vectorised.  NAME_of leaves libm's names and generic.h's macros alone.
 *
 * Each brings its argument into a short interval, where a polynomial is enough:
 *
 *     e^x = 2^n e^r,                      n the integer next to x / log 2,  |r| <= log(2) / 2
 *     log x = k log 2 + log m,            m in [sqrt 1/2, sqrt 2),  log m = 2 artanh((m - 1) / (m + 1))
 *     erf x = x + x p(x^2)                where |x| < 1
 *             1 - e^(-x^2) q(u)           beyond, u a fraction in x that runs from -1 to 1
 *
 * Results are within 2 units in the last place (expm1, sigmoid, tanh and erf: 3),
 * for all numbers from denormals to infinity; a NaN goes through, and nought keeps
 * its sign.
 *
 * The coefficients are those of the interpolation at Chebyshev's nodes, done with
 * sixty digits and rounded; each polynomial has the lowest degree whose error is
 * below a fifth of the type's rounding error.  The polynomial of
 *     EXP   is (e^r - 1 - r) / r^2                       in r,   |r| <= log(2) / 2,
 *     LOG   is (2 artanh(s) - 2 s) / s^3                 in s^2, s = (m - 1) / (m + 1),
 *     ERF   is erf(x) / x - 1                            in x^2, |x| <= 1,
 *     ERFC  is e^(x^2) (1 - erf(x))                      in u = 2.6 - 14.4 / (x + 3), 1 <= x <= 6. */
#ifndef BATTEN_ELEMENTARY_H
#define BATTEN_ELEMENTARY_H

#include "generic.h"
#include "kernel.h"
#include <float.h>
#include <string.h>

#define SINGLE_float 1
#define SINGLE_double 0
#define SINGLE_NAMED(type) SINGLE_##type
#define SINGLE_OF(type) SINGLE_NAMED(type)

#if SINGLE_OF(REAL)

typedef uint32_t bits;
enum { MANTISSA = 23, BIAS = 127, DENORMAL_SHIFT = 64 };
static const real ROUNDER = 0x1.8p23, SMALLEST = FLT_MIN;
static const real LN2_HIGH = 0x1.62e4p-1, LN2_LOW = 1.42860682e-6; /* n LN2_HIGH is exact */
static const real EXP_LOW = -104, EXP_HIGH = 89;                   /* nought before, infinity after */
static const real EXP[] = {
    0.5, 0.166665763, 0.0416665524, 0.00836323295, 0.00139262504,
};
static const real LOG[] = {
    0.666666687,
    0.400001258,
    0.285503983,
    0.233419433,
};
static const real ERF[] = {
    0.128379166, -0.37612626, 0.112835944, -0.0268542115, 0.00518908724, -0.00080168643, 7.87587487e-05,
};
static const real ERFC[] = {
    0.207983285,     -0.154361174,   0.0496984459,   -0.0127131501,   0.00247931969,
    -0.000331594463, 1.95452758e-05, 2.41450789e-06, -5.29455406e-07,
};

#else

typedef uint64_t bits;
enum { MANTISSA = 52, BIAS = 1023, DENORMAL_SHIFT = 128 };
static const real ROUNDER = 0x1.8p52, SMALLEST = DBL_MIN;
static const real LN2_HIGH = 0x1.62e42fefa38p-1, LN2_LOW = 5.4979230187083712e-14;
static const real EXP_LOW = -746, EXP_HIGH = 710;
static const real EXP[] = {
    0.50000000000000011,    0.16666666666666669,    0.041666666666623824,   0.008333333333330039,
    0.0013888888917367081,  0.00019841269863171557, 2.4801521057868204e-05, 2.7557268276905696e-06,
    2.7620201591031547e-07, 2.5100472505694996e-08,
};
static const real LOG[] = {
    0.66666666666666696, 0.39999999999893221, 0.28571428628810996, 0.22222210674238516,
    0.18182922513515942, 0.15330617306743305, 0.14630031364122861,
};
static const real ERF[] = {
    0.12837916709551256,    -0.37612638903183543,    0.11283791670945006,    -0.02686617064323777,
    0.0052239776071164225,  -0.00085483259753896918, 0.00012055294904839707, -1.4924736907419661e-05,
    1.6447424703317362e-06, -1.6208483801871705e-07, 1.3720064546777686e-08, -7.7958988270021425e-10,
};
static const real ERFC[] = {
    0.20798329133342885,     -0.15436117429436919,    0.049698445403394638,   -0.012713147695692198,
    0.0024793146970781858,   -0.00033160296057641248, 1.9563583246137112e-05, 2.4255574719050315e-06,
    -5.5412744784677138e-07, -4.5267007642487406e-09, 1.1339538061744706e-08, -2.6381508985080735e-10,
    -2.571511429603255e-10,  6.0474059459917037e-12,  6.0857915906870915e-12,
};

#endif

static inline bits bits_of(real x)
{
    bits b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static inline real real_of(bits b)
{
    real x;
    memcpy(&x, &b, sizeof x);
    return x;
}

/* c[0] + c[1] x + c[2] x^2 + ... */
static inline real horner(const real *c, int n, real x)
{
    real y = c[n - 1];
    PRAGMA(GCC unroll 16)
    for (int i = n - 2; i >= 0; i--)
        y = y * x + c[i];
    return y;
}
#define POLYNOMIAL(c, x) horner(c, sizeof c / sizeof *c, x)

static inline real bounded(real x, real low, real high)
{
    return x < low ? low : x > high ? high : x;
}

/* 2^n, n an integer modulo the range of bits, for normal powers. */
static inline real power_of_two(bits n)
{
    return real_of((n + BIAS) << MANTISSA);
}

/* x = n log 2 + r: gives e^r - 1 and n.  Adding ROUNDER leaves no bits behind the
 * point, and n in the last bits. */
static inline real expm1_reduced(real x, bits *n)
{
    const real shifted = x * (real)M_LOG2E + ROUNDER, whole = shifted - ROUNDER;
    const real r = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    *n = bits_of(shifted) - bits_of(ROUNDER);
    return r + r * r * POLYNOMIAL(EXP, r);
}

/* The last factor is a power of two of its own, so that results round once where
 * they are denormal, and 2^n need not be a number where they are just finite. */
static inline real exp_of(real x)
{
    bits n;
    const real c = bounded(x, EXP_LOW, EXP_HIGH), e = 1 + expm1_reduced(c, &n);
    const bits last = c > 0 ? 1 : -(bits)DENORMAL_SHIFT;
    return e * power_of_two(n - last) * power_of_two(last);
}

/* 2^n e^r - 1 = 2^n (e^r - 1) + (2^n - 1); below -40 it is -1 to the last bit of a double. */
static inline real expm1_of(real x)
{
    bits n;
    const real c = bounded(x, -40, EXP_HIGH), e = expm1_reduced(c, &n);
    const real up = c > 0 ? 2 : 1, power = power_of_two(c > 0 ? n - 1 : n);
    return x == 0 ? x : (e * power + (power - 1 / up)) * up;
}

/* tanh |x| = -m / (m + 2),  m = e^(-2|x|) - 1 */
static inline real tanh_of(real x)
{
    const real m = expm1_of(-2 * fabs(x));
    return copysign(m / (m + 2), x);
}

/* 1 / (1 + e^-x), or for negative x the equal e^x / (1 + e^x), which keeps small results precise. */
static inline real sigmoid_of(real x)
{
    const real e = exp_of(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}

/* The exponent and m are cut from the bits of x, of a denormal from those of a multiple.
 * With f = m - 1, the leading term 2 s of log m is f - s f, and f is exact. */
static inline real log_of(real x)
{
    const real scale = x < SMALLEST ? power_of_two(MANTISSA) : 1;
    const bits low = bits_of((real)M_SQRT1_2), b = bits_of(x * scale) - low + ((bits)(BIAS + 1) << MANTISSA);
    const real m = real_of((b & (((bits)1 << MANTISSA) - 1)) + low);
    const real k = real_of(bits_of(ROUNDER) + (b >> MANTISSA)) - (ROUNDER + (BIAS + 1)) - (x < SMALLEST ? MANTISSA : 0);
    const real f = m - 1, s = f / (m + 1), z = s * s;
    const real y = k * LN2_HIGH + (f - (s * (f - z * POLYNOMIAL(LOG, z)) - k * LN2_LOW));
    return x < INFINITY ? x > 0 ? y : x == 0 ? -INFINITY : NAN : x;
}

/* log w for w = 1 + x, and what the rounding of w took away. */
static inline real log1p_of(real x)
{
    const real w = 1 + x, lost = w - 1 == x ? 0 : (x - (w - 1)) / w;
    return x == 0 ? x : log_of(w) + lost;
}

static inline real erf_of(real x)
{
    const real c = bounded(x, -6, 6), magnitude = fabs(c);
    const real inner = c + c * POLYNOMIAL(ERF, c * c);
    const real u = (real)2.6 - (real)14.4 / (magnitude + 3);
    const real outer = 1 - exp_of(-c * c) * POLYNOMIAL(ERFC, u);
    return magnitude < 1 ? inner : copysign(outer, x);
}

/* 1 - erf x for x >= 0, precise where it is small, too; from 6 on, where it is below 1e-16, nought. */
static inline real erfc_of(real x)
{
    const real c = bounded(x, 0, 6), u = (real)2.6 - (real)14.4 / (c + 3);
    const real inner = 1 - (c + c * POLYNOMIAL(ERF, c * c)), outer = exp_of(-c * c) * POLYNOMIAL(ERFC, u);
    return c < 1 ? inner : c >= 6 ? 0 : outer;
}

#endif
