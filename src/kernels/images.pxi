# Images (count, height, width, channels) in C order that become others: of bytes, or of reals.

BORDERS = {"constant": capi.BATTEN_FILL, "edge": capi.BATTEN_EDGE, "reflect": capi.BATTEN_REFLECT,
           "symmetric": capi.BATTEN_SYMMETRIC}
SAMPLINGS = {"nearest": capi.BATTEN_NEAREST, "bilinear": capi.BATTEN_BILINEAR, "antialias": capi.BATTEN_ANTIALIAS}
MIRRORED, UPSIDE_DOWN = capi.BATTEN_MIRRORED, capi.BATTEN_UPSIDE_DOWN


cdef batten_dtype reals_or_bytes(cnp.ndarray x) except *:
    """The variant of a kernel for an array of reals; for one of bytes, which has a kernel of its own, float's."""
    if cnp.PyArray_TYPE(x) == cnp.NPY_UINT8:
        return capi.BATTEN_F32
    return dtype_of(x)


cdef int same_type(cnp.ndarray y, cnp.ndarray x) except -1:
    if cnp.PyArray_TYPE(y) != cnp.PyArray_TYPE(x):
        raise TypeError(f"expected arrays of one type, got {show(y)} and {show(x)}")
    return 0


cdef batten_dtype becomes(batten_images *images, cnp.ndarray y, cnp.ndarray x) except *:
    """What images become, pixels counted in channels."""
    cdef batten_dtype t = reals_or_bytes(x)
    reals_or_bytes(y)
    if not cnp.PyArray_ISWRITEABLE(y):
        raise ValueError(f"expected an output that can be written, got a read-only {show(y)}")
    if y.ndim != 4 or x.ndim != 4 or y.shape[0] != x.shape[0] or y.shape[3] != x.shape[3]:
        raise ValueError(f"expected as many images, with as many channels, got {show(y)} and {show(x)}")
    contiguous(y)
    contiguous(x)
    disjoint(y, x)
    images.count, images.pixel = x.shape[0], x.shape[3]
    images.size[0], images.size[1] = x.shape[1], x.shape[2]
    images.out[0], images.out[1] = y.shape[1], y.shape[2]
    return t


cdef int of_type(cnp.ndarray x, int type) except -1:
    """An array of one type, in C order."""
    if cnp.PyArray_TYPE(x) != type or not cnp.PyArray_ISBEHAVED_RO(x):
        raise TypeError(f"expected an aligned array of {cnp.PyArray_DescrFromType(type)}, got {show(x)}")
    return contiguous(x)


cdef int of_each_image(cnp.ndarray numbers, int type, cnp.ndarray y, cnp.npy_intp columns) except -1:
    """Numbers (count, columns), or (count) for none."""
    of_type(numbers, type)
    if numbers.ndim != (2 if columns else 1) or numbers.shape[0] != y.shape[0] \
            or columns and numbers.shape[1] != columns:
        raise ValueError(f"expected {cnp.PyArray_DescrFromType(type)}{[y.shape[0], columns][:2 if columns else 1]} "
                         f"for {show(y)}, got {show(numbers)}")
    return disjoint(y, numbers)


cdef int a_pixel(cnp.ndarray fill, int type, cnp.ndarray y) except -1:
    """One number for each channel."""
    of_type(fill, type)
    if fill.ndim != 1 or fill.shape[0] != y.shape[3]:
        raise ValueError(f"expected a fill for each channel of {show(y)}, got {show(fill)}")
    return disjoint(y, fill)


cdef capi.batten_border cut(batten_images *images, cnp.ndarray y, cnp.ndarray x, cnp.ndarray corners,
                            cnp.ndarray turns, cnp.ndarray fill, str border) except *:
    """What is beyond images that y is cut out of."""
    if border not in BORDERS:
        raise ValueError(f"expected a border constant, edge, reflect or symmetric, got {border!r}")
    cdef capi.batten_border beyond = BORDERS[border]
    if beyond != capi.BATTEN_FILL and not (x.shape[1] and x.shape[2]):
        raise ValueError(f"expected images with pixels for the border {border}, got {show(x)}")
    of_each_image(corners, cnp.NPY_INT64, y, 2)
    of_each_image(turns, cnp.NPY_UINT8, y, 0)
    a_pixel(fill, cnp.PyArray_TYPE(x), y)
    images.pixel *= cnp.PyArray_ITEMSIZE(x)
    return beyond


