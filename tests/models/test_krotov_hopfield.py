"""Competing units: the rule against loops, and where it comes to rest against a closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksae_lab.models.krotov_hopfield import KrotovHopfield

D, N = 6, 8


def units(winners=1, rank=None, *, n=N, seed=0, dtype=np.float64, **settings):
    rng = np.random.default_rng(seed)
    return KrotovHopfield(D, n, winners, rank, rng=rng, dtype=dtype, **settings)


def images(rows=5, seed=1):
    return np.random.default_rng(seed).uniform(0, 1, (rows, D))


def overlap(w, x, p):
    return sum(np.sign(w_j) * abs(w_j) ** (p - 1) * x_j for w_j, x_j in zip(w, x, strict=True))


def reference_change(W, x, gains, p):
    """ΔW in loops; `gains` are g of the first place, of the second, and so on."""
    change = np.zeros_like(W)
    for image in x:
        h = [overlap(w, image, p) for w in W]
        places = sorted(range(len(W)), key=lambda unit: -h[unit])
        for unit, g in zip(places, gains, strict=False):
            for j in range(len(image)):
                change[unit, j] += g * (image[j] - h[unit] * W[unit, j])
    return change


def reference_step(W, x, learning_rate, gains, p):
    change = reference_change(W, x, gains, p)
    return W + learning_rate * change / np.max(np.abs(change))


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
@pytest.mark.parametrize(
    ("winners", "rank", "gains"),
    [
        (1, 2, [1, -0.3]),
        (1, None, [1, -0.3]),
        (1, 5, [1, 0, 0, 0, -0.3]),
        (3, None, [1, 1, 1, -0.3]),
        (2, 5, [1, 1, 0, 0, -0.3]),
        (7, 8, [1] * 7 + [-0.3]),
    ],
)
def test_learns_by_the_formula(winners, rank, gains, p):
    net = units(winners, rank, delta=0.3, p=p)
    for seed in range(3):
        x = images(seed=seed)
        expected = reference_step(net.W, x, 0.05, gains, p)
        net.learn(x, 0.05)
        np.testing.assert_allclose(net.W, expected, rtol=1e-12, atol=1e-14)


def test_what_is_published_is_the_default():
    net = units()
    expected = reference_step(net.W, images(), 0.02, [1, -0.4], 2)
    net.learn(images(), 0.02)
    np.testing.assert_allclose(net.W, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("p", "gains"), [(2.0, [1, -0.4]), (3.0, [1, 1, -0.4])])
def test_each_further_round_learns_from_what_the_best_unit_left(p, gains):
    net = units(len(gains) - 1, p=p)
    x = images()
    left, change = x.copy(), 0
    for _ in range(3):
        change = change + reference_change(net.W, left, gains, p)
        for row, image in enumerate(left):
            w = net.W[np.argmax([overlap(w, image, p) for w in net.W])]
            (share,), *_ = np.linalg.lstsq(w[:, None], image, rcond=None)
            left[row] = image - share * w
    expected = net.W + 0.02 * change / np.abs(change).max()
    net.learn(x, 0.02, rounds=3)
    np.testing.assert_allclose(net.W, expected, rtol=1e-12, atol=1e-14)


def test_starts_at_standard_normal_numbers_of_the_generator_alone():
    W = KrotovHopfield(300, 200, rng=np.random.default_rng(3)).W
    assert W.shape == (200, 300)
    assert W.dtype == np.float32
    assert abs(W.mean()) < 0.02
    assert W.std() == pytest.approx(1, rel=0.02)
    np.testing.assert_array_equal(W, KrotovHopfield(300, 200, rng=np.random.default_rng(3)).W)


@given(
    seed=st.integers(0, 2**32 - 1),
    winners=st.integers(1, N - 1),
    gap=st.integers(1, N - 1),
    rate=st.floats(1e-3, 1),
)
def test_the_largest_change_is_the_learning_rate_and_bystanders_stay(seed, winners, gap, rate):
    rank = min(winners + gap, N)
    net, x = units(winners, rank, seed=seed), images(1, seed=seed)
    before = net.W.copy()
    places = np.argsort([-overlap(w, x[0], 2) for w in before])
    net.learn(x, rate)
    change = np.abs(net.W - before)
    assert change.max() == pytest.approx(rate)
    moved = np.flatnonzero(change.any(axis=1))
    assert set(moved) <= {*places[:winners], places[rank - 1]}


def clusters(rng, each=60):
    """Images around three patterns that share no pixel, so that each has a prototype to find."""
    patterns = np.repeat(np.eye(3), 2, axis=1)
    x = np.repeat(patterns, each, axis=0) * rng.uniform(0.7, 1, (3 * each, 1))
    return np.clip(x + rng.normal(0, 0.05, x.shape), 0, 1), patterns


def trained(net, x, steps=1200, rate=0.05):
    for step in range(steps):
        net.learn(x, rate * (1 - step / steps))
    return net


@pytest.mark.parametrize("p", [2.0, 3.0])
@pytest.mark.parametrize("winners", [1, 2])
def test_winners_come_to_length_one_whatever_they_started_with(winners, p):
    rng = np.random.default_rng(0)
    x, _ = clusters(rng)
    net = units(winners, p=p)
    start = np.where(np.arange(N) % 2, 3, 0.3)
    net.W *= (start / (np.abs(net.W) ** p).sum(axis=1))[:, None] ** (1 / p)
    trained(net, x)
    won = np.zeros(N, bool)
    for image in x:
        won[np.argsort([-overlap(w, image, p) for w in net.W])[:winners]] = True
    assert won.sum() >= 3
    np.testing.assert_allclose((np.abs(net.W[won]) ** p).sum(axis=1), 1, rtol=0.02)


@pytest.mark.parametrize("delta", [0.0, 0.2])
def test_at_rest_a_prototype_is_the_mean_of_what_it_won_less_what_it_nearly_won(delta):
    # Setting ΔW to zero with p = 2: w is Σ g x, brought to length one.
    x, patterns = clusters(np.random.default_rng(0))
    net = trained(units(delta=delta), x)
    places = np.argsort(-(x @ net.W.T), axis=1)
    winners = np.unique(places[:, 0])
    assert len(winners) >= 3
    for unit in winners:
        total = x[places[:, 0] == unit].sum(axis=0) - delta * x[places[:, 1] == unit].sum(axis=0)
        np.testing.assert_allclose(net.W[unit], total / np.linalg.norm(total), atol=0.02)
    if delta == 0:
        cosines = (net.W[winners] @ patterns.T) / np.sqrt(2)
        assert (cosines.max(axis=1) > 0.99).all()
        assert set(cosines.argmax(axis=1)) == {0, 1, 2}


@pytest.mark.parametrize("p", [2.0, 3.0])
@pytest.mark.parametrize("k", [0, 1, 3, N])
def test_a_code_is_the_k_largest_overlaps_above_zero(k, p):
    net = units(p=p)
    net.W[:5] = -np.abs(net.W[:5])  # so that for large k some of the chosen are below zero
    x = images()
    expected = np.zeros((len(x), N))
    for row, image in enumerate(x):
        h = np.array([overlap(w, image, p) for w in net.W])
        for unit in np.argsort(-h)[:k]:
            expected[row, unit] = max(h[unit], 0)
    np.testing.assert_allclose(net.encode(x, k), expected, rtol=1e-12)


def test_an_empty_image_teaches_nothing():
    net = units()
    before = net.W.copy()
    net.learn(np.zeros((3, D)), 0.02)
    np.testing.assert_array_equal(net.W, before)


def test_settings_can_change_between_batches():
    net = units()
    net.winners, net.rank, net.delta = 2, 4, 0.1
    expected = reference_step(net.W, images(), 0.02, [1, 1, 0, -0.1], 2)
    net.learn(images(), 0.02)
    np.testing.assert_allclose(net.W, expected, rtol=1e-12, atol=1e-14)


def test_float32_stays_float32_and_images_are_only_read():
    net, x = units(dtype=np.float32, delta=np.float64(0.4)), images().astype(np.float32)
    x.flags.writeable = False
    W = net.W
    net.learn(x, np.float64(0.02), rounds=2)
    assert net.W is W
    assert net.W.dtype == net.encode(x, 2).dtype == np.float32


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="winners is 0"):
        units(0)
    with pytest.raises(ValueError, match="2 winners and the unit at place 2"):
        units(2, 2)
    with pytest.raises(ValueError, match="place 9 punished, of 8 units"):
        units(8)
    with pytest.raises(ValueError, match=r"p is 1\.0"):
        units(p=1.0)
    with pytest.raises(ValueError, match=r"delta is -0\.1"):
        units(delta=-0.1)
    net = units()
    with pytest.raises(ValueError, match="rounds is 0"):
        net.learn(images(), 0.1, rounds=0)
    for use in (net.overlaps, lambda x: net.learn(x, 0.1), lambda x: net.encode(x, 1)):
        with pytest.raises(ValueError, match=r"\(2, 5\); expected \(batch, 6\)"):
            use(np.zeros((2, 5)))
        with pytest.raises(ValueError, match=r"\(6,\); expected \(batch, 6\)"):
            use(np.zeros(6))
    with pytest.raises(ValueError, match="k = 9"):
        net.encode(images(), 9)
