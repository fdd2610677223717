# Softmax and its kin, on the rows of matrices in C order.

ctypedef void (*rows_kernel)(batten_dtype, void *, const void *, size_t, size_t) noexcept nogil
ctypedef void (*rows_backward_kernel)(
    batten_dtype, void *, const void *, const void *, size_t, size_t) noexcept nogil


cdef batten_dtype matrix(cnp.ndarray x) except *:
    """The element type of a matrix in C order."""
    cdef batten_dtype t = dtype_of(x)
    if x.ndim != 2:
        raise ValueError(f"expected a matrix, got {show(x)}")
    contiguous(x)
    return t


cdef batten_dtype vector(cnp.ndarray x, cnp.npy_intp n) except *:
    """The element type of a contiguous vector of n elements."""
    cdef batten_dtype t = dtype_of(x)
    if x.ndim != 1 or x.shape[0] != n:
        raise ValueError(f"expected a vector of {n}, got {show(x)}")
    contiguous(x)
    return t


cdef object by_rows(rows_kernel kernel, cnp.ndarray y, cnp.ndarray x):
    cdef batten_dtype t = output(y)
    matrix(x)
    alike(y, x)
    apart(y, x)
    with nogil:
        kernel(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), x.shape[0], x.shape[1])
    return y


cdef object by_rows_backward(rows_backward_kernel kernel, cnp.ndarray dx, cnp.ndarray dy, cnp.ndarray y):
    cdef batten_dtype t = output(dx)
    matrix(y)
    alike(dy, y)
    dtype_of(dy)
    alike(dx, y)
    apart(dx, dy)
    apart(dx, y)
    with nogil:
        kernel(t, cnp.PyArray_DATA(dx), cnp.PyArray_DATA(dy), cnp.PyArray_DATA(y), y.shape[0], y.shape[1])
    return dx


def softmax(cnp.ndarray y not None, cnp.ndarray x not None):
    """y = exp(x) over the sum of exp(x) along the row"""
    return by_rows(capi.batten_softmax, y, x)


def softmax_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray y not None):
    """dx = y (dy - sum of dy y along the row)"""
    return by_rows_backward(capi.batten_softmax_backward, dx, dy, y)


def log_softmax(cnp.ndarray y not None, cnp.ndarray x not None):
    """y = x - log of the sum of exp(x) along the row"""
    return by_rows(capi.batten_log_softmax, y, x)


def log_softmax_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray y not None):
    """dx = dy - exp(y) times the sum of dy along the row"""
    return by_rows_backward(capi.batten_log_softmax_backward, dx, dy, y)


def logsumexp(cnp.ndarray y not None, cnp.ndarray x not None):
    """y = log of the sum of exp(x) along the row"""
    cdef batten_dtype t = output(y)
    if matrix(x) != t:
        raise TypeError(f"expected operands of the output's type, got {show(y)} from {show(x)}")
    vector(y, x.shape[0])
    apart(y, x)
    with nogil:
        capi.batten_logsumexp(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), x.shape[0], x.shape[1])
    return y


cdef int targets(cnp.ndarray target, cnp.ndarray x, int64_t ignore_index) except -1:
    """A class for each row of x, or ignore_index."""
    if target.ndim != 1 or target.shape[0] != x.shape[0]:
        raise ValueError(f"expected int64[{x.shape[0]}], a class for each row of {show(x)}, got {show(target)}")
    return classes(target, x.shape[1], ignore_index)


cdef int classes(cnp.ndarray target, cnp.npy_intp n, int64_t ignore_index) except -1:
    """Numbers from 0 to n - 1, or ignore_index."""
    integers_in(target, cnp.NPY_INT64, False)
    cdef const int64_t *index = <const int64_t *>cnp.PyArray_DATA(target)
    cdef size_t found = capi.batten_find_outside(index, cnp.PyArray_SIZE(target), n, &ignore_index)
    if found < <size_t>cnp.PyArray_SIZE(target):
        raise IndexError(f"expected classes from 0 to {n - 1}, or {ignore_index} to ignore, got {index[found]}")
    return 0


cdef const void *weights(cnp.ndarray weight, cnp.ndarray x) except? NULL:
    """The classes' weights, if there are any."""
    if weight is None:
        return NULL
    if vector(weight, x.shape[1]) != dtype_of(x):
        raise TypeError(f"expected weights of the type of {show(x)}, got {show(weight)}")
    return cnp.PyArray_DATA(weight)


def cross_entropy(cnp.ndarray loss not None, cnp.ndarray lse not None, cnp.ndarray x not None,
                  cnp.ndarray target not None, cnp.ndarray weight=None, int64_t ignore_index=-100,
                  double label_smoothing=0):
    """loss = each row's cross-entropy with its target's class, 0 where that is ignored; lse = its logsumexp"""
    cdef batten_dtype t = output(loss)
    cdef const void *w
    output(lse)
    if matrix(x) != t or vector(loss, x.shape[0]) != vector(lse, x.shape[0]):
        raise TypeError(f"expected arrays of one type, got {show(loss)} and {show(lse)} from {show(x)}")
    targets(target, x, ignore_index)
    w = weights(weight, x)
    apart(loss, x)
    apart(lse, x)
    apart(loss, target)
    apart(lse, target)
    disjoint(loss, lse)
    with nogil:
        capi.batten_cross_entropy(t, cnp.PyArray_DATA(loss), cnp.PyArray_DATA(lse), cnp.PyArray_DATA(x),
                                  <const int64_t *>cnp.PyArray_DATA(target), w, x.shape[0], x.shape[1],
                                  ignore_index, label_smoothing)
    return loss


def cross_entropy_backward(cnp.ndarray dx not None, cnp.ndarray dloss not None, cnp.ndarray x not None,
                           cnp.ndarray lse not None, cnp.ndarray target not None, cnp.ndarray weight=None,
                           int64_t ignore_index=-100, double label_smoothing=0):
    """dx = the gradient of each row's cross-entropy, times dloss"""
    cdef batten_dtype t = output(dx)
    cdef const void *w
    if matrix(x) != t or vector(dloss, x.shape[0]) != t or vector(lse, x.shape[0]) != t:
        raise TypeError(f"expected arrays of one type, got {show(dx)} from {show(dloss)}, {show(x)} and {show(lse)}")
    alike(dx, x)
    targets(target, x, ignore_index)
    w = weights(weight, x)
    apart(dx, x)
    apart(dx, dloss)
    apart(dx, lse)
    apart(dx, target)
    with nogil:
        capi.batten_cross_entropy_backward(t, cnp.PyArray_DATA(dx), cnp.PyArray_DATA(dloss), cnp.PyArray_DATA(x),
                                           cnp.PyArray_DATA(lse), <const int64_t *>cnp.PyArray_DATA(target), w,
                                           x.shape[0], x.shape[1], ignore_index, label_smoothing)
    return dx
