# Normalizations of matrices in C order: batch, layer, root mean square, group.  A number for each column
# may be None where the C function takes NULL.

cdef struct Parts:
    # The arrays of one call.
    Span spans[10]
    size_t count


cdef void *rows_like(Parts *parts, cnp.ndarray y, cnp.ndarray x, bint written) except NULL:
    """The elements of an array like x."""
    if written:
        output(y)
    dtype_of(y)
    contiguous(y)
    alike(y, x)
    parts.spans[parts.count] = span_of(y, written)
    parts.count += 1
    return cnp.PyArray_DATA(y)


cdef void *gradient_like(Parts *parts, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dx) except NULL:
    """The elements of the gradient that has arrived, an array like x, over which dx may be written."""
    if cnp.PyArray_DATA(dy) != cnp.PyArray_DATA(dx):
        return rows_like(parts, dy, x, False)
    alike(dy, x)
    return cnp.PyArray_DATA(dy)


cdef void *columns_of(Parts *parts, cnp.ndarray v, cnp.ndarray x, bint written) except? NULL:
    """The numbers for x's columns, its last axis, or NULL for None."""
    if v is None:
        return NULL
    if written:
        output(v)
    if vector(v, x.shape[x.ndim - 1]) != dtype_of(x):
        raise TypeError(f"expected numbers of the type of {show(x)}, got {show(v)}")
    parts.spans[parts.count] = span_of(v, written)
    parts.count += 1
    return cnp.PyArray_DATA(v)


cdef double *kept_of(Parts *parts, cnp.ndarray kept, Py_ssize_t rows, cnp.ndarray x, bint written) except NULL:
    """What batch normalization keeps of x's columns, so many numbers in double."""
    if written:
        output(kept)
    if matrix(kept) != capi.BATTEN_F64 or kept.shape[0] != rows or kept.shape[1] != x.shape[1]:
        raise ValueError(f"expected ({rows}, {x.shape[1]}) numbers in float64, got {show(kept)}")
    parts.spans[parts.count] = span_of(kept, written)
    parts.count += 1
    return <double *>cnp.PyArray_DATA(kept)


cdef size_t scratch_for(cnp.ndarray x):
    """Bytes for two sums of every column of every tile."""
    cdef size_t tiles = (<size_t>x.shape[0] + capi.BATTEN_TILE_ROWS - 1) // capi.BATTEN_TILE_ROWS
    return tiles * 2 * <size_t>x.shape[1] * sizeof(double)


