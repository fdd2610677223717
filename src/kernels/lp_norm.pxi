# Batch normalization by the mean or the largest deviation, with the checks of normalization.pxi.

ctypedef void (*deviation_kernel)(
    batten_dtype, void *, double *, void *, void *, const void *, const void *, const void *, double *, size_t, size_t,
    double, double, double, int) noexcept nogil
ctypedef void (*deviation_gradient)(
    batten_dtype, void *, void *, void *, const void *, const void *, const double *, const void *, double *, size_t,
    size_t, double, int) noexcept nogil


cdef cnp.ndarray deviation(deviation_kernel kernel, size_t sums, cnp.ndarray y, cnp.ndarray kept,
                           cnp.ndarray running_mean, cnp.ndarray running_var, cnp.ndarray x, cnp.ndarray gamma,
                           cnp.ndarray beta, double eps, double momentum, double factor, bint relu):
    """A kernel that leaves so many pairs of numbers for every column of every tile."""
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, y, x, True)
    cdef double *statistics = kept_of(&p, kept, 5, x, True)
    cdef void *means = columns_of(&p, running_mean, x, True)
    cdef void *variances = columns_of(&p, running_var, x, True)
    cdef void *source = rows_like(&p, x, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    cdef void *bias = columns_of(&p, beta, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = sums * scratch_for(x)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        kernel(t, to, statistics, means, variances, source, weight, bias, scratch, x.shape[0], x.shape[1], eps,
               momentum, factor, relu)
        capi.batten_release(scratch, bytes)
    return y


cdef cnp.ndarray deviation_backward(deviation_gradient kernel, size_t sums, cnp.ndarray dx, cnp.ndarray dgamma,
                                    cnp.ndarray dbeta, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray kept,
                                    cnp.ndarray gamma, double factor, bint relu):
    cdef Parts p
    p.count = 0
    cdef batten_dtype t = matrix(x)
    cdef void *to = rows_like(&p, dx, x, True)
    cdef void *to_weight = columns_of(&p, dgamma, x, True)
    cdef void *to_bias = columns_of(&p, dbeta, x, True)
    cdef void *gradient = gradient_like(&p, dy, x, dx)
    cdef void *source = rows_like(&p, x, x, False)
    cdef double *statistics = kept_of(&p, kept, 5, x, False)
    cdef void *weight = columns_of(&p, gamma, x, False)
    separate(p.spans, p.count)
    cdef size_t bytes = sums * scratch_for(x)
    cdef double *scratch = <double *>borrow(bytes)
    with nogil:
        kernel(t, to, to_weight, to_bias, gradient, source, statistics, weight, scratch, x.shape[0], x.shape[1],
               factor, relu)
        capi.batten_release(scratch, bytes)
    return dx


def l1_batch_norm(cnp.ndarray y not None, cnp.ndarray kept not None, cnp.ndarray running_mean,
                  cnp.ndarray running_var, cnp.ndarray x not None, cnp.ndarray gamma, cnp.ndarray beta, double eps,
                  double momentum, double factor, bint relu):
    """y = gamma (x - mean) / sqrt(s^2 + eps) + beta, or its relu, with s = factor times the mean of |x - mean|

    The running statistics move towards mean and s^2.  kept (5, columns), in double, is for l1_batch_norm_backward.
    """
    return deviation(capi.batten_l1_batch_norm, 1, y, kept, running_mean, running_var, x, gamma, beta, eps, momentum,
                     factor, relu)


def l1_batch_norm_backward(cnp.ndarray dx not None, cnp.ndarray dgamma, cnp.ndarray dbeta, cnp.ndarray dy not None,
                           cnp.ndarray x not None, cnp.ndarray kept not None, cnp.ndarray gamma, double factor,
                           bint relu):
    """dx, dgamma, dbeta from dy and what l1_batch_norm kept"""
    return deviation_backward(capi.batten_l1_batch_norm_backward, 1, dx, dgamma, dbeta, dy, x, kept, gamma, factor,
                              relu)


def linf_batch_norm(cnp.ndarray y not None, cnp.ndarray kept not None, cnp.ndarray running_mean,
                    cnp.ndarray running_var, cnp.ndarray x not None, cnp.ndarray gamma, cnp.ndarray beta, double eps,
                    double momentum, double factor, bint relu):
    """The same with s = factor times the largest |x - mean|"""
    return deviation(capi.batten_linf_batch_norm, 2, y, kept, running_mean, running_var, x, gamma, beta, eps, momentum,
                     factor, relu)


def linf_batch_norm_backward(cnp.ndarray dx not None, cnp.ndarray dgamma, cnp.ndarray dbeta, cnp.ndarray dy not None,
                             cnp.ndarray x not None, cnp.ndarray kept not None, cnp.ndarray gamma, double factor,
                             bint relu):
    """dx, dgamma, dbeta from dy and what linf_batch_norm kept"""
    return deviation_backward(capi.batten_linf_batch_norm_backward, 2, dx, dgamma, dbeta, dy, x, kept, gamma, factor,
                              relu)
