# The C interface of batten (batten.h), for Cython.
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "batten.h" nogil:
    ctypedef enum batten_dtype:
        BATTEN_F32
        BATTEN_F64

    int batten_set_isa(const char *name, char *message, size_t size)
    const char *batten_isa()
    const char *batten_isas(size_t i)
    const char *batten_kernel_name(size_t i)

    ctypedef struct batten_processors:
        int affinity, quota, cores
    batten_processors batten_count_processors(const char *root)
    int batten_threads()
    void batten_set_threads(int n)
    int batten_team(size_t work)
    void batten_stay_alone()
    const char *batten_openmp()

    ctypedef struct batten_memory:
        size_t allocated, reserved, peak, requests, reused
    void *batten_allocate(size_t bytes)
    void batten_release(void *block, size_t bytes)
    void batten_empty_cache()
    batten_memory batten_memory_stats()

    ctypedef struct batten_loop:
        size_t rank, inputs
        size_t shape[65]
        ptrdiff_t stride[5][65]
    void batten_loop_simplify(batten_loop *loop)
    ctypedef struct batten_cut:
        size_t pieces
    batten_cut batten_loop_cut(const batten_loop *loop)
    ctypedef struct batten_sum_plan:
        size_t outputs
    size_t batten_plan_sum(batten_sum_plan *plan, batten_loop *loop)

    ctypedef enum batten_activation:
        BATTEN_IDENTITY
        BATTEN_RELU
        BATTEN_SIGMOID
        BATTEN_TANH
    ctypedef struct batten_product:
        size_t batch, m, n, k
        ptrdiff_t c_batch, c_row
        ptrdiff_t a_batch, a_row, a_col
        ptrdiff_t b_batch, b_row, b_col
        double alpha, beta
        batten_activation activation
    size_t batten_product_plan(batten_product *p, batten_dtype type)

    ctypedef enum batten_pass:
        BATTEN_FORWARD
        BATTEN_BACKWARD_DATA
        BATTEN_BACKWARD_WEIGHTS
    ctypedef struct batten_convolution:
        size_t batch, channels, features, groups
        size_t in_ "in"[3]
        size_t out[3]
        size_t kernel[3]
        size_t stride[3]
        size_t dilation[3]
        size_t before[3]
        batten_activation activation
    size_t batten_convolution_plan(batten_convolution *p, batten_pass which, batten_dtype type, bint exact)

    size_t batten_find_outside(const int64_t *index, size_t n, int64_t end, const int64_t *ignored)
    size_t batten_count_other(const int64_t *index, size_t n, int64_t value)

    ctypedef struct batten_window:
        size_t images, channels
        size_t size "in"[3]                     # `in` is a word of Cython's
        size_t out[3], kernel[3], stride[3], padding[3], dilation[3]

    ctypedef struct batten_images:
        size_t count
        size_t size "in"[2]
        size_t out[2], pixel
    ctypedef enum batten_border:
        BATTEN_FILL
        BATTEN_EDGE
        BATTEN_REFLECT
        BATTEN_SYMMETRIC
    ctypedef enum batten_sampling:
        BATTEN_NEAREST
        BATTEN_BILINEAR
        BATTEN_ANTIALIAS
    ctypedef struct batten_resize_plan:
        batten_images images
        size_t parts
        batten_sampling how
    size_t batten_plan_resize(batten_resize_plan *p, batten_dtype type)

    ctypedef struct batten_list:
        size_t count
        const size_t *starts
    ctypedef struct batten_groups:
        size_t outer, count, inner
    ctypedef struct batten_group:
        batten_list list
        void **params
        const void **grads
        void **states[3]
        float **steps
        float **products
        double lr, weight_decay
        bint decoupled, maximize

    enum:
        BATTEN_BLOCK
        BATTEN_TILE_ROWS
        BATTEN_LAYER_ROWS
        BATTEN_BYTE_TAPS
        BATTEN_ROWS
        BATTEN_MIRRORED
        BATTEN_UPSIDE_DOWN
        BATTEN_UNIT

include "kernels.pxi"
