# Dropout.  Elements count in the order of memory, so an array and its mask go with
# arrays of one layout, whatever it is.

cdef uint8_t *bits_of(cnp.ndarray mask, size_t n, bint written) except? NULL:
    """One bit for each of n elements, in bytes."""
    integers_in(mask, cnp.NPY_UINT8, written)
    if mask.ndim != 1 or <size_t>mask.shape[0] != n // 8 + (n % 8 != 0):
        raise ValueError(f"expected uint8[{n // 8 + (n % 8 != 0)}] as a mask of {n} bits, got {show(mask)}")
    return <uint8_t *>cnp.PyArray_DATA(mask)


cdef uint8_t *mask_of(cnp.ndarray mask, cnp.ndarray x, bint written) except? NULL:
    """One bit for each element of x."""
    return bits_of(mask, cnp.PyArray_SIZE(x), written)


cdef batten_dtype thinned(cnp.ndarray y, cnp.ndarray x) except *:
    """The type of a result and its source, over which it may be written."""
    cdef batten_dtype t = output(y)
    dtype_of(x)
    dense(y)
    alike(y, x)
    apart(y, x)
    return t


cdef int probability(double p) except -1:
    if not 0 <= p <= 1:
        raise ValueError(f"expected a probability between 0 and 1, got {p}")
    return 0


def dropout_mask(cnp.ndarray mask not None, size_t n, double p, uint64_t key, uint64_t call):
    """mask: a bit for each of n elements, 0 with probability p"""
    cdef uint8_t *bits = bits_of(mask, n, True)
    probability(p)
    with nogil:
        capi.batten_dropout_mask(capi.BATTEN_F32, bits, n, p, key, call)
    return mask


def dropout(cnp.ndarray y not None, cnp.ndarray mask not None, cnp.ndarray x not None,
            double p, double scale, uint64_t key, uint64_t call):
    """y = x times 0 with probability p, else times scale; mask: a bit for each element that is kept"""
    cdef batten_dtype t = thinned(y, x)
    cdef uint8_t *bits = mask_of(mask, y, True)
    disjoint(mask, y)
    disjoint(mask, x)
    probability(p)
    with nogil:
        capi.batten_dropout(t, cnp.PyArray_DATA(y), bits, cnp.PyArray_DATA(x), cnp.PyArray_SIZE(y), p, scale, key, call)
    return y


def dropout_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray mask not None, double scale):
    """dx = dy times scale where the mask's bit is set, else times 0"""
    cdef batten_dtype t = thinned(dx, dy)
    cdef uint8_t *bits = mask_of(mask, dx, False)
    disjoint(dx, mask)
    with nogil:
        capi.batten_dropout_backward(t, cnp.PyArray_DATA(dx), cnp.PyArray_DATA(dy), bits, cnp.PyArray_SIZE(dx), scale)
    return dx


def relu_dropout(cnp.ndarray y not None, cnp.ndarray mask not None, cnp.ndarray passed not None,
                 cnp.ndarray x not None, double p, double scale, uint64_t key, uint64_t call):
    """y = max(x, 0) times 0 with probability p, else times scale; passed: a bit for each element above 0"""
    cdef batten_dtype t = thinned(y, x)
    cdef uint8_t *bits = mask_of(mask, y, True)
    cdef uint8_t *above = mask_of(passed, y, True)
    disjoint(mask, y)
    disjoint(mask, x)
    disjoint(passed, y)
    disjoint(passed, x)
    disjoint(mask, passed)
    probability(p)
    with nogil:
        capi.batten_relu_dropout(t, cnp.PyArray_DATA(y), bits, above, cnp.PyArray_DATA(x), cnp.PyArray_SIZE(y), p,
                                 scale, key, call)
    return y


def relu_dropout_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray mask not None,
                          cnp.ndarray passed not None, double scale):
    """dx = dy times scale where the mask's bit is set, else times 0; and 0 where passed's is not"""
    cdef batten_dtype t = thinned(dx, dy)
    cdef uint8_t *bits = mask_of(mask, dx, False)
    cdef uint8_t *above = mask_of(passed, dx, False)
    disjoint(dx, mask)
    disjoint(dx, passed)
    with nogil:
        capi.batten_relu_dropout_backward(t, cnp.PyArray_DATA(dx), cnp.PyArray_DATA(dy), bits, above,
                                          cnp.PyArray_SIZE(dx), scale)
    return dx


def alpha_dropout(cnp.ndarray y not None, cnp.ndarray mask not None, cnp.ndarray x not None, double p, double scale,
                  double kept, double dropped, uint64_t key, uint64_t call):
    """y = 0 x + dropped with probability p, else x scale + kept; mask: a bit for each element that is kept"""
    cdef batten_dtype t = thinned(y, x)
    cdef uint8_t *bits = mask_of(mask, y, True)
    disjoint(mask, y)
    disjoint(mask, x)
    probability(p)
    with nogil:
        capi.batten_alpha_dropout(t, cnp.PyArray_DATA(y), bits, cnp.PyArray_DATA(x), cnp.PyArray_SIZE(y), p, scale,
                                  kept, dropped, key, call)
    return y


cdef uint8_t *columns_mask(cnp.ndarray y, cnp.ndarray x, cnp.ndarray mask) except? NULL:
    """One bit for each column of each example of x (examples, rows, columns) in C order."""
    if x.ndim != 3:
        raise ValueError(f"expected (examples, rows, columns), got {show(x)}")
    contiguous(x)
    disjoint(y, mask)
    return bits_of(mask, <size_t>x.shape[0] * <size_t>x.shape[2], False)


def feature_dropout(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray mask not None, double scale):
    """y = x times scale in the columns of an example whose bit is set, else times 0"""
    cdef batten_dtype t = thinned(y, x)
    cdef uint8_t *bits = columns_mask(y, x, mask)
    with nogil:
        capi.batten_feature_dropout(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), bits, x.shape[0], x.shape[1],
                                    x.shape[2], scale)
    return y


def feature_alpha_dropout(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray mask not None, double scale,
                          double kept, double dropped):
    """y = x scale + kept in the columns of an example whose bit is set, else 0 x + dropped"""
    cdef batten_dtype t = thinned(y, x)
    cdef uint8_t *bits = columns_mask(y, x, mask)
    with nogil:
        capi.batten_feature_alpha_dropout(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), bits, x.shape[0], x.shape[1],
                                          x.shape[2], scale, kept, dropped)
    return y
