/* Activations and, under each, its gradient.
 *
 *     y = f(x; a, b),     dx = dy f'(x; a, b)
 *
 * A gradient is written in y = f(x) where that is enough, and in x otherwise:
 * the name of the kept operand says which.  At a kink it is PyTorch's choice of
 * the two slopes.  A NaN goes through: comparisons are written so that they let
 * it pass.  Exponentials are taken of numbers that cannot overflow, or where an
 * overflow still ends in the right limit: at large |x| results and gradients are
 * those of the asymptote, not NaN. */
#include "elementary.h"
#include "elementwise.h"

/* ---- piecewise linear ---- */

MAP(relu, x < 0 ? 0 : x)
GRADIENT(relu_backward, y, y <= 0 ? 0 : dy)

MAP(relu6, bounded(x, 0, 6))
GRADIENT(relu6_backward, x, x <= 0 || x >= 6 ? 0 : dy)

/* hardtanh is clamp going forward, but its bounds stop the gradient. */
GRADIENT(hardtanh_backward, x, x <= a || x >= b ? 0 : dy)

/* a is the slope below nought. */
MAP(leaky_relu, x > 0 ? x : a * x)
GRADIENT(leaky_relu_backward, x, x > 0 ? dy : a * dy)

/* The same with the slope y, an operand of its own: a number for each channel, which
 * is learnt (PReLU), or for each element, which is drawn (RReLU). */
MAP2(prelu, x > 0 ? x : y * x)
MAP4(prelu_backward, dy, x, slope, one, x > 0 ? dy : slope * dy)
GRADIENT(prelu_slope_backward, x, x > 0 ? 0 : dy * x)

/* b where x does not pass the threshold a. */
MAP(threshold, x <= a ? b : x)
GRADIENT(threshold_backward, x, x <= a ? 0 : dy)

MAP(hardshrink, x >= -a && x <= a ? 0 : x)
GRADIENT(hardshrink_backward, x, x >= -a && x <= a ? 0 : dy)

MAP(softshrink, x > a ? x - a : x < -a ? x + a : 0 * x)
GRADIENT(softshrink_backward, x, x >= -a && x <= a ? 0 : dy)

MAP(hardsigmoid, bounded(x + 3, 0, 6) / 6)
GRADIENT(hardsigmoid_backward, x, x > -3 && x < 3 ? dy / 6 : 0)

/* hardswish = x hardsigmoid(x) */
MAP(hardswish, x * bounded(x + 3, 0, 6) / 6)
GRADIENT(hardswish_backward, x, x <= -3 ? 0 : x < 3 ? dy * (x / 3 + (real)0.5) : dy)

MAP(softsign, x / (1 + fabs(x)))

static inline real softsign_slope(real x)
{
    const real root = 1 / (1 + fabs(x));
    return root * root;
}
GRADIENT(softsign_backward, x, dy * softsign_slope(x))

/* ---- of the exponential ---- */

MAP(sigmoid, sigmoid_of(x))
GRADIENT(sigmoid_backward, y, dy * ((1 - y) * y))

MAP(tanh, tanh_of(x))
GRADIENT(tanh_backward, y, dy * (1 - y * y))

static inline real square_of(real x)
{
    return x * x;
}
MAP(tanhshrink, x - tanh_of(x))
GRADIENT(tanhshrink_backward, x, dy * square_of(tanh_of(x)))

/* elu = x above nought and a (e^x - 1) below. */
MAP(elu, x < 0 ? a * expm1_of(x) : x)
GRADIENT(elu_backward, x, x <= 0 ? dy * (a * exp_of(x)) : dy)

/* celu = x above nought and a (e^(x/a) - 1) below: smooth for every a. */
MAP(celu, x < 0 ? a * expm1_of(x / a) : x)
GRADIENT(celu_backward, x, x <= 0 ? dy * exp_of(x / a) : dy)

/* selu = SCALE elu with a slope of its own.  Both constants are from
 * "Self-Normalizing Neural Networks" (2017), equation 14: they make mean 0 and
 * variance 1 a fixed point of a layer. */
static const real SELU_SCALE = (real)1.0507009873554804934193349852946;
static const real SELU_ALPHA = (real)(1.0507009873554804934193349852946 * 1.6732632423543772848170429916717);
MAP(selu, x < 0 ? SELU_ALPHA * expm1_of(x) : SELU_SCALE * x)
GRADIENT(selu_backward, x, x <= 0 ? dy * (SELU_ALPHA * exp_of(x)) : dy * SELU_SCALE)

/* The slope of the sigmoid, s (1 - s), without the cancellation of 1 - s:
 * with e = e^-|x|, one of s and 1 - s is 1 / (1 + e) and the other e times that. */
