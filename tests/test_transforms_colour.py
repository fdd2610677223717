"""Colours and values of images: against NumPy, against torchvision where it is installed, and what is drawn."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import batten
from batten import _kernels as kernels
from batten import transforms
from batten.random import Generator
from batten.transforms.functional import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation
from cases.colour import BRIGHTNESS, CONTRAST, HUE, SATURATION, jittered
from trials import trials

KINDS = ["uint8", "float32", "float64"]
FUNCTIONS = {
    BRIGHTNESS: adjust_brightness,
    CONTRAST: adjust_contrast,
    SATURATION: adjust_saturation,
    HUE: adjust_hue,
}
FACTORS = {step: [0.0, 0.3, 1.0, 1.7, 5.0] for step in (BRIGHTNESS, CONTRAST, SATURATION)} | {
    HUE: [-0.5, -0.21, 0.0, 1 / 3, 0.5]
}


def images(rng, kind, shape=(3, 3, 7, 5)):
    """Images of noise, with all that is of one grey, black and white among their pixels."""
    x = rng.integers(0, 256, shape, np.uint8)
    if x.size > 20:
        for at, value in enumerate((0, 255, 77)):
            x[..., at // shape[-1] % shape[-2], at % shape[-1]] = value
    return x if kind == "uint8" else (x / 255).astype(kind)


def in_pixels(x):
    """(N, C, H, W) as (N, pixels, C)."""
    return x.transpose(0, 2, 3, 1).reshape(len(x), x.shape[2] * x.shape[3], x.shape[1])


def close(got, expected, kind):
    """What the last bit may change: a level of bytes."""
    assert got.dtype == kind
    assert got.shape == expected.shape
    tolerance = {"uint8": 0, "float32": 1e-6, "float64": 1e-14}[kind]
    np.testing.assert_allclose(got.astype(np.float64), expected, rtol=0, atol=tolerance)


def each_transform(generator=None):
    """One of each transform that keeps shape and type, or makes floats of bytes."""
    g = {"generator": generator}
    pca = transforms.PCAColor(**g).fit(np.random.default_rng(2).integers(0, 256, (20, 3, 5, 5), np.uint8))
    return [
        transforms.ColorJitter(0.4, 0.4, 0.4, 0.1, **g),
        transforms.GaussianNoise(0.05, 0.2, **g),
        transforms.GaussianNoise(0.05, 0.2, clip=False, **g),
        pca,
        transforms.Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]),
        transforms.ToDtype(batten.float64, scale=True),
        transforms.ToDtype(batten.uint8, scale=True),
        transforms.ToFloat(),
    ]


# ---- given factors ----


@trials("channels", [1, 3])
@trials("step", FUNCTIONS)
def test_adjustments_against_numpy(step, channels, rng):
    for kind in KINDS:
        for factor in FACTORS[step]:
            x = images(rng, kind, (2, channels, 7, 5))
            n = len(x)
            expected = jittered(in_pixels(x), np.full((n, 1), step), np.full((n, 1), factor))
            got = FUNCTIONS[step](x, factor)
            close(in_pixels(got), expected, kind)


@trials("channels", [1, 3])
@trials("step", FUNCTIONS)
def test_adjustments_against_torchvision(step, channels, rng):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    for kind in KINDS:
        for factor in [*FACTORS[step], *(rng.random(3) - (step == HUE) * 0.5)]:
            x = images(rng, kind, (4, channels, 31, 17))
            theirs = getattr(functional, FUNCTIONS[step].__name__)(torch.from_numpy(x), factor).numpy()
            got = FUNCTIONS[step](x, factor)
            assert got.dtype == theirs.dtype
            apart = np.abs(got.astype(np.float64) - theirs)
            # Theirs goes through float32 for a hue in float64, whose rounding errors alone are up to 1.1e-6.
            most = 1 if kind == "uint8" else 2e-6 if (kind, step) == ("float64", HUE) else 1e-6
            assert apart.max() <= most, (kind, factor, apart.max())
            if kind == "uint8":
                assert (apart > 0).mean() < 0.02, (factor, (apart > 0).mean())


def test_factors_that_change_nothing_or_all(rng):
    x = images(rng, "uint8")
    for function, factor in ((adjust_brightness, 1), (adjust_contrast, 1), (adjust_saturation, 1), (adjust_hue, 0)):
        assert np.abs(function(x, factor).astype(int) - x).max() <= 0
    assert not adjust_brightness(x, 0).any()
    assert all(len(np.unique(image)) == 1 for image in adjust_contrast(x, 0))
    grey = adjust_saturation(x, 0)
    assert (grey == grey[:, :1]).all()
    for half in (-0.5, 0.5):
        np.testing.assert_allclose(adjust_hue(adjust_hue(x / 255, half), half), x / 255, atol=1e-12)
    red, green, blue = np.eye(3).reshape(3, 3, 1, 1)
    np.testing.assert_allclose(adjust_hue(red, 1 / 3), green, atol=1e-12)
    np.testing.assert_allclose(adjust_hue(red, -1 / 3), blue, atol=1e-12)


def test_a_nan_stays_in_its_pixel(rng):
    x = images(rng, "float32")
    x[1, 0, 2, 2] = np.nan
    for function, factor in ((adjust_brightness, 0.7), (adjust_saturation, 0.7), (adjust_hue, 0.2)):
        y = function(x, factor)
        assert np.isnan(y[1, :, 2, 2]).any()
        y[1, :, 2, 2] = 0
        assert not np.isnan(y).any()


@trials("step", FUNCTIONS)
def test_adjustments_refuse(step, rng):
    function = FUNCTIONS[step]
    x = images(rng, "uint8")
    bad = [math.nan, math.inf, "1", None, -0.51] + ([0.51] if step == HUE else [-1e-9])
    for factor in bad:
        with pytest.raises(ValueError, match=f"{function.__name__} expects a factor"):
            function(x, factor)
    with pytest.raises(ValueError, match="images of 1 or 3 channels"):
        function(x[:, :2], 0.5)
    with pytest.raises(TypeError, match=rf"{function.__name__} expects images"):
        function(x.tolist(), 0.5)
    with pytest.raises(TypeError, match="int64"):
        function(x.astype(np.int64), 0.5)


# ---- what all have in common ----


@trials("kind", KINDS)
def test_layouts_and_kinds_of_arrays(kind, rng):
    """The same for any order of memory, for tensors and arrays, and for an image alone."""
    x = images(rng, kind, (2, 3, 6, 10))[..., ::2]
    orders = {
        "strided": x,
        "C": np.ascontiguousarray(x),
        "channels last": x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
        "reversed": x[..., ::-1].copy()[..., ::-1],
        "read-only": np.frombuffer(x.tobytes(), kind).reshape(x.shape),
    }
    for t in each_transform(g := Generator()):
        results = {}
        for order, array in orders.items():
            before = array.copy()
            results[order] = t(array) if g.manual_seed(4) else None
            assert isinstance(results[order], np.ndarray)
            assert array.tobytes() == before.tobytes()
        tensor = g.manual_seed(4) and t(batten.from_numpy(x.copy()))
        assert isinstance(tensor, batten.Tensor)
        assert not tensor.requires_grad
        alone = g.manual_seed(4) and t(x[0])
        assert alone.shape == x[0].shape
        for y in [*results.values(), tensor.numpy()]:
            assert y.tobytes() == results["C"].tobytes(), t
            assert y.dtype == results["C"].dtype
        assert alone.tobytes() == results["C"][0].tobytes(), t
        y, label = t(x, 7)
        assert (y.shape, label) == (x.shape, 7)


@trials("shape", [(0, 3, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0), (1, 3, 1, 1), (3, 0, 0)])
def test_nothing_and_one(shape):
    for kind in KINDS:
        for t in each_transform():
            x = np.ones(shape, kind)
            if x.shape[-3] == 3:
                assert t(x).shape == shape


@trials("kind", KINDS)
def test_same_seed_same_images_on_any_threads(kind, rng, threads):
    x = images(rng, kind, (40, 3, 32, 32))
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append([t(x).tobytes() for t in each_transform(Generator().manual_seed(5))])
    assert results[0] == results[1] == results[2]


@trials("kind", KINDS)
def test_same_seed_same_images_on_any_processor(kind, rng):
    x = images(rng, kind, (6, 3, 13, 11))
    before = kernels.isa()
    results = []
    try:
        for isa in kernels.isas():
            kernels.set_isa(isa)
            results.append([t(x).tobytes() for t in each_transform(Generator().manual_seed(5))])
    finally:
        kernels.set_isa(before)
    assert all(made == results[0] for made in results)


@trials("index", range(4))
def test_draws(index, rng):
    """One draw a call; an image's numbers do not hang on what other images there are behind it."""
    x = images(rng, "float32", (6, 3, 5, 4))
    t = each_transform(g := Generator())[index]
    first, second = t(x), t(x)
    assert g.calls == 2
    assert (first != second).any(axis=(1, 2, 3)).all()
    g.manual_seed(g.initial_seed())
    assert t(x[:2]).tobytes() == first[:2].tobytes()
    same = np.broadcast_to(x[:1], x.shape)
    y = t(same)
    assert all((y[i] != y[j]).any() for i in range(6) for j in range(i))
    batten.manual_seed(3)
    t.generator = None
    expected = t(x)
    batten.manual_seed(3)
    assert t(x).tobytes() == expected.tobytes()


