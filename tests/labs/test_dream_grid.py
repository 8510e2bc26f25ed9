"""Lab 4's table: its gradients, its starts, its rows."""

import numpy as np
import pytest

from ksae_lab.data.datasets import load_dataset
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.models.sparse_dream_2020 import gradients_2020
from ksae_lab.training.gradcheck import check_gradients
from tests.labs.imported import module
from tests.models.test_sparse_dream import dream

dream_grid = module("dream_grid")


def test_each_half_mends_one_of_two_faults():
    model, x = dream(1)
    found, sphere, encoder, right = (
        gradient(model, x)["W"] for gradient in dream_grid.GRADIENTS.values()
    )
    assert list(dream_grid.GRADIENTS) == ["as found", "sphere mended", "encoder mended", "right"]
    np.testing.assert_array_equal(found, gradients_2020(model, x)["W"])
    assert check_gradients(model, x, claimed={"W": right}, names=["W"]).relative_error < 1e-6
    # The two mends are independent of each other, and together they are the whole.
    np.testing.assert_allclose((sphere - found) + (encoder - found), right - found)
    # Without the image's term nothing is missing on the way through the encoder.
    np.testing.assert_allclose(sphere - found, -4 * model.norm_weight * model.W)
    for gradient in dream_grid.GRADIENTS.values():
        assert gradient(model, x).keys() == {"W", "S", "b"}


def test_a_start_is_repaired_where_it_should_be():
    x = load_dataset().x_train
    found = SparseDream(784, 100, init="as_found", rng=np.random.default_rng(2))
    for name, repaired in dream_grid.STARTS.items():
        model = dream_grid.start(repaired, x, seed=2)
        for parameter in ("W", "S"):
            same = np.array_equal(model.parameters[parameter], found.parameters[parameter])
            assert same == (parameter not in repaired), name
        if "S" in repaired:
            assert (np.diag(model.S) == 1).all()
        if "W" in repaired:
            assert (model.W @ x.T / np.linalg.norm(x, axis=1)).max(axis=1) == pytest.approx(1)


def test_a_row_is_what_the_training_gives(monkeypatch):
    digits = load_dataset()
    monkeypatch.setattr(dream_grid, "UPDATES", 25)
    row, errors = dream_grid._measured.func("right", "both repaired", 4, "")
    model = dream_grid.start(("W", "S"), digits.x_train, 4)
    for i in np.random.default_rng(4).integers(len(digits.x_train), size=25):
        _, gradients = model.loss_and_gradients(digits.x_train[i : i + 1])
        for name, w in model.parameters.items():
            w -= 1e-4 * gradients[name]
    codes = model.encode(digits.x_test)
    off = (codes @ model.W - digits.x_test) ** 2
    assert row["test"] == pytest.approx(np.mean(off), rel=1e-4)
    np.testing.assert_allclose(errors, off.mean(axis=1), rtol=1e-3)
    assert row["active"] == pytest.approx((codes > 0).sum() / len(codes), rel=1e-4)
    assert row["dead"] == (~(model.encode(digits.x_train) > 0).any(axis=0)).sum()
    assert row["length"] == pytest.approx(np.linalg.norm(model.W, axis=1).mean(), rel=1e-4)


def test_a_verdict_takes_differences_seed_by_seed(monkeypatch):
    """What both sides owe to a seed's luck is no part of it."""
    rng = np.random.default_rng(0)
    ours, theirs = ("right", "as found"), ("as found", "as found")
    each = {(*cell, seed): rng.normal(size=40) for cell in (ours, theirs) for seed in range(3)}
    monkeypatch.setattr(dream_grid, "measured", lambda *of: ({}, each[of] + 10 * of[2]))
    row = dream_grid.verdict(ours, theirs)
    found = [each[*ours, seed] - each[*theirs, seed] for seed in range(3)]
    assert row["difference"] == pytest.approx(np.mean(found))
    assert row["difference"] == pytest.approx(row["ours"] - row["theirs"])
    assert row["half_width"] < 1
    assert len(list(dream_grid.contests())) == 19
