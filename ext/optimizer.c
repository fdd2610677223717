/* Optimizer steps: all parameters of a group in one call and one pass over memory.
 *
 * With d = g + weight_decay w, where g is the gradient, or its negative to maximize,
 *
 *     SGD       v = momentum v + (1 - dampening) d  (v = d at first);
 *               w -= lr v,  or  lr (d + momentum v)  (Nesterov); or lr is in d from the beginning
 *     Nesterov  v = momentum v + lr d;  w -= v, with d of w - momentum v  (Sutskever et al. 2013)
 *     Adam      m += (1 - beta1)(d - m);  v = beta2 v + (1 - beta2) d^2  (Kingma & Ba 2015);
 *               w -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *     NAdam     m, v as in Adam, with lr (mu' m / (1 - mu' M) + (1 - mu) d / (1 - M)) in the place of
 *               lr / (1 - beta1^t) m;  mu = beta1 (1 - 0.96^(t momentum_decay) / 2), mu' is that
 *               of the next step, and M the product of all so far  (Dozat 2016)
 *     RAdam     m, v as in Adam;  w -= lr / (1 - beta1^t) m r sqrt(1 - beta2^t) / (sqrt(v) + eps),
 *               or lr / (1 - beta1^t) m where there is no r yet: see below  (Liu et al. 2020)
 *     Adamax    m as in Adam;  u = max(beta2 u, |d| + eps);  w -= lr / (1 - beta1^t) m / u  (Kingma & Ba)
 *     RMSprop   v = alpha v + (1 - alpha) d^2  (Tieleman & Hinton 2012);
 *               b = momentum b + d / (sqrt(v) + eps);  w -= lr b
 *     Adagrad   v += d^2  (Duchi et al. 2011);
 *               w -= lr / (1 + (t - 1) lr_decay) d / (sqrt(v) + eps)
 *     Adadelta  v = rho v + (1 - rho) d^2;  x = sqrt(u + eps) / sqrt(v + eps) d  (Zeiler 2012);
 *               u = rho u + (1 - rho) x^2;  w -= lr x
 *
 * in step t.  The weight decay of any may be decoupled: d = g, and w *= 1 - lr weight_decay
 * first (Loshchilov & Hutter 2019).  In Adam the largest v so far may be in v's place (AMSGrad,
 * Reddi et al. 2018); centered RMSprop has v - m^2 there, with m the mean of d as
 * v is of d^2 (Graves 2013).  sqrt(v + eps) may be in the place of sqrt(v) + eps.
 *
 * The loops are written so that each element costs one root and one division at
 * most: then they wait for memory, and for nothing else. */
#include "generic.h"
#include "group.h"
#include <string.h>

/* Neighbouring elements of one tensor, and what its group does with them. */
typedef struct {
    size_t n;
    real *w, *states[3];
    const real *g;
    real lr, weight_decay, shrink, sign;
    double step;
} piece;

static piece piece_of(const batten_group *group, size_t k, size_t begin, size_t end)
{
    piece p = {.n = end - begin, .w = (real *)group->params[k] + begin, .g = (const real *)group->grads[k] + begin};
    for (int i = 0; i < 3; i++)
        p.states[i] = group->states[i] ? (real *)group->states[i][k] + begin : NULL;
    p.lr = (real)group->lr, p.sign = group->maximize ? -1 : 1;
    p.weight_decay = group->decoupled ? 0 : (real)group->weight_decay;
    p.shrink = group->decoupled ? (real)(1 - group->lr * group->weight_decay) : 1;
    p.step = group->steps ? *group->steps[k] : 0;
    return p;
}

/* What is done to a piece of the k-th tensor: to whole vectors. */
typedef void piece_function(piece p, size_t k, const void *with);

/* What is left over of a piece is filled up to a vector, so that an element's result does not depend on its place, as
 * it might if other instructions came to its turn. */
static void do_rest(piece p, size_t k, piece_function *f, const void *with)
{
    real room[5][VLEN] = {0}, *w = p.w, *states[3];
    const size_t bytes = p.n * sizeof(real);
    p.n = VLEN;
    p.w = memcpy(room[0], w, bytes);
    p.g = memcpy(room[1], p.g, bytes);
    for (int i = 0; i < 3; i++)
        if ((states[i] = p.states[i]))
            p.states[i] = memcpy(room[2 + i], states[i], bytes);
    f(p, k, with);
    memcpy(w, room[0], bytes);
    for (int i = 0; i < 3; i++)
        if (states[i])
            memcpy(states[i], room[2 + i], bytes);
}