def test_transforms_are_copied_and_pickled(rng):
    x = images(rng, "float32")
    for t in each_transform():
        for twin in (copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
            batten.manual_seed(1)
            expected = t(x)
            batten.manual_seed(1)
            assert twin(x).tobytes() == expected.tobytes()
            assert repr(twin) == repr(t)


def test_representations():
    assert repr(transforms.ColorJitter(0.1, (0.5, 2), 0, hue=0.25)) == (
        "ColorJitter(brightness=(0.9, 1.1), contrast=(0.5, 2.0), hue=(-0.25, 0.25))"
    )
    assert repr(transforms.GaussianNoise()) == "GaussianNoise(mean=0.0, sigma=0.1, clip=True)"
    assert repr(transforms.Normalize((0.5,), [1])) == "Normalize(mean=[0.5], std=[1.0], inplace=False)"
    assert repr(transforms.ToDtype(batten.uint8)) == "ToDtype(dtype=uint8, scale=False)"
    assert repr(transforms.ToFloat()) == "ToFloat()"
    assert repr(transforms.PCAColor()) == "PCAColor(alphastd=0.1)"


# ---- jitter ----


def test_jitter_is_its_steps_in_the_order_that_is_drawn(rng):
    for kind in KINDS:
        x = images(rng, kind, (30, 3, 6, 5))
        g = Generator().manual_seed(8)
        u = batten.rand(30, 2, 4, dtype=batten.float64, generator=g).numpy()
        low, high = np.array([0.6, 0.5, 0.0, -0.2]), np.array([1.4, 1.5, 3.0, 0.3])
        steps = np.argsort(u[:, 1], axis=1)
        assert len(np.unique(steps, axis=0)) > 15
        factors = np.take_along_axis(low + (high - low) * u[:, 0], steps, axis=1)
        t = transforms.ColorJitter(0.4, 0.5, (0, 3), (-0.2, 0.3), generator=g.manual_seed(8))
        close(in_pixels(t(x)), jittered(in_pixels(x), steps, factors), kind)


def test_jitter_leaves_out_what_is_not_asked_for(rng):
    x = images(rng, "float32") * 3 - 1  # not between black and white: nothing may be cut off
    for options in ({}, {"brightness": 0}, {"contrast": (1, 1), "saturation": 0.0, "hue": (0.0, 0.0)}):
        t = transforms.ColorJitter(**options, generator=(g := Generator()))
        assert t(x).tobytes() == x.tobytes()
        assert repr(t) == "ColorJitter()"
        assert g.calls == 1
    y = transforms.ColorJitter(hue=0.5)(images(rng, "uint8", (5, 1, 3, 3)))
    assert y.shape == (5, 1, 3, 3)


def test_jitter_draws_evenly():
    """A white pixel tells brightness below one."""
    t = transforms.ColorJitter(brightness=(0.2, 0.8), generator=Generator().manual_seed(1))
    y = t(np.ones((4000, 1, 1, 1)))[:, 0, 0, 0]
    assert 0.2 <= y.min() <= 0.201
    assert 0.799 <= y.max() <= 0.8
    assert abs(y.mean() - 0.5) < 4 * 0.6 / math.sqrt(12 * 4000)
    assert abs(y.std() - 0.6 / math.sqrt(12)) < 0.01


@trials("name", ["brightness", "contrast", "saturation", "hue"])
def test_jitter_takes_what_torchvision_takes(name):
    v2 = pytest.importorskip("torchvision.transforms.v2")
    values = [
        None,
        0,
        0.3,
        1,
        2.5,
        (0.5, 0.7),
        [0.2, 0.2],
        (0, 0),
        (-0.3, 0.4),
        (1, 1),
        (2, 1),
        -0.1,
        (1, 2, 3),
        (-1, 1),
    ]
    for value in values:
        try:
            expected = getattr(v2.ColorJitter(**{name: value}), name)
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error), match=name):
                transforms.ColorJitter(**{name: value})
        else:
            assert getattr(transforms.ColorJitter(**{name: value}), name) == expected, value


