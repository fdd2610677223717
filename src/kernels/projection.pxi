# Nearest points of sets, in the place of all arrays of a list.

cdef class Changed(Lists):
    """Arrays that a kernel changes, and how long their rows are, which are along the first axis, if they have rows."""
    cdef void **arrays
    cdef size_t *cols
    cdef size_t room

    def __cinit__(self, list arrays not None, bint rows):
        cdef cnp.ndarray x
        cdef Py_ssize_t k
        self.begin(arrays, 1)
        self.arrays = self.take(arrays, arrays, True)
        self.end()
        if not rows:
            return
        self.room = (len(arrays) + 1) * sizeof(size_t)
        self.cols = <size_t *>borrow(self.room)
        for k in range(len(arrays)):
            x = arrays[k]
            if x.ndim == 0 or not in_rows(x):
                raise ValueError(f"expected arrays whose first axis is the outermost in memory, got {show(x)} with "
                                 f"strides {list((<object>x).strides)}")
            self.cols[k] = cnp.PyArray_SIZE(x) // (x.shape[0] or 1)

    def __dealloc__(self):
        if self.cols is not NULL:
            capi.batten_release(self.cols, self.room)


cdef bint in_rows(cnp.ndarray x):
    """Whether the first axis of an array without gaps is the outermost."""
    return x.shape[0] < 2 or not cnp.PyArray_SIZE(x) or x.shape[0] * x.strides[0] == cnp.PyArray_NBYTES(x)


def lies_in_rows(cnp.ndarray x not None):
    """Whether an array has no gaps, and an outermost axis that is its first."""
    return x.ndim > 0 and without_gaps(x) and in_rows(x)


def limit_norms(list arrays not None, double least, double most):
    """Brings the norm of each row of the arrays to between least and most"""
    cdef Changed x = Changed(arrays, True)
    with nogil:
        capi.batten_limit_norms(x.type, x.arrays, x.cols, &x.list, least, most)
    return arrays


def simplex(list arrays not None):
    """Moves each row of the arrays to the nearest one without negative elements whose sum is 1"""
    cdef Changed x = Changed(arrays, True)
    with nogil:
        capi.batten_simplex(x.type, x.arrays, x.cols, &x.list)
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
    cdef Changed x = Changed(arrays, False)
    with nogil:
        capi.batten_soft_threshold(x.type, x.arrays, &x.list, threshold, missing)
    return arrays


def clamp_all(list arrays not None, double lo, double hi):
    """x = min(max(x, lo), hi) in all of the arrays"""
    cdef Changed x = Changed(arrays, False)
    with nogil:
        capi.batten_clamp_all(x.type, x.arrays, &x.list, lo, hi)
    return arrays
