/* The C interface of batten: what the Python wrappers may call.
 *
 * Kernels are pure functions of pointers, sizes and scalars.  Each comes in one
 * variant for every (instruction set x element type); batten_NAME(type, ...)
 * below picks the variant.  Nothing here knows Python, and only memory.c
 * allocates. */
#ifndef BATTEN_H
#define BATTEN_H

#include <stddef.h>
#include <stdint.h>

/* All else is hidden in the file that it is linked into. */
#ifdef _WIN32
#define BATTEN_VISIBLE __declspec(dllexport)
#else
#define BATTEN_VISIBLE __attribute__((visibility("default")))
#endif

/* ---- element types and instruction sets ---- */

typedef enum { BATTEN_F32, BATTEN_F64, BATTEN_TYPES } batten_dtype;

/* Picks the instruction set of all kernels: the named one, or for NULL the widest
 * that the processor runs.  Returns 0, or -1 with one sentence in message. */
int batten_set_isa(const char *name, char *message, size_t size);
const char *batten_isa(void);             /* "base", "avx2" or "avx512" */
const char *batten_isas(size_t i);        /* the i-th that this processor runs, or NULL */
const char *batten_kernel_name(size_t i); /* the i-th line of kernels.def, or NULL */

/* ---- threads (processors.c, threads.c) ---- */

typedef struct {
    int affinity, quota, cores; /* quota: of processor time, rounded up, or 0 without one */
} batten_processors;

/* What bounds how many processors this process may use; in tests, root has a /proc and a /sys. */
batten_processors batten_count_processors(const char *root);

/* Visible, as threadpoolctl knows a library by its symbols. */
BATTEN_VISIBLE int batten_threads(void);
BATTEN_VISIBLE void batten_set_threads(int n); /* n >= 1 */
int batten_team(size_t work);                  /* the team for so many elementary operations, which begin now */
void batten_stay_alone(void);                  /* teams that this thread asks for from now on are of one */
void batten_dismiss(void);                     /* a team of more than one has finished them */
const char *batten_openmp(void);               /* the OpenMP runtime's name, or NULL without one */

/* ---- memory (memory.c) ---- */

typedef struct {
    size_t allocated, reserved, peak; /* bytes in use, bytes held, most bytes ever in use */
    size_t requests, reused;          /* blocks asked for, and how many were there already */
} batten_memory;

void *batten_allocate(size_t bytes); /* 64-byte aligned, or NULL; bytes is kept by the caller */
void batten_release(void *block, size_t bytes);
void batten_empty_cache(void);
batten_memory batten_memory_stats(void);

/* ---- layout (layout.c) ---- */

/* The order in which an elementwise kernel walks its operands: an output and up
 * to BATTEN_INPUTS inputs with the same shape.  Strides count elements; a stride of zero
 * repeats an element, which is all there is to broadcasting. */
enum { BATTEN_RANK = 65, BATTEN_INPUTS = 4 }; /* NumPy has up to 64 axes, a sum one more */
typedef struct {
    size_t rank, inputs;
    size_t shape[BATTEN_RANK];
    ptrdiff_t stride[1 + BATTEN_INPUTS][BATTEN_RANK]; /* of the output, of the inputs */
} batten_loop;

/* Orders the axes as they lie in the output's memory and joins those that can be
 * walked as one, so that most loops come out with one axis or two. */
void batten_loop_simplify(batten_loop *loop);

/* How a walk is cut into pieces, of which threads take whole ones.  The last axis is
 * the row.  Long rows are cut into blocks; short rows go in groups, so that a thread's
 * place is worked out once a group. */
enum { BATTEN_BLOCK = 4096 }; /* elements in a piece, or so */
typedef struct {
    size_t rows, length;  /* as many rows, of that many elements */
    size_t blocks, group; /* blocks in a row, or rows in a piece: one of the two is 1 */
    size_t pieces;
} batten_cut;
batten_cut batten_loop_cut(const batten_loop *loop);

/* ---- matrix products (plan.c, gemm.c) ---- */

typedef enum { BATTEN_IDENTITY, BATTEN_RELU, BATTEN_SIGMOID, BATTEN_TANH } batten_activation;

