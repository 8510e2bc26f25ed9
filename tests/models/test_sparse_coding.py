"""Sparse coding: against scikit-learn, closed forms, optimality conditions and differences."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from sklearn.linear_model import Lasso

from ksae_lab.inference.iterative import (
    after,
    fista,
    gradient_descent,
    ista,
    lca,
    objective,
    soft_threshold,
)
from ksae_lab.models.sparse_coding import SparseCoding
from ksae_lab.training.gradcheck import check_gradients
from ksae_lab.training.optimizers import SGD

SOLVERS = [ista, fista, lca]


def unit_rows(W):
    return W / np.linalg.norm(W, axis=1, keepdims=True)


def problem(rows=4, n=12, d=9, seed=0):
    """Images, and a dictionary with more atoms than pixels, of lengths other than 1."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, d)), 1.3 * unit_rows(rng.normal(size=(n, d)))


def lasso(x, W, sparsity, nonnegative=False):
    """The codes of scikit-learn's coordinate descent, which divides the square by d."""
    d = W.shape[1]
    model = Lasso(
        sparsity / d, fit_intercept=False, positive=nonnegative, tol=1e-14, max_iter=100_000
    )
    return np.array([model.fit(W.T, image).coef_ for image in x])


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_settles_where_scikit_learn_does(solver, nonnegative):
    x, W = problem()
    a = after(5000, solver(x, W, 0.5, nonnegative))
    reference = lasso(x, W, 0.5, nonnegative)
    found, best = objective(x, a, W, 0.5), objective(x, reference, W, 0.5)
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-8)
    np.testing.assert_allclose(a, reference, atol=1e-6)
    assert 0 < np.count_nonzero(a) < a.size
    assert ((a >= 0).all()) == nonnegative


@settings(max_examples=60)
@given(
    solver=st.sampled_from(SOLVERS),
    n=st.integers(1, 8),
    d=st.integers(1, 8),
    seed=st.integers(0, 1000),
    sparsity=st.floats(0.2, 3),
    nonnegative=st.booleans(),
)
def test_no_direction_is_left_that_leads_down(solver, n, d, seed, sparsity, nonnegative):
    x, W = problem(3, n, d, seed)
    a = after(4000, solver(x, W, sparsity, nonnegative))
    pull = (x - a @ W) @ W.T  # minus the slope of the square error
    # KKT: an active unit is pulled by exactly λ towards more, a silent one by no more than λ.
    off = np.where(a == 0, np.maximum((pull if nonnegative else np.abs(pull)) - sparsity, 0), 0)
    on = np.where(a != 0, np.abs(pull - sparsity * np.sign(a)), 0)
    assert max(off.max(), on.max()) < 2e-3 * (1 + np.abs(x @ W.T).max())


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_atoms_at_right_angles_need_one_threshold(solver, nonnegative):
    rng = np.random.default_rng(0)
    W = np.linalg.qr(rng.normal(size=(8, 8)))[0][:5]
    x = rng.normal(size=(6, 8))
    drive = x @ W.T
    # By cases: what is above λ loses λ, what is below −λ gains it.
    expected = np.where(drive > 0.4, drive - 0.4, 0)
    if not nonnegative:
        expected += np.where(drive < -0.4, drive + 0.4, 0)
    assert (drive < -0.4).any() and (drive > 0.4).any() and (np.abs(drive) < 0.4).any()
    np.testing.assert_allclose(after(1, solver(x, W, 0.4, nonnegative)), expected, atol=1e-14)
    np.testing.assert_allclose(after(200, solver(x, W, 0.4, nonnegative)), expected, atol=1e-12)


@settings(max_examples=200)
@given(u=st.floats(-5, 5), threshold=st.floats(0, 3), nonnegative=st.booleans())
def test_the_soft_threshold_is_the_cheapest_point(u, threshold, nonnegative):
    a = float(soft_threshold(np.array(u), threshold, nonnegative))
    grid = np.linspace(0 if nonnegative else -6, 6, 601)

    def cost(at):
        return 0.5 * (at - u) ** 2 + threshold * np.abs(at)

    assert a >= 0 or not nonnegative
    assert cost(a) <= cost(grid).min() + 1e-12


