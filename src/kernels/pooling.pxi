# Pooling of images (images, *axes, channels) in C order, with three axes.

BYTE_TAPS = capi.BATTEN_BYTE_TAPS               # a tap's number is uint8 in windows up to this size, else int32
cdef int LONGEST = 2**31 - 1                    # of what is counted in taps


cdef batten_dtype volumes(cnp.ndarray x) except *:
    """The element type of images with three axes."""
    cdef batten_dtype t = dtype_of(x)
    if x.ndim != 5:
        raise ValueError(f"expected images of three axes, with their channels last, got {show(x)}")
    contiguous(x)
    return t


cdef batten_dtype between(batten_window *w, cnp.ndarray y, cnp.ndarray x, tuple kernel, tuple stride, tuple padding,
                          tuple dilation) except *:
    """The windows by which y's pixels look at those of x."""
    cdef batten_dtype t = volumes(x)
    if volumes(y) != t:
        raise TypeError(f"expected arrays of one type, got {show(y)} and {show(x)}")
    if y.shape[0] != x.shape[0] or y.shape[4] != x.shape[4]:
        raise ValueError(f"expected as many images and channels, got {show(y)} and {show(x)}")
    windows(w, y, &x.shape[1], kernel, stride, padding, dilation)
    return t


cdef int windows(batten_window *w, cnp.ndarray y, const cnp.npy_intp *size, tuple kernel, tuple stride, tuple padding,
                 tuple dilation) except -1:
    """The same, of images of that size."""
    cdef Py_ssize_t k, s, p, d
    cdef size_t n, out
    cdef double taps = 1
    cdef int axis
    if not len(kernel) == len(stride) == len(padding) == len(dilation) == 3:
        raise ValueError(f"expected windows over three axes, got {kernel}, {stride}, {padding} and {dilation}")
    w.images, w.channels = y.shape[0], y.shape[4]
    for axis in range(3):
        k, s, p, d = kernel[axis], stride[axis], padding[axis], dilation[axis]
        n, out = size[axis], y.shape[1 + axis]
        if not (0 < k <= LONGEST and 0 <= s <= LONGEST and 0 <= p <= LONGEST and 0 < d <= LONGEST):
            raise ValueError(f"expected windows of at least one tap that move on, got kernel {k}, stride {s}, "
                             f"padding {p} and dilation {d}")
        if out and not (begin_inside(n, out, s, p) if s else adapt(n, out, k, p, d)):
            raise ValueError(f"expected windows for {out} outputs of {n} inputs, got kernel {k}, stride {s}, "
                             f"padding {p} and dilation {d}")
        w.size[axis], w.out[axis] = n, out
        w.kernel[axis], w.stride[axis], w.padding[axis], w.dilation[axis] = k, s, p, d
        taps *= k
    if taps > LONGEST:
        raise ValueError(f"expected windows of at most {LONGEST} taps, got {kernel}")
    return 0


cdef bint begin_inside(size_t n, size_t out, size_t stride, size_t padding):
    """Whether all windows begin in the input or in the padding before it."""
    return n + padding > 0 and out - 1 <= (n + padding - 1) // stride


