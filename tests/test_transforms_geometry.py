"""Transforms of images that move pixels: each beside NumPy, and beside torchvision where it is installed."""

from __future__ import annotations

import copy
import functools
import itertools
import math
import pickle

import numpy as np
import pytest

import batten
from batten import _kernels as kernels
from batten import transforms
from batten.transforms import affine
from trials import trials

TYPES = [np.uint8, np.float32, np.float64]
SHAPES = [(5, 3, 12, 9), (1, 1, 7, 8), (3, 4, 6, 6)]
MODES = ["constant", "edge", "reflect", "symmetric"]


def images(rng, shape, dtype, order="last"):
    """Random images with channels last in memory, or first, or with gaps."""
    count, channels, height, width = shape
    whole = rng.integers(0, 256, (count, height, 2 * width, channels)) / (1 if dtype == np.uint8 else 255)
    x = whole.astype(dtype).transpose(0, 3, 1, 2)
    return {
        "last": lambda: x[..., ::2].copy(order="K"),
        "first": lambda: x[..., ::2].copy(),
        "gaps": lambda: x[..., ::2],
    }[order]()


def with_numbers(transform):
    """The transform, and a list in which it leaves what it draws."""
    numbers, uniform = [], transform.uniform
    transform.uniform = lambda *sizes: numbers.append(uniform(*sizes)) or numbers[-1]
    return transform, numbers


def fixed(transform, u):
    """The transform, drawing always the same number."""
    transform.uniform = lambda *sizes: np.full(sizes, u)
    return transform


def a_fill(dtype, channels):
    return [(7 if dtype == np.uint8 else 0.25) + channel for channel in range(channels)]


each = trials("dtype, shape, order", itertools.product(TYPES, SHAPES, ["last", "first", "gaps"]))

# ---- pixels that are moved ----


@each
def test_flips(dtype, shape, order, rng):
    x = images(rng, shape, dtype, order)
    for kind, axis in ((transforms.RandomHorizontalFlip, 3), (transforms.RandomVerticalFlip, 2)):
        flip, numbers = with_numbers(kind(p=0.4))
        got = flip(x)
        flipped = numbers[0] < 0.4
        np.testing.assert_array_equal(got, np.where(flipped[:, None, None, None], np.flip(x, axis), x))
        assert got.transpose(0, 2, 3, 1).flags.c_contiguous
        assert not np.shares_memory(got, x)
        np.testing.assert_array_equal(kind(p=0)(x), x)
        np.testing.assert_array_equal(kind(p=1)(x), np.flip(x, axis))


def padded(x, left, right, top, bottom, mode, fill):
    widths = [(0, 0), (top, bottom), (left, right)]
    if mode == "constant":
        return np.stack([np.pad(x[:, c], widths, constant_values=fill[c]) for c in range(x.shape[1])], 1)
    return np.pad(x, [(0, 0), *widths], mode=mode)


@each
def test_pad(dtype, shape, order, rng):
    x = images(rng, shape, dtype, order)
    for mode in MODES:
        fill = a_fill(dtype, shape[1]) if mode == "constant" else 0
        for padding, (left, right, top, bottom) in (
            (2, (2, 2, 2, 2)),
            ((1, 5), (1, 1, 5, 5)),
            ((1, 0, 3, 4), (1, 3, 0, 4)),
        ):
            got = transforms.Pad(padding, fill, mode)(x)
            np.testing.assert_array_equal(got, padded(x, left, right, top, bottom, mode, fill))
        np.testing.assert_array_equal(transforms.Pad(-1, fill, mode)(x), x[:, :, 1:-1, 1:-1])


@each
def test_random_crop(dtype, shape, order, rng):
    x = images(rng, shape, dtype, order)
    height, width = shape[2:]
    fill = a_fill(dtype, shape[1])
    cases = [
        ((4, 5), None, False),
        ((height, width), 2, False),
        ((3, 2), (1, 2, 3, 4), False),
        ((height + 3, width + 1), 1, True),
    ]
    for (size, padding, needed), mode in itertools.product(cases, MODES):
        used = fill if mode == "constant" else 0
        crop, numbers = with_numbers(transforms.RandomCrop(size, padding, needed, used, mode))
        got = crop(x)
        left, right, top, bottom = {None: (0, 0, 0, 0), 2: (2, 2, 2, 2), 1: (1, 1, 1, 1)}.get(padding, (1, 3, 2, 4))
        if needed:  # 3 and 1 are missing, but for the padding of 1 on both sides
            top, bottom = top + 1, bottom + 1
        whole = padded(x, left, right, top, bottom, mode, fill)
        for n, image in enumerate(whole):
            i, j = (
                int(u * (have - want + 1)) for u, have, want in zip(numbers[0][n], whole.shape[2:], size, strict=True)
            )
            np.testing.assert_array_equal(got[n], image[:, i : i + size[0], j : j + size[1]])


