# What is asked of arrays before a pointer is taken of them.

cdef str show(cnp.ndarray x):
    return f"{x.dtype}{list((<object>x).shape)}"


cdef batten_dtype dtype_of(cnp.ndarray x) except *:
    """The element type of an array that a kernel may walk with strides."""
    cdef int t = cnp.PyArray_TYPE(x)
    if t != cnp.NPY_FLOAT32 and t != cnp.NPY_FLOAT64 or not cnp.PyArray_ISBEHAVED_RO(x):
        raise TypeError(f"expected an aligned array of float32 or float64, got {show(x)}")
    return capi.BATTEN_F32 if t == cnp.NPY_FLOAT32 else capi.BATTEN_F64


cdef batten_dtype output(cnp.ndarray y) except *:
    """The same of an array that a kernel may write."""
    if not cnp.PyArray_ISWRITEABLE(y):
        raise ValueError(f"expected an output that can be written, got a read-only {show(y)}")
    return dtype_of(y)


cdef int apart(cnp.ndarray y, cnp.ndarray x) except -1:
    """An output may be an input, element for element, but not overlap it in another way."""
    if cnp.PyArray_DATA(y) == cnp.PyArray_DATA(x) and same_layout(y, x):
        return 0
    return disjoint(y, x)


cdef int disjoint(cnp.ndarray y, cnp.ndarray x) except -1:
    """An output and an input have no element in common."""
    cdef Range a = range_of(y), b = range_of(x)
    if a.end > b.begin and b.end > a.begin and np.shares_memory(y, x):
        raise ValueError(f"expected an output apart from the inputs, got {show(y)} that overlaps {show(x)}")
    return 0


cdef struct Range:
    size_t begin, end


cdef Range range_of(cnp.ndarray x):
    """The addresses between which an array's elements lie."""
    cdef Range r
    cdef int i
    r.begin = r.end = <size_t>cnp.PyArray_DATA(x)
    for i in range(x.ndim):
        if x.shape[i] == 0:
            return r
        if x.strides[i] < 0:
            r.begin += (x.shape[i] - 1) * x.strides[i]
        else:
            r.end += (x.shape[i] - 1) * x.strides[i]
    r.end += cnp.PyArray_ITEMSIZE(x)
    return r


cdef bint same_layout(cnp.ndarray y, cnp.ndarray x):
    """One shape, and elements in the same places; strides of an array without elements say nothing."""
    cdef int i
    cdef bint any = cnp.PyArray_SIZE(x) > 0
    if y.ndim != x.ndim:
        return False
    for i in range(y.ndim):
        if y.shape[i] != x.shape[i] or any and y.shape[i] > 1 and y.strides[i] != x.strides[i]:
            return False
    return True


cdef int contiguous(cnp.ndarray x) except -1:
    """For kernels that count elements in C order."""
    if not cnp.PyArray_IS_C_CONTIGUOUS(x):
        raise ValueError(f"expected an array in C order, got {show(x)} with strides {list((<object>x).strides)}")
    return 0


cdef int dense(cnp.ndarray x) except -1:
    """For kernels that walk memory: no gaps, but the axes may lie in any order."""
    if not without_gaps(x):
        raise ValueError(f"expected an array without gaps, got {show(x)} with strides {list((<object>x).strides)}")
    return 0


cdef bint without_gaps(cnp.ndarray x):
    cdef cnp.npy_intp stride = cnp.PyArray_ITEMSIZE(x)
    cdef int axis, found = 0
    if cnp.PyArray_IS_C_CONTIGUOUS(x):
        return True
    for axis in range(x.ndim):
        found += x.shape[axis] == 1
    while found < x.ndim:
        for axis in range(x.ndim):
            if x.shape[axis] != 1 and x.strides[axis] == stride:
                stride *= x.shape[axis]
                found += 1
                break
        else:
            return False
    return True


cdef int alike(cnp.ndarray y, cnp.ndarray x) except -1:
    """One type, one shape, one layout."""
    if cnp.PyArray_TYPE(y) != cnp.PyArray_TYPE(x):
        raise TypeError(f"expected arrays of one type, got {show(y)} and {show(x)}")
    if not same_layout(y, x):
        raise ValueError(f"expected arrays of one shape and layout, got {show(y)} with strides "
                         f"{list((<object>y).strides)} and {show(x)} with strides {list((<object>x).strides)}")
    return 0


cdef int integers_in(cnp.ndarray x, int type, bint written) except -1:
    """An array of one type of integers, in C order."""
    if cnp.PyArray_TYPE(x) != type or not cnp.PyArray_ISBEHAVED_RO(x):
        raise TypeError(f"expected an aligned array of {cnp.PyArray_DescrFromType(type)}, got {show(x)}")
    if written and not cnp.PyArray_ISWRITEABLE(x):
        raise ValueError(f"expected an output that can be written, got a read-only {show(x)}")
    return contiguous(x)


cdef struct Span:
    # Where an array's elements lie; it is kept alive by whoever asks.
    size_t begin, end
    void *array
    bint written


cdef Span span_of(cnp.ndarray x, bint written):
    cdef Range r = range_of(x)
    return Span(r.begin, r.end, <void *>x, written)


cdef int earlier(const void *a, const void *b) noexcept nogil:
    cdef size_t x = (<const Span *>a).begin, y = (<const Span *>b).begin
    return (x > y) - (x < y)


cdef int separate(Span *spans, size_t n) except -1:
    """Of arrays without gaps: no output may share memory with another array; inputs may with each other."""
    cdef Span *any = NULL                       # what reaches furthest so far,
    cdef Span *output = NULL                    # and what does among the outputs
    cdef Span *other
    cdef size_t i
    if in_blocks_of_their_own(spans, n):
        return 0
    qsort(spans, n, sizeof(Span), earlier)
    for i in range(n):
        if spans[i].begin == spans[i].end:
            continue
        other = any if spans[i].written else output
        if other is not NULL and spans[i].begin < other.end:
            raise ValueError(f"expected outputs apart from all other arrays, got "
                             f"{show(<cnp.ndarray>other.array)} that overlaps {show(<cnp.ndarray>spans[i].array)}")
        if any is NULL or spans[i].end > any.end:
            any = &spans[i]
        if spans[i].written and (output is NULL or spans[i].end > output.end):
            output = &spans[i]
    return 0


cdef size_t time = 0                            # goes on with each call of the next one,
cdef object turn = object()                     # which threads go through in turn, for nothing where Python has a lock


cdef bint in_blocks_of_their_own(Span *spans, size_t n):
    """Whether each array is in a block of the pool that has none of the others, as most are: then all are apart."""
    global time
    cdef PyObject *base
    cdef size_t i
    with cython.critical_section(turn):
        time += 1
        for i in range(n):
            base = cnp.PyArray_BASE(<cnp.ndarray>spans[i].array)
            if base is not NULL and type(<object>base) is cnp.ndarray:
                base = cnp.PyArray_BASE(<cnp.ndarray>base)
            if base is NULL or type(<object>base) is not Block or (<Block>base).seen == time:
                return False
            (<Block>base).seen = time
    return True
