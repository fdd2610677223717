"""Images that become others, beside NumPy's pad and sums over pixels."""

from __future__ import annotations

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
    "affine_nearest": affine_nearest,
    "affine_bilinear": affine_bilinear,
    "affine_bilinear_bytes": affine_bilinear_bytes,
}
