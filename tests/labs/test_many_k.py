"""Chapter 16's table: what a row holds, and that the table is the one asked for."""

from dataclasses import replace

import numpy as np
import pytest

from ksae_lab.data.datasets import load_dataset
from tests.labs.imported import module

many_k = module("many_k")
Training, Use = many_k.Training, many_k.Use


@pytest.fixture(scope="module")
def digits():
    whole = load_dataset()
    return replace(whole, x_train=whole.x_train[:200], x_val=whole.x_val[:20])


def rows(digits, kind, uses):
    """What is measured when one short training is used in several ways."""
    training, x = Training(*kind, epochs=1), digits.x_test[:100]
    model = many_k.train(training, digits, seed=3)
    made = [Use(variant, training, k) for variant, k in uses]
    return model, x, [many_k.measure(model, use, digits.x_train, x) for use in made]


def test_a_network_for_one_k_is_used_with_others(digits):
    uses = [("alone", 20), ("trained at 10", 2)]
    model, x, (own, other) = rows(digits, ("one k", (20, 100)), uses)
    for row, k in ((own, 20), (other, 2)):
        h = (x - model.b_dec) @ model.W_enc + model.b_enc
        z = np.where(np.argsort(np.argsort(-h)) < k, np.maximum(h, 0), 0)
        error = np.mean((z @ model.W_dec + model.b_dec - x) ** 2)
        assert row["test"] == pytest.approx(error, rel=1e-4)
        assert row["active"] == pytest.approx(np.count_nonzero(z) / 100)
        assert (row["k"], row["price"]) == (k, None)


def test_a_network_for_one_k_has_as_many_units_as_asked(digits):
    model, _, _ = rows(digits, ("one k", (10, 20)), [("alone, 2k units", 10)])
    assert (model.k, model.W_dec.shape) == (10, (20, 784))


def test_nested_dictionaries_are_cut_and_made_whole_again(digits):
    uses = [("nested", 5), ("nested, all units", 5), ("nested", 2)]
    model, x, found = rows(digits, ("nested",), uses)
    assert model.selector.prefix == 4
    model.selector.prefix = 100
    twin = model.to_numpy()
    for row, units in zip(found, (10, 100, 4), strict=True):
        h = twin.pre_activations(x)[:, :units]
        z = np.where(np.argsort(np.argsort(-h)) < row["k"], np.maximum(h, 0), 0)
        error = np.mean((z @ twin.W_dec[:units] + twin.b_dec - x) ** 2)
        assert row["test"] == pytest.approx(error, rel=1e-4)


def test_a_threshold_is_used_as_learnt_and_then_set_for_each_k(digits):
    uses = [("batch top-k, θ as learnt", 10), ("batch top-k", 5), ("batch top-k", 20)]
    _, x, found = rows(digits, ("batch top-k",), uses)
    actives = [row["active"] for row in found]
    assert actives[1] == pytest.approx(5, abs=1.5) and actives[2] == pytest.approx(20, abs=4)
    again = many_k.train(Training("batch top-k", epochs=1), digits, seed=3)
    assert found[0]["active"] == pytest.approx(np.count_nonzero(again.encode(x)) / 100)


def test_who_pays_more_speaks_less(digits):
    found = []
    for price in (1e-2, 1e-4):
        _, _, (row,) = rows(digits, ("JumpReLU", price), [("JumpReLU", None)])
        found.append(row)
        assert row["price"] == price and row["k"] is None
    assert found[0]["active"] < found[1]["active"]


def test_rows_and_their_settings_are_told_apart(monkeypatch):
    before = {use.settings for use in many_k.uses()}
    assert len(before) == len({use.name for use in many_k.uses()}) == len(many_k.uses())
    monkeypatch.setattr(many_k, "RATE", 0.1)
    assert not before & {use.settings for use in many_k.uses()}