def test_jitter_takes_numpy_s_numbers():
    for number in (np.float32(0.5), np.int64(2)):
        assert repr(transforms.ColorJitter(number)) == repr(transforms.ColorJitter(float(number)))


def test_jitter_refuses():
    for options, kind in (
        ({"brightness": -1}, ValueError),
        ({"contrast": (2, 1)}, ValueError),
        ({"saturation": math.nan}, ValueError),
        ({"saturation": math.inf}, ValueError),
        ({"hue": 0.6}, ValueError),
        ({"hue": (-0.6, 0)}, ValueError),
        ({"brightness": "much"}, TypeError),
        ({"brightness": (1, 2, 3)}, TypeError),
        ({"generator": 5}, TypeError),
    ):
        with pytest.raises(kind, match="ColorJitter expects"):
            transforms.ColorJitter(**options)
    with pytest.raises(ValueError, match=r"images of 1 or 3 channels, got \[1, 4, 2, 2\]$"):
        transforms.ColorJitter(0.1)(np.zeros((1, 4, 2, 2), np.uint8))


# ---- noise ----


@trials("kind", KINDS)
def test_noise_is_normal(kind):
    """Mean and deviation to within four of their own deviations; of bytes the fraction is cut off."""
    n, sigma, mean = 200_000, 0.1, 0.02
    x = np.full((1, 1, 400, 500), 128 if kind == "uint8" else 0.5, kind)
    y = transforms.GaussianNoise(mean, sigma, generator=Generator().manual_seed(2))(x)
    noise = (y.astype(np.float64) - x) / (255 if kind == "uint8" else 1)
    cut = 1 / 255 if kind == "uint8" else 0
    assert abs(noise.mean() - mean) < 4 * sigma / math.sqrt(n) + cut
    assert abs(noise.std() - sigma) < 4 * sigma / math.sqrt(2 * n) + cut
    assert abs((noise < mean).mean() - 0.5) < 0.01 + (0.02 if cut else 0)