def test_the_objective_is_the_formula():
    x, W = problem()
    a = np.random.default_rng(1).normal(size=(4, 12))
    for penalty, price in [("l1", np.abs), ("log", lambda a: np.log(1 + a * a))]:
        expected = [
            0.5 * np.linalg.norm(x[i] - W.T @ a[i]) ** 2 + 0.7 * sum(price(a[i])) for i in range(4)
        ]
        np.testing.assert_allclose(objective(x, a, W, 0.7, penalty), expected)
    np.testing.assert_array_equal(objective(x, a, W, 0.7), objective(x, a, W, 0.7, "l1"))


@pytest.mark.parametrize("nonnegative", [False, True])
def test_ista_never_goes_up(nonnegative):
    x, W = problem(20, 30, 9)
    x, W = np.abs(x), np.abs(W)  # as images are: one eigenvalue is far above the others
    course = [objective(x, a, W, 0.3) for a in islice(ista(x, W, 0.3, nonnegative), 300)]
    assert (np.diff(course, axis=0) <= 1e-12).all()
    assert (course[-1] < course[0]).all()


def steps_to(codes, x, W, sparsity, target):
    """How many steps it takes until the mean objective is no more than `target`."""
    for step, a in enumerate(islice(codes, 20_000), start=1):
        if objective(x, a, W, sparsity).mean() <= target:
            return step
    raise AssertionError("20,000 steps did not do")


def test_a_run_up_saves_steps():
    x, W = problem(20, 30, 9)
    best = objective(x, lasso(x, W, 0.02), W, 0.02).mean()
    slow, fast = (steps_to(s(x, W, 0.02), x, W, 0.02, 1.001 * best) for s in (ista, fista))
    assert fast < slow / 2


@pytest.mark.parametrize(
    ("solver", "bound"), [(ista, lambda t: 1 / (2 * t)), (fista, lambda t: 2 / (t + 1) ** 2)]
)
def test_keeps_within_its_guarantee(solver, bound):
    # Beck & Teboulle: after t steps L ‖a*‖² / 2t for ISTA, and 2 L ‖a*‖² / (t + 1)² for FISTA.
    x, W = problem(20, 30, 9)
    best = lasso(x, W, 0.02)
    L = np.linalg.norm(W, 2) ** 2
    size = L * (best**2).sum(axis=1)
    for t, a in enumerate(islice(solver(x, W, 0.02), 200), start=1):
        excess = objective(x, a, W, 0.02) - objective(x, best, W, 0.02)
        assert (excess <= bound(t) * size + 1e-9).all()


def test_the_run_up_begins_with_the_third_step():
    # After the first step t is 1, and (t − 1) / t₊ is zero: nothing to run up with yet.
    x, W = problem()
    for steps in (1, 2):
        np.testing.assert_array_equal(after(steps, fista(x, W, 0.3)), after(steps, ista(x, W, 0.3)))
    assert (after(3, fista(x, W, 0.3)) != after(3, ista(x, W, 0.3))).any()


def test_lca_follows_its_differential_equation():
    x, W = problem(1)
    L = np.linalg.norm(W, 2) ** 2
    rate = 0.01 / L

    def shrunk(u):
        return np.where(u > 0.5, u - 0.5, np.where(u < -0.5, u + 0.5, 0))

    def flow(_, u):
        return W @ x[0] - u - (W @ W.T - np.eye(12)) @ shrunk(u)

    exact = solve_ivp(flow, (0, 1500 * rate), np.zeros(12), rtol=1e-10, atol=1e-12).y[:, -1]
    a = after(1500, lca(x, W, 0.5, rate=rate))[0]
    assert np.count_nonzero(a) > 2
    np.testing.assert_allclose(a, shrunk(exact), atol=5e-3)
    settled = after(20_000, lca(x, W, 0.5))[0]
    assert np.abs(settled - a).max() > 0.1  # it was caught on its way


def test_lca_is_stable_up_to_the_bound_and_not_beyond():
    # Two atoms, both active: their L is the whole dictionary's.
    W = unit_rows(np.array([[1.0, 0.0], [1.0, 1.0]]))
    x = np.array([[2.0, 1.5]])
    L = np.linalg.norm(W, 2) ** 2
    best = lasso(x, W, 0.1)
    assert (best != 0).all()
    np.testing.assert_allclose(after(3000, lca(x, W, 0.1, rate=1.95 / L)), best, atol=1e-6)
    assert np.abs(after(3000, lca(x, W, 0.1, rate=2.05 / L)) - best).max() > 0.01