@each
def test_center_five_and_ten_crops(dtype, shape, order, rng):
    x = images(rng, shape, dtype, order)
    height, width = shape[2:]
    for size in itertools.product((1, height - 3, height, height + 3), (2, width - 1, width, width + 4)):
        extra = [max(wanted - n, 0) for wanted, n in zip(size, (height, width), strict=True)]
        whole = padded(
            x, extra[1] // 2, -(-extra[1] // 2), extra[0] // 2, -(-extra[0] // 2), "constant", [0] * shape[1]
        )
        i, j = (round((n - wanted) / 2) for n, wanted in zip(whole.shape[2:], size, strict=True))
        middle = whole[..., i : i + size[0], j : j + size[1]]
        np.testing.assert_array_equal(transforms.CenterCrop(size)(x), middle)
        if sum(extra):
            continue
        for flip, vertical in ((lambda a: a, None), (lambda a: a[..., ::-1], False), (lambda a: a[:, :, ::-1], True)):
            turned = flip(x)
            corners = [
                turned[..., r, c]
                for r in (slice(size[0]), slice(height - size[0], None))
                for c in (slice(size[1]), slice(width - size[1], None))
            ]
            expected = [*corners, turned[..., i : i + size[0], j : j + size[1]]]
            ten = transforms.TenCrop(size, vertical_flip=bool(vertical))(x)
            parts = transforms.FiveCrop(size)(x) if vertical is None else ten[5:]
            assert isinstance(parts, tuple) and len(ten) == 10
            for got, want in zip(parts, expected, strict=True):
                np.testing.assert_array_equal(got, want)


# ---- sizes ----


def weights(length, n, interpolation, antialias):
    """The matrix of an axis, one weight after the other."""
    matrix = np.zeros((n, length))
    for i in range(n):
        if interpolation == "nearest":
            matrix[i, min(int(np.float32(i) * (np.float32(length) / np.float32(n))), length - 1)] = 1
            continue
        reach = max(length / n, 1) if antialias else 1
        center = (i + 0.5) * length / n
        if not antialias:
            center = min(max(center, 0.5), length - 0.5)
        for j in range(length):
            matrix[i, j] = max(0, 1 - abs(j + 0.5 - center) / reach)
    return matrix / matrix.sum(1, keepdims=True)


def brought_to(x, size, interpolation, antialias):
    """Columns first; bytes are rounded after either axis."""
    for axis in (3, 2):
        matrix = weights(x.shape[axis], size[axis - 2], interpolation, antialias)
        x = np.moveaxis(
            (means_of_bytes if x.dtype == np.uint8 else np.matmul)(np.moveaxis(x, axis, 3), matrix.T), 3, axis
        )
    return x


def means_of_bytes(x, matrix):
    """By whole weights, of as many bits as PyTorch's."""
    bits = 0
    while bits < 22 and int(0.5 + matrix.max() * 2 ** (bits + 1)) < 2**15:
        bits += 1
    whole = np.floor(matrix * 2**bits + 0.5).astype(int)
    return (x.astype(int) @ whole + 2 ** (bits - 1) >> bits).astype(np.uint8)


def assert_images(got, expected, dtype):
    """The same bytes, or floats but for rounding."""
    assert got.dtype == dtype and got.shape == expected.shape
    difference = abs(got.astype(np.float64) - expected)
    assert difference.max(initial=0) <= (0 if dtype == np.uint8 else 16 * np.finfo(dtype).eps)


@each
def test_resize(dtype, shape, order, rng):
    x = images(rng, shape, dtype, order)
    for size, interpolation, antialias in itertools.product(
        [(3, 5), (20, 4), (5, 31), shape[2:]], ["nearest", "bilinear"], [True, False]
    ):
        got = transforms.Resize(size, interpolation, antialias=antialias)(x)
        assert_images(got, brought_to(x, size, interpolation, antialias), dtype)
        assert got.transpose(0, 2, 3, 1).flags.c_contiguous


def test_sizes_that_resize_makes():
    x = np.zeros((1, 20, 50), np.uint8)
    assert transforms.Resize(10)(x).shape == (1, 10, 25)
    assert transforms.Resize([30])(x.transpose(0, 2, 1)).shape == (1, 75, 30)
    assert transforms.Resize(10, max_size=20)(x).shape == (1, 8, 20)
    assert transforms.Resize(None, max_size=100)(x).shape == (1, 40, 100)
    assert transforms.Resize(None, max_size=25)(x.transpose(0, 2, 1)).shape == (1, 25, 10)
    assert transforms.Resize(7)(np.zeros((1, 9, 9), np.uint8)).shape == (1, 7, 7)


@each
def test_random_resized_crop(dtype, shape, order, rng):
    x = images(rng, shape, dtype, order)
    for interpolation, antialias in itertools.product(["nearest", "bilinear"], [True, False]):
        crop = transforms.RandomResizedCrop((5, 4), interpolation=interpolation, antialias=antialias)
        drawn, draw = [], crop.draw
        crop.draw = lambda of, drawn=drawn, draw=draw: drawn.append(draw(of)) or drawn[-1]
        got = crop(x)
        for n, (i, h, j, w) in enumerate(drawn[0]):
            part = x[n : n + 1, :, i : i + h, j : j + w]
            assert part.shape[2:] == (h, w)
            assert_images(got[n : n + 1], brought_to(part, (5, 4), interpolation, antialias), dtype)