def test_noise_on_bytes_is_that_on_floats_without_its_fraction(rng):
    x = images(rng, "uint8", (3, 3, 33, 31))
    made = [transforms.GaussianNoise(0.1, 0.5, clip, generator=Generator().manual_seed(6)) for clip in (True, False)]
    floats = batten.zeros(3, 3, 33, 31)
    noise = 255 * transforms.GaussianNoise(0.1, 0.5, False, generator=Generator().manual_seed(6))(floats).numpy()
    sure = np.abs(noise - np.rint(noise)) > 1e-3
    whole = x + np.trunc(noise).astype(int)
    assert (made[0](x) == np.clip(whole, 0, 255))[sure].all()
    assert (made[1](x) == whole % 256)[sure].all()


def test_noise_refuses():
    for options in ({"sigma": -0.1}, {"sigma": math.nan}, {"mean": math.inf}):
        with pytest.raises(ValueError, match="GaussianNoise expects finite numbers"):
            transforms.GaussianNoise(**options)


# ---- PCA colours ----


def of_colours(rng, covariance, n=40, kind="float64"):
    root = np.linalg.cholesky(covariance)
    x = 0.5 + np.einsum("ij,nhwj->nihw", root, rng.standard_normal((n, 30, 20, 3)))
    return np.clip(np.rint(255 * x), 0, 255).astype(np.uint8) if kind == "uint8" else x.astype(kind)


