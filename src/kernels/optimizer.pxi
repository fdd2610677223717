# Optimizer steps on lists of arrays: parameters, their gradients, their states.

cdef class Group:
    """Pointers to lists of arrays that go together, their sizes and where they lie, in one block of scratch."""
    cdef void **pointers
    cdef size_t *sizes
    cdef size_t count, bytes
    cdef batten_dtype type

    def __cinit__(self, list written not None, list read not None):
        """Checks that the lists are alike: `written` are changed, `read` are not."""
        cdef list every = written + read, members
        cdef cnp.ndarray model, x
        cdef size_t n, i, k, lists = len(every)
        cdef Span *spans
        self.count = len(written[0])
        for members in every:
            if <size_t>len(members) != self.count:
                raise ValueError(f"expected {self.count} arrays in each list, got {len(members)}")
        n = lists * self.count
        self.bytes = n * (sizeof(void *) + sizeof(Span)) + self.count * sizeof(size_t)
        self.pointers = <void **>borrow(self.bytes)
        self.sizes = <size_t *>(self.pointers + n)
        spans = <Span *>(self.sizes + self.count)
        for k in range(self.count):
            for i in range(lists):
                x = every[i][k]
                if x is None:
                    raise TypeError("expected arrays, got None")
                if i == 0:
                    model = x
                if i == 0 and k == 0:
                    self.type = dtype_of(x)
                if dtype_of(x) != self.type:
                    raise TypeError(f"expected arrays of one type, got {show(x)} beside {show(written[0][0])}")
                if i < <size_t>len(written):
                    output(x)
                dense(x)
                alike(x, model)
                spans[i * self.count + k] = span_of(x, i < <size_t>len(written))
                self.pointers[i * self.count + k] = cnp.PyArray_DATA(x)
            self.sizes[k] = cnp.PyArray_SIZE(model)
        separate(spans, n)

    def __dealloc__(self):
        if self.pointers is not NULL:
            capi.batten_release(self.pointers, self.bytes)

    cdef void **at(self, size_t i) noexcept nogil:
        return self.pointers + i * self.count


def sgd(list params not None, list grads not None, list momenta, cnp.ndarray first, double lr, double momentum=0,
        double dampening=0, double weight_decay=0, bint nesterov=False, bint maximize=False):
    """Steps params, and the momentum buffers where there are any; first: which of these are new, uint8"""
    cdef Group group = Group(params_and(params, momenta), [grads])
    cdef void **buffers = NULL
    cdef const uint8_t *new = NULL
    if momenta is not None:
        flags(first, group.count, cnp.NPY_UINT8)
        buffers, new = group.at(1), <const uint8_t *>cnp.PyArray_DATA(first)
    with nogil:
        capi.batten_sgd(group.type, group.at(0), <const void *const *>group.at(1 if buffers is NULL else 2), buffers,
                        new, group.sizes, group.count, lr, momentum, dampening, weight_decay, nesterov, maximize)
    return params


def adam(list params not None, list grads not None, list exp_avg not None, list exp_avg_sq not None,
         list max_exp_avg_sq, cnp.ndarray steps not None, double lr, double beta1, double beta2, double eps,
         double weight_decay=0, bint maximize=False, bint decoupled=False):
    """Steps params and their states; steps: how many each has done, with this one, float64"""
    cdef Group group = Group(params_and(params, exp_avg, exp_avg_sq, max_exp_avg_sq), [grads])
    cdef bint amsgrad = max_exp_avg_sq is not None
    flags(steps, group.count, cnp.NPY_FLOAT64)
    with nogil:
        capi.batten_adam(group.type, group.at(0), <const void *const *>group.at(4 if amsgrad else 3), group.at(1),
                         group.at(2), group.at(3) if amsgrad else NULL, <const double *>cnp.PyArray_DATA(steps),
                         group.sizes, group.count, lr, beta1, beta2, eps, weight_decay, maximize, decoupled)
    return params


cdef list params_and(list params, list a=None, list b=None, list c=None):
    return [members for members in (params, a, b, c) if members is not None]


cdef int flags(cnp.ndarray x, size_t n, int type) except -1:
    """A number for each parameter."""
    if x is None or cnp.PyArray_TYPE(x) != type or not cnp.PyArray_ISBEHAVED_RO(x):
        raise TypeError(f"expected an array of {cnp.PyArray_DescrFromType(type)}, got {None if x is None else show(x)}")
    if x.ndim != 1 or <size_t>x.shape[0] != n:
        raise ValueError(f"expected a number for each of {n} parameters, got {show(x)}")
    return contiguous(x)
