"""Lab 8's tables: whose code is whose, and who may learn from what."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import orthogonal_mp

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments import saved_models
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.sweep import load
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.two_step import TwoStepEncoder
from tests.labs.imported import module
from tests.repo import ROOT

amortisation = module("amortisation")


@pytest.fixture(scope="module")
def digits():
    return load_dataset()


@pytest.fixture(scope="module")
def few(digits):
    """A few of the digits to learn from."""
    return replace(digits, x_train=digits.x_train[:300])


@pytest.fixture(scope="module")
def model(digits):
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(784, 30, 4, rng=rng)
    model.init_from_data(digits.x_train, rng)
    return model


@pytest.fixture
def saved(model, tmp_path):
    saved_models.save_model(model, tmp_path / "model.json")
    return Network(Experiment(), tmp_path / "model.json")


def test_the_codes_are_those_that_their_names_say(model, digits, few):
    x = digits.x_test[:20]
    learned = TwoStepEncoder(model)
    learned.b1 += 0.1
    one = amortisation.longer(model, few, signed=True, epochs=1)
    found = amortisation.codes(model, x, {"learned_step": learned, "other": one})
    W, centred = model.W_dec.astype(float), x - model.b_dec.astype(float)
    np.testing.assert_array_equal(found["one_pass"], model.encode(x))
    np.testing.assert_array_equal(found["learned_step"], learned.encode(x))
    np.testing.assert_array_equal(found["second_step"], TwoStepEncoder(model).encode(x))
    np.testing.assert_array_equal(found["other"], one.encode(x))
    expected = orthogonal_mp(W.T, centred.T, n_nonzero_coefs=4).T
    np.testing.assert_allclose(found["omp"], expected, atol=1e-5)
    for before, after in (("one_pass", "signed_values"), ("learned_step", "learned_refit")):
        np.testing.assert_array_equal(found[after] != 0, found[before] != 0)
    assert not ((found["values"] != 0) & (found["one_pass"] == 0)).any()
    for name in ("one_pass", "values", "nonnegative_omp"):
        assert (found[name] >= 0).all()
    for code in found.values():
        assert (np.count_nonzero(code, axis=1) <= 4).all()


def test_whoever_may_do_more_does_not_draw_worse(model, digits):
    x = digits.x_test[:50]
    found = amortisation.codes(model, x, {"learned_step": TwoStepEncoder(model)})
    W, centred = model.W_dec.astype(float), x - model.b_dec.astype(float)
    error = {name: ((code @ W - centred) ** 2).mean(axis=1) for name, code in found.items()}
    steps = ("pursuit_1", "pursuit_2", "pursuit_3", "best")
    for stairs in (("one_pass", "values", "signed_values"), ("one_pass", *steps)):
        for worse, better in pairwise(stairs):
            assert (error[better] <= error[worse] + 1e-12).all(), better
    assert (error["best"] <= error["omp"]).all() and (error["best"] < error["omp"]).any()
    assert error["values"].mean() < error["one_pass"].mean()
    assert error["best"].mean() < error["nonnegative_omp"].mean() < error["values"].mean()
    assert error["learned_refit"].mean() < error["learned_step"].mean()


def test_the_best_is_chosen_for_each_image():
    W, x = np.eye(2), np.array([[1.0, 0.0], [0.0, 1.0]])
    left, right = np.array([[1.0, 0.0]] * 2), np.array([[0.0, 1.0]] * 2)
    np.testing.assert_array_equal(amortisation.best_of([left, right], x, W), x)


@pytest.fixture
def nothing_learned(model, monkeypatch):
    """Learners that give back what they begin with, and the noise that each was asked to have."""
    asked = {}

    def barely(name, encoder, of, dataset, **changes):
        asked[name] = changes
        return encoder

    for name in amortisation.LEARNERS:
        encoder = TwoStepEncoder(model) if name == "learned_step" else model
        monkeypatch.setitem(amortisation.LEARNERS, name, partial(barely, name, encoder))
    noises = {("learned_step", 10): 0.0, ("longer", 10): 0.1, ("longer_signed", 10): 0.2}
    monkeypatch.setattr(amortisation, "noises", lambda: noises)
    return asked


@pytest.fixture
def unkept(monkeypatch):
    """Nothing is kept from one call to the next."""
    monkeypatch.setattr(amortisation, "_measured", amortisation._measured.func)


def test_a_row(model, digits, saved, monkeypatch, nothing_learned, unkept):
    monkeypatch.setattr(amortisation, "TRAINING_IMAGES", 30)
    row = amortisation.measure(saved, digits)
    assert {name: of["noise"] for name, of in nothing_learned.items()} == {
        "learned_step": 0,
        "longer": 0.1,
        "longer_signed": 0.2,
    }
    assert row["one_pass"] == pytest.approx(model.error(digits.x_test), rel=1e-5)
    own = model.error(digits.x_train[:30])
    assert row["training_one_pass"] == pytest.approx(own, rel=1e-5)
    assert row["learned_step"] == row["second_step"] > row["best"] < row["one_pass"]
    assert row["longer"] == row["longer_signed"] == row["one_pass"]
    assert 0 < row["negative"] < 1 and 0.3 < row["kept"] < 1
    assert 0 < row["seconds_one_pass"] < row["seconds_omp"]


def test_what_is_tried_is_judged_by_validation_digits(model, few, saved):
    row = amortisation.validated(saved, few, ["learned_step"], epochs=2, noise=0)
    assert row["one_pass"] == pytest.approx(model.error(few.x_val), rel=1e-5)
    two = amortisation.second_look(model, few, epochs=2, noise=0)
    assert row["learned_step"] == pytest.approx(two.error(few.x_val), rel=1e-5)
    assert row["best"] < row["learned_step"] < row["one_pass"]


def test_each_learner_has_the_noise_that_validation_digits_preferred():
    trials = pd.read_csv(ROOT / "notebooks" / "amortisation" / "noise.csv", comment="#")
    for (name, k), noise in amortisation.noises().items():
        rows = trials[trials.k == k].set_index("noise")[name]
        assert len(rows) == len(amortisation.NOISES) and rows[noise] == rows.min()


def test_a_verdict_is_in_percent_and_within_networks(saved, digits, monkeypatch):
    k_sweep = SimpleNamespace(networks=[], dataset=digits)
    k, seeds = amortisation.KS[0], amortisation.SEEDS
    of_k = [SimpleNamespace(k=k, seed=seed, settings=f"{seed}") for seed in seeds]
    k_sweep.networks = of_k
    monkeypatch.setattr(amortisation, "KS", (k,))
    rng = np.random.default_rng(0)
    one = {
        name: rng.uniform(1, 2, size=(3, 40))
        for pair in amortisation.CONTESTS.values()
        for name in pair
    }
    each = [{"": {name: of[i] for name, of in one.items()}} for i in range(3)]
    monkeypatch.setattr(amortisation, "measured", lambda n, _: (each[int(n.settings)], {}))
    rows = {job.variant: job.measure() for job in amortisation.verdict_jobs(k_sweep)}
    for name, (first, second, whole) in amortisation.CONTESTS.items():
        apart = 100 * (one[second] - one[first]) / one[whole].mean()
        expected = difference(apart, np.zeros((1, 40)))
        assert rows[f"k={k}: {name}"] == pytest.approx(expected.row())


def test_the_second_look_learns_and_each_setting_counts(model, few):
    def error(**changes):
        return amortisation.second_look(model, few, **({"epochs": 3} | changes)).error(few.x_train)

    once = error()
    assert once < TwoStepEncoder(model).error(few.x_train)
    assert once == error()
    for changes in ({"noise": 0.1}, {"epochs": 2}, {"rate": 0.002}, {"batch": 32}):
        assert error(**changes) != once


@pytest.mark.parametrize("signed", [False, True])
def test_a_control_is_one_layer_that_learns_and_may_take_away_if_signed(model, few, signed):
    one = amortisation.longer(model, few, signed, epochs=3)
    for name in ("W_dec", "b_dec"):
        np.testing.assert_array_equal(one.parameters[name], model.parameters[name])
    assert (one.W_enc != model.W_enc).any() and model.phi.name == "relu"
    z = one.encode(few.x_train)
    assert (z < 0).any() == signed and (np.count_nonzero(z, axis=1) <= 4).all()
    assert signed or one.error(few.x_train) < model.error(few.x_train)


def test_the_plan_names_every_network_once_and_tries_with_one_that_it_leaves_out(tmp_path):
    k_sweep = Sweep(ROOT / "experiments" / "k_sweep.yaml", tmp_path)
    jobs = [(job.variant, job.seed) for job in amortisation.jobs(k_sweep)]
    assert jobs == [(f"k={k}", seed) for k in amortisation.KS for seed in amortisation.SEEDS]
    for trials in (amortisation.noise_jobs, amortisation.tried_jobs):
        tried = list(trials(k_sweep))
        assert len({job.settings for job in tried}) == len(tried)
        assert {job.seed for job in tried}.isdisjoint(amortisation.SEEDS)


def test_networks_without_relu_differ_from_those_of_the_sweep_in_nothing_else():
    known = {run.experiment.hash for run in load(ROOT / "experiments" / "k_sweep.yaml")}
    for run in load(ROOT / "notebooks" / "amortisation" / "signed.yaml"):
        network = run.experiment.model
        assert (network.activation, network.by) == ("linear", "magnitude")
        as_known = network.model_copy(update={"activation": "relu", "by": "value"})
        assert run.experiment.model_copy(update={"model": as_known}).hash in known
