# Convolutions: images (n, *pixels, channels) and weights (features, channels / groups, *kernel), in C order.

cdef int numbers(size_t *to, object values, str what, Py_ssize_t rank, Py_ssize_t least) except -1:
    """One number for each axis of pixels, behind as many as are missing to three, which stay as they are."""
    cdef Py_ssize_t i
    values = tuple(values)
    if len(values) != rank:
        raise ValueError(f"expected a {what} for each of {rank} axes, got {values}")
    for i in range(rank):
        if values[i] < least:
            raise ValueError(f"expected a {what} of at least {least}, got {values}")
        to[3 - rank + i] = values[i]
    return 0


cdef object geometry(capi.batten_convolution *p, cnp.ndarray y, cnp.ndarray x, cnp.ndarray w, object stride,
                     object padding, object dilation, size_t groups):
    """Checks the three against each other: y is what a convolution makes of x, whichever of them is asked for."""
    cdef int rank = x.ndim - 2, i, axis
    cdef size_t after[3]
    cdef size_t span, length
    if rank < 1 or rank > 3 or y.ndim != x.ndim or w.ndim != x.ndim:
        raise ValueError("expected images (n, *pixels, channels) and weights (features, channels / groups, *kernel) "
                         f"with one to three axes of pixels, got {show(x)}, {show(y)} and {show(w)}")
    for i in range(3):
        p.in_[i] = p.out[i] = p.kernel[i] = p.stride[i] = p.dilation[i] = 1
        p.before[i] = after[i] = 0
    padding = tuple(padding)
    if len(padding) != rank:
        raise ValueError(f"expected a padding for each of {rank} axes, got {padding}")
    numbers(p.stride, stride, "stride", rank, 1)
    numbers(p.dilation, dilation, "dilation", rank, 1)
    numbers(p.before, [before for before, _ in padding], "padding", rank, 0)
    numbers(after, [behind for _, behind in padding], "padding", rank, 0)
    p.batch, p.channels, p.features, p.groups = x.shape[0], x.shape[rank + 1], w.shape[0], groups
    if groups < 1 or p.channels % groups or p.features % groups:
        raise ValueError(f"expected groups that divide {p.channels} channels and {p.features} features, got {groups}")
    if <size_t>w.shape[1] != p.channels // groups:
        raise ValueError(f"expected weights for {p.channels // groups} channels, got {show(w)} for {show(x)}")
    if <size_t>y.shape[0] != p.batch or <size_t>y.shape[rank + 1] != p.features:
        raise ValueError(f"expected y (n, *pixels, features) of x (n, *pixels, channels), got {show(y)} of {show(x)} "
                         f"and weights {show(w)}")
    for i in range(rank):
        axis = 3 - rank + i
        p.in_[axis], p.out[axis], p.kernel[axis] = x.shape[1 + i], y.shape[1 + i], w.shape[2 + i]
        length = p.in_[axis] + p.before[axis] + after[axis]
        span = 0 if p.kernel[axis] == 0 else p.dilation[axis] * (p.kernel[axis] - 1) + 1
        if span == 0 or span > length:
            raise ValueError(f"expected a kernel of one pixel or more that fits into the padded image, got one that "
                             f"spans {span} of {length} along axis {i}")
        if p.out[axis] != (length - span) // p.stride[axis] + 1:
            raise ValueError(f"expected {(length - span) // p.stride[axis] + 1} pixels along axis {i}, got {show(y)}")
    return None


cdef batten_dtype operands(cnp.ndarray result, cnp.ndarray a, cnp.ndarray b) except *:
    """The type of three arrays in C order, of which the first is written and apart from the others."""
    cdef batten_dtype t = output(result)
    if dtype_of(a) != t or dtype_of(b) != t:
        raise TypeError(f"expected operands of the output's type, got {show(result)} from {show(a)} and {show(b)}")
    contiguous(result)
    contiguous(a)
    contiguous(b)
    disjoint(result, a)
    disjoint(result, b)
    return t


cdef const void *bias_of(cnp.ndarray bias, cnp.ndarray y) except? NULL:
    """A number for each channel of the output, or NULL for None."""
    if bias is None:
        return NULL
    if dtype_of(bias) != dtype_of(y):
        raise TypeError(f"expected a bias of the type of {show(y)}, got {show(bias)}")
    vector(bias, y.shape[y.ndim - 1])
    disjoint(y, bias)
    return cnp.PyArray_DATA(bias)


cdef int activate(capi.batten_convolution *p, str activation) except -1:
    if activation is not None and activation != "relu":
        raise ValueError(f"expected no activation or relu, got {activation!r}")
    p.activation = ACTIVATIONS[activation]
    return 0


def conv(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray w not None, cnp.ndarray bias, stride, padding,
         dilation, size_t groups=1, bint exact=False, str activation=None):
    """y = act(x * w + bias): the convolution as deep learning has it, by which kernels are not turned round.

    stride and dilation are numbers for each axis of pixels, padding is pairs, before and behind; groups are beside
    each other.  exact forbids Winograd's algorithm.
    """
    cdef capi.batten_convolution p
    cdef batten_dtype t = operands(y, x, w)
    geometry(&p, y, x, w, stride, padding, dilation, groups)
    activate(&p, activation)
    cdef const void *offset = bias_of(bias, y)
    cdef size_t bytes = capi.batten_convolution_plan(&p, capi.BATTEN_FORWARD, t, exact)
    cdef void *scratch = borrow(bytes)
    with nogil:
        capi.batten_conv(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), cnp.PyArray_DATA(w), offset, scratch, &p)
        capi.batten_release(scratch, bytes)
    return y


def conv_backward_data(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray w not None, cnp.ndarray bias,
                       stride, padding, dilation, size_t groups=1, bint exact=False, str activation=None):
    """dx from dy = y's gradient, or a transposed convolution of dy, which has a bias and an activation"""
    cdef capi.batten_convolution p
    cdef batten_dtype t = operands(dx, dy, w)
    geometry(&p, dy, dx, w, stride, padding, dilation, groups)
    activate(&p, activation)
    cdef const void *offset = bias_of(bias, dx)
    cdef size_t bytes = capi.batten_convolution_plan(&p, capi.BATTEN_BACKWARD_DATA, t, exact)
    cdef void *scratch = borrow(bytes)
    with nogil:
        capi.batten_conv_backward_data(t, cnp.PyArray_DATA(dx), cnp.PyArray_DATA(dy), cnp.PyArray_DATA(w), offset,
                                       scratch, &p)
        capi.batten_release(scratch, bytes)
    return dx


def conv_backward_weights(cnp.ndarray dw not None, cnp.ndarray dy not None, cnp.ndarray x not None, stride, padding,
                          dilation, size_t groups=1, bint exact=False):
    """dw from dy = y's gradient"""
    cdef capi.batten_convolution p
    cdef batten_dtype t = operands(dw, dy, x)
    geometry(&p, dy, x, dw, stride, padding, dilation, groups)
    cdef size_t bytes = capi.batten_convolution_plan(&p, capi.BATTEN_BACKWARD_WEIGHTS, t, exact)
    cdef void *scratch = borrow(bytes)
    with nogil:
        capi.batten_conv_backward_weights(t, cnp.PyArray_DATA(dw), cnp.PyArray_DATA(dy), cnp.PyArray_DATA(x), scratch,
                                          &p)
        capi.batten_release(scratch, bytes)
    return dw