def one_by_one(rng, height, width):
    """The share of an image that a part has, and its ratio: until one fits, which it soon does."""
    while True:
        area, ratio = height * width * rng.uniform(0.08, 1), math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if h <= height and w <= width:
            return h * w / (height * width), w / h


def test_parts_of_random_size(rng):
    """Areas and ratios are from where they should be; the middle is taken of an image that no part fits into."""
    crop = transforms.RandomResizedCrop(8, generator=batten.Generator().manual_seed(3))
    tops, heights, lefts, widths = crop.draw(np.empty((20_000, 1, 200, 300), np.uint8)).T
    share, ratio = heights * widths / 60_000, widths / heights
    assert 0.08 * 0.98 < share.min() < 0.09 and 0.85 < share.max() <= 1
    assert 0.73 < ratio.min() < 0.76 and 1.32 < ratio.max() < 1.36
    others = np.array([one_by_one(rng, 200, 300) for _ in range(5000)])
    for drawn, expected in zip((share, ratio), others.T, strict=True):
        assert abs(drawn.mean() - expected.mean()) < 4.5 * expected.std() * math.sqrt(1 / 5000 + 1 / 20_000)
    assert (tops >= 0).all() and (tops + heights <= 200).all() and (lefts >= 0).all() and (lefts + widths <= 300).all()
    places = tops[heights < 200] / (200 - heights[heights < 200])
    assert abs(places.mean() - 0.5) < 0.01 and places.min() == 0 and places.max() == 1
    tops, heights, lefts, widths = crop.draw(np.empty((2, 1, 10, 1000), np.uint8)).T
    assert (tops == 0).all() and (heights == 10).all() and (lefts == 493).all() and (widths == 13).all()
    tops, heights, lefts, widths = crop.draw(np.empty((2, 1, 1000, 10), np.uint8)).T
    assert (tops == 493).all() and (heights == 13).all() and (lefts == 0).all() and (widths == 10).all()


# ---- pixels that are turned ----


def matrix(angle, translate, scale, shear, center):
    """M = T C R S Y X C⁻¹ about a center, of places (x, y, 1)."""
    a, sx, sy = np.radians([angle, *shear])

    def move(x, y):
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])

    turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    along_y, along_x = np.eye(3), np.eye(3)
    along_y[1, 0], along_x[0, 1] = -math.tan(sy), -math.tan(sx)
    return (
        move(*translate)
        @ move(*center)
        @ turn
        @ np.diag([scale, scale, 1])
        @ along_y
        @ along_x
        @ move(-center[0], -center[1])
    )


def sampled(image, inverse, size, interpolation, fill):
    """An image (C, H, W) at inverse @ each place, of places from the middle; and where two pixels are as near."""
    height, width = image.shape[1:]
    i, j = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in size], indexing="ij")
    x, y, _ = np.einsum("ab,bij->aij", inverse, np.stack([j, i, np.ones_like(i)]))
    x, y = x + (width - 1) / 2, y + (height - 1) / 2
    marked = np.concatenate([image.astype(np.float64), np.ones((1, height, width))])

    def at(rows, columns):
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        return np.where(
            inside, marked[:, np.where(inside, rows, 0).astype(int), np.where(inside, columns, 0).astype(int)], 0
        )

    fill = np.reshape(fill, (-1, 1, 1))
    if interpolation == "nearest":
        taken = at(np.rint(y), np.rint(x))
        unsure = np.minimum(abs(x % 1 - 0.5), abs(y % 1 - 0.5)) < 1e-9
        return np.where(taken[-1] > 0, taken[:-1], fill), unsure
    total = 0.0
    for down, right in itertools.product((0, 1), (0, 1)):
        rows, columns = np.floor(y) + down, np.floor(x) + right
        total = total + (1 - abs(y - rows)) * (1 - abs(x - columns)) * at(rows, columns)
    value = total[-1] * (total[:-1] - fill) + fill
    return (np.rint(value) if image.dtype == np.uint8 else value), np.zeros(size, bool)


def assert_sampled(got, image, inverse, interpolation, fill):
    expected, unsure = sampled(image, inverse, got.shape[1:], interpolation, fill)
    if interpolation == "nearest":
        np.testing.assert_array_equal(got[:, ~unsure], expected[:, ~unsure].astype(got.dtype))
        return
    # Places are numbers up to 30 that come from other roundings, and values change by up to 4 from pixel to pixel.
    difference = abs(got.astype(np.float64) - expected)
    assert difference.max() <= (1 if got.dtype == np.uint8 else 30 * 4 * 4 * np.finfo(got.dtype).eps)
    assert got.dtype != np.uint8 or (difference > 0).mean() < 0.01


