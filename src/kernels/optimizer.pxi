# Optimizer steps on lists of arrays: parameters, their gradients, their states.

cdef cnp.ndarray A_COUNT = np.zeros((), np.float32)     # like all counts of steps


cdef class Group:
    """A batten_group of arrays that go together, and the scratch that its lists are in."""
    cdef capi.batten_group c
    cdef batten_dtype type
    cdef void *scratch
    cdef size_t bytes
    cdef void **pointers                                # what is left of the scratch
    cdef Span *spans

    def __cinit__(self, list params not None, list grads not None, tuple states not None, list steps,
                  double lr, double weight_decay, bint maximize):
        """Checks the arrays: parameters, states and steps are changed, gradients are not."""
        cdef Py_ssize_t count = len(params), places = (3 + len(states)) * count, k
        cdef size_t *starts
        cdef Span *spans
        cdef cnp.ndarray x
        self.bytes = places * (sizeof(Span) + sizeof(void *)) + (count + 1) * sizeof(size_t)
        self.scratch = borrow(self.bytes)
        self.spans = spans = <Span *>self.scratch
        self.pointers = <void **>(spans + places)
        starts = <size_t *>(self.pointers + places)
        starts[0] = 0
        for k in range(count):
            x = member(params, k)
            if k == 0:
                self.type = dtype_of(x)
            if dtype_of(x) != self.type:
                raise TypeError(f"expected arrays of one type, got {show(x)} beside {show(params[0])}")
            dense(x)
            starts[k + 1] = starts[k] + cnp.PyArray_SIZE(x)
        self.c.count, self.c.starts = count, starts
        self.c.lr, self.c.weight_decay, self.c.maximize = lr, weight_decay, maximize
        self.c.params = self.take(params, params, True)
        self.c.grads = <const void **>self.take(grads, params, False)
        for k in range(len(states)):
            if states[k] is not None:
                self.c.states[k] = self.take(states[k], params, True)
        if steps is not None:
            self.c.steps = <float **>self.take(steps, [A_COUNT] * count, True)
        separate(spans, self.spans - spans)

    cdef void **take(self, list members, list models, bint written) except NULL:
        """Pointers to arrays, each of which lies in memory as its model."""
        cdef void **pointers = self.pointers
        cdef cnp.ndarray x
        cdef Py_ssize_t k
        if len(members) != len(models):
            raise ValueError(f"expected {len(models)} arrays in each list, got {len(members)}")
        for k in range(len(models)):
            x = member(members, k)
            if written:
                output(x)
            else:
                dtype_of(x)
            alike(x, models[k])
            self.spans[0] = span_of(x, written)
            self.pointers[0] = cnp.PyArray_DATA(x)
            self.spans += 1
            self.pointers += 1
        return pointers

    def __dealloc__(self):
        if self.scratch is not NULL:
            capi.batten_release(self.scratch, self.bytes)


cdef cnp.ndarray member(list arrays, Py_ssize_t k):
    cdef cnp.ndarray x = arrays[k]
    if x is None:
        raise TypeError("expected arrays, got None")
    return x


def lie_alike(list models not None, list arrays not None):
    """Whether the models are of one type and without gaps, and each array is of that type and lies as its model."""
    cdef cnp.ndarray model, x
    cdef Py_ssize_t k
    if len(models) != len(arrays):
        return False
    for k in range(len(models)):
        if not isinstance(models[k], cnp.ndarray) or not isinstance(arrays[k], cnp.ndarray):
            return False
        model, x = models[k], arrays[k]
        if cnp.PyArray_TYPE(x) != cnp.PyArray_TYPE(<cnp.ndarray>models[0]) \
                or cnp.PyArray_TYPE(model) != cnp.PyArray_TYPE(x) \
                or not same_layout(x, model) or not without_gaps(model):
            return False
    return True


def sgd(list params not None, list grads not None, list momentum_buffers, cnp.ndarray first, double lr,
        double momentum=0, double dampening=0, double weight_decay=0, bint nesterov=False, bint maximize=False):
    """Steps params, and momentum_buffers where there are any; first: which of these are new, uint8, or None"""
    cdef Group group = Group(params, grads, (momentum_buffers,), None, lr, weight_decay, maximize)
    cdef const uint8_t *new = NULL
    if first is not None:
        integers_in(first, cnp.NPY_UINT8, False)
        if first.ndim != 1 or <size_t>first.shape[0] != group.c.count:
            raise ValueError(f"expected a flag for each of {group.c.count} parameters, got {show(first)}")
        new = <const uint8_t *>cnp.PyArray_DATA(first)
    with nogil:
        capi.batten_sgd(group.type, &group.c, new, momentum, dampening, nesterov)
    return params


def adam(list params not None, list grads not None, list exp_avg not None, list exp_avg_sq not None,
         list max_exp_avg_sq, list steps not None, double lr, double beta1, double beta2, double eps,
         double weight_decay=0, double decoupled_weight_decay=0, bint maximize=False):
    """Steps params and their states; max_exp_avg_sq may be None"""
    cdef Group group = Group(params, grads, (exp_avg, exp_avg_sq, max_exp_avg_sq), steps, lr, weight_decay, maximize)
    with nogil:
        capi.batten_adam(group.type, &group.c, beta1, beta2, eps, decoupled_weight_decay)
    return params


def rmsprop(list params not None, list grads not None, list square_avg not None, list momentum_buffer, list grad_avg,
            list steps not None, double lr, double alpha, double eps, double weight_decay=0, double momentum=0,
            bint maximize=False):
    """Steps params and their states; momentum_buffer and grad_avg may be None"""
    cdef Group group = Group(params, grads, (square_avg, momentum_buffer, grad_avg), steps, lr, weight_decay, maximize)
    with nogil:
        capi.batten_rmsprop(group.type, &group.c, alpha, eps, momentum)
    return params


def adagrad(list params not None, list grads not None, list sums not None, list steps not None, double lr,
            double lr_decay, double eps, double weight_decay=0, bint maximize=False):
    """Steps params and their states"""
    cdef Group group = Group(params, grads, (sums,), steps, lr, weight_decay, maximize)
    with nogil:
        capi.batten_adagrad(group.type, &group.c, lr_decay, eps)
    return params


def adadelta(list params not None, list grads not None, list square_avg not None, list acc_delta not None,
             list steps not None, double lr, double rho, double eps, double weight_decay=0, bint maximize=False):
    """Steps params and their states"""
    cdef Group group = Group(params, grads, (square_avg, acc_delta), steps, lr, weight_decay, maximize)
    with nogil:
        capi.batten_adadelta(group.type, &group.c, rho, eps)
    return params
