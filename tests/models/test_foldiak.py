"""Földiák's network: rules against loops, settling against SciPy, and bars it must find."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.special import expit

from ksae_lab.models.foldiak import Foldiak, bar_patterns, bars

D, N = 7, 5


def network(seed=0, *, inhibition=1.0, **rates):
    """A float64 network with lateral weights and thresholds that matter."""
    rng = np.random.default_rng(seed)
    net = Foldiak(D, N, 0.3, rng=rng, dtype=np.float64, **rates)
    w = -rng.uniform(0, 2 * inhibition, (N, N))
    net.w[:] = np.triu(w, 1) + np.triu(w, 1).T
    net.t[:] = rng.uniform(0, 0.5, N)
    return net


def images(rows=6, seed=1):
    return np.random.default_rng(seed).uniform(0, 1, (rows, D))


# Settling.


@pytest.mark.parametrize("inhibition", [0.0, 0.3, 1.0])
def test_settles_where_the_differential_equation_ends(inhibition):
    net, x = network(inhibition=inhibition), images(20)
    for image, y in zip(x, net.settle(x), strict=True):

        def slope(_, y, image=image):
            return expit(net.slope * (net.q @ image + net.w @ y - net.t)) - y

        path = solve_ivp(slope, (0, 60), np.zeros(N), rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(y, path.y[:, -1], atol=0.02)


@pytest.mark.parametrize("slope", [1.0, 10.0])
def test_what_has_settled_is_a_fixed_point(slope):
    net, x = network(slope=slope), images(19)  # the next one is a near tie, and slow
    y = net.settle(x)
    assert (y > 0.5).any()
    np.testing.assert_allclose(
        y, expit(slope * (x @ net.q.T + y @ net.w - net.t)), atol=1.01e-3, rtol=0
    )


def test_equals_that_inhibit_each_other_strongly_do_not_swing():
    net = network()
    net.w[:] = -5 * (1 - np.eye(N))
    net.q[:] = 0.5
    net.t[:] = 0
    x = np.ones((1, D))
    (y,) = net.settle(x)
    low, high = 0.0, 1.0
    for _ in range(60):  # y = f(3.5 − 20 y), by bisection: one side rises, the other falls
        middle = (low + high) / 2
        low, high = (middle, high) if expit(10 * (3.5 - 20 * middle)) > middle else (low, middle)
    np.testing.assert_allclose(y, low, atol=1e-3)


def test_the_code_is_one_where_a_unit_settled_above_a_half():
    net, x = network(), images(20)
    y = net.encode(x)
    assert set(np.unique(y)) == {0, 1}
    np.testing.assert_array_equal(y == 1, net.settle(x) > 0.5)


# Learning.


def reference_steps(net, x, y):
    """The three rules in loops: what is added to w, before it is clamped, to q, and to t."""
    dw, dq, dt = np.zeros((N, N)), np.zeros((N, D)), np.zeros(N)
    for image, code in zip(x, y, strict=True):
        for i in range(N):
            dt[i] += net.gamma * (code[i] - net.p)
            for j in range(N):
                dw[i, j] -= net.alpha * (code[i] * code[j] - net.p**2)
            for j in range(D):
                dq[i, j] += net.beta * code[i] * (image[j] - net.q[i, j])
    return dw, dq, dt


@pytest.mark.parametrize("rows", [1, 6], ids=["one image, as in the paper", "a batch"])
def test_learns_by_the_formulas(rows):
    net = network(alpha=0.5, beta=0.03, gamma=0.07)
    net.w[0, 1] = net.w[1, 0] = -0.01  # will be carried above zero, or come close to it
    for seed in range(8):
        x = images(rows, seed)
        y = net.encode(x)
        dw, dq, dt = reference_steps(net, x, y)
        w = np.minimum(net.w + dw, 0)
        w[range(N), range(N)] = 0
        q, t = net.q + dq, net.t + dt
        np.testing.assert_array_equal(net.learn(x), y)
        np.testing.assert_allclose(net.w, w, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(net.q, q, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(net.t, t, rtol=1e-12, atol=1e-15)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), p=st.floats(0.05, 0.95), rows=st.integers(1, 20))
def test_lateral_weights_only_inhibit_and_never_oneself(seed, p, rows):
    net = Foldiak(D, N, p, alpha=0.3, rng=np.random.default_rng(seed))
    for step in range(5):
        net.learn(images(rows, seed + step).astype(np.float32))
        assert (net.w <= 0).all()
        assert not net.w.diagonal().any()
        np.testing.assert_array_equal(net.w, net.w.T)


def test_thresholds_drift_until_each_unit_answers_as_often_as_asked():
    rng = np.random.default_rng(0)
    net = Foldiak(D, N, 0.3, alpha=0, beta=0, gamma=0.003, rng=rng)
    q = net.q.copy()
    assert net.encode(images(500)).mean() > 0.9
    for _ in range(250):
        net.learn(rng.uniform(0, 1, (20, D)))
    np.testing.assert_array_equal(net.q, q)
    assert not net.w.any()
    np.testing.assert_allclose(net.encode(images(4000, 2)).mean(axis=0), 0.3, atol=0.04)


def test_starts_at_rows_of_length_one_without_inhibition():
    net = Foldiak(40, 30, 0.1, rng=np.random.default_rng(2))
    np.testing.assert_allclose((net.q**2).sum(axis=1), 1, rtol=1e-5)
    raw = net.q / net.q.max(axis=1, keepdims=True)
    assert (net.q >= 0).all()
    assert raw.mean() == pytest.approx(0.5, abs=0.03)
    assert raw.std() == pytest.approx(1 / np.sqrt(12), abs=0.03)
    assert not net.w.any()
    assert not net.t.any()
    assert (net.alpha, net.beta, net.gamma, net.slope) == (0.1, 0.02, 0.02, 10)
    np.testing.assert_array_equal(net.q, Foldiak(40, 30, 0.1, rng=np.random.default_rng(2)).q)


def test_float32_stays_float32_and_images_are_only_read():
    net = Foldiak(D, N, np.float64(0.3), rng=np.random.default_rng(0))
    x = images().astype(np.float32)
    x.flags.writeable = False
    assert net.learn(x).dtype == net.settle(x).dtype == np.float32
    assert net.w.dtype == net.q.dtype == net.t.dtype == np.float32


# Bars.


def test_bar_patterns_are_the_rows_and_columns_of_a_square():
    for pattern, line in zip(bar_patterns(4), range(8), strict=True):
        expected = np.zeros((4, 4))
        if line < 4:
            expected[line] = 1
        else:
            expected[:, line - 4] = 1
        np.testing.assert_array_equal(pattern.reshape(4, 4), expected)


def test_bars_come_independently_and_crossings_count_once():
    x = bars(20_000, 5, 0.3, np.random.default_rng(0))
    assert x.shape == (20_000, 25)
    assert x.dtype == np.float32
    assert set(np.unique(x)) == {0, 1}
    # A pixel is dark if neither of its two bars is there, a picture if none of ten is.
    np.testing.assert_allclose(x.mean(axis=0), 1 - 0.7**2, atol=0.02)
    assert (~x.any(axis=1)).mean() == pytest.approx(0.7**10, abs=0.005)
    # A row is full if its bar is there, or all five columns.
    full = x.reshape(-1, 5, 5).all(axis=2)
    np.testing.assert_allclose(full.mean(axis=0), 0.3 + 0.7 * 0.3**5, atol=0.015)
    assert np.corrcoef(full.T)[~np.eye(5, dtype=bool)].max() < 0.05
    # Every lit pixel belongs to a full row or a full column.
    square = x.reshape(-1, 5, 5) > 0
    covered = square.all(axis=2)[:, :, None] | square.all(axis=1)[:, None, :]
    np.testing.assert_array_equal(square, covered)
    np.testing.assert_array_equal(
        bars(9, 5, 0.3, np.random.default_rng(4)), bars(9, 5, 0.3, np.random.default_rng(4))
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_finds_every_bar_once(seed):
    size = 8
    rng = np.random.default_rng(seed)
    p = 1 / size
    net = Foldiak(size**2, 2 * size, p, rng=rng, alpha=0, beta=0, gamma=0.1)
    for _ in range(100):  # the thresholds first, as in the paper
        net.learn(bars(1, size, p, rng))
    net.alpha, net.beta, net.gamma = 0.1, 0.02, 0.02
    for _ in range(300):
        net.learn(bars(10, size, p, rng))

    patterns = bar_patterns(size)
    likeness = np.corrcoef(net.q, patterns)[: 2 * size, 2 * size :]
    assert sorted(likeness.argmax(axis=1)) == list(range(2 * size))
    best = np.sort(likeness, axis=1)
    assert (best[:, -1] > 0.9).all()
    assert (best[:, -2] < 0.3).all()
    # Shown one bar alone, the unit that found it answers, and no other.
    answers = net.encode(patterns)
    np.testing.assert_array_equal(answers.argmax(axis=1), likeness.argmax(axis=0))
    assert (answers.sum(axis=1) == 1).all()


def test_says_what_is_wrong():
    for p in (0, 1, -0.1, 5):
        with pytest.raises(ValueError, match=f"p is {p}"):
            Foldiak(D, N, p, rng=np.random.default_rng(0))
    net = network()
    for use in (net.settle, net.encode, net.learn):
        with pytest.raises(ValueError, match=r"\(2, 6\); expected \(batch, 7\)"):
            use(np.zeros((2, 6)))
        with pytest.raises(ValueError, match=r"\(7,\); expected \(batch, 7\)"):
            use(np.zeros(7))
