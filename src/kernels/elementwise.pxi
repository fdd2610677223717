# Elementwise kernels: two families that share one signature each.  Their wrappers,
# one for each line of kernels.def, are in the generated maps.pxi.

cdef int follow(batten_loop *loop, int operand, cnp.ndarray x, cnp.ndarray y) except -1:
    """Lets an operand x of a loop over y's shape repeat where it is broadcast."""
    cdef int missing = y.ndim - x.ndim, i
    cdef cnp.npy_intp itemsize = cnp.PyArray_ITEMSIZE(x)
    if missing < 0:
        raise ValueError(f"expected arrays that broadcast to {show(y)}, got {show(x)}")
    for i in range(missing):
        loop.stride[operand][i] = 0
    for i in range(x.ndim):
        if x.shape[i] == y.shape[missing + i]:
            loop.stride[operand][missing + i] = x.strides[i] // itemsize
        elif x.shape[i] == 1:
            loop.stride[operand][missing + i] = 0
        else:
            raise ValueError(f"expected arrays that broadcast to {show(y)}, got {show(x)}")
    return 0


cdef batten_dtype walk(batten_loop *loop, cnp.ndarray y, cnp.ndarray x1, cnp.ndarray x2) except *:
    """Checks the operands of an elementwise kernel and lays out its loop."""
    cdef batten_dtype t = output(y)
    if dtype_of(x1) != t or dtype_of(x2) != t:
        raise TypeError(f"expected operands of the output's type, got {show(y)} from {show(x1)} and {show(x2)}")
    apart(y, x1)
    if x2 is not x1:
        apart(y, x2)
    cdef int i
    loop.rank = y.ndim
    for i in range(y.ndim):
        loop.shape[i] = y.shape[i]
        if y.shape[i] > 1 and y.strides[i] == 0 and cnp.PyArray_SIZE(y):
            raise ValueError(f"expected an output whose elements are apart, got {show(y)} with a stride of 0")
    follow(loop, 0, y, y)
    follow(loop, 1, x1, y)
    follow(loop, 2, x2, y)
    capi.batten_loop_simplify(loop)
    return t


ctypedef void (*map_kernel)(batten_dtype, void *, const void *, double, double, const batten_loop *) noexcept nogil
ctypedef void (*map2_kernel)(
    batten_dtype, void *, const void *, const void *, double, double, const batten_loop *) noexcept nogil


cdef object map(map_kernel kernel, cnp.ndarray y, cnp.ndarray x, double a, double b):
    cdef batten_loop loop
    cdef batten_dtype t = walk(&loop, y, x, x)
    with nogil:
        kernel(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), a, b, &loop)
    return y


cdef object map2(map2_kernel kernel, cnp.ndarray z, cnp.ndarray x, cnp.ndarray y, double a, double b):
    cdef batten_loop loop
    cdef batten_dtype t = walk(&loop, z, x, y)
    with nogil:
        kernel(t, cnp.PyArray_DATA(z), cnp.PyArray_DATA(x), cnp.PyArray_DATA(y), a, b, &loop)
    return z


include "maps.pxi"
