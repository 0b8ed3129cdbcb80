"""Softmax, GELU and layer norm against float64, compiled and in NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import erfc

from whisper_npu.dtypes import F32
from whisper_npu.host import elementwise
from whisper_npu.host.elementwise import gelu, layer_norm, softmax
from whisper_npu.host.rows import compiled
from whisper_npu.ops import EPSILON

pytestmark = pytest.mark.usefixtures("each_form")
TINY = np.finfo(np.float32).tiny  # the smallest normal number


@pytest.fixture(params=["compiled", "NumPy"], scope="module")
def each_form(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "NumPy":
            patch.setattr(elementwise, "compiled", lambda: None)
        elif compiled() is None:
            pytest.skip("no C++ compiler")
        yield


def matrices(low: float, high: float) -> st.SearchStrategy[F32]:
    shapes = st.tuples(st.integers(1, 20), st.integers(1, 40))
    return shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(low, high, width=32)))


@given(matrices(-40, 40))
def test_gelu_is_x_phi_of_x(x: F32) -> None:
    exact = x.astype(np.float64) * 0.5 * erfc(-x.astype(np.float64) / np.sqrt(2))
    given = gelu(x.copy())
    assert (np.abs(given - exact) <= np.maximum(6e-7, 2.0**-23 * np.abs(exact))).all()


def test_gelu_everywhere() -> None:
    x = np.linspace(-12, 12, 1_000_001, dtype=np.float32)
    exact = x.astype(np.float64) * 0.5 * erfc(-x.astype(np.float64) / np.sqrt(2))
    assert np.abs(gelu(x.copy()) - exact).max() < 1e-6


def test_gelu_leaves_no_subnormal_numbers() -> None:
    """Products of them take ten times as long on some CPUs."""
    x = np.linspace(-50, -1, 1_000_001, dtype=np.float32)
    magnitudes = np.abs(gelu(x))
    assert ((magnitudes == 0) | (magnitudes >= TINY)).all()
    assert not magnitudes[: len(x) // 2].any()


def test_gelu_far_out() -> None:
    far = np.array([1e4, 1e18, np.inf, -1e4], np.float32)
    with np.errstate(over="ignore"):
        assert gelu(far.copy()).tolist() == [*far[:3].tolist(), 0]
    assert np.isnan(gelu(np.array([np.nan], np.float32))).all()


@given(matrices(-200, 200), st.sampled_from([-1, -2]), st.integers(0, 2**32 - 1))
def test_softmax_is_exp_over_its_sum(scores: F32, axis: int, seed: int) -> None:
    masked = np.random.default_rng(seed).random(scores.shape[axis]) < 0.3
    masked[seed % len(masked)] = False
    scores.swapaxes(axis, -1)[..., masked] = -np.inf
    wide = scores.astype(np.float64)
    exact = np.exp(wide - wide.max(axis=axis, keepdims=True))
    exact /= exact.sum(axis=axis, keepdims=True)
    weights = softmax(scores, axis)
    assert weights is scores
    assert np.abs(weights - exact).max() < 1e-6
    assert not weights.swapaxes(axis, -1)[..., masked].any()
    large = exact > 1e-6
    assert (np.abs(weights - exact)[large] <= 2e-6 * exact[large]).all()


@pytest.mark.parametrize("axis", [-1, -2])
def test_softmax_leaves_no_subnormal_numbers(axis: int) -> None:
    scores = np.linspace(np.zeros(8), np.full(8, -200), 1500, axis=1, dtype=np.float32)  # (8, 1500)
    weights = softmax(scores if axis == -1 else scores.T.copy(), axis)
    assert ((weights == 0) | (weights >= TINY)).all()
    assert (weights == 0).any()


def test_softmax_of_several_heads_and_of_views() -> None:
    scores = np.random.default_rng(0).standard_normal((3, 7, 11)).astype(np.float32)
    whole = softmax(scores.copy(), -2)
    for head in range(3):
        assert np.allclose(softmax(scores[head].copy(), -2), whole[head], rtol=1e-6)
        upright = scores[head].T.copy()
        assert np.allclose(softmax(upright.T, -2), whole[head], rtol=1e-6)  # in place, in another order


@given(matrices(-100, 100), st.integers(0, 2**32 - 1))
def test_layer_norm_has_mean_0_and_variance_1_before_it_is_scaled(x: F32, seed: int) -> None:
    weight, bias = np.random.default_rng(seed).standard_normal((2, x.shape[1])).astype(np.float32)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    exact = centred / np.sqrt(wide.var(axis=1, keepdims=True) + 1e-5) * weight + bias
    out = np.full_like(x, np.nan)
    layer_norm(x, weight, bias, EPSILON, out)
    # What is left of x after its mean is as exact as x, and no variance is below the epsilon.
    bound = 1e-5 + 4 * 2.0**-24 * np.abs(wide).max() / np.sqrt(wide.var(axis=1, keepdims=True) + 1e-5) * 3
    assert (np.abs(out - exact) <= bound * (1 + np.abs(weight)) * 2).all()


def test_what_is_not_a_number_does_not_vanish() -> None:
    x = np.array([[1, np.nan, 3], [1, 2, 3]], np.float32)
    for y in (softmax(x.copy(), -1), gelu(x.copy())):
        assert np.isnan(y[0, 1])
        assert np.isfinite(y[1]).all()
    out = np.empty_like(x)
    layer_norm(x, np.ones(3, np.float32), np.zeros(3, np.float32), EPSILON, out)
    assert np.isnan(out[0]).all()
    assert np.isfinite(out[1]).all()


def test_a_layer_norm_may_take_its_own_place() -> None:
    x = np.random.default_rng(0).standard_normal((50, 33)).astype(np.float32)
    weight, bias = np.random.default_rng(1).standard_normal((2, 33)).astype(np.float32)
    out = np.empty_like(x)
    layer_norm(x, weight, bias, EPSILON, out)
    layer_norm(x, weight, bias, EPSILON, x)
    assert np.array_equal(x, out)