@each
def test_random_rotation(dtype, shape, order, rng):
    x = images(rng, shape, dtype, order)
    fill = a_fill(dtype, shape[1])
    for interpolation, expand, center in itertools.product(["nearest", "bilinear"], [False, True], [None, (2, 5)]):
        turn, numbers = with_numbers(transforms.RandomRotation((-70, 100), interpolation, expand, center, fill))
        got = turn(x)
        about = (center[0] - shape[3] / 2, center[1] - shape[2] / 2) if center and not expand else (0, 0)
        assert (got.shape == x.shape) != expand
        for n, u in enumerate(numbers[0]):
            inverse = np.linalg.inv(matrix(70 - 170 * u, (0, 0), 1, (0, 0), about))
            assert_sampled(got[n], x[n], inverse, interpolation, fill)


@each
def test_random_affine(dtype, shape, order, rng):
    x = images(rng, shape, dtype, order)
    height, width = shape[2:]
    for interpolation, shear, center in itertools.product(
        ["nearest", "bilinear"], [None, 20, (5, 10, -20, 30)], [None, (2, 5)]
    ):
        warp, numbers = with_numbers(
            transforms.RandomAffine(40, (0.2, 0.5), (0.7, 1.5), shear, interpolation, 3, center)
        )
        got = warp(x)
        about = (center[0] - width / 2, center[1] - height / 2) if center else (0, 0)
        for n, u in enumerate(numbers[0]):
            translate = np.rint([0.2 * width * (2 * u[1] - 1), 0.5 * height * (2 * u[2] - 1)])
            sheared = {None: (0, 0), 20: (40 * u[4] - 20, 0)}.get(shear, (5 + 5 * u[4], 50 * u[5] - 20))
            forward = matrix(80 * u[0] - 40, translate, 0.7 + 0.8 * u[3], sheared, about)
            assert_sampled(got[n], x[n], np.linalg.inv(forward), interpolation, 3)


@trials("dtype, interpolation", itertools.product(TYPES, ["nearest", "bilinear"]))
def test_right_angles_move_pixels_as_they_are(dtype, interpolation, rng):
    for shape, expand in (((2, 3, 6, 6), False), ((2, 1, 5, 8), True)):
        x = images(rng, shape, dtype)
        for quarters in range(-2, 5):
            turn = transforms.RandomRotation((90 * quarters, 90 * quarters), interpolation, expand)
            np.testing.assert_array_equal(turn(x), np.rot90(x, quarters, (2, 3)))


def test_room_for_any_angle():
    """No corner of the image is outside, whatever the angle; and there is no more room than a pixel on each side."""
    for size, (low, high) in itertools.product(
        [(10, 10), (7, 30), (30, 8)], [(0, 30), (-20, 65), (30, 30), (80, 250), (-500, 9)]
    ):
        room = affine.room(size, low, high)
        angles = np.radians(np.linspace(low, high, 2001))
        for length, across, along in ((room[0], *size), (room[1], *size[::-1])):
            needed = (across * abs(np.cos(angles)) + along * abs(np.sin(angles))).max()
            assert needed - 0.001 <= length <= needed + 2


# ---- what goes in and comes out ----

ALL = {
    "flip": lambda g=None: transforms.RandomHorizontalFlip(generator=g),
    "upside down": lambda g=None: transforms.RandomVerticalFlip(generator=g),
    "crop": lambda g=None: transforms.RandomCrop(6, 2, generator=g),
    "resized crop": lambda g=None: transforms.RandomResizedCrop(5, generator=g),
    "rotation": lambda g=None: transforms.RandomRotation(40, "bilinear", generator=g),
    "nearest rotation": lambda g=None: transforms.RandomRotation(40, generator=g),
    "affine": lambda g=None: transforms.RandomAffine(10, (0.1, 0.1), (0.9, 1.1), 5, generator=g),
    "pad": lambda g=None: transforms.Pad(2),
    "center": lambda g=None: transforms.CenterCrop(5),
    "resize": lambda g=None: transforms.Resize(9),
    "five": lambda g=None: transforms.FiveCrop(5),
    "ten": lambda g=None: transforms.TenCrop(5),
    "several": lambda g=None: transforms.Compose(
        [transforms.RandomCrop(8, 1, generator=g), transforms.RandomHorizontalFlip(generator=g)]
    ),
}
RANDOM = ["flip", "upside down", "crop", "resized crop", "rotation", "nearest rotation", "affine", "several"]


def as_list(result):
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("name", ALL)
def test_images_come_back_as_they_came(name, rng):
    for dtype, order in itertools.product(TYPES, ["last", "first"]):
        x = images(rng, (4, 3, 8, 8), dtype, order)
        before, y = x.copy(), np.arange(4)

        def seeded(*given):
            batten.manual_seed(5)
            return ALL[name]()(*given)

        whole = as_list(seeded(x))
        for found, expected in zip(as_list(seeded(batten.tensor(x))), whole, strict=True):
            assert isinstance(found, batten.Tensor)
            np.testing.assert_array_equal(found.numpy(), expected)
        alone = as_list(seeded(x[0]))
        assert all(np.array_equal(a, b[0]) for a, b in zip(alone, whole, strict=True))
        labelled, labels = seeded(x, y)
        assert labels is y and all(map(np.array_equal, as_list(labelled), whole))
        assert all(a.dtype == dtype and not np.shares_memory(a, x) and not a.flags.owndata for a in whole)
        np.testing.assert_array_equal(x, before)
        for found, expected in zip(as_list(seeded(x[:0])), whole, strict=True):
            assert found.shape == (0, *expected.shape[1:]) and found.dtype == dtype


