# Elementwise kernels: families that share one signature each.  Their wrappers, one
# for each line of kernels.def, are in the generated maps.pxi.

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


cdef batten_dtype over(batten_loop *loop, cnp.ndarray y, cnp.ndarray x) except *:
    """Starts a loop over x's shape, with the output y, which may repeat."""
    cdef batten_dtype t = output(y)
    cdef int i
    loop.rank = x.ndim
    loop.inputs = 0
    for i in range(x.ndim):
        loop.shape[i] = x.shape[i]
    follow(loop, 0, y, x)
    return t


cdef const void *operand(batten_loop *loop, cnp.ndarray x, cnp.ndarray shape, cnp.ndarray y) except? NULL:
    """One more input of a loop over the shape of an array, with the output y."""
    if dtype_of(x) != dtype_of(y):
        raise TypeError(f"expected operands of the output's type, got {show(y)} from {show(x)}")
    apart(y, x)
    loop.inputs += 1
    follow(loop, loop.inputs, x, shape)
    return cnp.PyArray_DATA(x)


cdef float FLOAT_ONE = 1
cdef double DOUBLE_ONE = 1


cdef const void *operand_or_one(batten_loop *loop, cnp.ndarray x, cnp.ndarray shape, cnp.ndarray y) except? NULL:
    """The same, where None is the number 1."""
    cdef size_t i
    if x is not None:
        return operand(loop, x, shape, y)
    loop.inputs += 1
    for i in range(loop.rank):
        loop.stride[loop.inputs][i] = 0
    return <const void *>&FLOAT_ONE if dtype_of(y) == capi.BATTEN_F32 else <const void *>&DOUBLE_ONE


cdef int elements_apart(cnp.ndarray y) except -1:
    cdef int i
    for i in range(y.ndim):
        if y.shape[i] > 1 and y.strides[i] == 0 and cnp.PyArray_SIZE(y):
            raise ValueError(f"expected an output whose elements are apart, got {show(y)} with a stride of 0")
    return 0


ctypedef void (*map_kernel)(batten_dtype, void *, const void *, double, double, const batten_loop *) noexcept nogil
ctypedef void (*map2_kernel)(
    batten_dtype, void *, const void *, const void *, double, double, const batten_loop *) noexcept nogil
ctypedef void (*map4_kernel)(
    batten_dtype, void *, const void *, const void *, const void *, const void *, double, double,
    const batten_loop *) noexcept nogil
ctypedef void (*map4_sum_kernel)(
    batten_dtype, void *, const void *, const void *, const void *, const void *, double, double, double *,
    const batten_loop *) noexcept nogil


cdef object map(map_kernel kernel, cnp.ndarray y, cnp.ndarray x, double a, double b):
    cdef batten_loop loop
    cdef batten_dtype t = over(&loop, y, y)
    cdef const void *source = operand(&loop, x, y, y)
    elements_apart(y)
    capi.batten_loop_simplify(&loop)
    with nogil:
        kernel(t, cnp.PyArray_DATA(y), source, a, b, &loop)
    return y


cdef object map2(map2_kernel kernel, cnp.ndarray z, cnp.ndarray x, cnp.ndarray y, double a, double b):
    cdef batten_loop loop
    cdef batten_dtype t = over(&loop, z, z)
    cdef const void *first = operand(&loop, x, z, z)
    cdef const void *second = operand(&loop, y, z, z)
    elements_apart(z)
    capi.batten_loop_simplify(&loop)
    with nogil:
        kernel(t, cnp.PyArray_DATA(z), first, second, a, b, &loop)
    return z


cdef object map4(map4_kernel kernel, cnp.ndarray z, cnp.ndarray x, cnp.ndarray y, cnp.ndarray u, cnp.ndarray v,
                 double a, double b):
    cdef batten_loop loop
    cdef batten_dtype t = over(&loop, z, z)
    cdef const void *first = operand(&loop, x, z, z)
    cdef const void *second = operand(&loop, y, z, z)
    cdef const void *third = operand_or_one(&loop, u, z, z)
    cdef const void *fourth = operand_or_one(&loop, v, z, z)
    elements_apart(z)
    capi.batten_loop_simplify(&loop)
    with nogil:
        kernel(t, cnp.PyArray_DATA(z), first, second, third, fourth, a, b, &loop)
    return z


cdef object map4_sum(map4_sum_kernel kernel, cnp.ndarray z, cnp.ndarray x, cnp.ndarray y, cnp.ndarray u, cnp.ndarray v,
                     double a, double b):
    cdef batten_loop loop
    if z.ndim:
        raise ValueError(f"expected a single number as the output, got {show(z)}")
    cdef batten_dtype t = over(&loop, z, x)
    cdef const void *first = operand(&loop, x, x, z)
    cdef const void *second = operand(&loop, y, x, z)
    cdef const void *third = operand_or_one(&loop, u, x, z)
    cdef const void *fourth = operand_or_one(&loop, v, x, z)
    capi.batten_loop_simplify(&loop)
    cdef size_t bytes = capi.batten_loop_cut(&loop).pieces * sizeof(double)
    cdef double *partial = <double *>borrow(bytes)
    with nogil:
        kernel(t, cnp.PyArray_DATA(z), first, second, third, fourth, a, b, partial, &loop)
        capi.batten_release(partial, bytes)
    return z


include "maps.pxi"
