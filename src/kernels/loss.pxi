# Losses of classes, for arrays (outer, classes, inner).  Those of numbers are elementwise.

cdef batten_dtype of_classes(cnp.ndarray x, cnp.ndarray loss, cnp.ndarray target, int64_t ignore_index) except *:
    """A number for each class, and a loss and a class for each place."""
    cdef batten_dtype t = dtype_of(x)
    if x.ndim != 3:
        raise ValueError(f"expected (outer, classes, inner), got {show(x)}")
    for places in (loss, target):
        if places.ndim != 2 or places.shape[0] != x.shape[0] or places.shape[1] != x.shape[2]:
            raise ValueError(f"expected [{x.shape[0]}, {x.shape[2]}], a number for each place of {show(x)}, "
                             f"got {show(places)}")
    if dtype_of(loss) != t:
        raise TypeError(f"expected arrays of one type, got {show(x)} and {show(loss)}")
    contiguous(x)
    contiguous(loss)
    classes(target, x.shape[1], ignore_index)
    return t


def nll_loss(cnp.ndarray loss not None, cnp.ndarray x not None, cnp.ndarray target not None, cnp.ndarray weight=None,
             int64_t ignore_index=-100):
    """loss = -weight[c] x[:, c, :] of each place's class c = target, 0 where that is ignored"""
    output(loss)
    cdef batten_dtype t = of_classes(x, loss, target, ignore_index)
    cdef const void *w = weights(weight, x)
    disjoint(loss, x)
    disjoint(loss, target)
    with nogil:
        capi.batten_nll_loss(t, cnp.PyArray_DATA(loss), cnp.PyArray_DATA(x),
                             <const int64_t *>cnp.PyArray_DATA(target), w, x.shape[0], x.shape[1], x.shape[2],
                             ignore_index)
    return loss


def nll_loss_backward(cnp.ndarray dx not None, cnp.ndarray dloss not None, cnp.ndarray target not None,
                      cnp.ndarray weight=None, int64_t ignore_index=-100):
    """dx = -weight[c] dloss at each place's class c = target, and 0 elsewhere"""
    output(dx)
    cdef batten_dtype t = of_classes(dx, dloss, target, ignore_index)
    cdef const void *w = weights(weight, dx)
    disjoint(dx, dloss)
    disjoint(dx, target)
    with nogil:
        capi.batten_nll_loss_backward(t, cnp.PyArray_DATA(dx), cnp.PyArray_DATA(dloss),
                                      <const int64_t *>cnp.PyArray_DATA(target), w, dx.shape[0], dx.shape[1],
                                      dx.shape[2], ignore_index)
    return dx


def count_other(cnp.ndarray index not None, int64_t value):
    """How many indices are not a value"""
    integers_in(index, cnp.NPY_INT64, False)
    return capi.batten_count_other(<const int64_t *>cnp.PyArray_DATA(index), cnp.PyArray_SIZE(index), value)
