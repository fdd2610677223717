# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True
"""The kernels, for NumPy arrays.

Each wrapper checks its arrays, lets go of the interpreter lock and calls C; there
is no arithmetic here.  The caller brings the output (from `empty`, `empty_like`)
as the first argument and gets it back, so that calls nest.  No pointer is taken
of an array before one of the checks below has looked at it.
"""

cimport capi
cimport cython
cimport numpy as cnp
from capi cimport batten_dtype, batten_images, batten_list, batten_loop, batten_product, batten_window
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport llabs, qsort  # the module has kernels named abs, max, min, pow and sum

import os

import numpy as np

cdef extern from "numpy/arrayobject.h":
    # NumPy's own declaration has no way to say that the last argument is NULL.
    object PyArray_New(type subtype, int rank, const cnp.npy_intp *shape, int type, const cnp.npy_intp *strides,
                       void *data, int itemsize, int flags, PyObject *base)

cnp.import_array()


include "memory.pxi"
include "checks.pxi"
include "elementwise.pxi"
include "gemm.pxi"
include "convolution.pxi"
include "reduction.pxi"
include "softmax.pxi"
include "loss.pxi"
include "embedding.pxi"
include "normalization.pxi"
include "lp_norm.pxi"
include "pooling.pxi"
include "response_norm.pxi"
include "interpolation.pxi"
include "images.pxi"
include "lists.pxi"
include "optimizer.pxi"
include "penalty.pxi"
include "projection.pxi"
include "random.pxi"
include "colour.pxi"
include "dropout.pxi"
include "drop_connect.pxi"
include "probe.pxi"


def set_isa(str name=None):
    """Chooses the instruction set of all kernels: base, avx2 or avx512; None is the widest that runs here."""
    cdef char message[160]
    cdef bytes encoded = (name or "").encode()
    cdef const char *wanted = NULL
    if name:
        wanted = encoded
    if capi.batten_set_isa(wanted, message, sizeof(message)):
        raise ValueError(message.decode())


def isa():
    return capi.batten_isa().decode()


cdef list strings(const char *(*ith)(size_t) noexcept nogil):
    cdef size_t i = 0
    found = []
    while ith(i) is not NULL:
        found.append(ith(i).decode())
        i += 1
    return found


def isas():
    """The instruction sets that this processor runs, lowest first."""
    return strings(capi.batten_isas)


def names():
    """Every kernel in kernels.def."""
    return strings(capi.batten_kernel_name)


def openmp():
    """The OpenMP runtime's name, or None for a build without it."""
    return None if capi.batten_openmp() is NULL else capi.batten_openmp().decode()


def processors(root=""):
    """What bounds how many processors this process may use; a quota of 0 is none.  root has /proc and /sys."""
    return capi.batten_count_processors(os.fsencode(root))


def get_num_threads():
    """How many threads kernels use at most."""
    return capi.batten_threads()


def set_num_threads(int n):
    """Lets kernels use up to n threads; results are the same, to the bit, for any number."""
    if n < 1:
        raise ValueError(f"expected at least one thread, got {n}")
    capi.batten_set_threads(n)


def team(size_t work):
    """How many threads a kernel with so many elementary operations would get now."""
    return capi.batten_team(work)


def stay_alone():
    """Kernels that this thread calls from now on wake no others; their results are the same."""
    capi.batten_stay_alone()


try:
    set_isa(os.environ.get("BATTEN_ISA"))
except ValueError as error:
    raise ImportError(f"BATTEN_ISA: {error}") from None
