/* Optimizer steps: all parameters of a group in one call and one pass over memory.
 *
 * With d = g + weight_decay w, where g is the gradient, or its negative to maximize,
 *
 *     SGD       v = momentum v + (1 - dampening) d  (v = d at first);
 *               w -= lr v,  or  lr (d + momentum v)  (Nesterov)
 *     Adam      m += (1 - beta1)(d - m);  v = beta2 v + (1 - beta2) d^2  (Kingma & Ba 2015);
 *               w -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *     RMSprop   v = alpha v + (1 - alpha) d^2  (Tieleman & Hinton 2012);
 *               b = momentum b + d / (sqrt(v) + eps);  w -= lr b
 *     Adagrad   v += d^2  (Duchi et al. 2011);
 *               w -= lr / (1 + (t - 1) lr_decay) d / (sqrt(v) + eps)
 *     Adadelta  v = rho v + (1 - rho) d^2;  x = sqrt(u + eps) / sqrt(v + eps) d  (Zeiler 2012);
 *               u = rho u + (1 - rho) x^2;  w -= lr x
 *
 * in step t.  Adam's weight decay may be decoupled, w *= 1 - lr weight_decay first
 * (Loshchilov & Hutter 2019), and the largest v so far be in v's place (AMSGrad,
 * Reddi et al. 2018); centered RMSprop has v - m^2 there, with m the mean of d as
 * v is of d^2 (Graves 2013).
 *
 * The loops are written so that each element costs one root and one division at
 * most: then they wait for memory, and for nothing else. */
#include "group.h"
#include <tgmath.h>

/* Neighbouring elements of one tensor, and what its group does with them. */
typedef struct {
    size_t n;
    real *w, *states[3];
    const real *g;
    real lr, weight_decay, sign;
    double step;
} piece;

static piece piece_of(const batten_group *group, size_t k, size_t begin, size_t end)
{
    piece p = {.n = end - begin, .w = (real *)group->params[k] + begin, .g = (const real *)group->grads[k] + begin};
    for (int i = 0; i < 3; i++)
        p.states[i] = group->states[i] ? (real *)group->states[i][k] + begin : NULL;
    p.lr = (real)group->lr, p.weight_decay = (real)group->weight_decay, p.sign = group->maximize ? -1 : 1;
    p.step = group->steps ? *group->steps[k] : 0;
    return p;
}

/* Makes a call for each piece p, of the k-th tensor; work is for one element. */
#define EACH_PIECE(work, call) EACH_STRETCH(&group->list, work, const piece p = piece_of(group, k, begin, end); call)

/* Every tensor is about to make its next step. */
static void count_step(const batten_group *group)
{
    for (size_t k = 0; k < group->list.count; k++)
        *group->steps[k] += 1;
}

/* Where to go down, with weight decay; without, an infinite w does no harm. */
static inline real slope(piece p, size_t i)
{
    return p.sign * p.g[i] + (p.weight_decay ? p.weight_decay * p.w[i] : 0);
}

static void sgd_piece(piece p, real momentum, real dampening, int nesterov, int first)
{
    real *v = p.states[0];
    if (!v) {
        PRAGMA(omp simd)
        for (size_t i = 0; i < p.n; i++)
            p.w[i] -= p.lr * slope(p, i);
        return;
    }
    const real take = first ? 1 : 1 - dampening;
    PRAGMA(omp simd)
    for (size_t i = 0; i < p.n; i++) {
        const real d = slope(p, i);
        v[i] = momentum * v[i] + take * d;
        p.w[i] -= p.lr * (nesterov ? d + momentum * v[i] : v[i]);
    }
}

/* states: v, or none without momentum.  first[k] says that the k-th v is new, and so nought; first may be NULL. */
void KERNEL(sgd)(const batten_group *group, const uint8_t *first, double momentum, double dampening, int nesterov)
{
    EACH_PIECE(4, sgd_piece(p, (real)momentum, (real)dampening, nesterov, first && first[k]));
}

/* Adam's last line as w -= rate m / (sqrt(v) + eps): what is the same for all elements is put into rate and eps. */
typedef struct {
    double step;
    real rate, eps;
} adam_scale;

static adam_scale scale_of(const batten_group *group, double step, double beta1, double beta2, double eps)
{
    const double root = sqrt(1 - pow(beta2, step));
    return (adam_scale){step, (real)(group->lr / (1 - pow(beta1, step)) * root), (real)(eps * root)};
}