def crop(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray corners not None, cnp.ndarray turns not None,
         cnp.ndarray fill not None, str border="constant"):
    """y[n] = what of x[n] begins at corners[n], top and left, turned by turns[n]: the sum of MIRRORED and UPSIDE_DOWN

    Beyond the image is the fill, a pixel; or by another border what is at the edge, in reflection, or symmetric.
    """
    cdef batten_images images
    same_type(y, x)
    becomes(&images, y, x)
    cdef capi.batten_border beyond = cut(&images, y, x, corners, turns, fill, border)
    with nogil:
        capi.batten_crop(capi.BATTEN_F32, <uint8_t *>cnp.PyArray_DATA(y), <const uint8_t *>cnp.PyArray_DATA(x),
                         <const int64_t *>cnp.PyArray_DATA(corners), <const uint8_t *>cnp.PyArray_DATA(turns),
                         <const uint8_t *>cnp.PyArray_DATA(fill), &images, beyond)
    return y


def crop_standardize(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray corners not None,
                     cnp.ndarray turns not None, cnp.ndarray fill not None, cnp.ndarray shift not None,
                     cnp.ndarray scale not None, str border="constant"):
    """y = (what crop makes of bytes / 255 - shift) scale, both as by standardize"""
    cdef batten_images images
    cdef batten_dtype t = output(y)
    of_type(x, cnp.NPY_UINT8)
    becomes(&images, y, x)
    cdef capi.batten_border beyond = cut(&images, y, x, corners, turns, fill, border)
    cdef size_t period = period_of(shift, scale, y)
    cdef int team = capi.batten_team(y.size * 2)
    cdef size_t bytes = team * capi.BATTEN_ROWS * images.out[1] * images.pixel + 1
    cdef uint8_t *room = <uint8_t *>borrow(bytes)
    with nogil:
        capi.batten_crop_standardize(t, cnp.PyArray_DATA(y), room, <const uint8_t *>cnp.PyArray_DATA(x),
                                     <const int64_t *>cnp.PyArray_DATA(corners),
                                     <const uint8_t *>cnp.PyArray_DATA(turns),
                                     <const uint8_t *>cnp.PyArray_DATA(fill), cnp.PyArray_DATA(shift),
                                     cnp.PyArray_DATA(scale), period, &images, beyond, team)
        capi.batten_release(room, bytes)
    return y


def interleave(cnp.ndarray y not None, cnp.ndarray x not None):
    """y (images, pixels, channels) = x (images, channels, pixels), of elements of 1, 4 or 8 bytes"""
    same_type(y, x)
    cdef size_t size = cnp.PyArray_ITEMSIZE(x)
    if size not in (1, 4, 8) or x.dtype.hasobject:
        raise TypeError(f"expected elements of 1, 4 or 8 bytes, got {show(x)}")
    if not cnp.PyArray_ISWRITEABLE(y):
        raise ValueError(f"expected an output that can be written, got a read-only {show(y)}")
    if y.ndim != 3 or x.ndim != 3 or y.shape[0] != x.shape[0] or y.shape[1] != x.shape[2] or y.shape[2] != x.shape[1]:
        raise ValueError(f"expected (images, pixels, channels) and (images, channels, pixels), got {show(y)} and "
                         f"{show(x)}")
    of_type(y, cnp.PyArray_TYPE(y))
    of_type(x, cnp.PyArray_TYPE(x))
    disjoint(y, x)
    with nogil:
        capi.batten_interleave(capi.BATTEN_F32, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), x.shape[0], x.shape[1],
                               x.shape[2], size)
    return y


