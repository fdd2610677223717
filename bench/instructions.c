/* A small training step by the C library alone, whose instructions are counted (instructions.py).
 *
 * The step is that of `mlp_digits`: a perceptron 64-128-128-10 with ReLU, batches of
 * 32, cross-entropy, SGD with momentum.  Then other layers, forward and backward, on
 * the first hidden values, and a step by Adam.  One thread, one instruction set, and
 * the same numbers: each run is instruction for instruction the same.
 *
 * It does what the Python layers do: plans, borrows scratch, calls a kernel. */
#include "batten.h"
#include <stdint.h>
#include <stdio.h>

enum { BATCH = 32, FEATURES = 64, HIDDEN = 128, CLASSES = 10, LAYERS = 3, TENSORS = 2 * LAYERS };
static const batten_dtype F32 = BATTEN_F32;

static float *numbers(size_t n)
{
    static uint64_t call;
    float *const x = batten_allocate(n * sizeof *x);
    batten_normal(F32, x, n, 0, 1, 0, call++);
    return x;
}

/* ---- kernels with their plans and scratch, as the wrappers call them ---- */

/* c (m, n) = a (m, k) b (k, n) + bias, each with the strides of its rows and columns. */
struct matrix {
    const float *x;
    size_t row, column;
};
static void multiply(float *c, struct matrix a, struct matrix b, const float *bias, size_t m, size_t n, size_t k)
{
    batten_product p = {.batch = 1, .m = m, .n = n, .k = k, .c_row = (ptrdiff_t)n, .alpha = 1};
    p.a_row = (ptrdiff_t)a.row, p.a_col = (ptrdiff_t)a.column;
    p.b_row = (ptrdiff_t)b.row, p.b_col = (ptrdiff_t)b.column;
    const size_t bytes = batten_product_plan(&p, F32);
    void *const scratch = batten_allocate(bytes);
    batten_gemm(F32, c, a.x, b.x, bias, scratch, &p);
    batten_release(scratch, bytes);
}

/* The walk over n elements side by side, of an output and some inputs. */
static batten_loop row(size_t inputs, size_t n)
{
    batten_loop loop = {.rank = 1, .inputs = inputs, .shape = {n}};
    for (size_t k = 0; k <= inputs; k++)
        loop.stride[k][0] = 1;
    batten_loop_simplify(&loop);
    return loop;
}

static void relu(float *y, const float *x, size_t n)
{
    const batten_loop loop = row(1, n);
    batten_relu(F32, y, x, 0, 0, &loop);
}

static void relu_backward(float *dx, const float *dy, const float *y, size_t n)
{
    const batten_loop loop = row(2, n);
    batten_relu_backward(F32, dx, dy, y, 0, 0, &loop);
}

/* y (cols) = the sum of the rows of x. */
static void sum_rows(float *y, const float *x, size_t rows, size_t cols)
{
    batten_loop loop = {.rank = 2, .inputs = 1, .shape = {rows, cols}, .stride = {{0, 1}, {(ptrdiff_t)cols, 1}}};
    batten_sum_plan plan;
    batten_loop_simplify(&loop);
    const size_t bytes = batten_plan_sum(&plan, &loop) * sizeof(double);
    double *const partial = batten_allocate(bytes);
    batten_sum(F32, y, x, 1, partial, &loop, &plan);
    batten_release(partial, bytes);
}

/* ---- the perceptron ---- */

static struct layer {
    size_t inputs, outputs;
    float *weight, *bias, *dweight, *dbias, *y, *dy;
} layers[LAYERS];
static float *images, *losses, *dlosses, *lse;
static int64_t labels[BATCH];

/* What an optimizer is given: all weights and biases. */
static size_t starts[TENSORS + 1];
static void *params[TENSORS], *states[2][TENSORS];
static const void *grads[TENSORS];
static float counts[TENSORS], *steps[TENSORS];
static const batten_group group = {
    .list = {.count = TENSORS, .starts = starts},
    .params = params,
    .grads = grads,
    .states = {states[0], states[1]},
    .steps = steps,
    .lr = 0.01,
};

static void set_up(void)
{
    const size_t widths[] = {FEATURES, HIDDEN, HIDDEN, CLASSES};
    images = numbers(BATCH * FEATURES);
    losses = numbers(BATCH), dlosses = numbers(BATCH), lse = numbers(BATCH);
    for (size_t i = 0; i < BATCH; i++)
        labels[i] = (int64_t)(i % CLASSES);
    for (size_t k = 0; k < LAYERS; k++) {
        const size_t in = widths[k], out = widths[k + 1];
        layers[k] = (struct layer){in,
                                   out,
                                   numbers(in * out),
                                   numbers(out),
                                   numbers(in * out),
                                   numbers(out),
                                   numbers(BATCH * out),
                                   numbers(BATCH * out)};
        params[2 * k] = layers[k].weight, params[2 * k + 1] = layers[k].bias;
        grads[2 * k] = layers[k].dweight, grads[2 * k + 1] = layers[k].dbias;
        for (size_t i = 2 * k; i < 2 * k + 2; i++) {
            const size_t n = i % 2 ? out : in * out;
            starts[i + 1] = starts[i] + n;
            states[0][i] = numbers(n), states[1][i] = numbers(n);
            steps[i] = &counts[i];
        }
    }
}

