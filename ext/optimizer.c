/* Optimizer steps: all parameters of a group in one call and one pass over memory.
 *
 *     SGD     g += weight_decay w;  v = momentum v + (1 - dampening) g  (v = g at first);
 *             g = g + momentum v (Nesterov) or v;  w -= lr g
 *     Adam    m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g^2  (Kingma & Ba 2015);
 *             w -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *
 * with weight decay in the gradient, or decoupled as w *= 1 - lr weight_decay first
 * (Loshchilov & Hutter 2019), and with the largest v so far in v's place for
 * AMSGrad (Reddi et al. 2018).  `maximize` turns the gradient's sign.
 *
 * The tensors are cut into blocks of BLOCK elements, and threads take blocks
 * wherever they lie: many small tensors share as well as one big one. */
#include "kernel.h"
#include <tgmath.h>

/* The tensor that holds the block-th of all blocks, and where it begins there. */
static size_t find(const size_t *n, size_t block, size_t *begin)
{
    size_t tensor = 0;
    for (; block >= blocks_of(n[tensor], BLOCK); tensor++)
        block -= blocks_of(n[tensor], BLOCK);
    *begin = block * BLOCK;
    return tensor;
}

static size_t all_blocks(const size_t *n, size_t count)
{
    size_t blocks = 0;
    for (size_t tensor = 0; tensor < count; tensor++)
        blocks += blocks_of(n[tensor], BLOCK);
    return blocks;
}

static void sgd_block(real *w, const real *g, real *v, size_t n, int first, real lr, real momentum, real dampening,
                      real weight_decay, int nesterov, real sign)
{
    if (!v) {
        PRAGMA(omp simd)
        for (size_t i = 0; i < n; i++)
            w[i] -= lr * (sign * g[i] + weight_decay * w[i]);
        return;
    }
    const real keep = first ? 0 : momentum, take = first ? 1 : 1 - dampening;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++) {
        const real d = sign * g[i] + weight_decay * w[i], old = first ? 0 : v[i];
        v[i] = keep * old + take * d;
        w[i] -= lr * (nesterov ? d + momentum * v[i] : v[i]);
    }
}

/* momenta may be NULL; first[k] says that momenta[k] holds nothing yet. */
void KERNEL(sgd)(real *const *params, const real *const *grads, real *const *momenta, const uint8_t *first,
                 const size_t *n, size_t count, double lr, double momentum, double dampening, double weight_decay,
                 int nesterov, int maximize)
{
    const size_t blocks = all_blocks(n, count);
    PARALLEL(
        blocks * BLOCK, for (size_t block = 0; block < blocks; block++) {
            size_t begin;
            const size_t k = find(n, block, &begin);
            sgd_block(params[k] + begin, grads[k] + begin, momenta ? momenta[k] + begin : NULL,
                      smaller(BLOCK, n[k] - begin), first && first[k], (real)lr, (real)momentum, (real)dampening,
                      (real)weight_decay, nesterov, maximize ? -1 : 1);
        });
}

static void adam_block(real *w, const real *g, real *m, real *v, real *most, size_t n, double step, double lr,
                       double beta1, double beta2, double eps, double weight_decay, int decoupled, real sign)
{
    const real rate = (real)(lr / (1 - pow(beta1, step))), root = (real)sqrt(1 - pow(beta2, step)), e = (real)eps;
    const real b2 = (real)beta2, c1 = (real)(1 - beta1), c2 = (real)(1 - beta2);
    const real shrink = decoupled ? (real)(1 - lr * weight_decay) : 1, l2 = decoupled ? 0 : (real)weight_decay;
    PRAGMA(omp simd)
    for (size_t i = 0; i < n; i++) {
        const real d = sign * g[i] + l2 * w[i];
        m[i] += c1 * (d - m[i]);
        v[i] = b2 * v[i] + c2 * d * d;
        real largest = v[i];
        if (most)
            largest = most[i] = v[i] > most[i] || v[i] != v[i] ? v[i] : most[i];
        w[i] = shrink * w[i] - rate * m[i] / (sqrt(largest) / root + e);
    }
}

/* max_exp_avg_sq may be NULL: then it is not AMSGrad. */
void KERNEL(adam)(real *const *params, const real *const *grads, real *const *exp_avg, real *const *exp_avg_sq,
                  real *const *max_exp_avg_sq, const double *steps, const size_t *n, size_t count, double lr,
                  double beta1, double beta2, double eps, double weight_decay, int maximize, int decoupled)
{
    const size_t blocks = all_blocks(n, count);
    PARALLEL(
        4 * blocks * BLOCK, for (size_t block = 0; block < blocks; block++) {
            size_t begin;
            const size_t k = find(n, block, &begin);
            adam_block(params[k] + begin, grads[k] + begin, exp_avg[k] + begin, exp_avg_sq[k] + begin,
                       max_exp_avg_sq ? max_exp_avg_sq[k] + begin : NULL, smaller(BLOCK, n[k] - begin), steps[k], lr,
                       beta1, beta2, eps, weight_decay, decoupled, maximize ? -1 : 1);
        });
}