static void do_piece(const batten_group *group, size_t k, size_t begin, size_t end, piece_function *f, const void *with)
{
    const size_t whole = begin + (end - begin) / VLEN * VLEN;
    if (begin < whole)
        f(piece_of(group, k, begin, whole), k, with);
    if (whole < end)
        do_rest(piece_of(group, k, whole, end), k, f, with);
}

static void each_piece(const batten_group *group, piece_function *f, const void *with)
{
    enum { WORK = 4 }; /* for an element, about */
    EACH_STRETCH(&group->list, WORK, do_piece(group, k, begin, end, f, with));
}

/* Every tensor makes its next step; returns which that is of the first. */
static double count_step(const batten_group *group)
{
    for (size_t k = 0; k < group->list.count; k++)
        *group->steps[k] += 1;
    return group->list.count ? *group->steps[0] : 1;
}

/* Where to go down from w, with weight decay; without, an infinite w does no harm. */
static inline real slope_from(real w, piece p, size_t i)
{
    return p.sign * p.g[i] + (p.weight_decay ? p.weight_decay * w : 0);
}

static inline real slope(piece p, size_t i)
{
    return slope_from(p.w[i], p, i);
}

/* What keeps a root from being nought: sqrt(v) + beside, or sqrt(v + within). */
typedef struct {
    real within, beside;
} margin;

static margin margin_of(double eps, int eps_in_sqrt)
{
    return eps_in_sqrt ? (margin){.within = (real)eps} : (margin){.beside = (real)eps};
}

static inline real root(real v, margin eps)
{
    return sqrt(v + eps.within) + eps.beside;
}

struct sgd {
    real momentum, dampening;
    int nesterov, lr_in_momentum;
    const uint8_t *first;
};

static void sgd_piece(piece p, size_t k, const void *with)
{
    const struct sgd at = *(const struct sgd *)with;
    real *v = p.states[0];
    if (!v) {
        EACH_OF_WHOLE(i, p.n)
            p.w[i] = p.shrink * p.w[i] - p.lr * slope(p, i);
        return;
    }
    if (at.lr_in_momentum) /* then all that d is made of has it */
        p.sign *= p.lr, p.weight_decay *= p.lr, p.lr = 1;
    const real take = at.first && at.first[k] ? 1 : 1 - at.dampening;
    EACH_OF_WHOLE(i, p.n) {
        const real d = slope(p, i);
        v[i] = at.momentum * v[i] + take * d;
        p.w[i] = p.shrink * p.w[i] - p.lr * (at.nesterov ? d + at.momentum * v[i] : v[i]);
    }
}

/* states: v, or none without momentum.  first[k] says that the k-th v is new, and so nought; first may be NULL. */
void KERNEL(sgd)(const batten_group *group, const uint8_t *first, double momentum, double dampening, int nesterov,
                 int lr_in_momentum)
{
    each_piece(group, sgd_piece, &(struct sgd){(real)momentum, (real)dampening, nesterov, lr_in_momentum, first});
}

static void nesterov_piece(piece p, size_t k, const void *with)
{
    const real momentum = *(const real *)with;
    real *v = p.states[0];
    (void)k;
    EACH_OF_WHOLE(i, p.n) {
        const real glide = momentum * v[i];
        v[i] = glide + p.lr * slope_from(p.w[i] - glide, p, i);
        p.w[i] = p.shrink * p.w[i] - v[i];
    }
}

/* states: v.  The gradients were measured at w - momentum v. */
void KERNEL(nesterov)(const batten_group *group, double momentum)
{
    each_piece(group, nesterov_piece, &(real){(real)momentum});
}

/* A step of Adam and its kin: m += take1 (d - m);  v = beta2 v + take2 d^2;  w -= (direct d + rate m) / root(v),
 * or rate m unless it is rooted.  What is the same for all elements is put into these numbers. */
typedef struct {
    real take1, beta2, take2, direct, rate;
    margin eps;
    int rooted;
} adam_rule;

static adam_rule rule_of(double beta1, double beta2)
{
    return (adam_rule){.take1 = (real)(1 - beta1), .beta2 = (real)beta2, .take2 = (real)(1 - beta2), .rooted = 1};
}

static inline __attribute__((always_inline)) void adam_loop(piece p, real *most, int rooted, int direct, adam_rule at)
{
    real *m = p.states[0], *v = p.states[1];
    EACH_OF_WHOLE(i, p.n) {
        const real d = slope(p, i);
        m[i] += at.take1 * (d - m[i]);
        v[i] = at.beta2 * v[i] + at.take2 * d * d;
        real largest = v[i];
        if (most)
            largest = most[i] = v[i] > most[i] || v[i] != v[i] ? v[i] : most[i];
        const real along = (direct ? at.direct * d : 0) + at.rate * m[i];
        p.w[i] = p.shrink * p.w[i] - (rooted ? along / root(largest, at.eps) : along);
    }
}

