"""Relaxed selections: against differences, other solvers, TensorFlow, JAX and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from scipy.special import expit, logsumexp
from scipy.stats import norm

from ksae_lab.nn import relaxations
from ksae_lab.nn.topk import top_k_mask

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # NumPy's: overflow, 0/0, log 0


class Noise(np.random.Generator):
    """A generator that hands out noise we know."""

    def __new__(cls, values):
        self = super().__new__(cls, np.random.PCG64(0))
        self.values = values
        return self

    def __init__(self, values):
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, shape):
        return self.values

    def gumbel(self, size):
        return self.values[0]


def perturbed(h, k, *, temperature, noise):
    rng = Noise(noise)
    return relaxations.perturbed(h, k, temperature=temperature, samples=len(noise), rng=rng)


def gumbel_subset(h, k, *, temperature, noise):
    return relaxations.gumbel_subset(h, k, temperature=temperature, rng=Noise(noise))


SHIFTED = {
    name: lambda h, k, *, temperature, noise=None, name=name: getattr(relaxations, name)(
        h, k, temperature=temperature
    )
    for name in ("shift_sigmoid", "capped_simplex", "sparsemax", "entmax15")
}
STRAIGHT = {
    "straight_through": lambda h, k, *, temperature, noise=None: relaxations.straight_through(
        h, k, temperature=temperature
    )
}
NOISY = {"perturbed": perturbed, "gumbel_subset": gumbel_subset}
SOFT = SHIFTED | STRAIGHT | NOISY
SMOOTH = SHIFTED | {"gumbel_subset": gumbel_subset}  # their backward is the slope of their forward
NEVER_MORE_THAN_ONE = ["shift_sigmoid", "straight_through", "capped_simplex", "perturbed"]


def example(rows=4, n=9, seed=0, samples=3):
    rng = np.random.default_rng(seed)
    h, dp = rng.normal(size=(2, rows, n))
    return h, dp, rng.gumbel(size=(samples, rows, n))


def slopes(weights, h, dp, epsilon=1e-6):
    """Central differences of Σ p dp at every number of h."""
    found = np.empty_like(h)
    for i in np.ndindex(h.shape):
        step = np.zeros_like(h)
        step[i] = epsilon
        found[i] = ((weights(h + step) - weights(h - step)) * dp).sum() / (2 * epsilon)
    return found


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("k", [1, 4, 8])
@pytest.mark.parametrize("name", SMOOTH)
def test_backward_agrees_with_central_differences(name, k, temperature):
    h, dp, noise = example()
    operator = SMOOTH[name]
    _, backward = operator(h, k, temperature=temperature, noise=noise)
    reference = slopes(lambda h: operator(h, k, temperature=temperature, noise=noise)[0], h, dp)
    assert np.abs(reference).max() > 1e-3
    np.testing.assert_allclose(backward(dp), reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("spread", [20, 40, 150])
def test_gumbel_subset_keeps_its_slopes_where_one_unit_takes_nearly_everything(spread, temperature):
    h, dp, noise = example()
    h *= spread

    def weights(h):
        return gumbel_subset(h, 4, temperature=temperature, noise=noise)[0]

    _, backward = gumbel_subset(h, 4, temperature=temperature, noise=noise)
    np.testing.assert_allclose(backward(dp), slopes(weights, h, dp), rtol=1e-5, atol=1e-6)


def test_hard_is_the_mask_and_learns_nothing_about_the_choice():
    h, dp, _ = example()
    p, backward = relaxations.hard(h, 3)
    np.testing.assert_array_equal(p, top_k_mask(h, 3))
    np.testing.assert_array_equal(backward(dp), np.zeros_like(h))


def test_straight_through_is_hard_forwards_and_soft_backwards():
    h, dp, _ = example()
    p, backward = relaxations.straight_through(h, 3, temperature=0.7)
    np.testing.assert_array_equal(p, top_k_mask(h, 3))

    def soft(h):
        return relaxations.shift_sigmoid(h, 3, temperature=0.7)[0]

    np.testing.assert_allclose(backward(dp), slopes(soft, h, dp), rtol=1e-5, atol=1e-7)


# Properties that all of them share.

problems = st.fixed_dictionaries(
    {
        "n": st.integers(2, 12),
        "seed": st.integers(0, 2**32 - 1),
        "temperature": st.floats(0.05, 5),
        "share": st.floats(0, 1),
    }
)


def drawn(problem):
    """h, dp, noise and k of a problem that hypothesis chose."""
    n = problem["n"]
    k = 1 + round(problem["share"] * (n - 2))
    return *example(3, n, problem["seed"]), k


@settings(max_examples=100)
@pytest.mark.parametrize("name", SOFT)
@given(problem=problems, ties=st.booleans())
def test_weights_sum_to_k_and_none_is_negative(name, problem, ties):
    h, dp, noise, k = drawn(problem)
    h = np.round(h) if ties else h
    p, backward = SOFT[name](h, k, temperature=problem["temperature"], noise=noise)
    np.testing.assert_allclose(p.sum(axis=1), k, rtol=1e-10)
    assert p.min() >= 0
    assert np.isfinite(backward(dp)).all()
    if name in NEVER_MORE_THAN_ONE:
        assert p.max() <= 1


@settings(max_examples=100)
@pytest.mark.parametrize("name", SOFT)
@given(problem=problems, data=st.data())
def test_units_have_no_order_of_their_own(name, problem, data):
    h, dp, noise, k = drawn(problem)
    order = np.array(data.draw(st.permutations(range(problem["n"]))))
    temperature = problem["temperature"]
    p, backward = SOFT[name](h, k, temperature=temperature, noise=noise)
    moved, moved_backward = SOFT[name](
        h[:, order], k, temperature=temperature, noise=noise[..., order]
    )
    np.testing.assert_allclose(moved, p[:, order], atol=1e-11)
    np.testing.assert_allclose(moved_backward(dp[:, order]), backward(dp)[:, order], atol=1e-8)


@settings(max_examples=100)
@pytest.mark.parametrize("name", SOFT)
@given(problem=problems, offset=st.floats(-100, 100))
def test_what_all_units_have_in_common_does_not_matter(name, problem, offset):
    h, dp, noise, k = drawn(problem)
    temperature = problem["temperature"]
    p, backward = SOFT[name](h, k, temperature=temperature, noise=noise)
    lifted, lifted_backward = SOFT[name](h + offset, k, temperature=temperature, noise=noise)
    np.testing.assert_allclose(lifted, p, atol=1e-10)
    np.testing.assert_allclose(lifted_backward(dp), backward(dp), atol=1e-8)


@pytest.mark.parametrize("name", SOFT)
def test_rows_do_not_hear_each_other(name):
    h, dp, noise = example(3, 20)
    h[0] += 1e6
    p, backward = SOFT[name](h, 4, temperature=0.5, noise=noise)
    for i in range(3):
        row = slice(i, i + 1)
        alone, alone_backward = SOFT[name](h[row], 4, temperature=0.5, noise=noise[:, row])
        np.testing.assert_allclose(p[row], alone, atol=1e-13)
        np.testing.assert_allclose(backward(dp)[row], alone_backward(dp[row]), atol=1e-13)


@settings(max_examples=100)
@pytest.mark.parametrize("name", SHIFTED)
@given(problem=problems)
def test_the_louder_unit_weighs_no_less(name, problem):
    h, _, _, k = drawn(problem)
    p, _ = SHIFTED[name](h, k, temperature=problem["temperature"])
    ranked = np.take_along_axis(p, h.argsort(axis=1), axis=1)
    assert (np.diff(ranked, axis=1) >= -1e-12).all()


@pytest.mark.parametrize("name", SOFT)
def test_takes_and_gives_float32_and_leaves_its_input_alone(name):
    h, dp, noise = example(20, 100, samples=5)
    h, dp = h.astype(np.float32), dp.astype(np.float32)
    before = [a.copy() for a in (h, dp, noise)]
    p, backward = SOFT[name](h, 10, temperature=0.3, noise=noise)
    dh = backward(dp)
    assert p.dtype == dh.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 10, rtol=1e-5)
    for a, copy in zip((h, dp, noise), before, strict=True):
        np.testing.assert_array_equal(a, copy)
    in_float64, _ = SOFT[name](h.astype(float), 10, temperature=0.3, noise=noise)
    np.testing.assert_allclose(p, in_float64, atol=1e-6)


# Limits.


@pytest.mark.parametrize("name", NEVER_MORE_THAN_ONE)
def test_cold_weights_are_the_mask(name):
    rng = np.random.default_rng(0)
    h = rng.permuted(np.tile(np.arange(8.0), (5, 1)), axis=1)
    noise = rng.normal(size=(3, 5, 8))
    for k in (1, 3, 7):
        p, backward = SOFT[name](h, k, temperature=1e-3, noise=noise)
        np.testing.assert_allclose(p, top_k_mask(h, k), atol=1e-12)
        np.testing.assert_allclose(backward(h), 0, atol=1e-9)


@pytest.mark.parametrize("name", ["sparsemax", "entmax15"])
def test_cold_simplex_weights_all_go_to_the_loudest(name):
    h, _, _ = example()
    p, _ = SHIFTED[name](h, 3, temperature=1e-6)
    np.testing.assert_allclose(p, 3.0 * top_k_mask(h, 1), atol=1e-12)


def test_cold_gumbel_subset_is_the_mask_of_what_the_noise_made_of_h():
    rng = np.random.default_rng(0)
    _, dp, noise = example(64, 100)
    # Scores that keep their distance: near ties share a pick at any temperature.
    noisy = rng.permuted(np.tile(np.arange(100.0), (64, 1)), axis=1)
    for scale in (1, 1e4):
        h = scale * noisy - noise[0]
        p, backward = gumbel_subset(h, 50, temperature=1e-3, noise=noise)
        np.testing.assert_allclose(p, top_k_mask(noisy, 50), atol=1e-6)
        np.testing.assert_allclose(backward(dp), 0, atol=1e-6)
    assert (top_k_mask(noisy - noise[0], 50) != top_k_mask(noisy, 50)).any()


def test_a_warm_pick_is_not_the_last_of_a_unit():
    # At temperature 1 two scores that are far apart come to lie level after the first pick.
    p, _ = gumbel_subset(
        np.array([[10.0, 0.0, -30.0]]), 2, temperature=1, noise=np.zeros((1, 1, 3))
    )
    np.testing.assert_allclose(p, [[1.5, 0.5, 0]], atol=1e-4)


def test_capped_simplex_learns_nothing_where_the_gap_is_wide_even_at_ties():
    rng = np.random.default_rng(0)
    levels = rng.normal(size=(200, 1)) + [3.0, 3.0, 0.0, 0.0, 0.0]
    dp = rng.normal(size=levels.shape)
    p, backward = relaxations.capped_simplex(levels, 2, temperature=0.7)
    np.testing.assert_array_equal(p, top_k_mask(levels, 2))
    np.testing.assert_array_equal(backward(dp), np.zeros_like(dp))


# Each against another way to the same weights.


def test_shift_sigmoid_gives_the_published_example():
    # Thomas Ahle's note on differentiable top-k, five scores of which three are to be chosen.
    h = np.array([[-4.5951, -2.1972, -3.1781, 0.0, -1.1527]])
    p, _ = relaxations.shift_sigmoid(h, 3, temperature=1.0)
    np.testing.assert_allclose(p, [[0.1462, 0.6531, 0.4139, 0.9443, 0.8426]], atol=1e-4)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 5])
def test_shift_sigmoid_has_the_shift_that_a_root_finder_finds(temperature):
    h, _, _ = example(5, 30)
    h[1:, 0] = -1e5  # far out, so that there is much to search
    p, _ = relaxations.shift_sigmoid(h, 7, temperature=temperature)
    for row, weights in zip(h / temperature, p, strict=True):
        t = brentq(lambda t, row=row: expit(row + t).sum() - 7, -1000, 1000, xtol=1e-13)
        np.testing.assert_allclose(weights, expit(row + t), rtol=0, atol=1e-9)


def test_shift_sigmoid_is_optimal_transport_to_two_places():
    h, _, _ = example(1, 9)
    k, n, temperature = 3, 9, 0.25
    cost = (h[0][:, None] - np.array([0, 1])) ** 2 / (2 * temperature)
    log_rows, log_columns = np.full(n, -np.log(n)), np.log([1 - k / n, k / n])
    v = np.zeros(2)
    for _ in range(2000):  # Sinkhorn
        u = log_rows - logsumexp(v - cost, axis=1)
        v = log_columns - logsumexp(u[:, None] - cost, axis=0)
    plan = np.exp(u[:, None] + v - cost)
    p, _ = relaxations.shift_sigmoid(h, k, temperature=temperature)
    np.testing.assert_allclose(p[0], n * plan[:, 1], atol=1e-9)


@settings(max_examples=100)
@given(problem=problems)
def test_the_two_projections_are_nearest(problem):
    # p is the nearest point of a convex set to s if and only if no vertex v of the set lies
    # further than p in the direction s - p. The vertices are all masks, or k times one unit.
    h, _, _, k = drawn(problem)
    temperature = problem["temperature"]
    capped, _ = relaxations.capped_simplex(h, k, temperature=temperature)
    away = h / temperature - capped
    best = np.sort(away, axis=1)[:, -k:].sum(axis=1)
    np.testing.assert_allclose((away * capped).sum(axis=1), best, atol=1e-9)

    simplex = relaxations.sparsemax(h, k, temperature=temperature)[0] / k
    away = h / temperature - simplex
    np.testing.assert_allclose((away * simplex).sum(axis=1), away.max(axis=1), atol=1e-9)


def test_the_capped_simplex_agrees_with_a_general_solver():
    h, _, _ = example(5)
    p, _ = relaxations.capped_simplex(h, 3, temperature=0.7)
    for scores, weights in zip(h / 0.7, p, strict=True):
        found = minimize(
            lambda p, scores=scores: ((p - scores) ** 2).sum(),
            np.full(9, 3 / 9),
            bounds=[(0, 1)] * 9,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 3},
            method="SLSQP",
            options={"ftol": 1e-12},
        )
        assert found.success
        np.testing.assert_allclose(weights, found.x, atol=1e-5)


@settings(max_examples=100)
@given(problem=problems)
def test_one_of_the_capped_simplex_is_sparsemax(problem):
    h, dp, _, _ = drawn(problem)
    p, backward = relaxations.capped_simplex(h, 1, temperature=problem["temperature"])
    q, q_backward = relaxations.sparsemax(h, 1, temperature=problem["temperature"])
    np.testing.assert_allclose(p, q, atol=1e-12)
    np.testing.assert_allclose(backward(dp), q_backward(dp), atol=1e-8)


@pytest.mark.parametrize("temperature", [0.01, 0.3, 1, 10])
def test_entmax_solves_its_equation(temperature):
    h, _, _ = example(5, 40)
    p, _ = relaxations.entmax15(h, 6, temperature=temperature)
    for row, weights in zip(h / temperature / 2, p, strict=True):
        root = brentq(
            lambda t, row=row: (np.maximum(row - t, 0) ** 2).sum() - 1,
            row.max() - 1,
            row.max(),
            xtol=1e-14,
        )
        np.testing.assert_allclose(weights, 6 * np.maximum(row - root, 0) ** 2, atol=1e-11)


def chances(h, k, temperature):
    """How likely each unit of a row is among the k loudest when all hear noise, by quadrature."""

    def among(i, z):
        """The chance that fewer than k others beat unit i, whose own noise is z."""
        beaten = norm.cdf((h[i] - np.delete(h, i)) / temperature + z)
        others = np.array([1.0])  # the chances that 0, 1, … of the others beat it
        for q in beaten:
            others = np.convolve(others, [q, 1 - q])
        return others[:k].sum() * norm.pdf(z)

    return np.array([quad(lambda z, i=i: among(i, z), -9, 9)[0] for i in range(len(h))])


def assert_mean(estimates, truth, tolerance=5):
    """The mean of the rows is the truth, to so many of its standard errors."""
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    assert (np.abs(estimates.mean(axis=0) - truth) < tolerance * error).all()


@pytest.mark.parametrize("samples", [2, 7])
def test_perturbed_is_unbiased_however_few_the_samples(samples):
    h, k, temperature = np.array([0.5, -0.3, 1.0, 0.1]), 2, 0.8
    dp = np.array([1.0, -2.0, 0.5, 3.0])
    rng = np.random.default_rng(0)
    p, backward = relaxations.perturbed(
        np.tile(h, (50_000, 1)), k, temperature=temperature, samples=samples, rng=rng
    )
    assert_mean(p, chances(h, k, temperature))
    step = 1e-4 * np.eye(4)
    slope = [
        dp @ (chances(h + e, k, temperature) - chances(h - e, k, temperature)) / 2e-4 for e in step
    ]
    assert_mean(backward(np.tile(dp, (50_000, 1))), slope)


def test_perturbed_of_two_is_the_normal_distribution():
    temperature, h = 0.5, np.array([0.3, 0.1])
    p, backward = relaxations.perturbed(
        np.tile(h, (2000, 1)), 1, temperature=temperature, samples=50, rng=np.random.default_rng(1)
    )
    spread = temperature * np.sqrt(2)
    gap = (h[0] - h[1]) / spread
    assert_mean(p, [norm.cdf(gap), norm.cdf(-gap)])
    slope = norm.pdf(gap) / spread
    assert_mean(backward(np.tile([1.0, 0.0], (2000, 1))), [slope, -slope])


def test_perturbed_does_not_hear_what_every_draw_pays():
    h, dp, noise = example()
    _, backward = perturbed(h, 3, temperature=0.5, noise=noise)
    np.testing.assert_allclose(backward(dp + 1000), backward(dp), atol=1e-9)


def test_noise_is_drawn_from_the_generator():
    h, dp, _ = example()
    noise = np.random.default_rng(5).standard_normal((6, *h.shape))
    p, backward = relaxations.perturbed(
        h, 3, temperature=0.5, samples=6, rng=np.random.default_rng(5)
    )
    expected, expected_backward = perturbed(h, 3, temperature=0.5, noise=noise)
    np.testing.assert_array_equal(p, expected)
    np.testing.assert_array_equal(backward(dp), expected_backward(dp))


@pytest.mark.parametrize(("rows", "n", "k"), [(3, 8, 5), (64, 100, 50)])
def test_gumbel_subset_agrees_with_tensorflow(rows, n, k, tf):
    h, dp, _ = example(rows, n)
    p, backward = relaxations.gumbel_subset(h, k, temperature=0.5, rng=np.random.default_rng(3))

    x = tf.constant(h)
    with tf.GradientTape() as tape:
        tape.watch(x)
        alpha = x + np.random.default_rng(3).gumbel(size=h.shape)
        reference = tf.zeros_like(x)
        for _ in range(k):
            a = tf.nn.softmax(alpha / 0.5)
            reference += a
            alpha += tf.math.log(1 - a)
    np.testing.assert_allclose(p, reference, atol=1e-11)
    gradient = tape.gradient(reference, x, output_gradients=tf.constant(dp))
    np.testing.assert_allclose(backward(dp), gradient, atol=1e-9)


@pytest.mark.slow
def test_sparsemax_agrees_with_optax():
    optax = pytest.importorskip("optax")
    import jax

    h, dp, _ = example(20, 50)
    with jax.enable_x64(True):
        theirs, pull = jax.vjp(
            jax.vmap(lambda row: 6 * optax.projections.projection_simplex(row / 0.4)), h
        )
        (gradient,) = pull(dp)
    p, backward = relaxations.sparsemax(h, 6, temperature=0.4)
    np.testing.assert_allclose(p, theirs, atol=1e-12)
    np.testing.assert_allclose(backward(dp), gradient, atol=1e-11)


@pytest.mark.slow
def test_perturbed_agrees_with_optax_on_the_same_noise():
    optax = pytest.importorskip("optax")
    import jax

    h, dp, _ = example(1, 9)
    samples, temperature = 40, 0.6
    with jax.enable_x64(True):
        key = jax.random.key(0)
        noise = jax.vmap(lambda key: optax.tree.random_like(key, h, sampler=jax.random.normal))(
            jax.random.split(key, samples)
        )
        smooth = optax.perturbations.make_perturbed_fun(
            lambda h: (h >= jax.lax.top_k(h, 4)[0][..., -1:]).astype(h.dtype),
            samples,
            temperature,
            noise=optax.perturbations.Normal(),
            use_baseline=False,
        )
        theirs, pull = jax.vjp(lambda h: smooth(key, h), h)
        (gradient,) = pull(dp)
        noise = np.array(noise)
    p, backward = perturbed(h, 4, temperature=temperature, noise=noise)
    np.testing.assert_allclose(p, theirs, atol=1e-12)
    # Theirs is the mean of Z F, ours the covariance of Z and F.
    product_of_means = noise.mean(axis=0) * (p * dp).sum() / temperature
    ours = backward(dp) * (samples - 1) / samples + product_of_means
    np.testing.assert_allclose(ours, gradient, atol=1e-10)


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"k": 0}, ValueError, "k = 0 of 3"),
        ({"k": 3}, ValueError, "k = 3 of 3 leaves nothing to choose"),
        ({"k": 4}, ValueError, "k = 4, but a row has 3"),
        ({"k": 1.0}, TypeError, "not an integer"),
        ({"temperature": 0.0}, ValueError, r"temperature is 0.0; give a finite number above 0"),
        ({"temperature": -1.0}, ValueError, "above 0"),
        ({"temperature": np.nan}, ValueError, "above 0"),
        ({"temperature": np.inf}, ValueError, "finite"),
        ({"temperature": 1e-320}, ValueError, "raise the temperature"),
        ({"h": np.array([1.0, 2.0, 3.0])}, ValueError, r"shape \(3,\); expected floats"),
        ({"h": np.array([[1, 2, 3]])}, ValueError, "int64 of shape"),
        ({"h": np.array([[1.0, np.nan, 3.0]])}, ValueError, "NaN"),
        ({"h": np.array([[1.0, np.inf, 3.0]])}, ValueError, "infinity"),
        ({"h": np.array([[1.0, -np.inf, 3.0]])}, ValueError, "infinity"),
    ],
)
def test_says_what_is_wrong(name, changes, error, message):
    arguments = {"h": np.array([[1.0, 2.0, 3.0]]), "k": 2, "temperature": 1.0} | changes
    h, k = arguments.pop("h"), arguments.pop("k")
    with pytest.raises(error, match=message):
        SOFT[name](h, k, **arguments, noise=np.zeros((2, 1, 3)))


def test_one_sample_has_no_covariance():
    h, _, noise = example(samples=1)
    with pytest.raises(ValueError, match="samples is 1; give an integer of 2 or more"):
        perturbed(h, 3, temperature=1.0, noise=noise)
