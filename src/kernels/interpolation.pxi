# Interpolation along one axis, by a table of which elements are summed and with which weights.

cdef batten_dtype three_axes(cnp.ndarray x) except *:
    """The variant for an array (outer, length, inner) in C order."""
    cdef batten_dtype t = dtype_of(x)
    if x.ndim != 3:
        raise ValueError(f"expected an array of three axes, got {show(x)}")
    contiguous(x)
    return t


def interpolate(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray start not None, cnp.ndarray index not None,
                cnp.ndarray weight not None):
    """y[:, i] = the sum of weight[t] x[:, index[t]] over t from start[i] to start[i + 1]"""
    cdef batten_dtype t = three_axes(x)
    cdef size_t found
    cdef cnp.npy_intp n = y.shape[1] if y.ndim > 1 else 0
    if output(y) != t:
        raise TypeError(f"expected arrays of one type, got {show(y)} and {show(x)}")
    three_axes(y)
    if y.shape[0] != x.shape[0] or y.shape[2] != x.shape[2]:
        raise ValueError(f"expected arrays that differ along the middle axis only, got {show(y)} and {show(x)}")
    integers_in(start, cnp.NPY_INT64, False)
    integers_in(index, cnp.NPY_INT64, False)
    if start.ndim != 1 or start.shape[0] != n + 1:
        raise ValueError(
            f"expected int64[{n + 1}], a start for each element of {show(y)} and an end, got {show(start)}"
        )
    of_type(weight, cnp.NPY_FLOAT64)
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
    with nogil:
        capi.batten_interpolate(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), starts, indices,
                                <const double *>cnp.PyArray_DATA(weight), x.shape[0], n, x.shape[1], x.shape[2])
    return y
