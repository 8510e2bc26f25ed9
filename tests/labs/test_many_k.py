"""Chapter 16's tables: what a row holds, and what is compared with what."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ksae_lab.nn.selectors import BatchTopK, JumpReLU
from tests.labs.imported import module
from tests.repo import ROOT

many_k = module("many_k")


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    """The module's digits, but few of them."""
    whole = many_k.digits()
    few = replace(whole, x_train=whole.x_train[:200], x_test=whole.x_test[:100])
    monkeypatch.setattr(many_k, "digits", lambda: few)


def short(training):
    return many_k.train(replace(training, epochs=1), 0.004, seed=3)


def test_each_kind_asks_for_what_its_paper_asks():
    _, (hierarchical,) = many_k.parts("HierarchicalTopK", 50)
    assert hierarchical.parts == [(k, 1.0) for k in range(1, 50)]  # and 50 is the model's own
    selector, (multi,) = many_k.parts("multi-TopK", 40)
    assert selector.k == 40 and multi.parts == [(10, 8.0)]
    selector, (nested,) = many_k.parts("Matryoshka, BatchTopK", 10)
    assert isinstance(selector, BatchTopK)
    assert nested.parts == [(prefix, 1.0) for prefix in many_k.PREFIXES]


def test_uses_are_what_they_are_called():
    model = short(many_k.NESTED)
    uses = {use.name: use for use in many_k.uses(many_k.NESTED)}
    x = many_k.digits().x_test
    h = model.pre_activations(x)
    ranks = np.argsort(np.argsort(-h))
    whole = np.where(ranks < 10, np.maximum(h, 0), 0)
    np.testing.assert_array_equal(many_k.used(model, uses["k = 10"], x), whole)
    cut = np.where(np.arange(1000) < 125, whole, 0)
    np.testing.assert_array_equal(many_k.used(model, uses["cut to 125"], x), cut)
    chosen = many_k.used(model, uses["chosen from 125"], x)
    first = np.where(np.argsort(np.argsort(-h[:, :125])) < 10, np.maximum(h[:, :125], 0), 0)
    np.testing.assert_array_equal(chosen[:, :125], first)
    assert not chosen[:, 125:].any()


def test_a_threshold_is_used_as_learnt_and_then_set_for_each_k():
    model = short(many_k.BATCHED)
    uses = {use.name: use for use in many_k.uses(many_k.BATCHED)}
    x, learnt = many_k.digits().x_test, float(model.selector.threshold)
    as_learnt = many_k.used(model, uses["θ as learnt"], x)
    np.testing.assert_array_equal(as_learnt > 0, model.pre_activations(x) >= learnt)
    seen = many_k.digits().x_train
    for k in (5, 10):
        units = np.count_nonzero(many_k.used(model, uses[f"k = {k}"], seen), axis=1)
        assert units.mean() == pytest.approx(k, abs=0.01)


def test_a_price_takes_the_place_of_the_batch_in_the_middle_of_training():
    training = replace(many_k.PRICED[many_k.PRICES[1]], epochs=4)
    model = many_k.train(training, 0.004, seed=3)
    (cost,) = model.auxiliary_losses
    assert isinstance(model.selector, JumpReLU) and cost.selector is model.selector
    assert cost.weight == many_k.PRICES[1]
    assert model.selector.bandwidth == pytest.approx(model.selector.start / 2)
    moved = np.log(model.selector.thresholds / model.selector.start)
    assert 0 < np.abs(moved).max() < 0.1


def test_between_two_k_the_error_follows_a_power_law(monkeypatch):
    monkeypatch.setattr(many_k, "errors", lambda training, use: np.full((2, 3), 1 / training.k))
    for active in (4, 5, 9.5, 18, 60):
        np.testing.assert_allclose(many_k.alone_at(active), np.full((2, 3), 1 / active))


def test_starts_and_rates_are_those_that_validation_digits_prefer():
    trials = pd.read_csv(ROOT / "book" / "tables" / "many_k" / "choice.csv", comment="#")
    for (kind, k), chosen in many_k.chosen().items():
        tried = trials[(trials.kind == kind) & (trials.k == k)]
        start, rate = tried.loc[tried.validation.idxmin(), ["start", "rate"]]
        assert chosen == (start, rate) and rate != max(many_k.RATES)
        assert {*tried.start} == {*many_k.STARTS}
        assert set(tried.seed) == {many_k.TRIAL_SEED} and not {*tried.seed} & {*many_k.SEEDS}
    for training in many_k.ALL:
        best, rate = many_k.at_best(training)
        assert rate and replace(best, start=training.start) == training


def test_a_start_is_at_digits_or_at_random_around_their_mean():
    x = many_k.digits().x_train
    for start, at_digits in (("data", True), ("mean", False)):
        training = replace(many_k.ALONE[10], start=start, epochs=1)
        model = many_k.train(training, 1e-9, seed=3)  # so that nothing moves
        np.testing.assert_allclose(model.b_dec, x.mean(axis=0), atol=1e-6)
        centred = x - x.mean(axis=0)
        cosines = model.W_dec @ (centred / np.linalg.norm(centred, axis=1, keepdims=True)).T
        assert (cosines.max(axis=1).min() > 0.9) == at_digits
