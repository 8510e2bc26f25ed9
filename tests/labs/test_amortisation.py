"""Lab 8's table: whose code is whose, and who may learn from what."""

import numpy as np
import pytest
from sklearn.linear_model import orthogonal_mp

from ksae_lab.data.datasets import load_dataset
from ksae_lab.experiments import saved_models
from ksae_lab.experiments.networks import Network
from ksae_lab.experiments.settings import Experiment
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.two_step import TwoStepEncoder
from tests.labs.imported import module

amortisation = module("amortisation")


@pytest.fixture(scope="module")
def digits():
    return load_dataset()


@pytest.fixture(scope="module")
def model(digits):
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(784, 30, 4, rng=rng)
    model.init_from_data(digits.x_train, rng)
    return model


def test_the_codes_are_those_that_their_names_say(model, digits):
    x = digits.x_test[:20]
    learned = TwoStepEncoder(model)
    learned.b1 += 0.1
    one = amortisation.longer(model, digits.x_train[:100], signed=True, epochs=1)
    found = amortisation.codes(model, x, {"learned_step": learned, "other": one})
    W, centred = model.W_dec.astype(float), x - model.b_dec.astype(float)
    np.testing.assert_array_equal(found["one_pass"], model.encode(x))
    np.testing.assert_array_equal(found["learned_step"], learned.encode(x))
    np.testing.assert_array_equal(found["second_step"], TwoStepEncoder(model).encode(x))
    np.testing.assert_array_equal(found["other"], one.encode(x))
    expected = orthogonal_mp(W.T, centred.T, n_nonzero_coefs=4).T
    np.testing.assert_allclose(found["omp"], expected, atol=1e-5)
    for before, after in (("one_pass", "refit"), ("learned_step", "learned_refit")):
        np.testing.assert_array_equal(found[after] != 0, found[before] != 0)
    error = {name: ((code @ W - centred) ** 2).mean() for name, code in found.items()}
    assert error["one_pass"] > error["refit"] >= error["pursuit_1"] >= error["pursuit_3"]
    assert error["learned_refit"] < error["learned_step"]


def test_a_row(model, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(amortisation, "TRAINING_IMAGES", 30)
    seen = []

    def barely_learned(model, x):
        seen.append(len(x))
        return TwoStepEncoder(model)

    monkeypatch.setattr(amortisation, "second_look", barely_learned)
    monkeypatch.setattr(
        amortisation, "longer", lambda model, x, signed: seen.append(len(x)) or model
    )
    saved_models.save_model(model, tmp_path / "model.json")
    row = amortisation.measure(Network(Experiment(), tmp_path / "model.json"), digits)
    assert seen == [len(digits.x_train)] * 3
    assert row["one_pass"] == pytest.approx(model.error(digits.x_test), rel=1e-5)
    own = model.error(digits.x_train[:30])
    assert row["training_one_pass"] == pytest.approx(own, rel=1e-5)
    assert row["learned_step"] == row["second_step"] > row["omp"] < row["one_pass"]
    assert row["longer"] == row["longer_signed"] == row["one_pass"]
    assert 0 < row["negative"] < 1 and 0.3 < row["kept"] < 1
    assert 0 < row["seconds_one_pass"] < row["seconds_omp"]


def test_the_second_look_learns(model, digits):
    x = digits.x_train[:300]
    start = TwoStepEncoder(model).error(x)
    assert amortisation.second_look(model, x, epochs=3).error(x) < start
    again = amortisation.second_look(model, x, epochs=3).error(x)
    assert again == amortisation.second_look(model, x, epochs=3).error(x)
    assert amortisation.second_look(model, x, noise=0, epochs=3).error(x) != again


@pytest.mark.parametrize("signed", [False, True])
def test_a_control_is_one_layer_that_learns_and_may_take_away_if_signed(model, digits, signed):
    x = digits.x_train[:300]
    one = amortisation.longer(model, x, signed, epochs=3)
    for name in ("W_dec", "b_dec"):
        np.testing.assert_array_equal(one.parameters[name], model.parameters[name])
    assert (one.W_enc != model.W_enc).any() and model.phi.name == "relu"
    z = one.encode(x)
    assert (z < 0).any() == signed and (np.count_nonzero(z, axis=1) <= 4).all()
    assert signed or one.error(x) < model.error(x)
