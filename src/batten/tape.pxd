# What tape.py keeps in C once it is compiled.

cdef class Variable:
    cdef object __weakref__
    cdef public object array, creator, gradient, version
    cdef public bint tracked
    cdef public Py_ssize_t index

cdef class Kind:
    cdef public tuple kept, watched
    cdef public bint adds, view

cdef class Node:
    cdef public Kind kind
    cdef public object edges, needs_input_grad, versions
    cdef public Py_ssize_t outputs, rebases, sequence
    cdef public bint spare

cdef class Gradients:
    cdef public list heap
    cdef public dict pending, leaves
    cdef object add(self, object node, object index, object array, object own)
    cdef object own(self, object edge)

cpdef object wrap(object array)
cdef object record(object operation, tuple inputs, tuple outputs)
cdef object check(object operation)
cdef object free(object operation)
cdef bint alone(object array, tuple arrived, tuple results, bint spare)