COVARIANCE = np.array([[0.03, 0.01, 0.0], [0.01, 0.02, 0.005], [0.0, 0.005, 0.01]]) / 4


def test_pca_finds_the_colours():
    for kind in KINDS:
        x = of_colours(np.random.default_rng(3), COVARIANCE, kind=kind)
        t = transforms.PCAColor().fit(x)
        of_white = in_pixels(x).reshape(-1, 3) / (255 if kind == "uint8" else 1)
        expected = np.cov(of_white.T.astype(np.float64), bias=True)
        made = t.eigenvectors @ np.diag(t.eigenvalues) @ t.eigenvectors.T
        np.testing.assert_allclose(made, expected, atol=1e-12 if kind != "float32" else 1e-9)
        np.testing.assert_allclose(made, COVARIANCE, atol=3e-4)
        np.testing.assert_allclose(t.eigenvectors.T @ t.eigenvectors, np.eye(3), atol=1e-12)
        assert (np.diff(t.eigenvalues) <= 0).all()
        assert (t.eigenvectors.max(axis=0) >= -t.eigenvectors.min(axis=0)).all()


def test_pca_adds_a_colour_to_an_image():
    train = of_colours(np.random.default_rng(3), COVARIANCE)
    t = transforms.PCAColor(0.5, generator=Generator()).fit(train)
    for kind in KINDS:
        t.generator.manual_seed(9)
        a = batten.randn(7, 3, dtype=batten.float64, generator=t.generator).numpy() * 0.5
        colours = (a * t.eigenvalues) @ t.eigenvectors.T
        x = images(np.random.default_rng(4), kind, (7, 3, 5, 6))
        t.generator.manual_seed(9)
        expected = x + colours[:, :, None, None] * (255 if kind == "uint8" else 1)
        if kind == "uint8":
            expected = np.clip(np.floor(expected + 0.5), 0, 255)
        close(t(x), expected, kind)


def test_pca_adds_the_variance_that_colours_have():
    t = transforms.PCAColor(1.0, generator=Generator().manual_seed(1))
    t.load_state_dict({"eigenvalues": np.array([0.3, 0.2, 0.1]), "eigenvectors": np.eye(3)})
    added = t(np.zeros((20_000, 3, 1, 1)))[:, :, 0, 0]
    np.testing.assert_allclose(np.cov(added.T), np.diag([0.09, 0.04, 0.01]), atol=4e-3)


def test_pca_of_what_does_not_vary():
    t = transforms.PCAColor().fit(np.full((3, 3, 4, 4), 7, np.uint8))
    assert not t.eigenvalues.any()
    x = np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4)
    assert (t(x) == x).all()
    assert transforms.PCAColor().fit(np.full((3, 1, 1), 0.1, np.float32)).eigenvalues.max() < 1e-12


def test_pca_state(tmp_path, rng):
    train = of_colours(rng, COVARIANCE)
    fitted = transforms.PCAColor().fit(train)
    batten.save(fitted.state_dict(), tmp_path / "pca")
    twin = transforms.PCAColor()
    assert twin.state_dict() == {"eigenvalues": None, "eigenvectors": None}
    twin.load_state_dict(batten.load(tmp_path / "pca"))
    batten.manual_seed(0)
    expected = fitted(train)
    batten.manual_seed(0)
    assert twin(train).tobytes() == expected.tobytes()
    good = fitted.state_dict()
    for bad in (
        {},
        {**good, "mean": 1},
        {**good, "eigenvalues": np.ones(2)},
        {**good, "eigenvectors": np.full((3, 3), np.nan)},
        {**good, "eigenvalues": None},
    ):
        with pytest.raises(ValueError, match="PCAColor expects"):
            twin.load_state_dict(bad)
    assert (twin.eigenvalues == fitted.eigenvalues).all()
    twin.load_state_dict(transforms.PCAColor().state_dict())
    with pytest.raises(RuntimeError, match=r"call fit\(images\)"):
        twin(train)


