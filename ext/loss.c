/* Losses.
 *
 * Of numbers, element by element, for an input x and a target t, with a weight w:
 *
 *     z[i] = b w[i] f(x[i], t[i]; p[i], a)                 or the sum of these, z = b sum_i w[i] f(...)
 *     dx[i] = b w[i] df/dx,        dt[i] = b w[i] df/dt
 *
 * f is a line below, with its two derivatives.  a is f's own parameter, p the weight
 * of positive targets; b brings the mean's 1 / n and, going backward, the gradient of
 * a loss that is a single number.  The gradient of losses that are many comes in the
 * place of w.
 *
 * A sum is taken in one pass: a chunk's losses go to a buffer that never leaves the
 * first-level cache, and are summed from there.  Each piece of the walk leaves its sum
 * in `partial`, where they are added in order, so the team does not matter.
 *
 * At a kink a derivative is PyTorch's choice; a NaN goes through. */
#include "elementary.h"
#include "elementwise.h"

static void sum_losses(chunk_function *f, real *z, const real *const *x, double a, double b, double *partial,
                       const batten_loop *loop)
{
    const batten_cut cut = batten_loop_cut(loop);
    double total = 0;
    PARALLEL(cut.rows * cut.length, for (size_t piece = 0; piece < cut.pieces; piece++)
                                        partial[piece] = walk_piece(f, NULL, x, (real)a, 1, loop, &cut, piece););
    for (size_t piece = 0; piece < cut.pieces; piece++)
        total += partial[piece];
    *z = (real)(b * total);
}

/* f and its derivatives by x and t. */
#define LOSS(name, value, slope, target_slope)                                                                       \
    LOSS_PART(name, value)                                                                                           \
    LOSS_PART(name##_backward, slope)                                                                                \
    LOSS_PART(name##_target_backward, target_slope)                                                                  \
    void KERNEL(name##_sum)(real *z, const real *x, const real *y, const real *u, const real *v, double a, double b, \
                            double *partial, const batten_loop *loop)                                                \
    {                                                                                                                \
        sum_losses(name##_chunk, z, (const real *[]){x, y, u, v}, a, b, partial, loop);                              \
    }
#define LOSS_PART(name, expression)                              \
    static inline real name##_of(real x, real t, real p, real a) \
    {                                                            \
        const real d = x - t;                                    \
        (void)d, (void)p, (void)a;                               \
        return expression;                                       \
    }                                                            \
    MAP4(name, x, t, w, p, b * w * name##_of(x, t, p, a))

/* ---- of the difference d = x - t ---- */

#define LOSS_OF_DIFFERENCE(name, value, slope) LOSS(name, value, slope, -(slope))

static inline real sign_of(real x)
{
    return (real)(x > 0) - (real)(x < 0);
}

LOSS_OF_DIFFERENCE(l1_loss, fabs(d), sign_of(d))
LOSS_OF_DIFFERENCE(mse_loss, d * d, 2 * d)
LOSS_OF_DIFFERENCE(smooth_l1_loss, fabs(d) < a ? d * d / (2 * a) : fabs(d) - a / 2, d <= -a ? -1 : d >= a ? 1 : d / a)
LOSS_OF_DIFFERENCE(huber_loss, fabs(d) < a ? d * d / 2 : a * (fabs(d) - a / 2), d <= -a ? -a : d >= a ? a : d)

/* ---- of probabilities ---- */

/* Logarithms are no less than -100, so that a prediction that is certain and wrong
 * costs much, but not all.  NaN where x or t is no probability. */
static inline real at_least(real x, real low)
{
    return x < low ? low : x;
}

static inline real binary_entropy(real x, real t)
{
    const real yes = at_least(log_of(x), -100), no = at_least(log1p_of(-x), -100);
    return t >= 0 && t <= 1 ? (t - 1) * no - t * yes : NAN;
}
LOSS(binary_cross_entropy, binary_entropy(x, t), d / at_least((1 - x) * x, (real)1e-12),
     at_least(log1p_of(-x), -100) - at_least(log_of(x), -100))

/* With s = sigmoid(x) and c = (1 - t) + p t,
 *
 *     -(p t log s + (1 - t) log(1 - s)) = (1 - t) x + c log(1 + e^-x) = -p t x + c log(1 + e^x)
 *
 * of which the form with the small exponential is taken.  c = 1 where p is. */
static inline real positive_share(real t, real p)
{
    return 1 + (p - 1) * t;
}

static inline real logit_entropy(real x, real t, real p)
{
    return (x < 0 ? -p * t : 1 - t) * x + positive_share(t, p) * log1p_of(exp_of(-fabs(x)));
}

static inline real logit_entropy_slope(real x, real t, real p)
{
    const real e = exp_of(-fabs(x)), share = positive_share(t, p) * (e / (1 + e));
    return x < 0 ? share - p * t : 1 - t - share;
}

static inline real logit_entropy_target_slope(real x, real p)
{
    return (x < 0 ? -p : -1) * x + (p - 1) * log1p_of(exp_of(-fabs(x)));
}
LOSS(binary_cross_entropy_with_logits, logit_entropy(x, t, p), logit_entropy_slope(x, t, p),
     logit_entropy_target_slope(x, p))

/* x is the logarithm of a probability, and so is t in the second form.  Where the
 * target's probability is nought, so is the divergence, whatever x is. */
LOSS(kl_div, t == 0 ? 0 : t * (log_of(t) - x), -t, log_of(t) - x + 1)
LOSS(kl_div_log, exp_of(t) == 0 ? 0 : exp_of(t) * (t - x), -exp_of(t), exp_of(t) * (t - x + 1))

/* ---- of classes ----
 *
 *     loss[o][i] = -weight[k] x[o][k][i],   k = target[o][i]
 *     dx[o][c][i] = -weight[k] dloss[o][i] where c = k, else nought
 *
 * and nought where the target is ignored; weight may be NULL, for ones. */

void KERNEL(nll_loss)(real *loss, const real *x, const int64_t *target, const real *weight, size_t outer,
                      size_t classes, size_t inner, int64_t ignore_index)
{
    PARALLEL(outer * inner, for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            const int64_t k = target[o * inner + i];
            loss[o * inner + i] =
                k == ignore_index ? 0 : -(weight ? weight[k] : 1) * x[(o * classes + (size_t)k) * inner + i];
        });
}

void KERNEL(nll_loss_backward)(real *dx, const real *dloss, const int64_t *target, const real *weight, size_t outer,
                               size_t classes, size_t inner, int64_t ignore_index)
{
    PARALLEL(outer * classes * inner, for (size_t o = 0; o < outer; o++) {
        real *const block = dx + o * classes * inner;
        memset(block, 0, classes * inner * sizeof(real));
        for (size_t i = 0; i < inner; i++) {
            const int64_t k = target[o * inner + i];
            if (k != ignore_index)
                block[(size_t)k * inner + i] = -(weight ? weight[k] : 1) * dloss[o * inner + i];
        }
    });
}