def test_short_atoms_do_not_make_lca_overshoot():
    # L is far below 1, and a rate of 1 / L would be far above 2.
    x, W = problem()
    W = 0.1 * W
    np.testing.assert_allclose(after(20_000, lca(x, W, 0.05)), lasso(x, W, 0.05), atol=1e-5)


@pytest.mark.parametrize("penalty", ["log", "l1"])
def test_plain_descent_reaches_the_minimum(penalty):
    x, W = problem()
    a = after(30_000, gradient_descent(x, W, 0.3, penalty))
    found = objective(x, a, W, 0.3, penalty)
    if penalty == "l1":
        # It hops across zero by step · λ, and comes near, but no nearer.
        best = objective(x, lasso(x, W, 0.3), W, 0.3)
        assert (found < 1.1 * best).all() and (found > 1.001 * best).all()
        assert (a != 0).all()
    else:
        # From where it stopped, SciPy finds no way down.
        for i in range(len(x)):

            def cost(z, i=i):
                return float(objective(x[i : i + 1], z[None], W, 0.3, "log")[0])

            assert minimize(cost, a[i], method="BFGS").fun > found[i] - 1e-8


def test_plain_descent_never_goes_up():
    x, W = problem(20, 30, 9)
    for sparsity in (0.1, 30):  # the curvature of the square, and that of the penalty, decides
        codes = islice(gradient_descent(x, W, sparsity), 300)
        course = [objective(x, a, W, sparsity, "log") for a in codes]
        assert (np.diff(course, axis=0) <= 1e-12).all()


def test_after_counts_from_one():
    codes = [np.full((1, 1), i) for i in (1, 2, 3)]
    assert after(1, iter(codes)) == 1
    assert after(3, iter(codes)) == 3
    with pytest.raises(ValueError, match="steps is 0"):
        after(0, iter(codes))


def test_codes_that_were_yielded_stay_as_they_were():
    x, W = problem()
    for solver in [*SOLVERS, gradient_descent]:
        codes = solver(x, W, 0.3)
        first = next(codes)
        kept = first.copy()
        next(codes)
        np.testing.assert_array_equal(first, kept)


def test_float32_stays_float32():
    x, W = (array.astype(np.float32) for array in problem())
    for solver in [*SOLVERS, gradient_descent]:
        assert after(3, solver(x, W, 0.3)).dtype == np.float32
    model = SparseCoding(9, 12, 0.3, rng=np.random.default_rng(0))
    model.fit(x, optimizer=SGD(0.1), epochs=1, batch_size=2, rng=np.random.default_rng(0))
    assert model.W.dtype == model.reconstruct(x).dtype == np.float32
    assert model.loss_and_gradients(x)[1]["W"].dtype == np.float32


def small_model(steps=800, nonnegative=False):
    rng = np.random.default_rng(2)
    return SparseCoding(9, 7, 0.3, steps, nonnegative=nonnegative, rng=rng, dtype=np.float64)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_the_gradient_at_settled_codes_agrees_with_central_differences(nonnegative):
    x, _ = problem(5)
    model = small_model(nonnegative=nonnegative)
    model.W[:] *= np.linspace(0.8, 1.2, 7)[:, None]  # no need of length 1
    assert check_gradients(model, x).relative_error < 1e-6
    z = model.encode(x)
    assert 0 < np.count_nonzero(z) < z.size


def test_the_gradient_at_codes_that_have_not_settled_is_not_exact():
    x, _ = problem(5)
    assert check_gradients(small_model(steps=2), x).relative_error > 1e-2


def test_one_outer_step_is_the_rule_of_olshausen_and_field():
    x, _ = problem(5)
    model = small_model()
    W = model.W.copy()
    a = lasso(x, W, 0.3)
    model.fit(x, optimizer=SGD(0.2), epochs=1, batch_size=5, rng=np.random.default_rng(0))
    step = sum(np.outer(a[i], x[i] - a[i] @ W) for i in range(5)) / 5
    np.testing.assert_allclose(model.W, unit_rows(W + 0.2 * step), atol=1e-7)