def test_pca_refuses(rng):
    with pytest.raises(ValueError, match="alphastd of at least 0"):
        transforms.PCAColor(-1)
    for x in (np.zeros((2, 1, 4, 4)), np.zeros((2, 4, 4, 4), np.uint8)):
        with pytest.raises(ValueError, match="PCAColor expects images of 3 channels"):
            transforms.PCAColor().fit(x)
    with pytest.raises(ValueError, match="at least one pixel"):
        transforms.PCAColor().fit(np.zeros((0, 3, 4, 4)))
    with pytest.raises(TypeError, match="PCAColor expects images"):
        transforms.PCAColor().fit([1])
    with pytest.raises(ValueError, match="PCAColor expects images of 3 channels"):
        transforms.PCAColor().fit(images(rng, "uint8"))(np.zeros((2, 1, 4, 4)))


# ---- values ----


@trials("channels", [1, 2, 3, 4, 17, 33])
def test_normalize_against_numpy(channels, rng):
    mean, std = rng.random((2, channels)) + 0.1
    for kind in KINDS:
        for shape in ((3, channels, 5, 7), (2, channels, 40, 40), (channels, 3, 3)):
            x = images(rng, kind, shape)
            y = transforms.Normalize(mean.tolist(), tuple(std))(x)
            values = x / 255 if kind == "uint8" else x.astype(np.float64)
            expected = (values - mean[:, None, None]) / std[:, None, None]
            assert y.dtype == ("float32" if kind == "uint8" else kind)
            np.testing.assert_allclose(
                y, expected, rtol=1e-14 if kind == "float64" else 4e-7, atol=1e-6 if kind != "float64" else 1e-15
            )
            one = transforms.Normalize([0.3], [-2.0])(x)
            np.testing.assert_allclose(one, (values - 0.3) / -2, rtol=4e-7, atol=1e-7)


