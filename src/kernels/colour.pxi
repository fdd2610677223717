# Colours of images, and images made of two.  Images are of bytes or of floats, in C order with their channels last.

cdef bint of_bytes(cnp.ndarray x) noexcept nogil:
    return cnp.PyArray_TYPE(x) == cnp.NPY_UINT8


cdef batten_dtype image(cnp.ndarray x) except *:
    """The element type in which an image is computed."""
    cdef batten_dtype t = reals_or_bytes(x)
    contiguous(x)
    return t


cdef batten_dtype image_over(cnp.ndarray y, cnp.ndarray x) except *:
    """The same of an image and a result of its type and shape, which may be written over it."""
    cdef batten_dtype t = image(x)
    if not cnp.PyArray_ISWRITEABLE(y):
        raise ValueError(f"expected an output that can be written, got a read-only {show(y)}")
    image(y)
    alike(y, x)
    apart(y, x)
    return t


cdef int of_shape(cnp.ndarray x, cnp.npy_intp rows, cnp.npy_intp columns) except -1:
    if x.ndim != 2 or x.shape[0] != rows or x.shape[1] != columns:
        raise ValueError(f"expected an array [{rows}, {columns}], got {show(x)}")
    return 0


cdef int of_doubles(cnp.ndarray x, cnp.npy_intp rows, cnp.npy_intp columns) except -1:
    """An array (rows, columns) of float64."""
    if dtype_of(x) != capi.BATTEN_F64:
        raise TypeError(f"expected an array of float64, got {show(x)}")
    contiguous(x)
    return of_shape(x, rows, columns)


cdef size_t period_of(cnp.ndarray shift, cnp.ndarray scale, cnp.ndarray y) except 0:
    """After how many elements of y, shift and scale begin again."""
    cdef batten_dtype t = dtype_of(y)
    cdef cnp.npy_intp n = shift.shape[0] if shift.ndim == 1 else 0
    if n < 1:
        raise ValueError(f"expected a shift (n,) of at least one element, got {show(shift)}")
    if vector(shift, n) != t or vector(scale, n) != t:
        raise TypeError(f"expected shift and scale of the output's type, got {show(shift)} and {show(scale)} for "
                        f"{show(y)}")
    disjoint(y, shift)
    disjoint(y, scale)
    return n


def standardize(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray shift not None,
                cnp.ndarray scale not None):
    """y = (x - shift) scale in floats, x of y's type, or of uint8 and divided by 255 first

    shift and scale (n,) begin again every n elements.
    """
    cdef batten_dtype t = output(y)
    contiguous(y)
    if image(x) != t and not of_bytes(x):
        raise TypeError(f"expected an input of uint8 or of the output's type, got {show(x)} for {show(y)}")
    if not cnp.PyArray_SAMESHAPE(y, x):
        raise ValueError(f"expected arrays of one shape, got {show(y)} and {show(x)}")
    cdef size_t n = period_of(shift, scale, y)
    if of_bytes(x):
        disjoint(y, x)
    else:
        apart(y, x)
    with nogil:
        capi.batten_standardize(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), of_bytes(x), cnp.PyArray_DATA(shift),
                                cnp.PyArray_DATA(scale), cnp.PyArray_SIZE(y), n)
    return y


def to_bytes(cnp.ndarray y not None, cnp.ndarray x not None, double scale):
    """y = scale x in uint8: cut off to a whole number from 0 to 255, and 0 for NaN"""
    cdef batten_dtype t = dtype_of(x)
    contiguous(x)
    integers_in(y, cnp.NPY_UINT8, True)
    if not cnp.PyArray_SAMESHAPE(y, x):
        raise ValueError(f"expected arrays of one shape, got {show(y)} and {show(x)}")
    disjoint(y, x)
    with nogil:
        capi.batten_to_bytes(t, <uint8_t *>cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), cnp.PyArray_SIZE(y), scale)
    return y


cdef int of_pixels(cnp.ndarray x) except -1:
    if x.ndim != 3:
        raise ValueError(f"expected images (images, pixels, channels), got {show(x)}")
    return 0


def add_colour(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray colour not None):
    """y = x + colour, x (images, pixels, 3) and colour (images, 3) in float64; bytes are rounded to the nearest"""
    cdef batten_dtype t = image_over(y, x)
    of_pixels(x)
    if x.shape[2] != 3:
        raise ValueError(f"expected images of three channels, got {show(x)}")
    of_doubles(colour, x.shape[0], 3)
    disjoint(y, colour)
    with nogil:
        capi.batten_add_colour(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), of_bytes(x),
                               <const double *>cnp.PyArray_DATA(colour), x.shape[0], x.shape[1])
    return y