@pytest.mark.parametrize("name", RANDOM)
def test_same_seed_same_images(name, rng, threads):
    """For any number of threads; and image i is the same in any batch, so long as it is the i-th."""
    x = images(rng, (300, 3, 8, 8), np.uint8)
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        results.append(ALL[name](batten.Generator().manual_seed(9))(x))
    assert all(np.array_equal(result, results[0]) for result in results)
    np.testing.assert_array_equal(ALL[name](batten.Generator().manual_seed(9))(x[:7]), results[0][:7])
    t = ALL[name](batten.Generator().manual_seed(9))
    first, second = t(x), t(x)
    assert np.array_equal(first, results[0]) and not np.array_equal(first, second)
    assert not np.array_equal(ALL[name](batten.Generator().manual_seed(8))(x), first)


@pytest.mark.parametrize("name", ALL)
def test_same_bytes_on_every_processor(name, rng):
    x = images(rng, (20, 3, 8, 8), np.uint8)
    before, results = kernels.isa(), []
    try:
        for isa in kernels.isas():
            kernels.set_isa(isa)
            batten.manual_seed(3)
            results.append([a.tobytes() for a in as_list(ALL[name]()(x))])
    finally:
        kernels.set_isa(before)
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("name", ALL)
def test_channels_know_nothing_of_each_other(name, rng):
    x = images(rng, (4, 3, 8, 8), np.float32)
    broken = x.copy(order="K")
    broken[:, 1] = np.nan
    results = []
    for given in (x, broken):
        batten.manual_seed(3)
        results.append(np.stack(as_list(ALL[name]()(given))))
    np.testing.assert_array_equal(results[0][:, :, ::2], results[1][:, :, ::2])
    assert np.isnan(results[1][:, :, 1]).any()


@pytest.mark.parametrize("name", RANDOM)
def test_each_image_draws_numbers_of_its_own(name, rng):
    x = np.repeat(images(rng, (1, 3, 8, 8), np.float32), 50, 0)
    got = ALL[name](batten.Generator().manual_seed(1))(x)
    assert len({image.tobytes() for image in got}) > (1 if "flip" in name or "down" in name else 5)


def test_one_draw_a_call():
    g = batten.Generator()
    for name in RANDOM:
        g.manual_seed(0)
        ALL[name](g)(np.zeros((3, 1, 8, 8), np.uint8))
        assert g.calls == (2 if name == "several" else 1)


