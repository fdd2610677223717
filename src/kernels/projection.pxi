# Nearest points of sets, in the place of all arrays of a list.

cdef class Changed(Lists):
    """Arrays that a kernel changes, and their groups, one for each index along an axis `dim`, if there is one."""
    cdef void **arrays
    cdef capi.batten_groups *groups
    cdef size_t room

    def __cinit__(self, list arrays not None, dim=None):
        cdef cnp.ndarray x
        cdef Py_ssize_t k
        self.begin(arrays, 1)
        self.arrays = self.take(arrays, arrays, True)
        self.end()
        if dim is None:
            return
        self.room = (len(arrays) + 1) * sizeof(capi.batten_groups)
        self.groups = <capi.batten_groups *>borrow(self.room)
        for k in range(len(arrays)):
            x = arrays[k]
            self.groups[k] = groups_of(x, dim + x.ndim if dim < 0 else dim)

    def __dealloc__(self):
        if self.groups is not NULL:
            capi.batten_release(self.groups, self.room)


def lies_in_rows(cnp.ndarray x not None):
    """Whether an array has no gaps, and its first axis is the outermost"""
    return x.ndim > 0 and without_gaps(x) and groups_of(x, 0).outer == 1


def limit_norms(list arrays not None, int dim, double least, double most):
    """Brings the norms of groups to between least and most, one for each index along the axis dim of each array"""
    cdef Changed x = Changed(arrays, dim)
    with nogil:
        capi.batten_limit_norms(x.type, x.arrays, x.groups, &x.list, least, most)
    return arrays


def simplex(list arrays not None):
    """Moves each row of the arrays to the nearest one without negative elements whose sum is 1

    Rows are along the first axis, which must be the outermost in memory.
    """
    cdef Changed x = Changed(arrays, 0)
    cdef Py_ssize_t k
    for k in range(len(arrays)):
        if x.groups[k].outer > 1:
            raise ValueError(f"expected arrays whose first axis is the outermost, got {show(arrays[k])} with "
                             f"strides {list(arrays[k].strides)}")
    with nogil:
        capi.batten_simplex(x.type, x.arrays, x.groups, &x.list)
    return arrays


def excess(cnp.ndarray y not None, list arrays not None, double threshold):
    """y = the sum of max(|x| - threshold, 0) over all elements of the arrays, and how many are above it, float64"""
    cdef Lists x = Lists()
    cdef void **pointers
    cdef size_t bytes
    cdef double *partial
    if output(y) != capi.BATTEN_F64 or y.ndim != 1 or y.shape[0] != 2:
        raise ValueError(f"expected two numbers in float64 as an output, got {show(y)}")
    contiguous(y)
    x.begin(arrays, 1)
    pointers = x.take(arrays, arrays, False)
    for array in arrays:
        disjoint(y, array)
    bytes = 2 * (x.list.starts[x.list.count] // capi.BATTEN_BLOCK + 1) * sizeof(double)
    partial = <double *>borrow(bytes)
    with nogil:
        capi.batten_excess(x.type, <double *>cnp.PyArray_DATA(y), partial, pointers, &x.list, threshold)
        capi.batten_release(partial, bytes)
    return y


def soft_threshold(list arrays not None, double threshold, double missing=0):
    """Moves all elements of the arrays by threshold + missing towards 0"""
    cdef Changed x = Changed(arrays)
    with nogil:
        capi.batten_soft_threshold(x.type, x.arrays, &x.list, threshold, missing)
    return arrays


def clamp_all(list arrays not None, double lo, double hi):
    """x = min(max(x, lo), hi) in all of the arrays"""
    cdef Changed x = Changed(arrays)
    with nogil:
        capi.batten_clamp_all(x.type, x.arrays, &x.list, lo, hi)
    return arrays