def test_the_model_tells_what_it_found():
    x, _ = problem(5)
    model = small_model(nonnegative=True)
    loss, _, seen = model.forward_backward(x)
    a = lasso(x, model.W, 0.3, nonnegative=True)
    np.testing.assert_allclose(model.encode(x), a, atol=1e-7)
    np.testing.assert_allclose(model.reconstruct(x), a @ model.W, atol=1e-6)
    assert loss == model.loss(x) == pytest.approx(objective(x, a, model.W, 0.3).mean(), rel=1e-9)
    assert model.error(x) == pytest.approx(np.mean((a @ model.W - x) ** 2), rel=1e-6)
    np.testing.assert_array_equal(seen.z, model.encode(x))
    np.testing.assert_array_equal(seen.x_hat, model.reconstruct(x))
    np.testing.assert_allclose(seen.h, np.einsum("bd,nd->bn", x, model.W))
    assert seen.x is x and seen.W_dec is model.W


def test_no_other_target_is_taken():
    x, _ = problem(5)
    with pytest.raises(ValueError, match="give no other target, and no input noise"):
        small_model().loss(x, x + 1)


def test_steps_and_sparsity_can_change_between_calls():
    x, _ = problem(5)
    model = small_model(steps=1)
    first = model.encode(x)
    model.steps = 500
    settled = model.encode(x)
    assert np.abs(first - settled).max() > 0.01
    model.sparsity = 100
    assert not model.encode(x).any()


def test_finds_the_dictionary_that_made_the_data():
    rng = np.random.default_rng(0)
    truth = unit_rows(rng.normal(size=(12, 16)))
    codes = np.where(rng.random((2000, 12)) < 0.15, rng.uniform(1, 2, (2000, 12)), 0)
    model = SparseCoding(16, 12, 0.1, 50, nonnegative=True, rng=rng, dtype=np.float64)
    history = model.fit(codes @ truth, optimizer=SGD(0.5), epochs=30, batch_size=100, rng=rng)
    assert history.training[-1] < history.training[0]
    np.testing.assert_allclose(np.linalg.norm(model.W, axis=1), 1)
    # Each true atom has its learnt one, and no learnt one serves two.
    match = truth @ model.W.T
    assert (match.max(axis=1) > 0.99).all()
    assert sorted(match.argmax(axis=1)) == list(range(12))


def test_starts_are_drawn_from_the_generator_alone():
    a, b = (SparseCoding(9, 7, 1.0, rng=np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a.W, b.W)
    np.testing.assert_allclose(np.linalg.norm(a.W, axis=1), 1, rtol=1e-6)
    assert a.W.dtype == np.float32


def test_may_start_at_images():
    x, _ = problem(8)
    a, b = small_model(), small_model()
    for model in (a, b):
        model.init_from_data(x, np.random.default_rng(4))
    np.testing.assert_array_equal(a.W, b.W)
    same = np.isclose(unit_rows(x) @ a.W.T, 1)
    assert (same.sum(axis=0) == 1).all()  # each atom is one image,
    assert (same.sum(axis=1) <= 1).all()  # and no image is two of them
    a.init_from_data(x[:2], np.random.default_rng(4))
    assert np.isclose(unit_rows(x[:2]) @ a.W.T, 1).any(axis=0).all()  # two images for seven atoms


def test_an_atom_of_length_zero_stays_there():
    model = small_model()
    model.W[3] = 0
    model.constrain()
    assert not model.W[3].any()
    code = model.encode(np.ones((1, 9)))
    assert code.any() and not code[:, 3].any()


@pytest.mark.parametrize("solver", [*SOLVERS, gradient_descent])
def test_says_what_is_wrong(solver):
    x, W = problem()
    with pytest.raises(ValueError, match=r"\(9,\), the dictionary \(12, 9\)"):
        next(solver(x[0], W, 0.1))
    with pytest.raises(ValueError, match=r"\(4, 9\), the dictionary \(9, 12\)"):
        next(solver(x, W.T, 0.1))
    with pytest.raises(ValueError, match=r"\(4, 9\), the dictionary \(9,\)"):
        next(solver(x, W[0], 0.1))
    for sparsity in (-0.1, float("nan")):
        with pytest.raises(ValueError, match=r"sparsity is .*; give a finite number of 0 or more"):
            next(solver(x, W, sparsity))
    with pytest.raises(ValueError, match="Every atom"):
        next(solver(x, 0 * W, 0.1))


def test_an_unknown_penalty_is_named():
    x, W = problem()
    with pytest.raises(ValueError, match="cubic"):
        next(gradient_descent(x, W, 0.1, "cubic"))
