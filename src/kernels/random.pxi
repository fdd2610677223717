# Random numbers in C order: a pure function of (key, call) and an element's place.  Where they are added to other
# numbers, or multiplied by these, elements count in the order of memory, so that arrays may lie in any.

cdef int words_in(cnp.ndarray x, cnp.npy_intp rows, cnp.npy_intp columns, bint written) except -1:
    integers_in(x, cnp.NPY_UINT32, written)
    if x.ndim != 2 or x.shape[0] != rows or x.shape[1] != columns:
        raise ValueError(f"expected uint32[{rows}, {columns}], got {show(x)}")
    return 0


def philox(cnp.ndarray out not None, cnp.ndarray counter not None, cnp.ndarray key not None):
    """out[i] = the block of four words that counter[i] (four words) and key[i] (two words) give."""
    cdef cnp.npy_intp n = counter.shape[0] if counter.ndim else 0
    words_in(counter, n, 4, False)
    words_in(key, n, 2, False)
    words_in(out, n, 4, True)
    apart(out, counter)
    apart(out, key)
    with nogil:
        capi.batten_philox(capi.BATTEN_F32, <uint32_t *>cnp.PyArray_DATA(out),
                           <const uint32_t *>cnp.PyArray_DATA(counter), <const uint32_t *>cnp.PyArray_DATA(key), n)
    return out


def bits(cnp.ndarray y not None, uint64_t key, uint64_t call):
    """y = 64 random bits, uint64"""
    integers_in(y, cnp.NPY_UINT64, True)
    with nogil:
        capi.batten_bits(capi.BATTEN_F32, <uint64_t *>cnp.PyArray_DATA(y), cnp.PyArray_SIZE(y), key, call)
    return y


def integers(cnp.ndarray y not None, int64_t low, int64_t high, uint64_t key, uint64_t call):
    """y = integers in [low, high), int64"""
    integers_in(y, cnp.NPY_INT64, True)
    if low >= high:
        raise ValueError(f"expected low < high, got {low} and {high}")
    with nogil:
        capi.batten_integers(capi.BATTEN_F32, <int64_t *>cnp.PyArray_DATA(y), cnp.PyArray_SIZE(y), low, high, key, call)
    return y


def uniform(cnp.ndarray y not None, double low, double high, uint64_t key, uint64_t call):
    """y = numbers in [low, high)"""
    cdef batten_dtype t = output(y)
    contiguous(y)
    if not low <= high:
        raise ValueError(f"expected low <= high, got {low} and {high}")
    with nogil:
        capi.batten_uniform(t, cnp.PyArray_DATA(y), cnp.PyArray_SIZE(y), low, high, key, call)
    return y


def normal(cnp.ndarray y not None, double mean, double std, uint64_t key, uint64_t call):
    """y = normal numbers of that mean and standard deviation"""
    cdef batten_dtype t = output(y)
    contiguous(y)
    a_std(std)
    with nogil:
        capi.batten_normal(t, cnp.PyArray_DATA(y), cnp.PyArray_SIZE(y), mean, std, key, call)
    return y


cdef batten_dtype noisy(cnp.ndarray y, cnp.ndarray x) except *:
    """The type of an output and an input that lies as it does, without gaps."""
    cdef batten_dtype t = output(y)
    dtype_of(x)
    dense(y)
    alike(y, x)
    apart(y, x)
    return t


def add_uniform(cnp.ndarray y not None, cnp.ndarray x not None, double low, double high, uint64_t key, uint64_t call):
    """y = x + numbers in [low, high)"""
    cdef batten_dtype t = noisy(y, x)
    if not low <= high:
        raise ValueError(f"expected low <= high, got {low} and {high}")
    with nogil:
        capi.batten_add_uniform(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), cnp.PyArray_SIZE(y), low, high, key, call)
    return y


cdef int a_std(double std) except -1:
    if not std >= 0:
        raise ValueError(f"expected a standard deviation of at least 0, got {std}")
    return 0


def add_normal(cnp.ndarray y not None, cnp.ndarray x not None, double std, uint64_t key, uint64_t call):
    """y = x + normal numbers of mean 0 and that standard deviation"""
    cdef batten_dtype t = noisy(y, x)
    a_std(std)
    with nogil:
        capi.batten_add_normal(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), cnp.PyArray_SIZE(y), std, key, call)
    return y


def multiply_normal(cnp.ndarray y not None, cnp.ndarray x not None, double std, uint64_t key, uint64_t call):
    """y = x times normal numbers of mean 1 and that standard deviation"""
    cdef batten_dtype t = noisy(y, x)
    a_std(std)
    with nogil:
        capi.batten_multiply_normal(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), cnp.PyArray_SIZE(y), std, key, call)
    return y