cdef bint adapt(size_t n, size_t out, size_t kernel, size_t padding, size_t dilation):
    """Whether no adaptive window is larger than the kernel."""
    return n > 0 and padding == 0 and dilation == 1 and kernel >= (n // out if n % out == 0 else n // out + 2)


cdef void *taken_of(cnp.ndarray taken, cnp.ndarray y, batten_window *w, bint written) except NULL:
    """The taps that were taken: of y's shape, in bytes where these suffice."""
    cdef bint bytes = w.kernel[0] * w.kernel[1] * w.kernel[2] <= capi.BATTEN_BYTE_TAPS
    integers_in(taken, cnp.NPY_UINT8 if bytes else cnp.NPY_INT32, written)
    if not cnp.PyArray_SAMESHAPE(taken, y):
        raise ValueError(f"expected a tap for each element of {show(y)}, got {show(taken)}")
    return cnp.PyArray_DATA(taken)


def max_pool(cnp.ndarray y not None, cnp.ndarray taken, cnp.ndarray x not None, tuple kernel not None,
             tuple stride not None, tuple padding not None, tuple dilation not None):
    """y = the largest element in each window, taken = which tap that is, unless it is None

    A stride of nought makes windows adaptive along its axis.
    """
    cdef batten_window w
    cdef Span spans[3]
    cdef void *taps = NULL
    cdef batten_dtype t = between(&w, y, x, kernel, stride, padding, dilation)
    output(y)
    spans[0], spans[1] = span_of(y, True), span_of(x, False)
    if taken is not None:
        taps = taken_of(taken, y, &w, True)
        spans[2] = span_of(taken, True)
    separate(spans, 2 if taken is None else 3)
    with nogil:
        capi.batten_max_pool(t, cnp.PyArray_DATA(y), taps, cnp.PyArray_DATA(x), &w)
    return y


def max_pool_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray taken not None,
                      tuple kernel not None, tuple stride not None, tuple padding not None, tuple dilation not None):
    """dx = the sum of dy over the windows from which an element was taken"""
    cdef batten_window w
    cdef Span spans[3]
    cdef batten_dtype t = between(&w, dy, dx, kernel, stride, padding, dilation)
    output(dx)
    cdef const void *taps = taken_of(taken, dy, &w, False)
    spans[0], spans[1], spans[2] = span_of(dx, True), span_of(dy, False), span_of(taken, False)
    separate(spans, 3)
    with nogil:
        capi.batten_max_pool_backward(t, cnp.PyArray_DATA(dx), cnp.PyArray_DATA(dy), taps, &w)
    return dx


def max_pool_positions(cnp.ndarray positions not None, cnp.ndarray taken not None, tuple size not None,
                       tuple kernel not None, tuple stride not None, tuple padding not None,
                       tuple dilation not None):
    """positions = where in its image, of a size, each element that was taken lies: its number along the axes"""
    cdef batten_window w
    cdef Span spans[2]
    cdef cnp.npy_intp inputs[3]
    integers_in(positions, cnp.NPY_INT64, True)
    if positions.ndim != 5 or len(size) != 3:
        raise ValueError(f"expected images of three axes, with their channels last, got {show(positions)} and {size}")
    inputs[0], inputs[1], inputs[2] = size
    windows(&w, positions, inputs, kernel, stride, padding, dilation)
    cdef const void *taps = taken_of(taken, positions, &w, False)
    spans[0], spans[1] = span_of(positions, True), span_of(taken, False)
    separate(spans, 2)
    with nogil:
        capi.batten_max_pool_positions(capi.BATTEN_F32, <int64_t *>cnp.PyArray_DATA(positions), taps, &w)
    return positions


def average_pool(cnp.ndarray y not None, cnp.ndarray x not None, tuple kernel not None, tuple stride not None,
                 tuple padding not None, bint count_padding=False, double divisor=0):
    """y = the sum of each window over divisor, or if that is nought over the number of its terms, padding or not"""
    cdef batten_window w
    cdef Span spans[2]
    cdef batten_dtype t = between(&w, y, x, kernel, stride, padding, (1, 1, 1))
    output(y)
    spans[0], spans[1] = span_of(y, True), span_of(x, False)
    separate(spans, 2)
    with nogil:
        capi.batten_average_pool(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), &w, count_padding, divisor)
    return y


def average_pool_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, tuple kernel not None,
                          tuple stride not None, tuple padding not None, bint count_padding=False, double divisor=0):
    """dx = the sum of dy over the windows that an element is in, each divided as there"""
    cdef batten_window w
    cdef Span spans[2]
    cdef batten_dtype t = between(&w, dy, dx, kernel, stride, padding, (1, 1, 1))
    output(dx)
    spans[0], spans[1] = span_of(dx, True), span_of(dy, False)
    separate(spans, 2)
    with nogil:
        capi.batten_average_pool_backward(t, cnp.PyArray_DATA(dx), cnp.PyArray_DATA(dy), &w, count_padding, divisor)
    return dx