/* The compiler takes one such condition out of a loop, not two: each has a loop of its own. */
static void adam_by(piece p, adam_rule at)
{
    if (p.states[2])
        adam_loop(p, p.states[2], 1, 0, at);
    else if (at.direct)
        adam_loop(p, NULL, 1, 1, at);
    else if (at.rooted)
        adam_loop(p, NULL, 1, 0, at);
    else
        adam_loop(p, NULL, 0, 0, at);
}

/* What the rule of a step is made of.  Most tensors are in the same step, and have the same rule. */
typedef struct {
    const batten_group *group;
    double step, product, beta1, beta2, eps, momentum_decay;
    int eps_in_sqrt, bias_correction;
    adam_rule rule;
} adam;

static adam_rule adam_at(const adam *a, double step)
{
    const double seen1 = a->bias_correction ? 1 - pow(a->beta1, step) : 1;
    const double seen2 = a->bias_correction ? 1 - pow(a->beta2, step) : 1;
    adam_rule at = rule_of(a->beta1, a->beta2);
    at.rate = (real)(a->group->lr / seen1 * sqrt(seen2));
    at.eps = margin_of(a->eps * (a->eps_in_sqrt ? seen2 : sqrt(seen2)), a->eps_in_sqrt);
    return at;
}

static void adam_piece(piece p, size_t k, const void *with)
{
    const adam *const a = with;
    (void)k;
    adam_by(p, p.step == a->step ? a->rule : adam_at(a, p.step));
}

/* states: m, v, and for AMSGrad the largest v so far. */
void KERNEL(adam)(const batten_group *group, double beta1, double beta2, double eps, int eps_in_sqrt,
                  int bias_correction)
{
    adam a = {group, count_step(group), 0, beta1, beta2, eps, 0, eps_in_sqrt, bias_correction, .rule = {0}};
    a.rule = adam_at(&a, a.step);
    each_piece(group, adam_piece, &a);
}

/* NAdam's mu. */
static double momentum_of(double step, double beta1, double momentum_decay)
{
    return beta1 * (1 - 0.5 * pow(0.96, step * momentum_decay));
}

static adam_rule nadam_at(const adam *a, double step, double product)
{
    const double mu = momentum_of(step, a->beta1, a->momentum_decay);
    const double next = momentum_of(step + 1, a->beta1, a->momentum_decay);
    const double scale = sqrt(1 - pow(a->beta2, step));
    adam_rule at = rule_of(a->beta1, a->beta2);
    at.direct = (real)(a->group->lr * (1 - mu) / (1 - product) * scale);
    at.rate = (real)(a->group->lr * next / (1 - product * next) * scale);
    at.eps = margin_of(a->eps * scale, 0);
    return at;
}

static void nadam_piece(piece p, size_t k, const void *with)
{
    const adam *const a = with;
    const double product = *a->group->products[k];
    adam_by(p, p.step == a->step && product == a->product ? a->rule : nadam_at(a, p.step, product));
}

/* states: m, v; and the products M. */
void KERNEL(nadam)(const batten_group *group, double beta1, double beta2, double eps, double momentum_decay)
{
    adam a = {group, count_step(group), 0, beta1, beta2, eps, momentum_decay, .rule = {0}};
    const double mu = momentum_of(a.step, beta1, momentum_decay);
    for (size_t k = 0; k < group->list.count; k++) {
        const double own = *group->steps[k];
        *group->products[k] *= (float)(own == a.step ? mu : momentum_of(own, beta1, momentum_decay));
    }
    a.product = group->list.count ? *group->products[0] : 0;
    a.rule = nadam_at(&a, a.step, a.product);
    each_piece(group, nadam_piece, &a);
}

/* v is about as good as the mean of `length` squares; r makes up for its being one of so few, if there are enough. */
static adam_rule radam_at(const adam *a, double step)
{
    const double power = pow(a->beta2, step), longest = 2 / (1 - a->beta2) - 1;
    const double length = longest - 2 * step * power / (1 - power);
    adam_rule at = rule_of(a->beta1, a->beta2);
    double rate = a->group->lr / (1 - pow(a->beta1, step));
    at.rooted = length > 5;
    if (at.rooted)
        rate *= sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length) * (1 - power));
    at.rate = (real)rate;
    at.eps = margin_of(a->eps, 0);
    return at;
}

static void radam_piece(piece p, size_t k, const void *with)
{
    const adam *const a = with;
    (void)k;
    adam_by(p, p.step == a->step ? a->rule : radam_at(a, p.step));
}

