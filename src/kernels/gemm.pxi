# Matrix products.

cdef dict ACTIVATIONS = {
    None: capi.BATTEN_IDENTITY,
    "relu": capi.BATTEN_RELU,
    "sigmoid": capi.BATTEN_SIGMOID,
    "tanh": capi.BATTEN_TANH,
}


cdef struct Matrices:
    size_t batch, rows, columns
    ptrdiff_t batch_stride, row_stride, column_stride


cdef Matrices matrices(cnp.ndarray x) except *:
    """The sizes of a matrix or batch of matrices, and its strides in elements."""
    cdef Matrices result
    cdef cnp.npy_intp itemsize = cnp.PyArray_ITEMSIZE(x)
    cdef int rank = x.ndim
    if rank != 2 and rank != 3:
        raise ValueError(f"expected a matrix or a batch of matrices, got {show(x)}")
    result.batch = 1 if rank == 2 else x.shape[0]
    result.batch_stride = 0 if result.batch == 1 else x.strides[0] // itemsize
    result.rows = x.shape[rank - 2]
    result.row_stride = x.strides[rank - 2] // itemsize
    result.columns = x.shape[rank - 1]
    result.column_stride = x.strides[rank - 1] // itemsize
    return result


cdef bint rows_apart(Matrices *c):
    """Each row in one piece, and no two of them overlapping."""
    cdef size_t row = llabs(c.row_stride), batch = llabs(c.batch_stride), n = c.columns
    if c.batch == 0 or c.rows == 0 or n == 0:
        return True
    if n > 1 and c.column_stride != 1:
        return False
    if c.rows == 1:
        return c.batch == 1 or batch >= n
    if c.batch == 1:
        return row >= n
    # Either the matrices lie one behind the other, or their rows alternate.
    return row >= n and batch >= (c.rows - 1) * row + n or batch >= n and row >= (c.batch - 1) * batch + n


cdef batten_dtype product_of(batten_product *p, cnp.ndarray c, cnp.ndarray a, cnp.ndarray b,
                             cnp.ndarray bias) except *:
    """Puts down how the operands of a product lie, when they fit, and returns their type."""
    cdef batten_dtype t = output(c)
    cdef Matrices of_c = matrices(c), of_a = matrices(a), of_b = matrices(b)
    if dtype_of(a) != t or dtype_of(b) != t or bias is not None and dtype_of(bias) != t:
        raise TypeError(f"expected operands of the output's type, got {show(c)} from {show(a)} and {show(b)}"
                        + ("" if bias is None else f" and {show(bias)}"))
    if (of_a.columns != of_b.rows or of_c.rows != of_a.rows or of_c.columns != of_b.columns
            or of_a.batch != 1 and of_a.batch != of_c.batch or of_b.batch != 1 and of_b.batch != of_c.batch
            or a.ndim > c.ndim or b.ndim > c.ndim):
        raise ValueError(f"expected an output (m, n) of (m, k) and (k, n), got {show(c)} of {show(a)} and {show(b)}")
    if not rows_apart(&of_c):
        raise ValueError(f"expected an output whose rows are contiguous and apart, got {show(c)} with strides "
                         f"of {list((<object>c).strides)} bytes")
    if bias is not None:
        if bias.ndim != 1 or <size_t>bias.shape[0] != of_c.columns:
            raise ValueError(f"expected a bias of shape [{of_c.columns}], got {show(bias)}")
        disjoint(c, bias)
    disjoint(c, a)
    disjoint(c, b)
    p.batch, p.m, p.n, p.k = of_c.batch, of_c.rows, of_c.columns, of_a.columns
    p.c_batch, p.c_row = of_c.batch_stride, of_c.row_stride
    p.a_batch, p.a_row, p.a_col = of_a.batch_stride, of_a.row_stride, of_a.column_stride
    p.b_batch, p.b_row, p.b_col = of_b.batch_stride, of_b.row_stride, of_b.column_stride
    return t


def gemm(cnp.ndarray c not None, cnp.ndarray a not None, cnp.ndarray b not None, cnp.ndarray bias=None,
         str activation=None, double alpha=1, double beta=0):
    """c = act(alpha a b + bias + beta c), for matrices (m, k) and (k, n) or batches of them.

    a and b may have any strides; one without a batch axis, or with one of length 1,
    is used for every c.  c's rows are each in one piece; with beta = 0 it is not read.
    """
    cdef batten_product p
    cdef batten_dtype t = product_of(&p, c, a, b, bias)
    if activation not in ACTIVATIONS:
        raise ValueError(f"expected no activation, relu, sigmoid or tanh, got {activation!r}")
    if bias is not None and not cnp.PyArray_IS_C_CONTIGUOUS(bias):
        bias = bias.copy()
    p.alpha, p.beta, p.activation = alpha, beta, ACTIVATIONS[activation]

    cdef void *scratch = NULL
    cdef const void *offset = NULL if bias is None else cnp.PyArray_DATA(bias)
    cdef size_t bytes = capi.batten_product_plan(&p, t)
    if bytes:
        scratch = borrow(bytes)
    with nogil:
        capi.batten_gemm(t, cnp.PyArray_DATA(c), cnp.PyArray_DATA(a), cnp.PyArray_DATA(b), offset, scratch, &p)
    if bytes:
        capi.batten_release(scratch, bytes)
    return c


def gemm_squares(cnp.ndarray c not None, cnp.ndarray squares not None, cnp.ndarray a not None,
                 cnp.ndarray b not None, cnp.ndarray bias=None, double alpha=1):
    """c = alpha a b + bias and squares = (a * a) (b * b), for matrices (m, k) and (k, n) of any strides."""
    cdef batten_product p
    cdef batten_dtype t = product_of(&p, squares, a, b, None)
    product_of(&p, c, a, b, bias)
    alike(squares, c)
    disjoint(squares, c)
    if c.ndim != 2:
        raise ValueError(f"expected matrices, got {show(c)}")
    if bias is not None and not cnp.PyArray_IS_C_CONTIGUOUS(bias):
        bias = bias.copy()
    if bias is not None:
        disjoint(squares, bias)
    p.alpha, p.beta, p.activation = alpha, 0, capi.BATTEN_IDENTITY

    cdef const void *offset = NULL if bias is None else cnp.PyArray_DATA(bias)
    cdef size_t bytes = 2 * capi.batten_product_plan(&p, t)
    cdef void *scratch = borrow(bytes)
    with nogil:
        capi.batten_gemm_squares(t, cnp.PyArray_DATA(c), cnp.PyArray_DATA(squares), cnp.PyArray_DATA(a),
                                 cnp.PyArray_DATA(b), offset, scratch, &p)
        capi.batten_release(scratch, bytes)
    return c, squares