def test_what_is_drawn():
    """Flips, places and angles are as likely as they should be, and independent: within 4.5 standard deviations."""
    n, g = 20_000, batten.Generator().manual_seed(1)
    x = np.broadcast_to(np.arange(2, dtype=np.uint8), (n, 1, 1, 2))
    flipped = transforms.RandomHorizontalFlip(0.3, generator=g)(x)[:, 0, 0, 0]
    assert abs(flipped.mean() - 0.3) < 4.5 * math.sqrt(0.21 / n)
    assert abs(np.corrcoef(flipped[1:], flipped[:-1])[0, 1]) < 4.5 / math.sqrt(n)
    x = np.broadcast_to(np.arange(12, dtype=np.uint8).reshape(3, 4), (n, 1, 3, 4))
    counts = np.bincount(transforms.RandomCrop(1, generator=g)(x).ravel(), minlength=12)
    assert abs(counts / n - 1 / 12).max() < 4.5 * math.sqrt(1 / 12 / n)
    turn, numbers = with_numbers(transforms.RandomRotation((10, 30), generator=g))
    turn(x)
    angles = 10 + 20 * numbers[0]
    assert (
        10 <= angles.min() < 10.01
        and 29.99 < angles.max() < 30
        and abs(angles.mean() - 20) < 4.5 * 20 / math.sqrt(12 * n)
    )


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: transforms.RandomHorizontalFlip(), "RandomHorizontalFlip(p=0.5)"),
        (lambda: transforms.RandomVerticalFlip(0.1), "RandomVerticalFlip(p=0.1)"),
        (
            lambda: transforms.RandomCrop(4),
            "RandomCrop(size=(4, 4), pad_if_needed=False, fill=0, padding_mode=constant)",
        ),
        (
            lambda: transforms.RandomCrop([4, 5], (1, 2), fill=(1, 2, 3)),
            "RandomCrop(size=[4, 5], padding=[1, 1, 2, 2], pad_if_needed=False, fill=(1, 2, 3), padding_mode=constant)",
        ),
        (lambda: transforms.CenterCrop((3,)), "CenterCrop(size=(3, 3))"),
        (lambda: transforms.FiveCrop(3), "FiveCrop(size=(3, 3))"),
        (lambda: transforms.TenCrop((3, 4)), "TenCrop(size=(3, 4), vertical_flip=False)"),
        (lambda: transforms.Pad(3, padding_mode="edge"), "Pad(padding=3, fill=0, padding_mode=edge)"),
        (lambda: transforms.Resize(3), "Resize(size=[3], interpolation=bilinear, antialias=True)"),
        (
            lambda: transforms.Resize((3,), "nearest", 7),
            "Resize(size=[3], interpolation=nearest, max_size=7, antialias=True)",
        ),
        (
            lambda: transforms.RandomResizedCrop(3),
            "RandomResizedCrop(size=(3, 3), scale=(0.08, 1.0), ratio=(0.75, 1.3333333333333333), "
            "interpolation=bilinear, antialias=True)",
        ),
        (
            lambda: transforms.RandomRotation(30, center=[1, 2]),
            "RandomRotation(degrees=[-30.0, 30.0], interpolation=nearest, expand=False, fill=0, center=[1, 2])",
        ),
        (
            lambda: transforms.RandomAffine((-5, 10), (0.1, 0.2), shear=3),
            "RandomAffine(degrees=[-5.0, 10.0], translate=(0.1, 0.2), shear=[-3.0, 3.0], "
            "interpolation=nearest, fill=0)",
        ),
        (
            lambda: transforms.Compose([transforms.Pad(1), transforms.CenterCrop(2)]),
            "Compose(\n      Pad(padding=1, fill=0, padding_mode=constant)\n      CenterCrop(size=(2, 2))\n)",
        ),
    ],
)
def test_repr(make, expected):
    assert repr(make()) == expected


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: transforms.RandomHorizontalFlip(1.5), "RandomHorizontalFlip expects p from 0 to 1, got 1.5"),
        (lambda: transforms.RandomVerticalFlip(math.nan), "RandomVerticalFlip expects p from 0 to 1"),
        (lambda: transforms.RandomCrop((1, 2, 3)), "RandomCrop expects size as one whole number or two"),
        (lambda: transforms.CenterCrop(2.5), "CenterCrop expects size as one whole number or two"),
        (lambda: transforms.CenterCrop(0), "CenterCrop expects a size of at least one pixel, got 0"),
        (lambda: transforms.Pad((1, 2, 3)), "Pad expects padding as one, two or four whole numbers"),
        (
            lambda: transforms.Pad(1, padding_mode="wrap"),
            "Pad expects padding_mode constant, edge, reflect or symmetric",
        ),
        (lambda: transforms.Pad(1, (1, 2), "edge"), "Pad has a fill for each channel with padding_mode constant only"),
        (lambda: transforms.Pad(1, "red"), "Pad expects fill as a number, or one for each channel"),
        (lambda: transforms.Resize((2, 3), max_size=4), "Resize has no max_size with a height and a width"),
        (lambda: transforms.Resize(None), "Resize expects a size, or a max_size"),
        (lambda: transforms.Resize(5, max_size=5), "Resize expects a max_size of at least 6"),
        (lambda: transforms.Resize(5, "bicubic"), "Resize expects interpolation nearest or bilinear, got 'bicubic'"),
        (lambda: transforms.RandomResizedCrop(5, (0.5, 0.1)), "expects scale as .min, max. with 0 < min <= max"),
        (lambda: transforms.RandomResizedCrop(5, ratio=(0, 1)), "expects ratio as .min, max. with 0 < min <= max"),
        (lambda: transforms.RandomResizedCrop(5, scale=0.5), "expects scale as a sequence of 2 numbers"),
        (lambda: transforms.RandomRotation(-3), "expects degrees of at least 0 where it is a single number"),
        (lambda: transforms.RandomRotation((1, 2, 3)), "expects degrees as a sequence of 2 finite numbers"),
        (lambda: transforms.RandomRotation((0, math.inf)), "expects degrees as a sequence of 2 finite numbers"),
        (lambda: transforms.RandomRotation(3, center=(1,)), "expects center as a sequence of 2 finite numbers"),
        (lambda: transforms.RandomAffine(3, (0.1, 1.1)), "RandomAffine expects translate as shares from 0 to 1"),
        (lambda: transforms.RandomAffine(3, scale=(-1, 1)), "RandomAffine expects scale as .min, max."),
        (lambda: transforms.RandomAffine(3, shear=(1, 2, 3)), "RandomAffine expects shear as a sequence of 2 or 4"),
        (lambda: transforms.RandomCrop(3, generator=7), "RandomCrop expects a batten.Generator, got int"),
        (lambda: transforms.Compose([]), "Compose expects at least one transform"),
        (lambda: transforms.Compose([1]), "Compose expects a sequence of transforms"),
        (lambda: transforms.Compose(transforms.Pad(1)), "Compose expects a sequence of transforms"),
    ],
)
def test_arguments_that_make_no_sense(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize(
    "transform, shape, message",
    [
        (transforms.RandomCrop(9), (3, 8, 8), r"expects images of at least \(9, 9\), got \(8, 8\)"),
        (transforms.RandomCrop((9, 13), 2), (3, 8, 8), r"at least \(9, 13\), got \(12, 12\) with their padding"),
        (
            transforms.RandomCrop(9, 8, padding_mode="reflect"),
            (3, 8, 8),
            "a padding of at most 7 pixels in mode reflect",
        ),
        (transforms.Pad(9, padding_mode="symmetric"), (3, 8, 8), "a padding of at most 8 pixels in mode symmetric"),
        (transforms.Pad(1, padding_mode="edge"), (3, 0, 8), "Pad expects images with pixels"),
        (transforms.Pad(-4), (3, 8, 8), "Pad expects to leave at least one pixel"),
        (transforms.Pad(1, (1, 2)), (3, 8, 8), "Pad expects a fill for each of 3 channels"),
        (transforms.Pad(1, 256), (3, 8, 8), "Pad expects a fill from 0 to 255 for images of uint8"),
        (transforms.RandomRotation(9, "bilinear", fill=-1), (3, 8, 8), "expects a fill from 0 to 255"),
        (transforms.FiveCrop(9), (3, 8, 9), r"FiveCrop expects images of at least \(9, 9\), got \(8, 9\)"),
        (transforms.TenCrop(9), (3, 9, 8), r"TenCrop expects images of at least \(9, 9\), got \(9, 8\)"),
        (transforms.Resize(3), (3, 0, 8), "Resize expects images with pixels"),
        (transforms.Resize(None, max_size=3), (3, 1, 80), "Resize expects to leave at least one pixel"),
        (transforms.RandomResizedCrop(3), (2, 3, 4, 0), "RandomResizedCrop expects images with pixels"),
        (transforms.RandomHorizontalFlip(), (8, 8), r"expects images .C, H, W. or .N, C, H, W. .* got uint8\[8, 8\]"),
        (transforms.RandomHorizontalFlip(), (1, 1, 1, 8, 8), "RandomHorizontalFlip expects images"),
    ],
)
def test_images_that_do_not_fit(transform, shape, message):
    for x in (np.zeros(shape, np.uint8), batten.zeros(*shape, dtype=batten.uint8)):
        with pytest.raises(ValueError, match=message):
            transform(x)


def test_what_is_no_image():
    flip = transforms.RandomHorizontalFlip()
    for x in (
        [[[1.0]]],
        None,
        np.zeros((3, 8, 8), np.int64),
        np.zeros((3, 8, 8), np.float16),
        np.zeros((3, 8, 8), ">f4"),
    ):
        with pytest.raises(TypeError, match="RandomHorizontalFlip expects images"):
            flip(x)
    x = batten.zeros(3, 8, 8, requires_grad=True)
    with pytest.raises(ValueError, match="expects images that require no gradient"):
        flip(x)
    with batten.no_grad():
        flip(x)


# ---- one's own, and several ----


class Invert(transforms.Transform):
    def transform(self, x):
        return 255 - x


class Relabel(transforms.Transform):
    def transform_labelled(self, x, y):
        return x[:1], y[:1]


def test_a_transform_of_one_s_own_is_a_method():
    x = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    assert repr(Invert()) == "Invert()"
    np.testing.assert_array_equal(Invert()(x), 255 - x)
    inverted, label = Invert()(batten.tensor(x), 3)
    assert label == 3 and np.array_equal(inverted.numpy(), 255 - x)
    with pytest.raises(NotImplementedError, match="Relabel does not define transform"):
        Relabel()(x)
    few, labels = Relabel()(np.stack([x, x]), [4, 5])
    assert few.shape == (1, 3, 2, 2) and labels == [4]


def test_compose(rng):
    x, y = images(rng, (4, 3, 8, 8), np.uint8), np.arange(4)
    several = transforms.Compose([transforms.CenterCrop(4), lambda a: a[:2], transforms.Compose([Relabel(), Invert()])])
    got, labels = several(x, y)
    np.testing.assert_array_equal(got, 255 - x[:1, :, 2:6, 2:6])
    assert labels.tolist() == [0]
    parts = transforms.Compose([transforms.FiveCrop(4), np.stack])(x)
    assert parts.shape == (5, 4, 3, 4, 4)


def test_copies_and_pickles_draw_the_same(rng):
    x = images(rng, (20, 3, 8, 8), np.float32)
    t = transforms.Compose([transforms.RandomCrop(8, 2, generator=batten.Generator()), Invert()])
    for again in (copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        assert repr(again) == repr(t)
        assert np.array_equal(again(x), copy.deepcopy(t)(x))


# ---- torchvision ----


@trials("dtype, shape", itertools.product(TYPES, [(2, 3, 32, 32), (1, 1, 17, 23), (2, 4, 40, 21)]))
def test_beside_torchvision(dtype, shape, rng):
    """The same pixels, where rounding in float32 does not decide otherwise which of two is nearer."""
    pytest.importorskip("torchvision")
    import torch
    from torchvision.transforms import v2

    x = images(rng, shape, dtype)
    fill = a_fill(dtype, 1)[0]

    def compare(ours, theirs, level=0.0, share=0.0):
        for a, b in zip(as_list(ours(x)), as_list(theirs(torch.from_numpy(x))), strict=True):
            difference = abs(a.astype(np.float64) - b.numpy())
            assert a.shape == tuple(b.shape)
            assert difference.max() <= max(level, 0.0 if dtype == np.uint8 else 2e-5), ours
            assert (difference > 2e-5).mean() <= share, ours

    for size in ((16, 16), (33, 50), 8, (7, 100)):
        for antialias in (True, False):
            compare(
                transforms.Resize(size, antialias=antialias),
                v2.Resize(size, antialias=antialias),
                dtype == np.uint8,
                0.1,
            )
        compare(transforms.Resize(size, "nearest"), v2.Resize(size, "nearest"))
        compare(transforms.CenterCrop(size), v2.CenterCrop(size))
    for angle, expand in itertools.product((31, 90, 180, 46, -77.3), (False, True)):
        if angle == 90 and not expand and shape[2] != shape[3]:
            continue  # all places are between two pixels
        for interpolation in ("nearest", "bilinear"):
            options = {"interpolation": interpolation, "expand": expand, "fill": fill}
            most = (255, 0.002) if interpolation == "nearest" else (dtype == np.uint8, 0.001)
            compare(
                transforms.RandomRotation((angle, angle), **options),
                v2.RandomRotation((angle, angle), **options),
                *most,
            )
    for interpolation in ("nearest", "bilinear"):
        ours = fixed(
            transforms.RandomAffine((21, 21), (0.2, 0.3), (0.8, 0.8), (10, 10, -5, -5), interpolation, fill, (3, 4)),
            0.9,
        )
        move = [round(0.8 * 0.2 * shape[3]), round(0.8 * 0.3 * shape[2])]
        mode = v2.InterpolationMode(interpolation)
        fixed_affine = functools.partial(
            v2.functional.affine, angle=21, translate=move, scale=0.8, shear=[10.0, -5.0], center=[3.0, 4.0]
        )
        theirs = functools.partial(fixed_affine, interpolation=mode, fill=fill)
        compare(ours, theirs, *((255, 0.002) if interpolation == "nearest" else (dtype == np.uint8, 0.001)))
    for mode in MODES:
        options = {"fill": fill if mode == "constant" else 0, "padding_mode": mode}
        compare(transforms.Pad((1, 2, 3, 4), **options), v2.Pad((1, 2, 3, 4), **options))
        size = (shape[2] + 4, shape[3] + 6)
        compare(transforms.RandomCrop(size, (3, 2), **options), v2.RandomCrop(size, (3, 2), **options))
    compare(transforms.FiveCrop((9, 12)), v2.FiveCrop((9, 12)))
    compare(transforms.TenCrop((9, 12), vertical_flip=True), v2.TenCrop((9, 12), vertical_flip=True))
    compare(transforms.RandomHorizontalFlip(1.0), v2.RandomHorizontalFlip(1.0))


# ---- in one pass ----


@trials("dtype, order", itertools.product(TYPES, ["last", "first", "gaps"]))
def test_neighbours_in_one_pass_are_the_same(dtype, order, rng):
    """Bit for bit what they are one by one, with the same random numbers; whatever comes first or last, and labels."""
    x = images(rng, (9, 3, 7, 11), dtype, order)
    g = batten.Generator()
    crop, center = transforms.RandomCrop((8, 9), 3, fill=5, generator=g), transforms.CenterCrop((5, 13))
    flips = [transforms.RandomHorizontalFlip(generator=g), transforms.RandomVerticalFlip(generator=g)]
    normalize = transforms.Normalize([0.5, 0.4, 0.3], [0.2, 0.25, 0.3])
    floats = transforms.ToFloat()
    for steps in (
        [crop, *flips, floats, normalize],
        [crop, normalize],
        [flips[0], floats],
        [center, *flips, transforms.ToDtype(np.float64, scale=True)],
        [floats, crop, flips[1], normalize],
        [floats, normalize, crop],
        [transforms.Pad((1, 2), padding_mode="reflect"), flips[1], crop, flips[0]],
    ):
        g.manual_seed(3)
        expected = x
        for step in steps:
            expected = step(expected)
        g.manual_seed(3)
        got, labels = transforms.Compose(steps)(x, 7)
        assert labels == 7 and got.dtype == expected.dtype and got.shape == expected.shape
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(ValueError, match="Normalize expects images of 3 channels"):
        transforms.Compose([crop, normalize])(np.zeros((2, 4, 9, 9), np.uint8))
    with pytest.raises(TypeError, match="RandomCrop expects images"):
        transforms.Compose([crop, normalize])("images")
