# Averages of weights.

def lerp_list(list y not None, list x not None, double weight):
    """y += weight (x - y) for all arrays of two lists"""
    cdef Lists lists = Lists()
    cdef void **averages
    cdef const void **values
    lists.begin(y, 2)
    averages = lists.take(y, y, True)
    values = <const void **>lists.take(x, y, False)
    lists.end()
    with nogil:
        capi.batten_lerp_list(lists.type, averages, values, &lists.list, weight)
    return y
