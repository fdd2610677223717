# Optimizer steps on lists of arrays: parameters, their gradients, their states.

cdef cnp.ndarray A_COUNT = np.zeros((), np.float32)     # like all counts of steps


cdef class Group(Lists):
    """The arrays of a batten_group."""
    cdef capi.batten_group c

    def __cinit__(self, list params not None, list grads not None, tuple states not None, list steps,
                  double lr, double weight_decay, bint decoupled, bint maximize, list products=None):
        """Parameters, states, steps and products are changed, gradients are not."""
        cdef list counts = [A_COUNT] * len(params)
        cdef Py_ssize_t k
        self.begin(params, 4 + len(states))
        self.c.list = self.list
        self.c.lr, self.c.weight_decay, self.c.decoupled, self.c.maximize = lr, weight_decay, decoupled, maximize
        self.c.params = self.take(params, params, True)
        self.c.grads = <const void **>self.take(grads, params, False)
        for k in range(len(states)):
            if states[k] is not None:
                self.c.states[k] = self.take(states[k], params, True)
        if steps is not None:
            self.c.steps = <float **>self.take(steps, counts, True)
        if products is not None:
            self.c.products = <float **>self.take(products, counts, True)
        self.end()


def sgd(list params not None, list grads not None, list momentum_buffers, cnp.ndarray first, double lr,
        double momentum=0, double dampening=0, bint nesterov=False, bint lr_in_momentum=False,
        double weight_decay=0, bint decoupled=False, bint maximize=False):
    """Steps params, and momentum_buffers where there are any; first: which of these are new, uint8, or None"""
    cdef Group group = Group(params, grads, (momentum_buffers,), None, lr, weight_decay, decoupled, maximize)
    cdef const uint8_t *new = NULL
    if first is not None:
        integers_in(first, cnp.NPY_UINT8, False)
        if first.ndim != 1 or <size_t>first.shape[0] != group.c.list.count:
            raise ValueError(f"expected a flag for each of {group.c.list.count} parameters, got {show(first)}")
        new = <const uint8_t *>cnp.PyArray_DATA(first)
    with nogil:
        capi.batten_sgd(group.type, &group.c, new, momentum, dampening, nesterov, lr_in_momentum)
    return params


def nesterov(list params not None, list grads not None, list momentum_buffers not None, double lr, double momentum,
             double weight_decay=0, bint decoupled=False, bint maximize=False):
    """Steps params and momentum_buffers by gradients at params - momentum momentum_buffers"""
    cdef Group group = Group(params, grads, (momentum_buffers,), None, lr, weight_decay, decoupled, maximize)
    with nogil:
        capi.batten_nesterov(group.type, &group.c, momentum)
    return params


def adam(list params not None, list grads not None, list exp_avg not None, list exp_avg_sq not None,
         list max_exp_avg_sq, list steps not None, double lr, double beta1, double beta2, double eps,
         bint eps_in_sqrt=False, bint bias_correction=True,
         double weight_decay=0, bint decoupled=False, bint maximize=False):
    """Steps params and their states; max_exp_avg_sq may be None"""
    cdef tuple states = (exp_avg, exp_avg_sq, max_exp_avg_sq)
    cdef Group group = Group(params, grads, states, steps, lr, weight_decay, decoupled, maximize)
    with nogil:
        capi.batten_adam(group.type, &group.c, beta1, beta2, eps, eps_in_sqrt, bias_correction)
    return params


def nadam(list params not None, list grads not None, list exp_avg not None, list exp_avg_sq not None,
          list mu_products not None, list steps not None, double lr, double beta1, double beta2, double eps,
          double momentum_decay, double weight_decay=0, bint decoupled=False, bint maximize=False):
    """Steps params and their states"""
    cdef tuple states = (exp_avg, exp_avg_sq)
    cdef Group group = Group(params, grads, states, steps, lr, weight_decay, decoupled, maximize, mu_products)
    with nogil:
        capi.batten_nadam(group.type, &group.c, beta1, beta2, eps, momentum_decay)
    return params


def radam(list params not None, list grads not None, list exp_avg not None, list exp_avg_sq not None,
          list steps not None, double lr, double beta1, double beta2, double eps,
          double weight_decay=0, bint decoupled=False, bint maximize=False):
    """Steps params and their states"""
    cdef Group group = Group(params, grads, (exp_avg, exp_avg_sq), steps, lr, weight_decay, decoupled, maximize)
    with nogil:
        capi.batten_radam(group.type, &group.c, beta1, beta2, eps)
    return params


def adamax(list params not None, list grads not None, list exp_avg not None, list exp_inf not None,
           list steps not None, double lr, double beta1, double beta2, double eps,
           double weight_decay=0, bint decoupled=False, bint maximize=False):
    """Steps params and their states"""
    cdef Group group = Group(params, grads, (exp_avg, exp_inf), steps, lr, weight_decay, decoupled, maximize)
    with nogil:
        capi.batten_adamax(group.type, &group.c, beta1, beta2, eps)
    return params


def rmsprop(list params not None, list grads not None, list square_avg not None, list momentum_buffer, list grad_avg,
            list steps not None, double lr, double alpha, double eps, double momentum=0, bint eps_in_sqrt=False,
            double weight_decay=0, bint decoupled=False, bint maximize=False):
    """Steps params and their states; momentum_buffer and grad_avg may be None"""
    cdef tuple states = (square_avg, momentum_buffer, grad_avg)
    cdef Group group = Group(params, grads, states, steps, lr, weight_decay, decoupled, maximize)
    with nogil:
        capi.batten_rmsprop(group.type, &group.c, alpha, eps, momentum, eps_in_sqrt)
    return params


def adagrad(list params not None, list grads not None, list sums not None, list steps not None, double lr,
            double lr_decay, double eps, bint eps_in_sqrt=False,
            double weight_decay=0, bint decoupled=False, bint maximize=False):
    """Steps params and their states"""
    cdef Group group = Group(params, grads, (sums,), steps, lr, weight_decay, decoupled, maximize)
    with nogil:
        capi.batten_adagrad(group.type, &group.c, lr_decay, eps, eps_in_sqrt)
    return params


def adadelta(list params not None, list grads not None, list square_avg not None, list acc_delta not None,
             list steps not None, double lr, double rho, double eps,
             double weight_decay=0, bint decoupled=False, bint maximize=False):
    """Steps params and their states"""
    cdef Group group = Group(params, grads, (square_avg, acc_delta), steps, lr, weight_decay, decoupled, maximize)
    with nogil:
        capi.batten_adadelta(group.type, &group.c, rho, eps)
    return params
