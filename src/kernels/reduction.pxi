# Sums and extrema.

def sum(cnp.ndarray y not None, cnp.ndarray x not None, double scale=1):
    """y = scale times the sum of x over every axis along which y is broadcast to x."""
    cdef batten_loop loop
    cdef capi.batten_sum_plan plan
    cdef size_t bytes
    cdef double *partial
    cdef batten_dtype t = over(&loop, y, x)
    operand(&loop, x, x, y)
    contiguous(y)
    if cnp.PyArray_SIZE(y) == 0:                         # its strides, which tell what is summed, may be nought
        return y
    capi.batten_loop_simplify(&loop)
    bytes = capi.batten_plan_sum(&plan, &loop) * sizeof(double)
    partial = <double *>borrow(bytes)
    with nogil:
        capi.batten_sum(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), scale, partial, &loop, &plan)
        capi.batten_release(partial, bytes)
    return y


ctypedef void (*extremum_kernel)(batten_dtype, void *, int64_t *, const void *, size_t, size_t, size_t) noexcept nogil


cdef object extremum(extremum_kernel kernel, cnp.ndarray y, cnp.ndarray index, cnp.ndarray x):
    cdef batten_dtype t = output(y)
    cdef size_t outer, n, inner
    if x.ndim != 3 or y.ndim != 2 or y.shape[0] != x.shape[0] or y.shape[1] != x.shape[2]:
        raise ValueError(f"expected (outer, inner) from (outer, n, inner), got {show(y)} from {show(x)}")
    if dtype_of(x) != t:
        raise TypeError(f"expected operands of the output's type, got {show(y)} from {show(x)}")
    integers_in(index, cnp.NPY_INT64, True)
    if index.ndim != 2 or index.shape[0] != y.shape[0] or index.shape[1] != y.shape[1]:
        raise ValueError(f"expected indices of the shape of {show(y)}, got {show(index)}")
    if x.shape[1] == 0:
        raise ValueError(f"expected at least one number to choose from, got {show(x)}")
    contiguous(y)
    contiguous(x)
    apart(y, x)
    apart(index, x)
    apart(index, y)
    outer, n, inner = x.shape[0], x.shape[1], x.shape[2]
    with nogil:
        kernel(t, cnp.PyArray_DATA(y), <int64_t *>cnp.PyArray_DATA(index), cnp.PyArray_DATA(x), outer, n, inner)
    return y


def max(cnp.ndarray y not None, cnp.ndarray index not None, cnp.ndarray x not None):
    """y = the largest of x (outer, n, inner) over n, index = where it first stands; a NaN is larger than any."""
    return extremum(capi.batten_max, y, index, x)


def min(cnp.ndarray y not None, cnp.ndarray index not None, cnp.ndarray x not None):
    """y = the smallest of x (outer, n, inner) over n, index = where it first stands; a NaN is smaller than any."""
    return extremum(capi.batten_min, y, index, x)