def affine_nearest(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray matrices not None,
                   cnp.ndarray fill not None):
    """y[n][i, j] = the pixel of x[n] nearest to row d j + e i + f, column a j + b i + c; (a b c d e f): matrices[n]"""
    cdef batten_images images
    same_type(y, x)
    becomes(&images, y, x)
    of_each_image(matrices, cnp.NPY_FLOAT64, y, 6)
    a_pixel(fill, cnp.PyArray_TYPE(y), y)
    images.pixel *= cnp.PyArray_ITEMSIZE(x)
    with nogil:
        capi.batten_affine_nearest(capi.BATTEN_F32, <uint8_t *>cnp.PyArray_DATA(y),
                                   <const uint8_t *>cnp.PyArray_DATA(x), <const double *>cnp.PyArray_DATA(matrices),
                                   <const uint8_t *>cnp.PyArray_DATA(fill), &images)
    return y


def affine_bilinear(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray matrices not None,
                    cnp.ndarray fill not None):
    """The same, as the mean of the four pixels around; of bytes, with a fill in float32 from 0 to 255."""
    cdef batten_images images
    cdef batten_dtype t = becomes(&images, y, x)
    cdef bint bytes = cnp.PyArray_TYPE(x) == cnp.NPY_UINT8
    cdef const double *places
    same_type(y, x)
    of_each_image(matrices, cnp.NPY_FLOAT64, y, 6)
    a_pixel(fill, cnp.NPY_FLOAT32 if bytes else cnp.PyArray_TYPE(y), y)
    if bytes and not np.all((fill >= 0) & (fill <= 255)):
        raise ValueError(f"expected a fill from 0 to 255, got {fill.tolist()}")
    places = <const double *>cnp.PyArray_DATA(matrices)
    with nogil:
        if bytes:
            capi.batten_affine_bilinear_bytes(t, <uint8_t *>cnp.PyArray_DATA(y), <const uint8_t *>cnp.PyArray_DATA(x),
                                              places, cnp.PyArray_DATA(fill), &images)
        else:
            capi.batten_affine_bilinear(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), places, cnp.PyArray_DATA(fill),
                                        &images)
    return y


cdef int within(cnp.ndarray spans, cnp.npy_intp column, int64_t n) except -1:
    """Parts of n pixels, of one at least: where each begins, in a column, and how many it has, in the next."""
    cdef const int64_t *span = <const int64_t *>cnp.PyArray_DATA(spans) + column
    cdef cnp.npy_intp i
    for i in range(spans.shape[0]):
        if not (0 <= span[4 * i] < n and 0 < span[4 * i + 1] <= n - span[4 * i]):
            raise ValueError(f"expected parts of {n} pixels, got {span[4 * i + 1]} from {span[4 * i]} on")
    return 0


def resize(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray spans not None, str how="bilinear"):
    """y[n] = a part of x[n] in another size: spans[n] has its first row, how many it has, and the same of columns

    One row of spans is of all images.  How: nearest, bilinear, or antialias.
    """
    cdef capi.batten_resize_plan plan
    cdef batten_dtype t = becomes(&plan.images, y, x)
    cdef bint bytes = cnp.PyArray_TYPE(x) == cnp.NPY_UINT8
    cdef size_t room
    cdef void *scratch
    same_type(y, x)
    if how not in SAMPLINGS:
        raise ValueError(f"expected nearest, bilinear or antialias, got {how!r}")
    plan.how = SAMPLINGS[how]
    of_type(spans, cnp.NPY_INT64)
    if spans.ndim != 2 or spans.shape[1] != 4 or spans.shape[0] != 1 and spans.shape[0] != x.shape[0]:
        raise ValueError(f"expected int64[{x.shape[0]}, 4] or int64[1, 4] for {show(x)}, got {show(spans)}")
    disjoint(y, spans)
    within(spans, 0, x.shape[1])
    within(spans, 2, x.shape[2])
    plan.parts = spans.shape[0]
    t = capi.BATTEN_F64 if bytes else t              # in which the sums of bytes are exact
    room = capi.batten_plan_resize(&plan, t)
    scratch = borrow(room)
    with nogil:
        capi.batten_resize(t, cnp.PyArray_DATA(y), scratch, cnp.PyArray_DATA(x), bytes,
                           <const int64_t *>cnp.PyArray_DATA(spans), &plan)
        capi.batten_release(scratch, room)
    return y
