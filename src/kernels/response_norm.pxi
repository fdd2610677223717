# Local response normalization of the rows of a matrix in C order.

cdef size_t window(Py_ssize_t size) except 0:
    """How many channels are summed."""
    if size < 1:
        raise ValueError(f"expected a window of at least one channel, got {size}")
    return size


def response_norm(cnp.ndarray y not None, cnp.ndarray x not None, Py_ssize_t size, double alpha, double beta, double k):
    """y = x (k + alpha / size times the sum of x^2 in a window of the row) to the power -beta"""
    cdef batten_dtype t = output(y)
    matrix(x)
    alike(y, x)
    disjoint(y, x)
    cdef size_t n = window(size)
    with nogil:
        capi.batten_response_norm(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), x.shape[0], x.shape[1], n, alpha, beta,
                                  k)
    return y


def response_norm_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray x not None, Py_ssize_t size,
                           double alpha, double beta, double k):
    """dx from dy and x, which is all that response_norm leaves"""
    cdef batten_dtype t = output(dx)
    matrix(x)
    dtype_of(dy)
    alike(dy, x)
    alike(dx, x)
    disjoint(dx, dy)
    disjoint(dx, x)
    cdef size_t n = window(size)
    with nogil:
        capi.batten_response_norm_backward(t, cnp.PyArray_DATA(dx), cnp.PyArray_DATA(dy), cnp.PyArray_DATA(x),
                                           x.shape[0], x.shape[1], n, alpha, beta, k)
    return dx
