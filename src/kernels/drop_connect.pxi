# DropConnect's layer, of matrices in C order: x (examples, cols), w (rows, cols), y (examples, rows).

cdef batten_dtype connected(cnp.ndarray y, cnp.ndarray x, cnp.ndarray w, double p) except *:
    """The type of a layer's arrays, of which one of x and w may be None."""
    cdef batten_dtype t = matrix(y)
    for other in (x, w):
        if other is not None and matrix(other) != t:
            raise TypeError(f"expected arrays of one type, got {show(y)} and {show(other)}")
    if (x is not None and x.shape[0] != y.shape[0] or w is not None and w.shape[0] != y.shape[1]
            or x is not None and w is not None and x.shape[1] != w.shape[1]):
        raise ValueError("expected (examples, rows), (examples, cols) and (rows, cols), got "
                         + ", ".join([show(a) for a in (y, x, w) if a is not None]))
    if not 0 <= p <= 1:
        raise ValueError(f"expected a probability between 0 and 1, got {p}")
    return t


def drop_connect(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray w not None, cnp.ndarray bias,
                 double p, double scale, uint64_t key, uint64_t call):
    """y = scale (m w) x + bias, with weights that are dropped with probability p, for each example others"""
    cdef Parts parts
    parts.count = 0
    cdef batten_dtype t = connected(y, x, w, p)
    cdef void *to = rows_like(&parts, y, y, True)
    cdef void *source = rows_like(&parts, x, x, False)
    cdef void *weight = rows_like(&parts, w, w, False)
    cdef void *offset = columns_of(&parts, bias, y, False)
    separate(parts.spans, parts.count)
    with nogil:
        capi.batten_drop_connect(t, to, source, weight, offset, y.shape[0], y.shape[1], x.shape[1], p, scale, key, call)
    return y


def drop_connect_backward(cnp.ndarray dx, cnp.ndarray dw, cnp.ndarray dy not None, cnp.ndarray x, cnp.ndarray w,
                          double p, double scale, uint64_t key, uint64_t call):
    """dx = scale (m w)ᵀ dy and dw = scale m (dyᵀ x), from the numbers that drop_connect was given

    dx goes with w and dw with x: of each pair both are arrays or None, and not all are None.
    """
    cdef Parts parts
    cdef void *to = NULL
    cdef void *to_weight = NULL
    cdef void *source = NULL
    cdef void *weight = NULL
    parts.count = 0
    if (dx is None) != (w is None) or (dw is None) != (x is None) or dx is None and dw is None:
        raise ValueError("expected dx with w, or dw with x, or all of them")
    cdef batten_dtype t = connected(dy, x, w, p)
    connected(dy, dx, dw, p)
    cdef size_t cols = dx.shape[1] if dx is not None else dw.shape[1]
    if dx is not None:
        to = rows_like(&parts, dx, dx, True)
        weight = rows_like(&parts, w, w, False)
    if dw is not None:
        to_weight = rows_like(&parts, dw, dw, True)
        source = rows_like(&parts, x, x, False)
    if dx is not None and <size_t>w.shape[1] != cols or dw is not None and <size_t>x.shape[1] != cols:
        raise ValueError(f"expected gradients of {cols} columns, as dx or dw has")
    cdef void *gradient = rows_like(&parts, dy, dy, False)
    separate(parts.spans, parts.count)
    with nogil:
        capi.batten_drop_connect_backward(t, to, to_weight, gradient, source, weight, dy.shape[0], dy.shape[1], cols,
                                          p, scale, key, call)
    return dx, dw


def drop_connect_weight(cnp.ndarray y not None, cnp.ndarray w not None, size_t example, double p, double scale,
                        uint64_t key, uint64_t call):
    """y = scale m w with the mask of one example"""
    cdef batten_dtype t = output(y)
    matrix(w)
    dtype_of(y)
    alike(y, w)
    apart(y, w)
    if not 0 <= p <= 1:
        raise ValueError(f"expected a probability between 0 and 1, got {p}")
    with nogil:
        capi.batten_drop_connect_weight(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(w), example, w.shape[0], w.shape[1], p,
                                        scale, key, call)
    return y
