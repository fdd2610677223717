# Lists of arrays that one call goes through.

cdef class Lists:
    """Lists of arrays that go together, checked, as kernels take them; and the scratch that these lists are in."""
    cdef batten_list list
    cdef batten_dtype type
    cdef void *scratch
    cdef size_t bytes
    cdef void **pointers                                # what is left of the scratch
    cdef Span *spans
    cdef Span *first

    cdef int begin(self, list models, Py_ssize_t lists) except -1:
        """Makes room for so many lists of arrays, which lie as the models do: of one type and without gaps."""
        cdef Py_ssize_t count = len(models), places = lists * count, k
        cdef size_t *starts
        cdef cnp.ndarray x
        self.bytes = places * (sizeof(Span) + sizeof(void *)) + (count + 1) * sizeof(size_t)
        self.scratch = borrow(self.bytes)
        self.spans = self.first = <Span *>self.scratch
        self.pointers = <void **>(self.spans + places)
        starts = <size_t *>(self.pointers + places)
        starts[0] = 0
        for k in range(count):
            x = member(models, k)
            if k == 0:
                self.type = dtype_of(x)
            if dtype_of(x) != self.type:
                raise TypeError(f"expected arrays of one type, got {show(x)} beside {show(models[0])}")
            dense(x)
            starts[k + 1] = starts[k] + cnp.PyArray_SIZE(x)
        self.list.count, self.list.starts = count, starts
        return 0

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

    cdef int end(self) except -1:
        """All are taken: what is written must be apart from all else."""
        return separate(self.first, self.spans - self.first)

    cdef size_t stretches(self):
        """How many pieces of arrays a kernel may have a number for."""
        return self.list.starts[self.list.count] // capi.BATTEN_BLOCK + 1 + self.list.count

    cdef int check_sums(self, cnp.ndarray sums, list members) except -1:
        """A double for each of the arrays, apart from all of them."""
        if output(sums) != capi.BATTEN_F64 or sums.ndim != 1 or <size_t>sums.shape[0] != self.list.count:
            raise ValueError(f"expected float64[{self.list.count}] for the sums, got {show(sums)}")
        contiguous(sums)
        for x in members:
            disjoint(sums, x)
        return 0

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


def power_sums(cnp.ndarray sums not None, list arrays not None, double p):
    """sums[k], float64 = the sum of |x|^p over the k-th array; for p = inf the greatest |x| or 0, for -inf the least"""
    cdef Lists lists = Lists()
    cdef void **pointers
    cdef double *scratch
    cdef size_t bytes
    lists.begin(arrays, 1)
    pointers = lists.take(arrays, arrays, False)
    lists.check_sums(sums, arrays)
    bytes = lists.stretches() * sizeof(double)
    scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_power_sums(lists.type, <double *>cnp.PyArray_DATA(sums), <const void **>pointers, &lists.list, p,
                               scratch)
        capi.batten_release(scratch, bytes)
    return sums


def dot_all(cnp.ndarray sums not None, list arrays not None, list others not None):
    """sums[k], float64 = the sum of the products of the elements of the k-th array and the k-th other"""
    cdef Lists lists = Lists()
    cdef const void **x
    cdef const void **y
    cdef double *scratch
    cdef size_t bytes
    lists.begin(arrays, 2)
    x = <const void **>lists.take(arrays, arrays, False)
    y = <const void **>lists.take(others, arrays, False)
    lists.check_sums(sums, arrays)
    lists.check_sums(sums, others)
    bytes = lists.stretches() * sizeof(double)
    scratch = <double *>borrow(bytes)
    with nogil:
        capi.batten_dot_all(lists.type, <double *>cnp.PyArray_DATA(sums), x, y, &lists.list, scratch)
        capi.batten_release(scratch, bytes)
    return sums


def scale_all(list arrays not None, double factor):
    """Multiplies all arrays by a factor."""
    cdef Lists lists = Lists()
    cdef void **pointers
    lists.begin(arrays, 1)
    pointers = lists.take(arrays, arrays, True)
    lists.end()
    with nogil:
        capi.batten_scale_all(lists.type, pointers, &lists.list, factor)
    return arrays


def lerp_all(list arrays not None, list others not None, double weight):
    """Moves all arrays towards others by a part of their distance."""
    cdef Lists lists = Lists()
    cdef void **written
    cdef const void **read
    lists.begin(arrays, 2)
    written = lists.take(arrays, arrays, True)
    read = <const void **>lists.take(others, arrays, False)
    lists.end()
    with nogil:
        capi.batten_lerp_all(lists.type, written, read, &lists.list, weight)
    return arrays