static void step(void)
{
    for (size_t k = 0; k < LAYERS; k++) {
        const struct layer *const l = &layers[k];
        const struct matrix x = {k ? l[-1].y : images, l->inputs, 1}, transposed = {l->weight, 1, l->inputs};
        multiply(l->y, x, transposed, l->bias, BATCH, l->outputs, l->inputs);
        if (k < LAYERS - 1)
            relu(l->y, l->y, BATCH * l->outputs);
    }
    const struct layer *const last = &layers[LAYERS - 1];
    batten_cross_entropy(F32, losses, lse, last->y, labels, NULL, BATCH, CLASSES, -100, 0);
    batten_cross_entropy_backward(F32, last->dy, dlosses, last->y, lse, labels, NULL, BATCH, CLASSES, -100, 0);
    for (size_t k = LAYERS; k-- > 0;) {
        const struct layer *const l = &layers[k];
        const struct matrix dy = {l->dy, l->outputs, 1}, weight = {l->weight, l->inputs, 1};
        const struct matrix transposed = {l->dy, 1, l->outputs}, x = {k ? l[-1].y : images, l->inputs, 1};
        multiply(l->dweight, transposed, x, NULL, l->outputs, l->inputs, BATCH);
        sum_rows(l->dbias, l->dy, BATCH, l->outputs);
        if (k > 0) {
            multiply(l[-1].dy, dy, weight, NULL, BATCH, l->inputs, l->outputs);
            relu_backward(l[-1].dy, l[-1].dy, l[-1].y, BATCH * l->inputs);
        }
    }
    batten_sgd(F32, &group, NULL, 0.9, 0, 0, 0);
}

/* ---- other layers and Adam ---- */

static float *x, *dx, *dy, *y, *gamma_, *beta, *dgamma, *dbeta, *running_mean, *running_var;
static double *scratch, kept[3 * HIDDEN], means[BATCH], rstds[BATCH];
static uint8_t mask[BATCH * HIDDEN / 8];

static void set_up_others(void)
{
    float **const matrices[] = {&x, &dx, &dy, &y};
    float **const vectors[] = {&gamma_, &beta, &dgamma, &dbeta, &running_mean, &running_var};
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        *matrices[i] = numbers(BATCH * HIDDEN);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        *vectors[i] = numbers(HIDDEN);
    scratch = batten_allocate(8 * HIDDEN * sizeof *scratch);
}

static void others(void)
{
    batten_softmax(F32, y, x, BATCH, HIDDEN);
    batten_softmax_backward(F32, dx, dy, y, BATCH, HIDDEN);
    batten_batch_norm(F32, y, kept, running_mean, running_var, x, gamma_, beta, scratch, BATCH, HIDDEN, 1e-5, 0.1, 0);
    batten_batch_norm_backward(F32, dx, dgamma, dbeta, dy, x, kept, gamma_, scratch, BATCH, HIDDEN, 0);
    batten_layer_norm(F32, y, means, rstds, x, gamma_, beta, BATCH, HIDDEN, 1e-5);
    batten_layer_norm_backward(F32, dx, dgamma, dbeta, dy, x, means, rstds, gamma_, scratch, BATCH, HIDDEN);
    batten_rms_norm(F32, y, rstds, x, gamma_, BATCH, HIDDEN, 1e-5);
    batten_rms_norm_backward(F32, dx, dgamma, dy, x, rstds, gamma_, scratch, BATCH, HIDDEN);
    batten_dropout(F32, y, mask, x, BATCH * HIDDEN, 0.5, 2, 0, 0);
    batten_dropout_backward(F32, dx, dy, mask, BATCH * HIDDEN, 2);
    batten_adam(F32, &group, 0.9, 0.999, 1e-8, 0, 1);
}

/* What is counted. */
void measured(void);
__attribute__((noinline)) void measured(void)
{
    step();
    others();
}

int main(void)
{
    char message[128];
    if (batten_set_isa("avx2", message, sizeof message)) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    batten_set_threads(1);
    set_up();
    set_up_others();
    step(); /* what the pool keeps is there from now on */
    others();
    measured();
#ifdef __clang__
    puts("clang " __clang_version__);
#else
    puts("gcc " __VERSION__);
#endif
    return 0;
}
