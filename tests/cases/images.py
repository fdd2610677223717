"""Images that become others, beside NumPy's pad and sums over pixels."""

from __future__ import annotations

import math

import numpy as np

from batten import _kernels as kernels

from . import Case

# Images, their height and width, those of the results, channels.
SHAPES = {
    "empty": (0, (3, 4), (2, 5), 3),
    "one": (1, (1, 1), (1, 1), 1),
    "odd": (7, (5, 9), (8, 3), 3),
    "large": (11, (37, 29), (31, 41), 4),
}


def some_images(rng, dtype, size):
    count, before, after, channels = SHAPES[size]
    shape = (count, *before, channels)
    x = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 256, shape)
    return x.astype(dtype), np.zeros((count, *after, channels), dtype)


def crop(rng, dtype, size):
    x, y = some_images(rng, dtype, size)
    border = {"odd": "reflect", "large": "symmetric"}.get(size, "constant")
    far = 2 * max(x.shape[1:3])
    corners = rng.integers(-far, far, (len(x), 2))
    turns = rng.integers(0, 4, len(x), np.uint8)
    fill = some_images(rng, dtype, "one")[0].repeat(x.shape[3], 3)[0, 0, 0]
    return Case(kernels.crop, [y, x, corners, turns, fill, border], [cropped(y, x, corners, turns, fill, border)])


def cropped(y, x, corners, turns, fill, border):
    height, width = y.shape[1:3]
    expected = np.empty_like(y)
    for n, (top, left) in enumerate(corners):
        before = [max(0, -top), max(0, -left)]
        behind = [max(0, top + height - x.shape[1]), max(0, left + width - x.shape[2])]
        widths = list(zip(before, behind, strict=True))
        if border == "constant":
            padded = np.stack([np.pad(x[n, ..., c], widths, constant_values=fill[c]) for c in range(x.shape[3])], -1)
        else:
            padded = np.pad(x[n], [*widths, (0, 0)], mode=border)
        part = padded[top + before[0] :, left + before[1] :][:height, :width]
        expected[n] = part[:: -1 if turns[n] & kernels.UPSIDE_DOWN else 1, :: -1 if turns[n] & kernels.MIRRORED else 1]
    return expected


def crop_standardize(rng, dtype, size):
    case = crop(rng, np.dtype(np.uint8), size)
    y, channels = case.arguments[0], case.arguments[0].shape[3]
    shift, scale = (rng.uniform(0.1, 2, 5 * channels).astype(dtype) for _ in range(2))
    period = np.resize(np.arange(5 * channels), math.prod(y.shape[2:])).reshape(
        y.shape[2:]
    )  # begins again with each row
    expected = (case.expected[0] / 255 - shift[period]) * scale[period]
    arguments = [np.zeros(y.shape, dtype), *case.arguments[1:5], shift, scale, *case.arguments[5:]]
    return Case(kernels.crop_standardize, arguments, [expected])


def interleave(rng, dtype, size):
    images, pixels, channels = {"empty": (3, 0, 2), "one": (1, 1, 1), "odd": (5, 77, 3), "large": (3, 2_000, 17)}[size]
    x = rng.standard_normal((images, channels, pixels)).astype(dtype)
    return Case(
        kernels.interleave, [np.zeros((images, pixels, channels), dtype), x], [x.transpose(0, 2, 1)], tolerance=0
    )