static void adam_piece(piece p, adam_scale at, real beta2, real take1, real take2, real shrink)
{
    real *m = p.states[0], *v = p.states[1], *most = p.states[2];
    PRAGMA(omp simd)
    for (size_t i = 0; i < p.n; i++) {
        const real d = slope(p, i);
        m[i] += take1 * (d - m[i]);
        v[i] = beta2 * v[i] + take2 * d * d;
        real largest = v[i];
        if (most)
            largest = most[i] = v[i] > most[i] || v[i] != v[i] ? v[i] : most[i];
        p.w[i] = shrink * p.w[i] - at.rate * m[i] / (sqrt(largest) + at.eps);
    }
}

/* states: m, v, and for AMSGrad the largest v so far. */
void KERNEL(adam)(const batten_group *group, double beta1, double beta2, double eps, double decoupled_weight_decay)
{
    const real shrink = (real)(1 - group->lr * decoupled_weight_decay);
    count_step(group);
    const adam_scale usual = scale_of(group, group->list.count ? *group->steps[0] : 1, beta1, beta2, eps);
    EACH_PIECE(4, adam_piece(p, p.step == usual.step ? usual : scale_of(group, p.step, beta1, beta2, eps), (real)beta2,
                             (real)(1 - beta1), (real)(1 - beta2), shrink));
}

static inline void rmsprop_loop(piece p, real *v, real *b, real *m, real alpha, real take, real eps, real momentum)
{
    PRAGMA(omp simd)
    for (size_t i = 0; i < p.n; i++) {
        const real d = slope(p, i);
        v[i] = alpha * v[i] + take * d * d;
        real spread = v[i];
        if (m) {
            m[i] += take * (d - m[i]);
            spread -= m[i] * m[i];
            spread = spread < 0 ? 0 : spread; /* a variance is not, but its rounding error may be */
        }
        real move = d / (sqrt(spread) + eps);
        if (b)
            move = b[i] = momentum * b[i] + move;
        p.w[i] -= p.lr * move;
    }
}

/* The compiler takes one such condition out of a loop, not two: each set of states has a loop of its own. */
static void rmsprop_piece(piece p, real alpha, real take, real eps, real momentum)
{
    real *v = p.states[0], *b = p.states[1], *m = p.states[2];
    if (b && m)
        rmsprop_loop(p, v, b, m, alpha, take, eps, momentum);
    else if (b)
        rmsprop_loop(p, v, b, NULL, alpha, take, eps, momentum);
    else if (m)
        rmsprop_loop(p, v, NULL, m, alpha, take, eps, momentum);
    else
        rmsprop_loop(p, v, NULL, NULL, alpha, take, eps, momentum);
}

/* states: v, then b with momentum, then m if centered. */
void KERNEL(rmsprop)(const batten_group *group, double alpha, double eps, double momentum)
{
    count_step(group);
    EACH_PIECE(4, rmsprop_piece(p, (real)alpha, (real)(1 - alpha), (real)eps, (real)momentum));
}

static void adagrad_piece(piece p, real rate, real eps)
{
    real *v = p.states[0];
    PRAGMA(omp simd)
    for (size_t i = 0; i < p.n; i++) {
        const real d = slope(p, i);
        v[i] += d * d;
        p.w[i] -= rate * d / (sqrt(v[i]) + eps);
    }
}

/* states: v. */
void KERNEL(adagrad)(const batten_group *group, double lr_decay, double eps)
{
    count_step(group);
    EACH_PIECE(4, adagrad_piece(p, (real)(group->lr / (1 + (p.step - 1) * lr_decay)), (real)eps));
}

static void adadelta_piece(piece p, real rho, real take, real eps)
{
    real *v = p.states[0], *u = p.states[1];
    PRAGMA(omp simd)
    for (size_t i = 0; i < p.n; i++) {
        const real d = slope(p, i);
        v[i] = rho * v[i] + take * d * d;
        const real x = sqrt((u[i] + eps) / (v[i] + eps)) * d;
        u[i] = rho * u[i] + take * x * x;
        p.w[i] -= p.lr * x;
    }
}

/* states: v, u. */
void KERNEL(adadelta)(const batten_group *group, double rho, double eps)
{
    count_step(group);
    EACH_PIECE(4, adadelta_piece(p, (real)rho, (real)(1 - rho), (real)eps));
}
