# Interpolation along one axis, by tables of which elements are summed and with which weights.

WEIGHT_BITS = capi.BATTEN_WEIGHT_BITS            # of bytes' whole weights, behind the point

cdef batten_dtype three_axes(cnp.ndarray x) except *:
    """The variant for an array (outer, length, inner) of reals or bytes in C order."""
    cdef batten_dtype t = reals_or_bytes(x)
    if x.ndim != 3:
        raise ValueError(f"expected an array of three axes, got {show(x)}")
    contiguous(x)
    return t


def interpolate(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray start not None, cnp.ndarray index not None,
                cnp.ndarray weight not None):
    """y[:, i] = the sum of weight[t] x[:, index[t]] over t from start[i] to start[i + 1]

    More starts, for m times as many results, are the tables of m equal parts of the first axis.  Weights of bytes are
    in int32, and 2^22 of them are one; sums are rounded.
    """
    cdef batten_dtype t = three_axes(x)
    cdef bint bytes = cnp.PyArray_TYPE(x) == cnp.NPY_UINT8
    cdef size_t found
    cdef cnp.npy_intp outer = x.shape[0], n = y.shape[1] if y.ndim > 1 else 0, tables = 1
    three_axes(y)
    if not cnp.PyArray_ISWRITEABLE(y):
        raise ValueError(f"expected an output that can be written, got a read-only {show(y)}")
    if cnp.PyArray_TYPE(y) != cnp.PyArray_TYPE(x):
        raise TypeError(f"expected arrays of one type, got {show(y)} and {show(x)}")
    if y.shape[0] != x.shape[0] or y.shape[2] != x.shape[2]:
        raise ValueError(f"expected arrays that differ along the middle axis only, got {show(y)} and {show(x)}")
    integers_in(start, cnp.NPY_INT64, False)
    integers_in(index, cnp.NPY_INT64, False)
    if n and start.ndim == 1 and start.shape[0] > 1:
        tables = (start.shape[0] - 1) // n
    if start.ndim != 1 or not tables or start.shape[0] != tables * n + 1 or outer % tables:
        raise ValueError(f"expected int64[{n + 1}], a start for each element of {show(y)} and an end, or such tables "
                         f"for equal parts, got {show(start)}")
    of_type(weight, cnp.NPY_INT32 if bytes else cnp.NPY_FLOAT64)
    if index.ndim != 1 or not cnp.PyArray_SAMESHAPE(weight, index):
        raise ValueError(f"expected an index and a weight for each term, got {show(index)} and {show(weight)}")
    cdef const int64_t *starts = <const int64_t *>cnp.PyArray_DATA(start)
    cdef const int64_t *indices = <const int64_t *>cnp.PyArray_DATA(index)
    found = capi.batten_find_outside(starts, start.shape[0], index.shape[0] + 1, NULL)
    if found < <size_t>start.shape[0]:
        raise IndexError(f"expected starts from 0 to {index.shape[0]}, got {starts[found]}")
    found = capi.batten_find_outside(indices, index.shape[0], x.shape[1], NULL)
    if found < <size_t>index.shape[0]:
        raise IndexError(f"expected indices from 0 to {x.shape[1] - 1}, got {indices[found]}")
    disjoint(y, x)
    disjoint(y, start)
    disjoint(y, index)
    disjoint(y, weight)
    cdef const void *weights = cnp.PyArray_DATA(weight)
    with nogil:
        if bytes:
            capi.batten_interpolate_bytes(t, <uint8_t *>cnp.PyArray_DATA(y), <const uint8_t *>cnp.PyArray_DATA(x),
                                          starts, indices, <const int32_t *>weights, tables, outer, n, x.shape[1],
                                          x.shape[2])
        else:
            capi.batten_interpolate(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), starts, indices,
                                    <const double *>weights, tables, outer, n, x.shape[1], x.shape[2])
    return y
