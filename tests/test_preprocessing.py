"""Scaling and whitening: against their equations, against scikit-learn, and on what is odd, empty or wrong."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
import types

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import batten
from batten.preprocessing import (
    MinMaxScaler,
    PCAWhitening,
    PerImageStandardize,
    StandardScaler,
    ZCAWhitening,
    preprocessor,
)

SCALERS = [MinMaxScaler(), MinMaxScaler((-2, 5)), StandardScaler()]
WHITENINGS = [PCAWhitening(0.01), PCAWhitening(0.01, n_components=3), ZCAWhitening()]
FITTED = [*SCALERS, *WHITENINGS]
ALL = [*FITTED, PerImageStandardize()]
CLOSE = {np.dtype("float32"): {"rtol": 2e-5, "atol": 1e-5}, np.dtype("float64"): {"rtol": 1e-9, "atol": 1e-9}}


def fresh(like):
    """One of the same class and options that has seen nothing."""
    return type(like)(**{name: getattr(like, name) for name in like.options})


def mixed(rng, n, d, dtype=np.float64):
    """Rows of features that depend on one another, on scales apart."""
    x = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) * np.geomspace(0.1, 10, d) + rng.standard_normal(d)
    return x.astype(dtype)


def forms(x):
    """Images (N, C, H, W) in all the orders and kinds of memory that they come in."""
    strided = np.zeros((2 * len(x), *x.shape[1:]), x.dtype)
    strided[::2] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return {"C order": x, "channels last": last, "strided": strided[::2], "read-only": read_only}


@pytest.fixture(params=[2**20, 50, 1], ids=lambda size: f"piece{size}")
def pieces(request, monkeypatch):
    """All at once, a few rows at a time, and each by itself."""
    monkeypatch.setattr(preprocessor, "PIECE", request.param)


# ---- the equations ----


def reference(kind, x):
    """The whole computation of `transform` on the examples fitted, in float64."""
    x = x.reshape(len(x), -1).astype(np.float64)
    if isinstance(kind, MinMaxScaler):
        (a, b), least = kind.feature_range, x.min(0)
        return a + (b - a) * (x - least) / (x.max(0) - least)
    if isinstance(kind, StandardScaler):
        return (x - x.mean(0)) / x.std(0)
    if isinstance(kind, PerImageStandardize):
        return (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(x.T)))
    scaled = (x - x.mean(0)) @ vectors / np.sqrt(values + kind.epsilon)
    if isinstance(kind, ZCAWhitening):
        return scaled @ vectors.T
    largest = np.abs(vectors).argmax(0)
    return (scaled * np.sign(vectors[largest, range(len(largest))]))[:, ::-1][:, : kind.n_components]


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_equation(kind, dtype, pieces, rng):
    least = getattr(kind, "n_components", None) or (2 if isinstance(kind, PerImageStandardize) else 1)
    for n, d in [(2, least), (5, 3), (40, 7), (33, 12)]:
        x = mixed(rng, n, d, dtype)
        before, y = x.copy(), fresh(kind).fit_transform(x)
        assert y.dtype == dtype and y.flags.c_contiguous, (n, d)
        assert_allclose(y, reference(kind, x), **CLOSE[dtype], err_msg=f"{n} {d}")
        assert_array_equal(x, before)


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_images_are_rows_of_their_elements_wherever_they_lie(kind, dtype, pieces, rng):
    x = rng.standard_normal((20, 3, 2, 2)).astype(dtype)
    expected = fresh(kind).fit_transform(x.reshape(20, -1))
    for name, form in forms(x).items():
        y = fresh(kind).fit_transform(form)
        assert_array_equal(y.reshape(20, -1), expected, err_msg=name)
        if not isinstance(kind, PCAWhitening):
            assert y.shape == x.shape and y.dtype == dtype
            lies_last = y.transpose(0, 2, 3, 1).flags.c_contiguous
            assert lies_last if name == "channels last" else y.flags.c_contiguous, name


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_bytes_become_the_default_type(kind, rng):
    x = rng.integers(0, 256, (20, 3, 2, 2), np.uint8)
    y = fresh(kind).fit_transform(x)
    assert y.dtype == np.float32
    assert_array_equal(y, fresh(kind).fit_transform(x.astype(np.float32)))
    batten.set_default_dtype(batten.float64)
    try:
        assert_array_equal(fresh(kind).fit_transform(x), fresh(kind).fit_transform(x.astype(np.float64)))
        assert fresh(kind).fit_transform(x > 100).dtype == np.float64
    finally:
        batten.set_default_dtype(batten.float32)


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_tensors_become_tensors(kind, rng):
    x = mixed(rng, 20, 4, np.float32)
    expected = fresh(kind).fit_transform(x)
    y = fresh(kind).fit_transform(batten.tensor(x, requires_grad=True), batten.zeros(20))
    assert isinstance(y, batten.Tensor) and not y.requires_grad and y.is_leaf
    assert_array_equal(y.numpy(), expected)
    assert_array_equal(fresh(kind).fit(x.tolist()).transform(x), expected)
    assert isinstance(fresh(kind).fit_transform(x.tolist()), np.ndarray)


# ---- whitening ----


@pytest.mark.parametrize("epsilon", [0, 1e-9, 0.1, 10])
def test_whitened_covariance(epsilon, rng):
    x = mixed(rng, 60, 9)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    zca, pca = ZCAWhitening(epsilon).fit(x), PCAWhitening(epsilon).fit(x)
    expected = vectors @ np.diag(values / (values + epsilon)) @ vectors.T
    assert_allclose(np.cov(zca.transform(x).T), expected, atol=1e-10)
    assert_allclose(np.cov(pca.transform(x).T), np.diag((values / (values + epsilon))[::-1]), atol=1e-10)
    if epsilon <= 1e-9:
        assert_allclose(np.cov(zca.transform(x).T), np.eye(9), atol=1e-6)
    assert_allclose(zca.transform(x).mean(0), 0, atol=1e-10)
    for whitening in (zca, pca):
        assert_allclose(whitening.explained_variance_, values[::-1], rtol=1e-10, atol=1e-12)
        assert_allclose(whitening.components_ @ whitening.components_.T, np.eye(9), atol=1e-12)
        assert (whitening.components_.max(1) == np.abs(whitening.components_).max(1)).all()
        assert_allclose(whitening.transform(x), (x - x.mean(0)) @ whitening.whitening_.T, atol=1e-9)
    assert_allclose(zca.whitening_, zca.whitening_.T, atol=1e-12)


def test_zca_changes_examples_least(rng):
    """Of all rotations of what is white."""
    x = mixed(rng, 60, 5)
    x -= x.mean(0)
    z = ZCAWhitening(0).fit_transform(x)
    for _ in range(20):
        rotation = np.linalg.qr(rng.standard_normal((5, 5)))[0]
        assert_allclose(np.cov((z @ rotation).T), np.eye(5), atol=1e-9)
        assert np.square(z - x).sum() < np.square(z @ rotation - x).sum()


def test_covariances_of_several_blocks(monkeypatch, rng):
    from batten.preprocessing import whitening

    x = mixed(rng, 50, 17)
    expected = ZCAWhitening().fit(x).whitening_
    for block in (1, 4, 16):
        monkeypatch.setattr(whitening, "BLOCK", block)
        assert_allclose(ZCAWhitening().fit(x).whitening_, expected, rtol=1e-9, atol=1e-9)


def test_fewer_examples_than_features(rng):
    x = rng.standard_normal((4, 9))
    for whitening in (ZCAWhitening(), PCAWhitening(0.1)):
        z = whitening.fit_transform(x)
        assert_allclose(whitening.explained_variance_[3:], 0, atol=1e-14)
        assert (whitening.explained_variance_ >= 0).all()
        assert_allclose(whitening.inverse_transform(z), x, atol=1e-12)
    assert_allclose(ZCAWhitening().fit_transform(x), reference(ZCAWhitening(), x), atol=1e-12)
    z = PCAWhitening(0, n_components=3).fit_transform(x)
    assert_allclose(np.cov(z.T), np.eye(3), atol=1e-12)


def test_features_that_say_nothing_new_need_an_epsilon(rng):
    x = mixed(rng, 30, 4)
    constant, twice = x.copy(), np.concatenate([x, x[:, :2]], 1)
    constant[:, 1] = 0.1
    for degenerate in (constant, twice, np.full((5, 3), 7.0), np.full((3, 3), 0.1), x[:4]):
        for epsilon in (0, 1e-300):
            for kind in (ZCAWhitening(epsilon), PCAWhitening(epsilon)):
                with pytest.raises(ValueError, match=rf"may be all rounding: expected a larger epsilon, got {epsilon}"):
                    kind.fit(degenerate)
        for kind in (ZCAWhitening(), PCAWhitening(0.1)):
            assert np.isfinite(kind.fit_transform(degenerate)).all()
    assert_array_equal(ZCAWhitening().fit_transform(np.full((5, 3), 7.0)), np.zeros((5, 3)))
    assert_allclose(ZCAWhitening().fit_transform(constant)[:, 1], 0, atol=1e-12)


# ---- scaling ----


def test_the_examples_fitted_lie_in_the_range(dtype, rng):
    for seed in range(50):
        x = np.random.default_rng(seed).standard_normal((7, 200)).astype(dtype) * 10.0 ** rng.integers(-6, 6)
        y = MinMaxScaler().fit_transform(x.astype(dtype))
        assert y.min() == 0 and y.max() <= 1


@pytest.mark.parametrize("kind", SCALERS, ids=repr)
def test_batches_make_the_same_as_all_at_once(kind, pieces, rng):
    x = mixed(rng, 41, 5) + 1000
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:10, 3] = np.nan  # nothing of it in the first batch,
    x[:, 4] = 7.0  # and nothing but this here
    whole, parts = fresh(kind).fit(x), fresh(kind)
    for part in (x[:10], x[10:11], x[11:]):
        assert parts.partial_fit(part) is parts
    for name in (*kind.state, "scale_"):
        assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-11, err_msg=name)
    assert_allclose(whole.fit(x[:30]).transform(x), fresh(kind).fit(x[:30]).transform(x))  # fit forgets


@pytest.mark.parametrize("kind", [StandardScaler(), PCAWhitening(0.01), ZCAWhitening()], ids=repr)
def test_better_conditioned(kind, rng):
    """What gradient descent on squared errors needs: the eigenvalues of the second moments close together."""
    x = mixed(rng, 300, 6) * [1, 1, 1, 1, 30, 100] + 50
    y = fresh(kind).fit_transform(x)
    assert np.linalg.cond(y.T @ y) < np.linalg.cond(x.T @ x) / 1000


def test_gradient_descent_takes_fewer_steps(rng):
    x = rng.standard_normal((200, 3)) * [1, 5, 20] + [0, 10, 0]
    x[:, 2] += 3 * x[:, 1]
    target = x @ [1.0, -1.0, 0.5]

    def steps(x):
        x = np.concatenate([x, np.ones((200, 1))], 1)
        hessian, w, count = x.T @ x / 200, np.zeros(4), 0
        while np.square(x @ w - target).mean() > 1e-4 and count < 100_000:
            w -= x.T @ (x @ w - target) / 200 / np.linalg.eigvalsh(hessian)[-1]
            count += 1
        return count

    assert steps(ZCAWhitening(1e-6).fit_transform(x)) < 5
    assert steps(StandardScaler().fit_transform(x)) < 200 < 1000 < steps(x)


@pytest.mark.parametrize("kind", [*SCALERS, PerImageStandardize()], ids=repr)
def test_nan_passes_and_counts_for_nothing(kind, pieces, rng):
    x = mixed(rng, 12, 5)
    x[0, 0] = x[3:6, 2] = np.nan
    y = fresh(kind).fit_transform(x)
    assert_array_equal(np.isnan(y), np.isnan(x))
    if isinstance(kind, PerImageStandardize):
        assert_allclose(y[0, 1:], reference(kind, x[:1, 1:])[0])
    else:
        assert_allclose(y[1:, 0], reference(kind, x[1:, :1])[:, 0])
        assert_allclose(y[:, [1, 3, 4]], reference(kind, x[:, [1, 3, 4]]))


@pytest.mark.parametrize("kind", [*SCALERS, PerImageStandardize()], ids=repr)
def test_of_nothing_nothing_is_known(kind):
    x = np.array([[np.nan, 1.0], [np.nan, 2.0]])
    y = fresh(kind).fit(x).transform(np.array([[5.0, 2.0]]))
    assert np.isfinite(y[0, 1]) and np.isnan(y[0, 0]) == (not isinstance(kind, PerImageStandardize))
    y = PerImageStandardize().transform(np.array([[np.nan, np.nan], [1.0, 2.0]]))
    assert_array_equal(y, [[np.nan, np.nan], [-1, 1]])


def test_constant_features(dtype):
    x = np.array([[0.1, 0, 1e8, 1], [0.1, 0, 1e8, 2], [0.1, 0, 1e8, 4]] * 5, dtype)
    for y in (StandardScaler().fit_transform(x), MinMaxScaler().fit_transform(x)):
        assert_allclose(y[:, :3], 0, atol=1e-6)
    assert_array_equal(StandardScaler().fit(x).scale_[:3], 1)
    assert_allclose(PerImageStandardize().transform(x.T[:3]), 0, atol=1e-6)
    assert_array_equal(MinMaxScaler((3, 5)).fit(x).transform(x)[:, 0], 3)


def test_one_example():
    x = np.array([[3.0, -1.0, 0.0]])
    for kind in (StandardScaler(), MinMaxScaler()):
        assert_array_equal(kind.fit_transform(x), np.zeros((1, 3)))
        assert_array_equal(kind.transform(x + 1), np.ones((1, 3)))
        assert_array_equal(kind.inverse_transform(np.zeros((1, 3))), x)


# ---- there and back ----


@pytest.mark.parametrize("kind", FITTED, ids=repr)
def test_inverse(kind, dtype, pieces, rng):
    x = mixed(rng, 30, 12, dtype).reshape(30, 3, 2, 2)
    fitted = fresh(kind).fit(x)
    back = fitted.inverse_transform(fitted.transform(x))
    assert back.dtype == dtype and back.shape == x.shape
    if getattr(kind, "n_components", None):
        assert back.transpose(0, 2, 3, 1).flags.c_contiguous
        rows, directions = x.reshape(30, -1) - fitted.mean_, fitted.components_
        expected = rows @ directions.T @ directions + fitted.mean_
    else:
        expected = x.reshape(30, -1)
    assert_allclose(
        back.reshape(30, -1),
        expected,
        rtol=1e-3 if dtype == np.float32 else 1e-9,
        atol=1e-4 * (dtype.itemsize == 4) + 1e-9,
    )
    assert_array_equal(fitted.inverse_transform(batten.tensor(fitted.transform(x))).numpy(), back)


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_rows_of_as_many_features_and_none(kind, rng):
    x = rng.standard_normal((20, 3, 2, 2))
    fitted = fresh(kind).fit(x)
    assert_array_equal(fitted.transform(x.reshape(20, 12)), fitted.transform(x).reshape(20, -1))
    assert fitted.transform(x.reshape(20, 12)).ndim == 2
    empty = fitted.transform(x[:0])
    assert empty.shape == fitted.transform(x)[:0].shape
    if kind in FITTED:
        assert fitted.n_features_in_ == 12 and fitted.feature_shape_ == (3, 2, 2)
        assert fitted.inverse_transform(empty).shape == (0, 3, 2, 2)


# ---- scikit-learn ----


@pytest.mark.parametrize("with_nan", [False, True])
def test_scalers_like_scikit_learn(with_nan, dtype, rng):
    theirs = pytest.importorskip("sklearn.preprocessing")
    x = mixed(rng, 50, 6, dtype)
    x[:, 2], x[:, 3], x[:, 4] = 0.1, 1e6, rng.random(50) * 1e-15
    if with_nan:
        x[rng.random(x.shape) < 0.1] = np.nan
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-9}
    names = ["data_min_", "data_max_", "data_range_", "scale_", "min_"]
    for ours, other, attributes in [
        (MinMaxScaler(), theirs.MinMaxScaler(), names),
        (MinMaxScaler(feature_range=(-3, 0.5)), theirs.MinMaxScaler(feature_range=(-3, 0.5)), names),
        (StandardScaler(), theirs.StandardScaler(), ["mean_", "var_", "scale_", "n_samples_seen_"]),
    ]:
        for learn in ("fit", "partial_fit"):
            getattr(ours, learn)(x[:25] if learn == "partial_fit" else x)
            getattr(other, learn)(x[:25] if learn == "partial_fit" else x)
            for name in attributes:
                theirs_now = getattr(other, name)
                assert_allclose(getattr(ours, name), theirs_now, **close, err_msg=f"{ours} {name}")
            y = ours.transform(x)
            assert y.dtype == dtype
            assert_allclose(y, other.transform(x), **close, err_msg=repr(ours))
            assert_allclose(ours.inverse_transform(y), other.inverse_transform(other.transform(x)), **close)
            assert ours.n_features_in_ == other.n_features_in_


@pytest.mark.parametrize("n_components", [None, 1, 4])
def test_whitening_like_scikit_learn(n_components, rng):
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = mixed(rng, 50, 6)
    ours = PCAWhitening(0, n_components).fit(x)
    theirs = decomposition.PCA(n_components, whiten=True, svd_solver="full").fit(x)
    for name in ("mean_", "components_", "explained_variance_"):
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, atol=1e-9, err_msg=name)
    z = ours.transform(x)
    assert_allclose(z, theirs.transform(x), atol=1e-7)
    assert_allclose(ours.inverse_transform(z), theirs.inverse_transform(z), atol=1e-7)


# ---- state ----


@pytest.mark.parametrize("kind", FITTED, ids=repr)
def test_saved_and_loaded(kind, rng, tmp_path):
    x = rng.standard_normal((20, 3, 2, 2))
    fitted = fresh(kind).fit(x)
    y = fitted.transform(x)
    batten.save(fitted.state_dict(), tmp_path / "state")
    other = PCAWhitening(5.0) if isinstance(kind, PCAWhitening) else type(kind)()
    other.load_state_dict(batten.load(tmp_path / "state"))
    copies = [other, copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))]
    for one in copies:
        assert repr(one) == repr(fitted) and one.feature_shape_ == (3, 2, 2)
        assert_array_equal(one.transform(x), y)
        assert_array_equal(one.inverse_transform(y), fitted.inverse_transform(y))
    direct = fresh(kind)
    direct.load_state_dict(fitted.state_dict())
    getattr(fitted, kind.state[0])[:] = 7  # what was loaded is a copy
    assert_array_equal(direct.transform(x), y)


@pytest.mark.parametrize("kind", FITTED, ids=repr)
def test_a_state_that_does_not_fit_changes_nothing(kind, rng):
    x = mixed(rng, 20, 4)
    state = fresh(kind).fit(x).state_dict()
    state |= {"epsilon": 7.0} if kind in WHITENINGS else {"feature_range": (3, 9)} if "feature_range" in state else {}
    last = kind.state[-1]
    refused = [
        ({}, ValueError, "expects a state_dict of"),
        ({**state, "more": 1}, ValueError, "got one of .*'more'"),
        ({**state, "feature_shape_": (5,)}, ValueError, r"of shape \[5\], got \[4\]"),
        ({**state, last: state[last][:-1]}, ValueError, rf"expects {last} of shape \[\d\], got"),
        ({**state, last: state[last][None]}, ValueError, rf"expects {last} of shape \[\d\], got"),
        ({**state, last: state[last].astype(np.float32)}, TypeError, f"expects {last} in float64, got float32"),
        ({**state, last: ["a"] * 4}, TypeError, f"expects {last} in float64"),
    ]
    if isinstance(kind, MinMaxScaler):
        refused.append(({**state, "feature_range": (1, 1)}, ValueError, "finite a < b"))
    for fitted in (True, False):
        one = fresh(kind)
        y = one.fit(x).transform(x) if fitted else None
        for wrong, error, message in refused:
            with pytest.raises(error, match=message):
                one.load_state_dict(wrong)
            assert repr(one) == repr(kind)
            if fitted:
                assert_array_equal(one.transform(x), y)
            else:
                assert not hasattr(one, "feature_shape_")


@pytest.mark.parametrize("kind", FITTED, ids=repr)
def test_examples_that_are_refused_change_nothing(kind, rng):
    x = mixed(rng, 20, 4)
    infinite = x.copy()
    infinite[19, 2] = np.inf
    one = fresh(kind).fit(x)
    y = one.transform(x)
    for wrong in (infinite, x[:0], x[:, :0], x[0]):
        for learn in {"fit", "partial_fit"} & set(dir(one)):
            with pytest.raises(ValueError, match="expects"):
                getattr(one, learn)(wrong)
    if kind in SCALERS:
        with pytest.raises(ValueError, match=r"expects \(N, 4\), as in fit, got \[20, 3\]"):
            one.partial_fit(x[:, :3])
    assert_array_equal(one.transform(x), y)


def test_numpy_s_numbers_as_options_are_saved(rng, tmp_path):
    x = mixed(rng, 20, 4)
    wide = MinMaxScaler(tuple(np.array([0, 5], np.float32)))
    for kind in (wide, ZCAWhitening(np.float64(0.5)), PCAWhitening(np.float32(0.5), np.int64(2))):
        batten.save(kind.fit(x).state_dict(), tmp_path / "state")
        assert batten.load(tmp_path / "state").keys() == kind.state_dict().keys()


def test_repr():
    shown = [repr(kind) for kind in ALL]
    assert shown == [
        "MinMaxScaler(feature_range=(0.0, 1.0))",
        "MinMaxScaler(feature_range=(-2.0, 5.0))",
        "StandardScaler()",
        "PCAWhitening(epsilon=0.01, n_components=None)",
        "PCAWhitening(epsilon=0.01, n_components=3)",
        "ZCAWhitening(epsilon=0.1)",
        "PerImageStandardize()",
    ]


# ---- threads and memory ----


def test_same_bits_for_any_number_of_threads(threads, rng):
    """The covariance, what is made of it, and what that makes of images."""
    x = rng.standard_normal((300, 3, 9, 9)).astype(np.float32)
    results = []
    for count in (1, 2, 3, 8):
        threads(count)
        zca = ZCAWhitening().fit(x)
        z = zca.transform(x)
        results.append(
            [zca._covariance(x, zca.mean_)[np.tril_indices(243)], zca.whitening_, z, zca.inverse_transform(z)]
        )
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_no_second_data_set(kind, monkeypatch, rng):
    """What is there beside the result, which lies in the pool, does not grow with the number of examples."""
    monkeypatch.setattr(preprocessor, "PIECE", 2**12)
    x = rng.integers(0, 256, (20_000, 3, 4, 4), np.uint8)
    tracemalloc.start()
    try:
        fresh(kind).fit(x).transform(x)
        assert tracemalloc.get_traced_memory()[1] < x.size / 2
    finally:
        tracemalloc.stop()


# ---- what is refused ----


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_wrong_examples(kind, rng):
    name = type(kind).__name__
    x = rng.standard_normal((20, 3, 2, 2))
    fitted = fresh(kind).fit(x)
    infinite = x.copy()
    infinite[7, 1, 1, 0] = -np.inf
    wrong = [
        (np.zeros(12), ValueError, r"expects examples \(N, \*\) with at least one feature, got \[12\]"),
        (np.float64(3), ValueError, r"got \[\]"),
        (np.zeros((4, 3, 0, 2)), ValueError, r"at least one feature, got \[4, 3, 0, 2\]"),
        (x.astype(np.float16), TypeError, "expects numbers of a type that tensors have, got ndarray of float16"),
        (x.astype(complex), TypeError, "got ndarray of complex128"),
        (x.astype(">f4"), TypeError, "got ndarray of >f4"),
        (np.array([["a", "b"]]), TypeError, "got ndarray of <U1"),
        (np.array([[None, 1]]), TypeError, "got ndarray of object"),
        (types.SimpleNamespace(), TypeError, "got SimpleNamespace of object"),  # as a sparse matrix would be
        (infinite, ValueError, "expects finite numbers( or NaN)?, got infinity"),
    ]
    if kind in WHITENINGS:
        missing = x.copy()
        missing[0, 0, 0, 0] = np.nan
        wrong.append((missing, ValueError, "expects finite numbers, got NaN"))
    for array, error, message in wrong:
        for call in (fitted.transform, fresh(kind).fit_transform):
            with pytest.raises(error, match=f"^{name} .*{message}"):
                call(array)
    if kind not in FITTED:
        return
    for shape in ((20, 3, 2), (20, 11), (20, 2, 2, 3), (20, 3, 4)):
        with pytest.raises(ValueError, match=rf"^{name} expects \(N, 3, 2, 2\), as in fit, got \[20, "):
            fitted.transform(np.zeros(shape))
    with pytest.raises(ValueError, match=f"^{name} expects at least (one|2) examples? to fit"):
        fresh(kind).fit(x[:0])
    for call in (
        lambda one: one.transform(x),
        lambda one: one.inverse_transform(x),
        lambda one: one.state_dict(),
        lambda one: one.n_features_in_,
    ):
        with pytest.raises(ValueError, match=f"^{name} has not seen any examples yet; call fit first"):
            call(fresh(kind))


def test_wrong_components(rng):
    pca = PCAWhitening(0.1, 2).fit(rng.standard_normal((20, 3, 2, 2)))
    with pytest.raises(ValueError, match=r"PCAWhitening expects components \(N, 2\), got \[5, 3\]"):
        pca.inverse_transform(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="expects at least 13 features to fit, got 12"):
        PCAWhitening(0.1, 13).fit(rng.standard_normal((20, 3, 2, 2)))
    for kind in (PCAWhitening(0.1), ZCAWhitening()):
        with pytest.raises(ValueError, match=r"expects at least 2 examples to fit, got \[1, 3\]"):
            kind.fit(np.zeros((1, 3)))


def test_variances_beyond_all_numbers(rng):
    for kind in (PCAWhitening(0.1), ZCAWhitening()):
        with pytest.raises(ValueError, match="expects numbers whose squares are finite; scale them first"):
            kind.fit(1e200 * rng.standard_normal((20, 3)))


def test_wrong_options():
    for wrong in ((1, 0), (1, 1), (0, np.inf), (np.nan, 1)):
        with pytest.raises(ValueError, match="MinMaxScaler expects a feature_range"):
            MinMaxScaler(wrong)
    for kind in (ZCAWhitening, PCAWhitening):
        for epsilon in (-1e-9, np.inf, np.nan):
            with pytest.raises(ValueError, match=f"{kind.__name__} expects a finite epsilon >= 0, got"):
                kind(epsilon)
    for count in (0, -1):
        with pytest.raises(ValueError, match="expects n_components >= 1 or None"):
            PCAWhitening(0.1, count)
    with pytest.raises(TypeError):
        PCAWhitening(0.1, 0.95)
