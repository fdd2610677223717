# What tape.py keeps in C once it is compiled.

cdef class Variable:
    cdef object __weakref__
    cdef public object array, creator, gradient, version
    cdef public bint tracked
    cdef public Py_ssize_t index

cdef class Node:
    cdef public object edges, needs_input_grad, versions
    cdef public Py_ssize_t outputs, rebases, sequence

cdef class Gradients:
    cdef public list heap
    cdef public dict pending, leaves

cpdef object wrap(object array)
cpdef bint alone(object array, object arrived, object results)