/* c = act(alpha a b + bias + beta c), a product (m, k) (k, n) for each of a batch.
 * Strides count elements and may be zero or negative, so a transposed matrix is
 * one with its strides exchanged, and a stride of zero repeats an operand along
 * the batch.  Only the columns of c must be next to each other. */
typedef struct {
    size_t batch, m, n, k;
    ptrdiff_t c_batch, c_row;
    ptrdiff_t a_batch, a_row, a_col;
    ptrdiff_t b_batch, b_row, b_col;
    double alpha, beta; /* with beta = 0, c is not read */
    batten_activation activation;

    /* The plan: how the product is cut, and by whom. */
    int team;
    size_t down, across;   /* rectangles of c that one product is cut into, for the team */
    size_t steps, depth;   /* k is summed in so many steps of at most depth */
    size_t rows;           /* of a block */
    size_t a_room, b_room; /* elements of scratch for a packed block of a and strip of b, for each of the team */
} batten_product;

enum { BATTEN_DEPTH = 2048 }; /* depth is no more than so many bytes of elements, */
enum { BATTEN_STRIP = 512 };  /* and a strip of b has so many bytes of each row */
enum { BATTEN_COLUMNS = 32 }; /* rectangles begin at multiples of this column; so many columns make whole tiles */

/* Makes the plan from the sizes; returns the bytes of scratch that the kernel needs. */
size_t batten_product_plan(batten_product *p, batten_dtype type);

/* ---- convolutions (geometry.c; direct.c, depthwise.c, winograd.c, scatter.c) ---- */

typedef enum { BATTEN_FORWARD, BATTEN_BACKWARD_DATA, BATTEN_BACKWARD_WEIGHTS } batten_pass;
typedef enum { BATTEN_DIRECT, BATTEN_DEPTHWISE, BATTEN_WINOGRAD, BATTEN_SCATTER } batten_algorithm;

/* y[n, o, k] = act(bias[k] + sum over taps t and channels c of x[n, o stride - before + t dilation, c] w[k, c, t]),
 * along three axes of pixels; images with fewer have axes of length one in front.  x (batch, in, channels) and
 * y (batch, out, features) have their channels last, w is (features, channels / groups, kernel).  Channels and
 * features are in as many groups, which know nothing of each other. */
typedef struct {
    size_t batch, channels, features, groups;
    size_t in[3], out[3], kernel[3], stride[3], dilation[3], before[3];
    batten_activation activation; /* identity or relu */

    /* The plan: how the pass is computed, and by whom. */
    batten_algorithm algorithm;
    int team;
    size_t columns;      /* direct: of a unit of work, at most */
    size_t segments;     /* weights: pieces of the batch whose sums are taken apart */
    size_t tiles;        /* winograd: of a unit of work, at most */
    size_t shared, room; /* elements of scratch for all, and for each of the team */
} batten_convolution;

enum { BATTEN_PIXELS = 84 }; /* in a unit of direct work: whole tiles of every variant */
enum { BATTEN_RUN = 32 };    /* terms next to each other that the tile reads where a strip has them, at least */
enum { BATTEN_CHUNK = 512 }; /* terms of a pixel that a unit of direct weights' work has, at most */

/* Chooses the algorithm and makes the plan; returns the bytes of scratch that the pass needs.
 * `exact` forbids Winograd's algorithm. */
size_t batten_convolution_plan(batten_convolution *p, batten_pass pass, batten_dtype type, int exact);

/* How a sum is cut (layout.c): the loop's output has a stride of nought along the
 * axes from `kept` on, which are summed. */
enum { BATTEN_SEGMENT = 65536 }; /* terms summed by one thread at a time, or so */
typedef struct {
    size_t kept, outputs, length; /* length: of the outermost summed axis */
    size_t segments, entries;     /* its pieces, and how many of its entries each has */
    size_t parts, group;          /* pieces of the outputs; in rows, sums in each */
    size_t work;                  /* terms in all */
    int columns;                  /* whether neighbouring sums grow together */
} batten_sum_plan;

/* Plans the sum of a simplified loop; returns how many doubles `partial` must hold. */
size_t batten_plan_sum(batten_sum_plan *plan, batten_loop *loop);

/* ---- indices (index.c) ---- */

