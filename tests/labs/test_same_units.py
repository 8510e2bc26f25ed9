"""Lab 13's pairs: what differs between the two, and what counts as the same unit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ksae_lab.data.datasets import load_dataset
from ksae_lab.experiments.rival_atoms import Atoms
from tests.labs.imported import module
from tests.repo import ROOT

measure = module("same_units")

D = 12


@pytest.fixture
def few(monkeypatch):
    """A small world in the place of the digits, and settings for it."""
    x = np.random.default_rng(0).random((120, D), np.float32) ** 3
    dataset = load_dataset(x, "none")
    monkeypatch.setattr(measure, "samples", lambda world: dataset)
    monkeypatch.setitem(measure.BUDGETS, "few", measure.Budget(2, {}, 2, (0.5,)))
    best = {measure.NETWORK: (0.004, "data"), measure.DICTIONARY: 0.5}
    monkeypatch.setattr(measure, "chosen", lambda world, learner: best.get(learner))
    measure.data.cache_clear()
    yield dataset
    measure.data.cache_clear()


PLAN = measure.Plan("few", n=8, k=2)


def rows(x):
    """Samples as a set."""
    return {row.tobytes() for row in x}


def test_halves_share_no_sample_and_may_be_the_same(few):
    first, second = (
        rows(measure.data("few", measure.OTHER_HALF, 0, which).x_train) for which in (False, True)
    )
    assert not first & second and first | second == rows(few.x_train)
    for which in (False, True):
        assert rows(measure.data("few", measure.SAME_HALF, 0, which).x_train) == first
    assert rows(measure.data("few", measure.SAME_HALF, 1, False).x_train) != first


def test_gaussian_samples_have_the_moments_and_no_more(monkeypatch, few):
    many = replace(few, x_train=np.tile(few.x_train, (200, 1)))
    monkeypatch.setattr(measure, "samples", lambda world: many)
    x = measure.data("few", measure.SHAPELESS, 0, False).x_train
    np.testing.assert_allclose(x.mean(axis=0), few.x_train.mean(axis=0), atol=0.01)
    ours, theirs = (np.cov(each, rowvar=False) for each in (x, many.x_train))
    np.testing.assert_allclose(ours, theirs, atol=0.004)
    third = [((of - of.mean()) ** 3).mean() for of in (x, few.x_train)]
    assert abs(third[0]) < 0.1 * third[1]  # what the cube had made lopsided


@pytest.mark.parametrize(
    "change, start, order",
    [
        (measure.SEED, False, False),
        (measure.START, True, False),
        (measure.ORDER, False, True),
        (measure.ELSEWHERE, False, False),
    ],
)
def test_two_of_a_pair_share_what_their_name_says(monkeypatch, few, change, start, order):
    begun = []

    def noted(run):
        begun.append((run.model.W_dec.copy(), run.rng.bit_generator.state["state"]["state"]))
        return run.model

    monkeypatch.setattr(measure, "trained", noted)
    for which in (False, True):
        measure.learnt(replace(PLAN, change=change), 0, which)
    (W, batches), (other_W, other_batches) = begun
    assert np.array_equal(W, other_W) == start
    assert (batches == other_batches) == order


def test_a_start_at_random_is_at_no_sample(monkeypatch, few):
    monkeypatch.setattr(measure, "trained", lambda run: run.model)
    centred = few.x_train - few.x_train.mean(axis=0)
    near = {}
    for change in (measure.SEED, measure.ELSEWHERE):
        W = measure.learnt(replace(PLAN, change=change), 0, False).W
        near[change] = np.abs(measure.match(centred, W).cosines)
    assert near[measure.SEED].mean() > 0.95 > near[measure.ELSEWHERE].max()


def test_a_pair_of_the_same_is_the_same(monkeypatch, few):
    """With the other's seed as its own, whoever learns."""
    real = measure.learnt
    monkeypatch.setattr(measure, "learnt", lambda plan, pair, second: real(plan, pair, False))
    for learner in measure.LEARNERS:
        row = measure.row(replace(PLAN, learner=learner), 0)
        assert row["cosine"] == pytest.approx(1)
        assert row["near"] == row["like"] == 1
        assert row["used"] == pytest.approx(1)
        assert row["together"] == 1 - row["idle"]


def test_a_unit_whose_atom_is_opposite_is_another_for_a_relu_only(monkeypatch, few):
    W, codes = np.eye(D)[:8], np.ones((3, 8)) * np.arange(3)[:, None]
    sides = {False: measure.Learnt(W, codes, 0.1), True: measure.Learnt(-W, -codes, 0.3)}
    monkeypatch.setattr(measure, "learnt", lambda plan, pair, second: sides[second])
    assert measure.row(PLAN, 0)["near"] == 0
    row = measure.row(replace(PLAN, learner=measure.DICTIONARY), 0)
    assert row["near"] == row["together"] == 1
    assert row["left"] == pytest.approx(0.2)


