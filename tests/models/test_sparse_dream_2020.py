"""The rules of 2020: what was right in them, what was wrong, and that they fail as they did."""

import numpy as np
import pytest

from ksae_lab.data.datasets import load_dataset
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.models.sparse_dream_2020 import gradients_2020, update_2020
from ksae_lab.training.gradcheck import check_gradients
from tests.models.test_sparse_dream import INACTIVE, dream


@pytest.fixture(scope="module")
def digits():
    return load_dataset().x_train.astype(np.float64)


def as_found(seed):
    rng = np.random.default_rng(seed)
    return SparseDream(784, 100, init="as_found", rng=rng, dtype=np.float64)


def dead(model, x):
    return int((~(model.encode(x) > 0).any(axis=0)).sum())


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("inactive", INACTIVE)
def test_S_and_b_were_right(batch, inactive):
    model, x = dream(1, batch, inactive)
    claimed = gradients_2020(model, x)
    assert check_gradients(model, x, claimed=claimed, names=["S", "b"]).relative_error < 1e-6


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("inactive", INACTIVE)
def test_W_was_wrong_in_exactly_two_places(batch, inactive):
    model, x = dream(1, batch, inactive)
    h, _, a = model.activities(x)
    e = model.decode(a) - x
    through_the_encoder = np.zeros_like(model.W)
    for image in range(batch):  # one image at a time, as the notebook has it
        asked = np.where(a[image] > 0, 2 * model.W @ e[image], 0)
        for unit in range(len(model.W)):
            if h[image, unit] > 0:
                through_the_encoder[unit] += asked @ model.S[:, unit] * x[image] / batch
    mended = gradients_2020(model, x)
    mended["W"] = mended["W"] + through_the_encoder - 4 * model.norm_weight * model.W
    assert check_gradients(model, x, claimed=mended).relative_error < 1e-6
    wrong = check_gradients(model, x, claimed=gradients_2020(model, x), names=["W"])
    assert wrong.relative_error > 0.05


def test_one_update_by_hand():
    """The notebook's order, written unit by unit: S first, W with the new S, b with the new W."""
    model, x = dream(2, batch=1)
    (v,) = x
    W, S, b = model.W.copy(), model.S.copy(), model.b.copy()
    h = np.array([max(w @ v, 0) for w in W])
    a = np.array([max(s @ h + shift, 0) for s, shift in zip(S, b, strict=True)])
    e = sum(a[i] * W[i] for i in range(len(W))) - v
    slope = 1 - np.tanh(a) ** 2
    for i in np.flatnonzero(a > 0):
        S[i] -= 1e-4 * (2 * e @ W[i] + slope[i]) * h
    W_new = W.copy()
    for i in range(len(W)):
        heard = sum(slope[j] * S[j, i] for j in range(len(W)) if a[j] > 0) if h[i] > 0 else 0
        W_new[i] -= 1e-4 * (2 * a[i] * e + heard * v + 4 * (W[i] @ W[i]) * W[i])
    for cell, rate in ((1, 1e-4), (2, 1e-2)):
        now, _ = dream(2, batch=1)
        expected = W_new / np.linalg.norm(W_new, axis=1, keepdims=True) if cell == 2 else W_new
        asked = 2 * expected @ e + slope
        assert update_2020(now, x, cell) == pytest.approx(e @ e)
        np.testing.assert_allclose(now.S, S)
        np.testing.assert_allclose(now.W, expected)
        np.testing.assert_allclose(now.b, b - rate * np.where(a > 0, asked, 0))


def test_the_first_update_kills_as_many_units_as_the_audit_saw(digits):
    """Seen there: 38 dead before the first update, ‖e‖² = 8,427, 89 dead after it."""
    before, errors, after = [], [], []
    for seed in range(8):
        model = as_found(seed)
        before.append(dead(model, digits))
        errors.append(update_2020(model, digits[seed * 400][None]))
        after.append(dead(model, digits))
    assert min(before) <= 38 <= max(before)
    assert min(errors) <= 8427 <= max(errors)
    assert min(after) <= 89 <= max(after)
    assert np.median(np.subtract(after, before)) > 40


@pytest.mark.slow
@pytest.mark.parametrize("cell", [1, 2])
def test_one_unit_survives_and_draws_the_average_digit(digits, cell):
    """Seen there: an error of .0648 with one active unit; the mean image itself has .0682."""
    model = as_found(0)
    rng = np.random.default_rng(1)
    steps = 4000
    for i in rng.integers(len(digits), size=steps):
        update_2020(model, digits[i][None], cell)
    codes = model.encode(digits)
    assert 0.9 < (codes > 0).sum(axis=1).mean() < 1.2
    assert model.error(digits) == pytest.approx(0.0648, abs=0.002)
    survivor = model.W[codes.sum(axis=0).argmax()]
    assert np.corrcoef(survivor, digits.mean(axis=0))[0, 1] > 0.98
    if cell == 1:  # the others are not asked any more, and shrink: dw/dt = −4 ‖w‖² w
        lengths = np.linalg.norm(model.W, axis=1)
        assert np.median(lengths) == pytest.approx(1 / np.sqrt(1 + 8e-4 * steps), rel=0.01)


def test_there_are_two_cells():
    model, x = dream(batch=1)
    with pytest.raises(ValueError, match="there is no 3"):
        update_2020(model, x, cell=3)
