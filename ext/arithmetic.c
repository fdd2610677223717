/* Arithmetic, element by element and with broadcasting, and under each function
 * its gradient.
 *
 *     z = f(x, y)     or     y = f(x),     dx = dy f'(x)
 *
 * One expression each; elementwise.h makes the loops.  Most of these kernels are
 * bound by memory, so all that matters is to read and write once, in order.
 *
 * A gradient is written in y = f(x) where that is enough and in x otherwise, as
 * the kept operand's name says.  The gradients of a binary kernel are made of
 * these kernels, so they have none here. */
#include "elementary.h"
#include "elementwise.h"

/* Comparisons are false for a NaN; these two let one through from either side. */
static inline real larger(real x, real y)
{
    return x > y || x != x ? x : y;
}

static inline real lesser(real x, real y)
{
    return x < y || x != x ? x : y;
}

static inline real sign_of(real x)
{
    return (real)(x > 0) - (real)(x < 0);
}

MAP(copy, x)
MAP2(add, x + y)
MAP2(sub, x - y)
MAP2(mul, x * y)
MAP2(div, x / y)
MAP2(pow, pow(x, y))
MAP2(maximum, larger(x, y))
MAP2(minimum, lesser(x, y))

MAP(neg, -x)

MAP(abs, fabs(x))
GRADIENT(abs_backward, x, dy * sign_of(x))

MAP(sign, sign_of(x))

MAP(square, x * x)
GRADIENT(square_backward, x, dy * (2 * x))

MAP(sqrt, sqrt(x))
GRADIENT(sqrt_backward, y, dy / (2 * y))

MAP(rsqrt, 1 / sqrt(x))
GRADIENT(rsqrt_backward, y, dy * (y * y * y) / -2)

MAP(reciprocal, 1 / x)
GRADIENT(reciprocal_backward, y, -dy * (y * y))

MAP(exp, exp_of(x))
GRADIENT(exp_backward, y, dy * y)

MAP(expm1, expm1_of(x))
GRADIENT(expm1_backward, y, dy * (y + 1))

MAP(log, log_of(x))
GRADIENT(log_backward, x, dy / x)

MAP(log1p, log1p_of(x))
GRADIENT(log1p_backward, x, dy / (1 + x))

MAP(sin, sin(x))
GRADIENT(sin_backward, x, dy * cos(x))

MAP(cos, cos(x))
GRADIENT(cos_backward, x, dy * -sin(x))

/* d erf = 2/sqrt(pi) exp(-x^2) */
MAP(erf, erf_of(x))
GRADIENT(erf_backward, x, dy * ((real)M_2_SQRTPI * exp_of(-x * x)))

/* clamp = min(max(x, a), b); the bounds themselves let the gradient through. */
MAP(clamp, lesser(larger(x, a), b))
GRADIENT(clamp_backward, x, x >= a && x <= b ? dy : 0)
