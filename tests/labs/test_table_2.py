"""Lab 2's tables: against scikit-learn's own coder, and contests that can be done by hand."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning, SparseCoder

from ksae_lab import KSparseAutoencoder, check_gradients
from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.statistics import difference
from tests.labs.imported import module
from tests.repo import ROOT

measure = module("table_2")


@pytest.fixture
def digits(monkeypatch):
    whole = load_dataset()
    few = replace(
        whole, x_train=whole.x_train[:300], x_val=whole.x_val[:30], x_test=whole.x_test[:40]
    )
    monkeypatch.setattr(measure, "digits", lambda: few)
    monkeypatch.setattr(measure, "UNITS", 15)
    return few


def test_a_dictionary_is_scikit_learns_with_its_early_stop_off(digits):
    W, mean = measure.dictionary.func(3, (1, 0), 1)
    x = np.tile(digits.x_train.astype(float), (measure.COPIES, 1))
    learner = MiniBatchDictionaryLearning(
        15, alpha=1, batch_size=256, max_iter=5, tol=0, max_no_improvement=None, random_state=3
    )
    atoms = learner.fit(x - x.mean(axis=0)).components_  # by LARS
    assert learner.n_steps_ == 5 * np.ceil(len(x) / 256)
    coder = SparseCoder(atoms, transform_algorithm="omp", transform_n_nonzero_coefs=4)
    expected = ((mean + coder.transform(digits.x_test - mean) @ atoms - digits.x_test) ** 2).mean()
    found = measure.of_parts(measure.coded(W, mean, 4))
    assert found["test"].shape == (40,) and found["validation"].shape == (30,)
    assert found["test"].mean() == pytest.approx(expected, rel=0.02)
    twice = measure.dictionary.func(3, (1, 0), 2)[0]
    assert (twice != W).any()


def test_what_moves_is_another_heap(digits):
    still, moved = measure.heap(0, False), measure.heap(0, True)
    np.testing.assert_array_equal(still, np.tile(digits.x_train, (measure.COPIES, 1)))
    share = (still != moved).any(axis=1).mean()
    assert share == pytest.approx(0.5, abs=0.05)
    assert (measure.heap(1, True) != moved).any()


@pytest.mark.parametrize("own", [False, True])
def test_pca_is_scikit_learns_or_has_the_best_k_of_its_axes(digits, own):
    x = digits.x_test.astype(float)
    drawn = measure.pca(4, 0, (0,), 1, own=own)(digits.x_test)
    few = PCA(4, svd_solver="full").fit(digits.x_train.astype(float))
    first = few.inverse_transform(few.transform(x))
    if not own:
        np.testing.assert_allclose(drawn, first, atol=1e-5)
    else:
        better = ((drawn - x) ** 2).sum(axis=1) <= ((first - x) ** 2).sum(axis=1) + 1e-6
        assert better.all()


@pytest.mark.parametrize("name", ["raw digits + OMP, non-negative", "NMF + OMP, non-negative"])
def test_a_code_that_may_not_take_away_does_not(digits, name, monkeypatch):
    codes = []
    real = measure.nonnegative_omp
    monkeypatch.setattr(
        measure, "nonnegative_omp", lambda *args: codes.append(real(*args)) or codes[-1]
    )
    monkeypatch.setattr(measure, "parts_of_digits", lambda seed, moved, budget: np.eye(784)[:15])
    measure.of_parts(measure.RIVALS[name][1](3, 0, (0,), 1))
    assert all((code >= 0).all() and np.count_nonzero(code, axis=1).max() <= 3 for code in codes)
    assert len(codes) == 2


def test_the_price_has_its_gradient():
    rng = np.random.default_rng(0)
    loss = measure.L1(30.0)
    model = KSparseAutoencoder(9, 6, 6, auxiliary_losses=[loss], rng=rng, dtype=np.float64)
    x = rng.uniform(size=(5, 9))
    assert check_gradients(model, x).relative_error < 1e-6
    z = model.encode(x)
    plain = model.error(x)
    assert model.loss(x) - plain == pytest.approx(30 * np.abs(z).sum() / x.size)


def test_between_two_weights_lies_the_share_of_the_way(monkeypatch):
    monkeypatch.setattr(measure, "WEIGHTS", (1, 2, 3))
    active = {1: 40.0, 2: 10.0, 3: 2.5}

    def priced(weight, seed, budget):
        errors = np.array([0.0, 1.0]) + weight
        return {part: (active[weight], errors) for part in ("validation", "test")}

    monkeypatch.setattr(measure, "priced", priced)
    for k, weight in {20: 1.5, 10: 2, 5: 2.5}.items():
        found = measure.between_prices(k, 0, 1)["test"]
        np.testing.assert_allclose(found, np.array([0.0, 1.0]) + weight)


def test_a_verdict_draws_seeds_and_digits(monkeypatch):
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(5, 50)), 0.3 + rng.normal(size=(3, 50))
    monkeypatch.setattr(measure, "SEEDS", {"once": (0, 1, 2)})
    monkeypatch.setattr(measure, "of_networks", lambda k, budget, what: {"test": ours})
    monkeypatch.setattr(
        measure, "rival", lambda name, k, seed, setting, budget: {"test": theirs[seed]}
    )
    row = measure.verdict("one pass", "PCA", 10, (0,), "once")
    expected = difference(ours, theirs)
    assert (row["difference"], row["half_width"], row["p"]) == (
        expected.mean,
        expected.half_width,
        expected.p,
    )
    assert row["network"] - row["rival"] == pytest.approx(expected.mean)


def test_every_rival_has_the_setting_that_validation_preferred():
    lines = (ROOT / "notebooks/table_2/trials.csv").read_text(encoding="utf-8").splitlines()
    trials = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    for name, k, setting in measure.contests():
        own = name if name in measure.OPEN else name.removesuffix(", non-negative")
        of_it = [row for row in trials if row["variant"].startswith(f"{own}, k={k}: ")]
        assert len(of_it) == len(measure.OPEN.get(own, ()))
        if of_it:
            best = min(of_it, key=lambda row: float(row["validation"]))
            text = " ".join(f"{number:g}" for number in setting)
            assert best["variant"].endswith(f": {text}")
        else:
            assert setting == ()


@pytest.mark.parametrize(
    ("constant", "value", "tables"),
    [
        ("PASSES", 21, ("trials", "rivals", "verdicts")),
        ("WEIGHTS", (1, 2), ("trials", "rivals", "verdicts")),
        ("SEEDS", {"once": (0, 1, 2), "twice": (0, 1)}, ("verdicts",)),
    ],
)
def test_rows_are_measured_again_when_a_budget_or_the_seeds_change(
    monkeypatch, constant, value, tables
):
    def hashes(table):
        return {(j.variant, j.seed): j.settings for j in measure.TABLES[f"{table}.csv"]()}

    before = {table: hashes(table) for table in tables}
    monkeypatch.setattr(measure, constant, value)
    for table in tables:
        after = hashes(table)
        assert all(after[key] != settings for key, settings in before[table].items())