def batch_norm(cnp.ndarray y not None, cnp.ndarray kept not None, cnp.ndarray running_mean, cnp.ndarray running_var,
               cnp.ndarray x not None, cnp.ndarray gamma, cnp.ndarray beta, double eps, double momentum, bint relu):
    """y = gamma (x - mean) rstd + beta, or its relu, with the statistics of x's columns

    The running statistics move towards these.  kept (3, columns), in double, is for batch_norm_backward: mean,
    rstd, and what makes up for the rounding of the mean.
    """
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, y, x, True)
    cdef double *statistics = kept_of(&p, kept, 3, x, True)
    cdef void *means = columns_of(&p, running_mean, x, True)
    cdef void *variances = columns_of(&p, running_var, x, True)
    cdef void *source = rows_like(&p, x, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    cdef void *bias = columns_of(&p, beta, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = scratch_for(x)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_batch_norm(t, to, statistics, means, variances, source, weight, bias, scratch,
                               x.shape[0], x.shape[1], eps, momentum, relu)
        capi.batten_release(scratch, bytes)
    return y


def batch_norm_backward(cnp.ndarray dx not None, cnp.ndarray dgamma, cnp.ndarray dbeta, cnp.ndarray dy not None,
                        cnp.ndarray x not None, cnp.ndarray kept not None, cnp.ndarray gamma, bint relu):
    """dx, dgamma, dbeta from dy and what batch_norm kept"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, dx, x, True)
    cdef void *to_weight = columns_of(&p, dgamma, x, True)
    cdef void *to_bias = columns_of(&p, dbeta, x, True)
    cdef void *gradient = gradient_like(&p, dy, x, dx)
    cdef void *source = rows_like(&p, x, x, False)
    cdef double *statistics = kept_of(&p, kept, 3, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = scratch_for(x)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_batch_norm_backward(t, to, to_weight, to_bias, gradient, source, statistics, weight, scratch,
                                        x.shape[0], x.shape[1], relu)
        capi.batten_release(scratch, bytes)
    return dx


def batch_norm_add_relu(cnp.ndarray y not None, cnp.ndarray kept not None, cnp.ndarray running_mean,
                        cnp.ndarray running_var, cnp.ndarray x not None, cnp.ndarray z not None, cnp.ndarray gamma,
                        cnp.ndarray beta, double eps, double momentum):
    """y = relu(gamma (x - mean) rstd + beta + z), else as batch_norm"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, y, x, True)
    cdef double *statistics = kept_of(&p, kept, 3, x, True)
    cdef void *means = columns_of(&p, running_mean, x, True)
    cdef void *variances = columns_of(&p, running_var, x, True)
    cdef void *source = rows_like(&p, x, x, False)
    cdef void *other = rows_like(&p, z, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    cdef void *bias = columns_of(&p, beta, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = scratch_for(x)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_batch_norm_add_relu(t, to, statistics, means, variances, source, other, weight, bias, scratch,
                                        x.shape[0], x.shape[1], eps, momentum)
        capi.batten_release(scratch, bytes)
    return y


def batch_norm_add_relu_backward(cnp.ndarray dx not None, cnp.ndarray dz not None, cnp.ndarray dgamma,
                                 cnp.ndarray dbeta, cnp.ndarray dy not None, cnp.ndarray y not None,
                                 cnp.ndarray x not None, cnp.ndarray kept not None, cnp.ndarray gamma):
    """dx, dz, dgamma, dbeta from dy, the result y and what batch_norm_add_relu kept"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, dx, x, True)
    cdef void *to_other = rows_like(&p, dz, x, True)
    cdef void *to_weight = columns_of(&p, dgamma, x, True)
    cdef void *to_bias = columns_of(&p, dbeta, x, True)
    cdef void *gradient = gradient_like(&p, dy, x, dz)
    cdef void *result = rows_like(&p, y, x, False)
    cdef void *source = rows_like(&p, x, x, False)
    cdef double *statistics = kept_of(&p, kept, 3, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = scratch_for(x)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_batch_norm_add_relu_backward(t, to, to_other, to_weight, to_bias, gradient, result, source,
                                                 statistics, weight, scratch, x.shape[0], x.shape[1])
        capi.batten_release(scratch, bytes)
    return dx


def batch_norm_inference(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray mean not None,
                         cnp.ndarray var not None, cnp.ndarray gamma, cnp.ndarray beta, double eps, bint relu):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, or its relu"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, y, x, True)
    cdef void *source = rows_like(&p, x, x, False)
    cdef void *center = columns_of(&p, mean, x, False)
    cdef void *variance = columns_of(&p, var, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    cdef void *bias = columns_of(&p, beta, x, False)
    separate(p.spans, p.count)
    with nogil:
        capi.batten_batch_norm_inference(t, to, source, center, variance, weight, bias, x.shape[0], x.shape[1], eps,
                                         relu)
    return y


def batch_norm_inference_backward(cnp.ndarray dx not None, cnp.ndarray dgamma, cnp.ndarray dbeta,
                                  cnp.ndarray dy not None, cnp.ndarray x not None, cnp.ndarray mean not None,
                                  cnp.ndarray var not None, cnp.ndarray gamma, cnp.ndarray beta, double eps,
                                  bint relu):
    """dx, dgamma, dbeta from dy where the statistics were given; only relu asks for beta"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, dx, x, True)
    cdef void *to_weight = columns_of(&p, dgamma, x, True)
    cdef void *to_bias = columns_of(&p, dbeta, x, True)
    cdef void *gradient = gradient_like(&p, dy, x, dx)
    cdef void *source = rows_like(&p, x, x, False)
    cdef void *center = columns_of(&p, mean, x, False)
    cdef void *variance = columns_of(&p, var, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    cdef void *bias = columns_of(&p, beta, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = scratch_for(x)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_batch_norm_inference_backward(t, to, to_weight, to_bias, gradient, source, center, variance,
                                                  weight, bias, scratch, x.shape[0], x.shape[1], eps, relu)
        capi.batten_release(scratch, bytes)
    return dx


cdef double *statistics_of(Parts *parts, cnp.ndarray v, cnp.ndarray x, bint written) except NULL:
    """The statistics of x's rows, in double."""
    if written:
        output(v)
    if vector(v, x.shape[0]) != capi.BATTEN_F64:
        raise TypeError(f"expected statistics in float64, got {show(v)}")
    parts.spans[parts.count] = span_of(v, written)
    parts.count += 1
    return <double *>cnp.PyArray_DATA(v)


cdef size_t sums_of_blocks(cnp.ndarray x, size_t count):
    """Bytes for so many sums of every column of every block of rows."""
    cdef size_t blocks = (<size_t>x.shape[0] + capi.BATTEN_LAYER_ROWS - 1) // capi.BATTEN_LAYER_ROWS
    return blocks * count * <size_t>x.shape[1] * cnp.PyArray_ITEMSIZE(x)


def layer_norm(cnp.ndarray y not None, cnp.ndarray mean not None, cnp.ndarray rstd not None, cnp.ndarray x not None,
               cnp.ndarray gamma, cnp.ndarray beta, double eps):
    """y = gamma (x - mean) rstd + beta with the statistics of x's rows"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, y, x, True)
    cdef double *center = statistics_of(&p, mean, x, True)
    cdef double *scale = statistics_of(&p, rstd, x, True)
    cdef void *source = rows_like(&p, x, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    cdef void *bias = columns_of(&p, beta, x, False)
    separate(p.spans, p.count)
    with nogil:
        capi.batten_layer_norm(t, to, center, scale, source, weight, bias, x.shape[0], x.shape[1], eps)
    return y


def layer_norm_backward(cnp.ndarray dx not None, cnp.ndarray dgamma, cnp.ndarray dbeta, cnp.ndarray dy not None,
                        cnp.ndarray x not None, cnp.ndarray mean not None, cnp.ndarray rstd not None,
                        cnp.ndarray gamma):
    """dx, dgamma, dbeta from dy and what layer_norm kept"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, dx, x, True)
    cdef void *to_weight = columns_of(&p, dgamma, x, True)
    cdef void *to_bias = columns_of(&p, dbeta, x, True)
    cdef void *gradient = gradient_like(&p, dy, x, dx)
    cdef void *source = rows_like(&p, x, x, False)
    cdef double *center = statistics_of(&p, mean, x, False)
    cdef double *scale = statistics_of(&p, rstd, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = sums_of_blocks(x, 2)
    cdef void *scratch = borrow(bytes)
    with nogil:
        capi.batten_layer_norm_backward(t, to, to_weight, to_bias, gradient, source, center, scale, weight, scratch,
                                        x.shape[0], x.shape[1])
        capi.batten_release(scratch, bytes)
    return dx


def rms_norm(cnp.ndarray y not None, cnp.ndarray rstd not None, cnp.ndarray x not None, cnp.ndarray gamma, double eps):
    """y = gamma x rstd with the root mean squares of x's rows"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, y, x, True)
    cdef double *scale = statistics_of(&p, rstd, x, True)
    cdef void *source = rows_like(&p, x, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    separate(p.spans, p.count)
    with nogil:
        capi.batten_rms_norm(t, to, scale, source, weight, x.shape[0], x.shape[1], eps)
    return y


def rms_norm_backward(cnp.ndarray dx not None, cnp.ndarray dgamma, cnp.ndarray dy not None, cnp.ndarray x not None,
                      cnp.ndarray rstd not None, cnp.ndarray gamma):
    """dx, dgamma from dy and what rms_norm kept"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, dx, x, True)
    cdef void *to_weight = columns_of(&p, dgamma, x, True)
    cdef void *gradient = gradient_like(&p, dy, x, dx)
    cdef void *source = rows_like(&p, x, x, False)
    cdef double *scale = statistics_of(&p, rstd, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = sums_of_blocks(x, 1)
    cdef void *scratch = borrow(bytes)
    with nogil:
        capi.batten_rms_norm_backward(t, to, to_weight, gradient, source, scale, weight, scratch, x.shape[0],
                                      x.shape[1])
        capi.batten_release(scratch, bytes)
    return dx


cdef batten_dtype images(cnp.ndarray x) except *:
    """Images (images, pixels, channels) in C order."""
    if x.ndim != 3:
        raise ValueError(f"expected images (images, pixels, channels), got {show(x)}")
    contiguous(x)
    return dtype_of(x)


cdef double *of_groups(Parts *parts, cnp.ndarray v, cnp.ndarray x, cnp.ndarray mean, bint written) except NULL:
    """The statistics of the groups of x's images, as many as mean has, in double."""
    if written:
        output(v)
    if matrix(v) != capi.BATTEN_F64 or v.shape[0] != x.shape[0] or v.shape[1] != mean.shape[1]:
        raise ValueError(f"expected statistics ({x.shape[0]}, groups) in float64, got {show(v)}")
    if x.shape[2] and (v.shape[1] == 0 or x.shape[2] % v.shape[1]):
        raise ValueError(f"expected groups of equally many of {x.shape[2]} channels, got {v.shape[1]} groups")
    parts.spans[parts.count] = span_of(v, written)
    parts.count += 1
    return <double *>cnp.PyArray_DATA(v)


cdef size_t group_scratch(cnp.ndarray x):
    """Bytes for two sums of every channel of every image, and of every tile of one."""
    cdef size_t tiles = (<size_t>x.shape[1] + capi.BATTEN_TILE_ROWS - 1) // capi.BATTEN_TILE_ROWS
    return (<size_t>x.shape[0] + tiles) * 2 * <size_t>x.shape[2] * sizeof(double)


cdef size_t group_scratch_backward(cnp.ndarray x, cnp.ndarray mean):
    """The same, and for two numbers of every group."""
    return group_scratch(x) + 2 * <size_t>cnp.PyArray_SIZE(mean) * sizeof(double)


def group_norm(cnp.ndarray y not None, cnp.ndarray mean not None, cnp.ndarray rstd not None, cnp.ndarray x not None,
               cnp.ndarray gamma, cnp.ndarray beta, double eps, bint relu):
    """y = gamma (x - mean) rstd + beta, or its relu, with the statistics of groups of an image's channels

    mean and rstd (images, groups) are in double.
    """
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = images(x)
    cdef void *to = rows_like(&p, y, x, True)
    cdef double *center = of_groups(&p, mean, x, mean, True)
    cdef double *scale = of_groups(&p, rstd, x, mean, True)
    cdef void *source = rows_like(&p, x, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    cdef void *bias = columns_of(&p, beta, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = group_scratch(x)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_group_norm(t, to, center, scale, source, weight, bias, scratch, x.shape[0], x.shape[1], x.shape[2],
                               mean.shape[1], eps, relu)
        capi.batten_release(scratch, bytes)
    return y


def group_norm_backward(cnp.ndarray dx not None, cnp.ndarray dgamma, cnp.ndarray dbeta, cnp.ndarray dy not None,
                        cnp.ndarray x not None, cnp.ndarray mean not None, cnp.ndarray rstd not None,
                        cnp.ndarray gamma, cnp.ndarray beta, bint relu):
    """dx, dgamma, dbeta from dy and what group_norm kept; only relu asks for beta"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = images(x)
    cdef void *to = rows_like(&p, dx, x, True)
    cdef void *to_weight = columns_of(&p, dgamma, x, True)
    cdef void *to_bias = columns_of(&p, dbeta, x, True)
    cdef void *gradient = gradient_like(&p, dy, x, dx)
    cdef void *source = rows_like(&p, x, x, False)
    cdef double *center = of_groups(&p, mean, x, mean, False)
    cdef double *scale = of_groups(&p, rstd, x, mean, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    cdef void *bias = columns_of(&p, beta, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = group_scratch_backward(x, mean)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_group_norm_backward(t, to, to_weight, to_bias, gradient, source, center, scale, weight, bias,
                                        scratch, x.shape[0], x.shape[1], x.shape[2], mean.shape[1], relu)
        capi.batten_release(scratch, bytes)
    return dx


def group_norm_add_relu(cnp.ndarray y not None, cnp.ndarray mean not None, cnp.ndarray rstd not None,
                        cnp.ndarray x not None, cnp.ndarray z not None, cnp.ndarray gamma, cnp.ndarray beta,
                        double eps):
    """y = relu(gamma (x - mean) rstd + beta + z), else as group_norm"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = images(x)
    cdef void *to = rows_like(&p, y, x, True)
    cdef double *center = of_groups(&p, mean, x, mean, True)
    cdef double *scale = of_groups(&p, rstd, x, mean, True)
    cdef void *source = rows_like(&p, x, x, False)
    cdef void *other = rows_like(&p, z, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    cdef void *bias = columns_of(&p, beta, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = group_scratch(x)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_group_norm_add_relu(t, to, center, scale, source, other, weight, bias, scratch, x.shape[0],
                                        x.shape[1], x.shape[2], mean.shape[1], eps)
        capi.batten_release(scratch, bytes)
    return y


def group_norm_add_relu_backward(cnp.ndarray dx not None, cnp.ndarray dz not None, cnp.ndarray dgamma,
                                 cnp.ndarray dbeta, cnp.ndarray dy not None, cnp.ndarray y not None,
                                 cnp.ndarray x not None, cnp.ndarray mean not None, cnp.ndarray rstd not None,
                                 cnp.ndarray gamma):
    """dx, dz, dgamma, dbeta from dy, the result y and what group_norm_add_relu kept"""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = images(x)
    cdef void *to = rows_like(&p, dx, x, True)
    cdef void *to_other = rows_like(&p, dz, x, True)
    cdef void *to_weight = columns_of(&p, dgamma, x, True)
    cdef void *to_bias = columns_of(&p, dbeta, x, True)
    cdef void *gradient = gradient_like(&p, dy, x, dz)
    cdef void *result = rows_like(&p, y, x, False)
    cdef void *source = rows_like(&p, x, x, False)
    cdef double *center = of_groups(&p, mean, x, mean, False)
    cdef double *scale = of_groups(&p, rstd, x, mean, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = group_scratch_backward(x, mean)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_group_norm_add_relu_backward(t, to, to_other, to_weight, to_bias, gradient, result, source, center,
                                                 scale, weight, scratch, x.shape[0], x.shape[1], x.shape[2],
                                                 mean.shape[1])
        capi.batten_release(scratch, bytes)
    return dx