def test_values_against_torchvision(rng):
    torch = pytest.importorskip("torch")
    v2 = pytest.importorskip("torchvision.transforms.v2")
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    bytes_, floats = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 3, 16, 16), rng.random((2, 3, 9, 5))
    as_float = v2.ToDtype(torch.float32, scale=True)
    theirs = v2.Normalize(mean, std)(as_float(torch.from_numpy(bytes_))).numpy()
    np.testing.assert_allclose(transforms.Normalize(mean, std)(bytes_), theirs, rtol=0, atol=1e-6)
    two = transforms.Compose([transforms.ToFloat(), transforms.Normalize(mean, std)])
    np.testing.assert_allclose(two(bytes_), theirs, rtol=0, atol=1e-6)
    for kind in ("float32", "float64"):
        x = floats.astype(kind)
        theirs = v2.Normalize(mean, std)(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(
            transforms.Normalize(mean, std)(x), theirs, rtol=1e-6 if kind == "float32" else 1e-14
        )
    for source in (bytes_, floats, floats.astype(np.float32), np.arange(0, 1.0001, 1 / 510).reshape(1, 1, -1)):
        for name in KINDS:
            for scale in (False, True):
                t = v2.ToDtype(getattr(torch, name), scale=scale)
                got = transforms.ToDtype(getattr(batten, name), scale=scale)(source)
                theirs = t(torch.from_numpy(source)).numpy()
                assert got.dtype == theirs.dtype
                assert got.shape == theirs.shape
                np.testing.assert_array_equal(got, theirs, err_msg=f"{source.dtype} to {name}, {scale}")


def test_normalize_takes_over_what_makes_floats_of_bytes(rng, monkeypatch):
    """In one pass, and nobody can tell by the result."""
    normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    over = transforms.Normalize(normalize.mean, normalize.std, inplace=True)
    passes = []
    one = kernels.standardize
    monkeypatch.setattr(kernels, "standardize", lambda *a: passes.append(1) or one(*a))
    for first, second, count in (
        (transforms.ToFloat(), normalize, 1),
        (transforms.ToDtype(batten.float32, scale=True), normalize, 1),
        (transforms.ToDtype(batten.float64, scale=True), normalize, 2),
        (transforms.ToDtype(batten.float32), normalize, 1),
        (transforms.ToFloat(), over, 2),
    ):
        for kind in ("uint8", "float32"):
            for x in (images(rng, kind), images(rng, kind)[1], batten.from_numpy(images(rng, kind))):
                expected = second(first(x))
                passes.clear()
                y = transforms.Compose([first, second])(x)
                assert np.asarray(y).tobytes() == np.asarray(expected).tobytes()
                assert np.asarray(y).dtype == np.asarray(expected).dtype
                assert type(y) is type(x)
                assert len(passes) == (count if kind == "uint8" else 1), (first, second)
                labelled = transforms.Compose([first, second])(x, 3)
                assert labelled[1] == 3
                assert np.asarray(labelled[0]).tobytes() == np.asarray(expected).tobytes()


def test_to_dtype_and_back(rng):
    x = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    for kind in (batten.float32, batten.float64):
        y = transforms.ToDtype(kind, scale=True)(x)
        assert y.dtype == kind
        assert (y.min(), y.max()) == (0, 1)
        assert (transforms.ToDtype(batten.uint8, scale=True)(y) == x).all()
        assert (transforms.ToDtype(batten.uint8)(transforms.ToDtype(kind)(x)) == x).all()
        odd = np.array([[[-np.inf, -1, np.nan, 1.5, 2.5, 300, np.inf]]], kind)
        assert transforms.ToDtype(batten.uint8)(odd).ravel().tolist() == [0, 0, 0, 1, 2, 255, 255]
    assert transforms.ToDtype(batten.uint8)(x) is x or transforms.ToDtype(batten.uint8)(x).base is x.base
    for bad in (batten.int64, batten.bool):
        with pytest.raises(TypeError, match="ToDtype expects uint8, float32 or float64"):
            transforms.ToDtype(bad)
    with pytest.raises(TypeError, match="dtype"):
        transforms.ToDtype("colour")


def test_normalize_in_place(rng):
    t = transforms.Normalize([0.5, 0.4, 0.3], [0.1, 0.2, 0.3], inplace=True)
    plain = transforms.Normalize([0.5, 0.4, 0.3], [0.1, 0.2, 0.3])
    for kind in ("float32", "float64"):
        x = images(rng, kind, (2, 3, 4, 6))
        for array in (x.copy(), x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), x[0].copy(), x[..., ::2].copy()):
            expected = plain(array)
            y = t(array)
            assert np.shares_memory(y, array)
            assert (array == expected).all()
            assert (y == expected).all()
    tensor = batten.from_numpy(x.copy())
    t(tensor)
    assert tensor.version[0] == 1
    assert (tensor.numpy() == plain(x)).all()
    with pytest.raises(ValueError, match="in place expects images of floats"):
        t(images(rng, "uint8"))
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        t(x)


def test_normalize_refuses(rng):
    for mean, std in (([], []), ([1], [1, 2]), ([1, 2], [1]), ([1, 2], [1, 0])):
        with pytest.raises(ValueError, match="Normalize expects"):
            transforms.Normalize(mean, std)
    with pytest.raises(ValueError, match=r"Normalize expects images of 2 channels, got \[3, 3, 7, 5\]"):
        transforms.Normalize([1, 2], [1, 2])(images(rng, "uint8"))
    with pytest.raises(TypeError, match=r"Normalize expects std as a sequence of numbers, got 0\.5"):
        transforms.Normalize([0.5], 0.5)


@trials("kind", [transforms.Normalize([0.5] * 3, [1] * 3), transforms.ColorJitter(0.1), transforms.PCAColor()])
def test_images_with_channels_last_are_told_apart(kind, rng):
    if isinstance(kind, transforms.PCAColor):
        kind.fit(images(rng, "uint8"))
    message = "channels, got .*, whose channels lie last: use .transpose\\(2, 0, 1\\) on an image first"
    for x in (np.zeros((8, 9, 3), np.uint8), np.zeros((2, 8, 9, 3), np.float32)):
        with pytest.raises(ValueError, match=message):
            kind(x)
    kind(np.zeros((8, 9, 3), np.uint8).transpose(2, 0, 1))


def test_tensors_that_require_gradients_are_refused():
    x = batten.zeros(1, 3, 2, 2, requires_grad=True)
    with pytest.raises(ValueError, match="require no gradient"):
        transforms.ToDtype(batten.float64)(x)
    assert transforms.ToDtype(batten.float64)(x.detach()).dtype == batten.float64