def jitter(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray steps not None, cnp.ndarray factors not None):
    """y = x (images, pixels, 1 or 3) after the steps (images, n) of each image, uint8, by factors (images, n), float64

    A step is 0 for brightness, 1 for contrast, 2 for saturation, whose factors are at least 0, or 3 for hue, whose
    factor is at most a half, up or down.
    """
    cdef batten_dtype t = image_over(y, x)
    of_pixels(x)
    if x.shape[2] != 1 and x.shape[2] != 3:
        raise ValueError(f"expected images of one channel or three, got {show(x)}")
    cdef cnp.npy_intp n = steps.shape[1] if steps.ndim == 2 else 0
    integers_in(steps, cnp.NPY_UINT8, False)
    of_shape(steps, x.shape[0], n)
    of_doubles(factors, x.shape[0], n)
    disjoint(y, steps)
    disjoint(y, factors)
    if not (np.all(steps <= 3) and np.all(np.where(steps < 3, (factors >= 0) & (factors < np.inf),
                                                   np.abs(factors) <= 0.5))):
        raise ValueError("expected steps up to 3, with factors from 0 on, or from -0.5 to 0.5 for 3")
    with nogil:
        capi.batten_jitter(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), of_bytes(x),
                           <const uint8_t *>cnp.PyArray_DATA(steps), <const double *>cnp.PyArray_DATA(factors),
                           x.shape[0], x.shape[1], x.shape[2], n)
    return y


def mix(cnp.ndarray y not None, cnp.ndarray x not None, double weight):
    """y[i] = weight x[i] + (1 - weight) x[i - 1], and x[0] goes with the last"""
    cdef batten_dtype t = output(y)
    dtype_of(x)
    contiguous(y)
    alike(y, x)
    disjoint(y, x)
    if x.ndim < 1:
        raise ValueError(f"expected a batch of images, got {show(x)}")
    cdef size_t size = cnp.PyArray_SIZE(x) // x.shape[0] if x.shape[0] else 0
    with nogil:
        capi.batten_mix(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), x.shape[0], size, weight)
    return y


def paste(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray v not None, cnp.ndarray boxes not None,
          size_t turn=0):
    """y[i] = v[i - turn] within the box of image i, x[i] around it, for images (images, rows, columns, channels)

    boxes (images, 4), int64: the first row and column in it, and the first that are not.  v is like x, or has one image
    for all, or one row for all.  y may be x.
    """
    image_over(y, x)
    image(v)
    if x.ndim != 4 or v.ndim != 4 or cnp.PyArray_TYPE(v) != cnp.PyArray_TYPE(x) \
            or v.shape[0] != x.shape[0] and v.shape[0] != 1 or v.shape[1] != x.shape[1] and v.shape[1] != 1 \
            or v.shape[2] != x.shape[2] or v.shape[3] != x.shape[3]:
        raise ValueError(f"expected images (images, rows, columns, channels), and such to be put in, of as many images "
                         f"or one and as many rows or one, got {show(x)} and {show(v)}")
    integers_in(boxes, cnp.NPY_INT64, False)
    of_shape(boxes, x.shape[0], 4)
    disjoint(y, v)
    disjoint(y, boxes)
    if not np.all((boxes[:, :2] >= 0) & (boxes[:, :2] <= boxes[:, 2:]) & (boxes[:, 2:] <= [x.shape[1], x.shape[2]])):
        raise ValueError(f"expected boxes (top, left, bottom, right) within {show(x)}")
    cdef size_t pixel = x.shape[3] * cnp.PyArray_ITEMSIZE(x)
    cdef size_t row = x.shape[2] * pixel
    cdef size_t v_image = v.shape[1] * row if v.shape[0] > 1 else 0
    cdef size_t v_row = row if v.shape[1] > 1 else 0
    cdef size_t images = x.shape[0]
    cdef size_t back = turn % images if images else 0
    with nogil:
        capi.batten_paste(capi.BATTEN_F32, <uint8_t *>cnp.PyArray_DATA(y), <const uint8_t *>cnp.PyArray_DATA(x),
                          <const uint8_t *>cnp.PyArray_DATA(v), <const int64_t *>cnp.PyArray_DATA(boxes), images,
                          x.shape[1], row, pixel, back, v_image, v_row)
    return y


def noisy_image(cnp.ndarray y not None, cnp.ndarray x not None, double mean, double std, bint clip, uint64_t key,
                uint64_t call):
    """y = x + normal numbers of that mean and standard deviation, in parts of the brightest value there is

    clip: cut off to what there is between black and white; bytes lose what is above them otherwise.
    """
    cdef batten_dtype t = image_over(y, x)
    a_std(std)
    with nogil:
        capi.batten_noisy_image(t, cnp.PyArray_DATA(y), cnp.PyArray_DATA(x), of_bytes(x), cnp.PyArray_SIZE(x), mean,
                                std, clip, key, call)
    return y
