# Penalties of lists of arrays, and gradients that are written or added to.

cdef int scalar_output(cnp.ndarray y, Lists lists) except -1:
    """A single number of the arrays' type."""
    if output(y) != lists.type and lists.list.count:
        raise TypeError(f"expected an output of the arrays' type, got {show(y)}")
    if cnp.PyArray_SIZE(y) != 1:
        raise ValueError(f"expected a single number as output, got {show(y)}")
    lists.type = dtype_of(y)
    return 0


cdef const uint8_t *flags_of(cnp.ndarray add, Lists lists) except? NULL:
    """For each array, whether its gradient is added to what is there."""
    integers_in(add, cnp.NPY_UINT8, False)
    if add.ndim != 1 or <size_t>add.shape[0] != lists.list.count:
        raise ValueError(f"expected a flag for each of {lists.list.count} arrays, got {show(add)}")
    return <const uint8_t *>cnp.PyArray_DATA(add)


def elastic_penalty(cnp.ndarray y not None, list arrays not None, double l1, double l2):
    """y = l1 sum |w| + l2 sum w^2 of all arrays"""
    cdef Lists lists = Lists()
    cdef void **pointers
    cdef double *scratch
    cdef size_t bytes
    lists.begin(arrays, 1)
    pointers = lists.take(arrays, arrays, False)
    scalar_output(y, lists)
    for w in arrays:
        disjoint(y, w)
    bytes = lists.stretches() * sizeof(double)
    scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_elastic_penalty(lists.type, cnp.PyArray_DATA(y), <const void **>pointers, &lists.list, l1, l2,
                                    scratch)
        capi.batten_release(scratch, bytes)
    return y


def elastic_penalty_backward(list grads not None, list arrays not None, cnp.ndarray add not None, double l1, double l2):
    """grads[k] = l1 sign(w) + 2 l2 w of each array, added to what is there if add[k], uint8"""
    cdef Lists lists = Lists()
    cdef void **outputs
    cdef void **pointers
    lists.begin(arrays, 2)
    outputs = lists.take(grads, arrays, True)
    pointers = lists.take(arrays, arrays, False)
    lists.end()
    cdef const uint8_t *flags = flags_of(add, lists)
    for x in grads:
        disjoint(x, add)
    with nogil:
        capi.batten_elastic_penalty_backward(lists.type, outputs, <const void **>pointers, flags, &lists.list, l1, l2)
    return grads


cdef class Groups:
    """How each array lies around an axis, with factors and norms for its groups."""
    cdef capi.batten_groups *each
    cdef size_t bytes
    cdef double *factors
    cdef double *norms

    def __cinit__(self, list arrays not None, int dim, cnp.ndarray factors not None, cnp.ndarray norms not None,
                  bint written):
        cdef Py_ssize_t k, groups = 0
        self.bytes = len(arrays) * sizeof(capi.batten_groups)
        self.each = <capi.batten_groups *>borrow(self.bytes)
        for k in range(len(arrays)):
            self.each[k] = groups_of(arrays[k], dim)
            groups += self.each[k].count
        self.factors = numbers_in(factors, len(arrays), False)
        self.norms = numbers_in(norms, groups, written)

    def __dealloc__(self):
        if self.each is not NULL:
            capi.batten_release(self.each, self.bytes)


cdef double *numbers_in(cnp.ndarray x, Py_ssize_t n, bint written) except? NULL:
    if (output(x) if written else dtype_of(x)) != capi.BATTEN_F64 or x.ndim != 1 or x.shape[0] != n:
        raise ValueError(f"expected float64[{n}], got {show(x)}")
    contiguous(x)
    return <double *>cnp.PyArray_DATA(x)


cdef capi.batten_groups groups_of(cnp.ndarray x, int dim) except *:
    """Of an array without gaps: one group for each index along an axis."""
    cdef int axis
    cdef capi.batten_groups g = capi.batten_groups(1, 1, 1)
    if not 0 <= dim < x.ndim:
        raise ValueError(f"expected an axis of {show(x)}, got {dim}")
    g.count = x.shape[dim]
    for axis in range(x.ndim):
        if axis == dim:
            continue
        if x.shape[axis] > 1 and x.strides[axis] > x.strides[dim] and g.count > 1:
            g.outer *= x.shape[axis]
        else:
            g.inner *= x.shape[axis]
    return g


def group_penalty(cnp.ndarray y not None, cnp.ndarray norms not None, list arrays not None,
                  cnp.ndarray factors not None, int dim):
    """y = the sum of factors[k] ||w_g|| over all arrays and their groups, one for each index along axis dim; norms has
    these norms, float64"""
    cdef Lists lists = Lists()
    cdef void **pointers
    lists.begin(arrays, 1)
    pointers = lists.take(arrays, arrays, False)
    cdef Groups groups = Groups(arrays, dim, factors, norms, True)
    scalar_output(y, lists)
    for x in [*arrays, factors]:
        disjoint(y, x)
        disjoint(norms, x)
    disjoint(y, norms)
    with nogil:
        capi.batten_group_penalty(lists.type, cnp.PyArray_DATA(y), groups.norms, <const void **>pointers, groups.each,
                                  groups.factors, lists.list.count)
    return y


def group_penalty_backward(list grads not None, cnp.ndarray norms not None, list arrays not None,
                           cnp.ndarray add not None, cnp.ndarray factors not None, int dim):
    """grads[k] = factors[k] w / ||w_g|| of each array, added to what is there if add[k], uint8; norms are forward's"""
    cdef Lists lists = Lists()
    cdef void **outputs
    cdef void **pointers
    lists.begin(arrays, 2)
    outputs = lists.take(grads, arrays, True)
    pointers = lists.take(arrays, arrays, False)
    lists.end()
    cdef Groups groups = Groups(arrays, dim, factors, norms, False)
    cdef const uint8_t *flags = flags_of(add, lists)
    for x in grads:
        for other in (norms, add, factors):
            disjoint(x, other)
    with nogil:
        capi.batten_group_penalty_backward(lists.type, outputs, groups.norms, <const void **>pointers, flags,
                                           groups.each, groups.factors, lists.list.count)
    return grads