/* states: m, v. */
void KERNEL(radam)(const batten_group *group, double beta1, double beta2, double eps)
{
    adam a = {group, count_step(group), 0, beta1, beta2, eps, .rule = {0}};
    a.rule = radam_at(&a, a.step);
    each_piece(group, radam_piece, &a);
}

static void adamax_piece(piece p, size_t k, const void *with)
{
    const adam *const a = with;
    const real rate = (real)(a->group->lr / (1 - pow(a->beta1, p.step)));
    const real take = (real)(1 - a->beta1), beta2 = (real)a->beta2, eps = (real)a->eps;
    real *m = p.states[0], *u = p.states[1];
    (void)k;
    EACH_OF_WHOLE(i, p.n) {
        const real d = slope(p, i), size = fabs(d) + eps, faded = beta2 * u[i];
        m[i] += take * (d - m[i]);
        u[i] = size > faded || size != size ? size : faded;
        p.w[i] = p.shrink * p.w[i] - rate * m[i] / u[i];
    }
}

/* states: m, u. */
void KERNEL(adamax)(const batten_group *group, double beta1, double beta2, double eps)
{
    each_piece(group, adamax_piece, &(adam){group, count_step(group), 0, beta1, beta2, eps, .rule = {0}});
}

/* The rules of the others, which have few numbers. */
typedef struct {
    const batten_group *group;
    real keep, take, momentum;
    margin eps;
    double lr_decay;
} fading;

static inline __attribute__((always_inline)) void rmsprop_loop(piece p, real *v, real *b, real *m, fading at)
{
    EACH_OF_WHOLE(i, p.n) {
        const real d = slope(p, i);
        v[i] = at.keep * v[i] + at.take * d * d;
        real spread = v[i];
        if (m) {
            m[i] += at.take * (d - m[i]);
            spread -= m[i] * m[i];
            spread = spread < 0 ? 0 : spread; /* a variance is not, but its rounding error may be */
        }
        real move = d / root(spread, at.eps);
        if (b)
            move = b[i] = at.momentum * b[i] + move;
        p.w[i] = p.shrink * p.w[i] - p.lr * move;
    }
}

static void rmsprop_piece(piece p, size_t k, const void *with)
{
    const fading at = *(const fading *)with;
    real *v = p.states[0], *b = p.states[1], *m = p.states[2];
    (void)k;
    if (b && m)
        rmsprop_loop(p, v, b, m, at);
    else if (b)
        rmsprop_loop(p, v, b, NULL, at);
    else if (m)
        rmsprop_loop(p, v, NULL, m, at);
    else
        rmsprop_loop(p, v, NULL, NULL, at);
}

/* states: v, then b with momentum, then m if centered. */
void KERNEL(rmsprop)(const batten_group *group, double alpha, double eps, double momentum, int eps_in_sqrt)
{
    count_step(group);
    each_piece(group, rmsprop_piece,
               &(fading){.keep = (real)alpha,
                         .take = (real)(1 - alpha),
                         .momentum = (real)momentum,
                         .eps = margin_of(eps, eps_in_sqrt)});
}

static void adagrad_piece(piece p, size_t k, const void *with)
{
    const fading at = *(const fading *)with;
    const real rate = (real)(at.group->lr / (1 + (p.step - 1) * at.lr_decay));
    real *v = p.states[0];
    (void)k;
    EACH_OF_WHOLE(i, p.n) {
        const real d = slope(p, i);
        v[i] += d * d;
        p.w[i] = p.shrink * p.w[i] - rate * d / root(v[i], at.eps);
    }
}

/* states: v. */
void KERNEL(adagrad)(const batten_group *group, double lr_decay, double eps, int eps_in_sqrt)
{
    count_step(group);
    each_piece(group, adagrad_piece,
               &(fading){.group = group, .lr_decay = lr_decay, .eps = margin_of(eps, eps_in_sqrt)});
}

static void adadelta_piece(piece p, size_t k, const void *with)
{
    const fading at = *(const fading *)with;
    real *v = p.states[0], *u = p.states[1];
    (void)k;
    EACH_OF_WHOLE(i, p.n) {
        const real d = slope(p, i);
        v[i] = at.keep * v[i] + at.take * d * d;
        const real x = sqrt((u[i] + at.eps.within) / (v[i] + at.eps.within)) * d;
        u[i] = at.keep * u[i] + at.take * x * x;
        p.w[i] = p.shrink * p.w[i] - p.lr * x;
    }
}

/* states: v, u. */
void KERNEL(adadelta)(const batten_group *group, double rho, double eps)
{
    count_step(group);
    each_piece(group, adadelta_piece, &(fading){.keep = (real)rho, .take = (real)(1 - rho), .eps = margin_of(eps, 1)});
}
