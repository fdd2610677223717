# Arrays whose memory comes from the pool (memory.c).

cdef class Block:
    """A piece of the pool, given back when the last array that shows it is gone."""
    cdef void *address
    cdef size_t bytes
    cdef size_t seen                            # when an array in it was seen last, by `in_blocks_of_their_own`

    def __dealloc__(self):
        if self.address is not NULL:
            capi.batten_release(self.address, self.bytes)


cdef cnp.ndarray allocate(int rank, const cnp.npy_intp *shape, const cnp.npy_intp *strides, cnp.dtype dtype):
    """An uninitialised array in the pool.  strides NULL means C order."""
    if dtype.kind not in "fiub" or not dtype.isnative:
        raise TypeError(f"expected a dtype of real numbers in the machine's byte order, got {dtype}")
    cdef size_t bytes = dtype.itemsize
    cdef int i
    for i in range(rank):
        if shape[i] < 0:
            raise ValueError(f"expected sizes of at least 0, got {shape[i]}")
        if shape[i] and bytes > (<size_t>1 << 62) // <size_t>shape[i]:
            raise MemoryError(f"an array of shape {tuple([shape[i] for i in range(rank)])} is beyond any memory")
        bytes *= shape[i]
    cdef Block block = Block.__new__(Block)
    block.address = capi.batten_allocate(bytes)
    block.bytes = bytes
    if block.address is NULL:
        raise MemoryError(f"no memory for {bytes} bytes")
    cdef cnp.ndarray array = PyArray_New(cnp.ndarray, rank, shape, dtype.type_num, strides, block.address, 0,
                                         cnp.NPY_ARRAY_WRITEABLE | cnp.NPY_ARRAY_ALIGNED, NULL)
    Py_INCREF(block)                            # SetBaseObject takes this reference over
    cnp.PyArray_SetBaseObject(array, block)
    return array


def empty(shape, cnp.dtype dtype not None):
    """An uninitialised array in C order."""
    cdef cnp.npy_intp sizes[64]
    cdef int rank = 0
    for size in shape:
        if rank == 64:
            raise ValueError("expected at most 64 axes")
        sizes[rank] = size
        rank += 1
    return allocate(rank, sizes, NULL, dtype)


def empty_like(cnp.ndarray x not None, cnp.dtype dtype=None):
    """An uninitialised array of x's shape whose axes lie in memory in the order of x's.

    An axis that is repeated says nothing of the order, and stays behind those before it.
    """
    if dtype is None:
        dtype = x.dtype
    if cnp.PyArray_IS_C_CONTIGUOUS(x):
        return allocate(x.ndim, x.shape, NULL, dtype)
    cdef cnp.npy_intp strides[64]
    cdef int order[64]
    cdef int axis, place
    cdef cnp.npy_intp stride = dtype.itemsize
    for axis in range(x.ndim):
        place = axis
        while place > 0 and x.strides[order[place - 1]] \
                and llabs(x.strides[axis]) > llabs(x.strides[order[place - 1]]):
            order[place] = order[place - 1]
            place -= 1
        order[place] = axis
    for place in range(x.ndim - 1, -1, -1):
        strides[order[place]] = stride
        stride *= x.shape[order[place]] or 1
    return allocate(x.ndim, x.shape, strides, dtype)


def empty_over(cnp.ndarray y not None, cnp.ndarray x not None):
    """y, whose elements nobody needs any more, if it is an array like x that can be written; else another one."""
    if cnp.PyArray_TYPE(y) == cnp.PyArray_TYPE(x) and cnp.PyArray_ISWRITEABLE(y) and same_layout(y, x):
        return y
    return empty_like(x)


def memory_stats():
    """The pool's figures in bytes and blocks."""
    return capi.batten_memory_stats()


def empty_cache():
    """Gives the pool's unused blocks back to the system."""
    with nogil:
        capi.batten_empty_cache()


cdef void *borrow(size_t bytes) except NULL:
    """Scratch for a kernel; batten_release gives it back."""
    cdef void *block = capi.batten_allocate(bytes)
    if block is NULL:
        raise MemoryError(f"no memory for {bytes} bytes of scratch")
    return block