/* The first of n indices that is not in 0 .. end - 1, or n; *ignored, unless ignored is NULL, may stand anywhere. */
size_t batten_find_outside(const int64_t *index, size_t n, int64_t end, const int64_t *ignored);

/* How many of n indices are not a value. */
size_t batten_count_other(const int64_t *index, size_t n, int64_t value);

/* ---- normalization ---- */

enum { BATTEN_TILE_ROWS = 64, BATTEN_LAYER_ROWS = 32 }; /* their scratch has sums for every so many rows */

/* ---- pooling ---- */

/* How windows move over the three axes of images whose channels lie last: the taps k of
 * output o are the inputs o stride - padding + k dilation, those that are there.  Along an
 * axis with a stride of nought they are adaptive: from o in / out, rounded down, to
 * (o + 1) in / out, rounded up, without padding; kernel is then as large as any of them. */
typedef struct {
    size_t images, channels;
    size_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
} batten_window;

enum { BATTEN_BYTE_TAPS = 256 }; /* of windows up to this size, a tap's number is a byte */

/* ---- images made into others (crop.c, affine.c, resize.c) ---- */

/* x (count, in[0], in[1]) becomes y (count, out[0], out[1]), both of pixels: so many bytes where they are moved, and
 * so many channels where they are computed with. */
typedef struct {
    size_t count, in[2], out[2], pixel;
} batten_images;

typedef enum { BATTEN_FILL, BATTEN_EDGE, BATTEN_REFLECT, BATTEN_SYMMETRIC } batten_border; /* what is beyond them */
enum { BATTEN_MIRRORED = 1, BATTEN_UPSIDE_DOWN = 2 };                                      /* how they are turned */

typedef enum { BATTEN_NEAREST, BATTEN_BILINEAR, BATTEN_ANTIALIAS } batten_sampling;

/* How images are brought to another size: the first four are given, a plan is made of them. */
typedef struct {
    batten_images images;
    size_t parts; /* of images that are meant: one of each, or the same of all, 1 */
    batten_sampling how;
    int team;
    size_t terms[2];     /* of a result along either axis, at most */
    size_t strips;       /* of an image */
    size_t wide, line;   /* elements of a row of x and of y, with room for what a vector has too many */
    size_t table;        /* elements of the weights of a part, */
    size_t shared, room; /* of scratch for all, and for each of the team */
} batten_resize_plan;

enum { BATTEN_FOUR = 4, BATTEN_ROWS = 32 }; /* elements of a vector that has a pixel; rows of a strip */

/* Makes the plan; returns the bytes of scratch. */
size_t batten_plan_resize(batten_resize_plan *p, batten_dtype type);

/* ---- probes of the machine ---- */

enum { BATTEN_UNIT = 1024 }; /* probe_read has a sum for every so many elements */

/* ---- lists of arrays (group.h) ---- */

/* How many arrays one call goes through, and where each begins if all lie end to end; the last start is the end of
 * all.  Arrays themselves come as so many pointers. */
typedef struct {
    size_t count;
    const size_t *starts;
} batten_list;

/* ---- penalties and projections (penalty.c, projection.c) ---- */

/* How an array lies in memory around the axis along which it is cut into groups, `count` of them. */
typedef struct {
    size_t outer, count, inner;
} batten_groups;

/* ---- optimizers (optimizer.c) ---- */

/* The tensors that one call steps, and how. */
typedef struct {
    batten_list list;
    void *const *params;
    const void *const *grads;
    void *const *states[3]; /* what the optimizer remembers of each; NULL for a list that it does without */
    float *const *steps;    /* how many steps each has made, which the kernel counts; not of SGD */
    float *const *products; /* of NAdam: of the momenta of all of these */
    double lr, weight_decay;
    int decoupled, maximize; /* the weight decay is, from the gradient; steps go up */
} batten_group;

/* ---- kernels: one prototype for each line of kernels.def ---- */

#define real void
#define BATTEN_UNWRAP(...) __VA_ARGS__
#define BATTEN_KERNEL(name, parameters, arguments) void batten_##name(batten_dtype type, BATTEN_UNWRAP parameters);
#include "kernels.def"
#undef real

#endif
