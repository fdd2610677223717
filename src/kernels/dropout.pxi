# Dropout.  Elements count in the order of memory, so an array and its mask go with
# arrays of one layout, whatever it is.

cdef int mask_of(cnp.ndarray mask, cnp.ndarray x, bint written) except -1:
    """One bit for each element of x, in bytes."""
    integers_in(mask, cnp.NPY_UINT8, written)
    if mask.ndim != 1 or mask.shape[0] != (cnp.PyArray_SIZE(x) + 7) // 8:
        raise ValueError(f"expected uint8[{(cnp.PyArray_SIZE(x) + 7) // 8}] as the mask of {show(x)}, got {show(mask)}")
    return 0


def dropout(cnp.ndarray y not None, cnp.ndarray mask not None, cnp.ndarray x not None,
            double p, double scale, uint64_t key, uint64_t call):
    """y = x times 0 with probability p, else times scale; mask: a bit for each element that is kept"""
    cdef batten_dtype t = output(y)
    dtype_of(x)
    dense(y)
    alike(y, x)
    apart(y, x)
    mask_of(mask, y, True)
    apart(mask, y)
    apart(mask, x)
    if not 0 <= p <= 1:
        raise ValueError(f"expected a probability between 0 and 1, got {p}")
    with nogil:
        capi.batten_dropout(t, cnp.PyArray_DATA(y), <uint8_t *>cnp.PyArray_DATA(mask), cnp.PyArray_DATA(x),
                            cnp.PyArray_SIZE(y), p, scale, key, call)
    return y


def dropout_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray mask not None, double scale):
    """dx = dy times scale where the mask's bit is set, else times 0"""
    cdef batten_dtype t = output(dx)
    dtype_of(dy)
    dense(dx)
    alike(dx, dy)
    apart(dx, dy)
    mask_of(mask, dx, False)
    apart(dx, mask)
    with nogil:
        capi.batten_dropout_backward(t, cnp.PyArray_DATA(dx), cnp.PyArray_DATA(dy),
                                     <const uint8_t *>cnp.PyArray_DATA(mask), cnp.PyArray_SIZE(dx), scale)
    return dx