def test_correlations_are_numpys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50, 4))
    expected = [abs(np.corrcoef(a[:, i], b[:, i])[0, 1]) for i in range(4)]
    np.testing.assert_allclose(measure.correlation(a, b), expected)
    assert measure.correlation(np.zeros((5, 1)), np.ones((5, 1))) == 0


def test_units_with_a_name_are_those_that_tell_a_list(monkeypatch):
    """One side has a unit for each list, in the order of the lists, the other in another order."""
    lists = measure.lists()
    assert min(of_list.sum() for of_list in lists.values()) == measure.LEAST
    rng, n = np.random.default_rng(0), len(lists)
    W, order = rng.normal(size=(n, 100)), rng.permutation(n)
    codes = np.stack([*lists.values()], axis=1).astype(float)
    sides = {
        False: measure.Learnt(W, codes, 0.1),
        True: measure.Learnt(W[order], codes[:, order], 0.1),
    }
    monkeypatch.setattr(measure, "learnt", lambda plan, pair, second: sides[second])
    row = measure.named(0)
    assert row == pytest.approx({"cosine": 1, "near": 1, "cosine_all": 1, "near_all": 1})
    sides[True] = sides[True]._replace(codes=codes)  # atoms of other units
    assert measure.named(0)["cosine"] < 0.3


def test_twice_as_long_is_twice_the_epochs_and_all_else_alike(monkeypatch, few):
    """So is a start of the other kind, which changes the start alone."""
    asked = {}

    def noted(experiment, dataset):
        asked[change] = experiment
        return build(experiment, dataset)

    build = measure.build
    monkeypatch.setattr(measure, "build", noted)
    monkeypatch.setattr(measure, "trained", lambda run: run.model)
    for change in (measure.SEED, measure.TWICE, measure.ELSEWHERE):
        measure.learnt(replace(PLAN, change=change), 0, False)
    usual = asked[measure.SEED]
    assert (usual.training.epochs, usual.model.start) == (2, "data")
    longer = usual.training.model_copy(update={"epochs": 4})
    assert asked[measure.TWICE] == usual.model_copy(update={"training": longer})
    elsewhere = usual.model.model_copy(update={"start": "mean"})
    assert asked[measure.ELSEWHERE] == usual.model_copy(update={"model": elsewhere})


@pytest.mark.parametrize("world", measure.BUDGETS)
def test_the_slowest_of_those_that_are_nearly_best_is_chosen(world):
    """Chosen again from the stored trials."""
    tried = pd.read_csv(ROOT / "notebooks" / "same_units" / "choice.csv", comment="#")
    own = tried[tried.variant.str.startswith(f"{world}, {measure.NETWORK}: ")]
    best = own[own.left <= 1.005 * own.left.min()]
    rates = best.variant.str.extract(r"\((.+), '(.+)'\)")
    slowest = rates[0].astype(float).min()
    rate, start = measure.chosen(world, measure.NETWORK)
    assert rate == slowest and start in set(rates[1][rates[0].astype(float) == slowest])
    weights = tried[tried.variant.str.startswith(f"{world}, {measure.DICTIONARY}: ")]
    name = weights.variant[weights.left.idxmin()]
    assert measure.chosen(world, measure.DICTIONARY) == float(name.rpartition(": ")[2])
    assert measure.chosen(world, measure.UNTRAINED) is None


def test_dictionary_learning_may_start_at_samples_that_the_seed_draws(monkeypatch, few):
    """Else it is left to scikit-learn, whatever differs."""
    starts = []

    def noted(x, n_units, alpha, passes, seed, start):
        starts.append(start)
        return Atoms(np.eye(D)[:n_units], np.zeros(D))

    monkeypatch.setattr(measure.rival_atoms, "dictionary", noted)
    plan = replace(PLAN, learner=measure.DICTIONARY)
    for change, which in (
        (measure.SEED, False),
        (measure.ELSEWHERE, False),
        (measure.ELSEWHERE, 1),
    ):
        measure.learnt(replace(plan, change=change), 0, bool(which))
    unasked, first, second = starts
    assert unasked is None
    centred = few.x_train - few.x_train.mean(axis=0)
    for start in (first, second):
        np.testing.assert_allclose(measure.match(centred, start).cosines, 1, rtol=1e-5)
    assert not np.allclose(first, second)
