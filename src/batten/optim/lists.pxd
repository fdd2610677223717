# What lists.py meets in C once it is compiled.

cimport cython
from batten.tape cimport Variable

@cython.locals(parameter=Variable, gradient=Variable, batch=list, arrays=list, grads=list)
cpdef list gather(object params)

cpdef list states_of(object state, list batch)

@cython.locals(tensor=Variable)
cpdef list arrays_of(list states, str name)

@cython.locals(parameter=Variable, version=list)
cpdef object settle(list batch, list arrays)