def resize(rng, dtype, size):
    """Each result as a sum over all pixels of its part, those too far away with the weight 0."""
    x, y = some_images(rng, dtype, size)
    spans, expected = np.empty((len(x), 4), np.int64), np.zeros(y.shape)
    for n, image in enumerate(x):
        for axis in (1, 0):  # columns first: bytes are rounded after either axis
            length = rng.integers(1, x.shape[1 + axis] + 1)
            begin = rng.integers(0, x.shape[1 + axis] - length + 1)
            spans[n, 2 * axis : 2 * axis + 2] = begin, length
            reach = max(length / y.shape[1 + axis], 1)
            center = (np.arange(y.shape[1 + axis])[:, None] + 0.5) * (length / y.shape[1 + axis])
            weight = np.maximum(1 - abs(np.arange(length) + 0.5 - center) / reach, 0)
            weight /= weight.sum(1, keepdims=True)
            part = np.moveaxis(image, axis, 0)[begin : begin + length]
            if dtype == np.uint8:
                unit = 2.0 ** next(
                    bits for bits in range(23) if bits == 22 or weight.max() * 2 ** (bits + 1) + 0.5 >= 2**15
                )
                weight = np.floor(weight * unit + 0.5) / unit
            image = np.moveaxis(np.tensordot(weight, part, 1), 0, axis)
            image = np.floor(image + 0.5) if dtype == np.uint8 else image
        expected[n] = image
    return Case(kernels.resize, [y, x, spans, "antialias"], [expected], tolerance=0 if dtype == np.uint8 else 16)


def resize_bytes(rng, dtype, size):
    return resize(rng, np.dtype(np.uint8), size)


def some_matrices(rng, x):
    return rng.uniform(-1.3, 1.3, (len(x), 6)) + np.array([0, 0, x.shape[2] / 2, 0, 0, x.shape[1] / 2])


def places(matrices, y):
    """Where the pixels of y come from: rows and columns (count, height, width)."""
    i, j = np.meshgrid(*map(np.arange, y.shape[1:3]), indexing="ij")
    a, b, c, d, e, f = matrices.T[:, :, None, None]
    return d * j + (e * i + f), a * j + (b * i + c)


def affine_nearest(rng, dtype, size):
    x, y = some_images(rng, dtype, size)
    matrices, fill = some_matrices(rng, x), np.arange(x.shape[3]).astype(dtype)
    rows, columns = np.rint(places(matrices, y))
    inside = (rows >= 0) & (rows < x.shape[1]) & (columns >= 0) & (columns < x.shape[2])
    taken = [np.where(inside, at, 0).astype(int) for at in (rows, columns)]
    images = np.arange(len(x))[:, None, None]
    expected = np.where(inside[..., None], x[images, taken[0], taken[1]], fill)
    return Case(kernels.affine_nearest, [y, x, matrices, fill], [expected], tolerance=0)


def affine_bilinear(rng, dtype, size):
    x, y = some_images(rng, dtype, size)
    matrices = some_matrices(rng, x)
    fill = np.linspace(7, 9, x.shape[3]).astype(np.float32 if dtype == np.uint8 else dtype)
    rows, columns = places(matrices, y)
    marked = np.concatenate([x.astype(np.float64), np.ones((*x.shape[:3], 1))], -1)
    padded = np.pad(marked, [(0, 0), (2, 2), (2, 2), (0, 0)])
    top, left = (np.clip(np.floor(at), -2, n).astype(int) for at, n in ((rows, x.shape[1]), (columns, x.shape[2])))
    images, total = np.arange(len(x))[:, None, None], 0.0
    for down in (0, 1):
        for right in (0, 1):
            weight = np.clip(1 - abs(rows - top - down), 0, 1) * np.clip(1 - abs(columns - left - right), 0, 1)
            total = total + weight[..., None] * padded[images, top + down + 2, left + right + 2]
    expected = total[..., -1:] * (total[..., :-1] - fill) + fill
    if dtype == np.uint8:
        # Halves are even or odd by rounding of the sum.
        return Case(kernels.affine_bilinear, [y, x, matrices, fill], [np.rint(expected)], tolerance=0)
    return Case(kernels.affine_bilinear, [y, x, matrices, fill], [expected], tolerance=64)


def affine_bilinear_bytes(rng, dtype, size):
    return affine_bilinear(rng, np.dtype(np.uint8), size)


CASES = {
    "crop": crop,
    "crop_standardize": crop_standardize,
    "interleave": interleave,
    "resize": resize,
    "resize bytes": resize_bytes,
    "affine_nearest": affine_nearest,
    "affine_bilinear": affine_bilinear,
    "affine_bilinear_bytes": affine_bilinear_bytes,
}
