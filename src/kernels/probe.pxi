# What the machine can do at most: arrays in C order, and how often to pass over them.

cdef batten_dtype streams(cnp.ndarray y, cnp.ndarray x) except *:
    """The type of an output and an input alike, element behind element."""
    cdef batten_dtype t = output(y)
    dtype_of(x)
    contiguous(y)
    alike(y, x)
    apart(y, x)
    return t


cdef int passes(Py_ssize_t times) except -1:
    if times < 1:
        raise ValueError(f"expected at least one pass, got {times}")
    return 0


def probe_fma(cnp.ndarray y not None, cnp.ndarray x not None, double a, double b, Py_ssize_t times=1):
    """y = x after so many times x = a x + b"""
    cdef batten_dtype t = streams(y, x)
    passes(times)
    with nogil:
        capi.batten_probe_fma(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), a, b, cnp.PyArray_SIZE(x), times)
    return y


def probe_read(cnp.ndarray y not None, cnp.ndarray x not None, Py_ssize_t times=1):
    """y[j] = the sum of the j-th BATTEN_UNIT elements of x"""
    cdef batten_dtype t = output(y)
    if dtype_of(x) != t:
        raise TypeError(f"expected operands of the output's type, got {show(y)} from {show(x)}")
    contiguous(x)
    vector(y, (cnp.PyArray_SIZE(x) + capi.BATTEN_UNIT - 1) // capi.BATTEN_UNIT)
    disjoint(y, x)
    passes(times)
    with nogil:
        capi.batten_probe_read(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), cnp.PyArray_SIZE(x), times)
    return y


def probe_copy(cnp.ndarray y not None, cnp.ndarray x not None, Py_ssize_t times=1):
    """y = x"""
    cdef batten_dtype t = streams(y, x)
    disjoint(y, x)
    passes(times)
    with nogil:
        capi.batten_probe_copy(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), cnp.PyArray_SIZE(x), times)
    return y


def probe_triad(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray z not None, double s,
                Py_ssize_t times=1):
    """y = x + s z"""
    cdef batten_dtype t = streams(y, x)
    streams(y, z)
    passes(times)
    with nogil:
        capi.batten_probe_triad(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), cnp.PyArray_DATA(z), s,
                                cnp.PyArray_SIZE(x), times)
    return y
