# Rows of a table, by their numbers.

cdef batten_dtype of_rows(cnp.ndarray table, cnp.ndarray rows, cnp.ndarray index) except *:
    """A table (r, cols), some rows (n, cols), and a number below r for each of them."""
    cdef batten_dtype t = matrix(table)
    if matrix(rows) != t:
        raise TypeError(f"expected arrays of one type, got {show(table)} and {show(rows)}")
    if rows.shape[1] != table.shape[1]:
        raise ValueError(f"expected rows as long as those of {show(table)}, got {show(rows)}")
    integers_in(index, cnp.NPY_INT64, False)
    if index.ndim != 1 or index.shape[0] != rows.shape[0]:
        raise ValueError(f"expected int64[{rows.shape[0]}], a number for each row of {show(rows)}, got {show(index)}")
    cdef const int64_t *numbers = <const int64_t *>cnp.PyArray_DATA(index)
    cdef size_t found = capi.batten_find_outside(numbers, index.shape[0], table.shape[0], NULL)
    if found < <size_t>index.shape[0]:
        raise IndexError(f"expected indices from 0 to {table.shape[0] - 1}, got {numbers[found]}")
    return t


def embedding(cnp.ndarray y not None, cnp.ndarray weight not None, cnp.ndarray index not None):
    """y = the rows of weight that index names"""
    output(y)
    cdef batten_dtype t = of_rows(weight, y, index)
    disjoint(y, weight)
    disjoint(y, index)
    with nogil:
        capi.batten_embedding(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(weight),
                              <const int64_t *>cnp.PyArray_DATA(index), y.shape[0], y.shape[1])
    return y


def embedding_backward(cnp.ndarray dweight not None, cnp.ndarray dy not None, cnp.ndarray index not None,
                       int64_t padding_idx=-1, bint by_frequency=False):
    """dweight = for each row the sum of dy where index names it, divided by how often it does where that is wanted"""
    output(dweight)
    cdef batten_dtype t = of_rows(dweight, dy, index)
    disjoint(dweight, dy)
    disjoint(dweight, index)
    cdef size_t bytes = (<size_t>dweight.shape[0] + <size_t>dy.shape[0]) * sizeof(size_t)
    cdef size_t *scratch = <size_t *>borrow(bytes)
    with nogil:
        capi.batten_embedding_backward(t, cnp.PyArray_DATA(dweight), cnp.PyArray_DATA(dy),
                                       <const int64_t *>cnp.PyArray_DATA(index), scratch, dy.shape[0],
                                       dweight.shape[0], dweight.shape[1], padding_idx, by_frequency)
        capi.batten_release(scratch, bytes)
    return dweight