static inline real sigmoid_slope(real x)
{
    const real e = exp_of(-fabs(x)), r = 1 / (1 + e);
    return e * r * r;
}

/* silu = x s(x), s the sigmoid */
MAP(silu, x * sigmoid_of(x))
GRADIENT(silu_backward, x, dy * (sigmoid_of(x) + x * sigmoid_slope(x)))

/* softplus = log(1 + e^(a x)) / a, and x where a x is above b. */
static inline real softplus_of(real x)
{
    return (x < 0 ? 0 : x) + log1p_of(exp_of(-fabs(x)));
}
MAP(softplus, a * x > b ? x : softplus_of(a * x) / a)
GRADIENT(softplus_backward, x, a * x > b ? dy : dy * sigmoid_of(a * x))

/* logsigmoid = log(1 / (1 + e^-x)) = -softplus(-x) */
MAP(logsigmoid, -softplus_of(-x))
GRADIENT(logsigmoid_backward, x, dy * sigmoid_of(-x))

/* mish = x t,  t = tanh(log(1 + e^x)).  With e = e^x and n = e (e + 2), which
 * cancels nowhere,
 *     t = n / (n + 2),    1 - t^2 = 4 (n + 1) / (n + 2)^2,    mish' = t + x s(x) (1 - t^2).
 * Above 20, t is 1 to the last bit of a double. */
static inline real mish_of(real x)
{
    const real e = exp_of(bounded(x, -INFINITY, 20)), n = e * (e + 2);
    return x * (n / (n + 2));
}

static inline real mish_slope(real x)
{
    const real c = bounded(x, -INFINITY, 20), e = exp_of(c), n = e * (e + 2);
    return n / (n + 2) + c * (e / (1 + e)) * (4 * (n + 1) / ((n + 2) * (n + 2)));
}
MAP(mish, mish_of(x))
GRADIENT(mish_backward, x, dy * mish_slope(x))

/* gelu = x P(x),  P(x) = (1 + erf(x / sqrt 2)) / 2 the normal distribution;
 * gelu' = P(x) + x exp(-x^2 / 2) / sqrt(2 pi) */
static inline real normal_below(real x)
{
    return (1 + erf_of(x * (real)M_SQRT1_2)) / 2;
}
MAP(gelu, x * normal_below(x))
GRADIENT(gelu_backward, x, dy * (normal_below(x) + x * (exp_of(-x * x / 2) * (real)(M_2_SQRTPI * M_SQRT1_2 / 2))))

/* gelu_tanh = x (1 + tanh u) / 2 = x s(2 u),  2 u = sqrt(8 / pi) (x + c x^3).  From |x| = 16 on
 * s(2 u) is nought or one and its slope nought, to the last bit of a double, while x^3 would overflow. */
static inline real gelu_inner(real x)
{
    return (real)(M_2_SQRTPI * M_SQRT2) * (x + (real)0.044715 * (x * x * x));
}

static inline real gelu_tanh_slope(real x)
{
    const real c = bounded(x, -16, 16), u = gelu_inner(c);
    const real du = (real)(M_2_SQRTPI * M_SQRT2) * (1 + (real)(3 * 0.044715) * (c * c));
    return sigmoid_of(u) + c * du * sigmoid_slope(u);
}
MAP(gelu_tanh, x * sigmoid_of(gelu_inner(bounded(x, -16, 16))))
GRADIENT(gelu_tanh_backward, x, dy * gelu_tanh_slope(x))

/* ---- means over normal numbers ---- */

/* Q(t) = 1 - Phi(t) and phi(t), the standard normal distribution's tail and density, for t >= 0. */
static inline real tail(real t)
{
    return (real)0.5 * erfc_of(t * (real)M_SQRT1_2);
}
static inline real density(real t)
{
    return (real)0.39894228040143267794 * exp_of((real)-0.5 * t * t);
}

/* |mean| / std, which is infinite where std is nought. */
static inline real distance(real mean, real std)
{
    return std > 0 ? fabs(mean) / std : INFINITY;
}

/* E max(z, 0), z ~ N(m, s^2), is m Phi(m / s) + s phi(m / s).  Written as max(m, 0) + s (phi(t) - t Q(t)), t = |m| / s,
 * it is nowhere below nought.  Its derivatives are Phi(m / s) by m and phi(m / s) by s. */
static inline real beyond(real t)
{
    const real c = bounded(t, 0, 9);
    return density(c) - c * tail(c);
}
MAP2(gaussian_relu, (x < 0 ? 0 : x) + y * beyond(distance(x, y)))
MAP4(gaussian_relu_backward, dy, m, s, one, dy *(m > 0 ? 1 - tail(distance(m, s)) : tail(distance(m, s))))
MAP4(gaussian_relu_std_backward, dy, m, s, one, dy * density(distance(m, s)))
