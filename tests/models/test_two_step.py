"""The learned second look: its gradients against finite differences, its start against pursuit."""

import numpy as np
import pytest

from ksae_lab.inference.pursuit import pursuit
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.two_step import TwoStepEncoder
from ksae_lab.nn.selectors import TopK
from ksae_lab.nn.topk import top_k_mask
from ksae_lab.training.gradcheck import check_gradients
from ksae_lab.training.optimizers import Adam


def encoder(activation="relu", by="value", seed=0):
    rng = np.random.default_rng(seed)
    model = KSparseAutoencoder(12, 9, TopK(3, by), activation, rng=rng, dtype=np.float64)
    for w in (model.b_enc, model.b_dec):
        w[:] = rng.normal(scale=0.3, size=w.shape)
    return TwoStepEncoder(model), model, rng.normal(size=(5, 12))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_gradients_agree_with_central_differences(activation):
    two, _, x = encoder(activation)
    rng = np.random.default_rng(1)
    for w in two.parameters.values():
        w += rng.normal(scale=0.1, size=w.shape)
    found = check_gradients(two, x, x + rng.normal(scale=0.1, size=x.shape))
    assert found.relative_error < 1e-6
    assert found.skipped < 0.05 * sum(w.size for w in two.parameters.values())


def test_the_second_step_starts_as_a_step_of_descent():
    two, model, x = encoder()
    z1 = model.encode(x)
    c = x - model.b_dec
    u = z1 - (z1 @ model.W_dec - c) @ model.W_dec.T
    expected = np.where(top_k_mask(u, 3, by="magnitude"), u, 0)
    np.testing.assert_allclose(two.encode(x), expected, atol=1e-12)
    chosen_by_pursuit = next(pursuit(c, model.W_dec, 3, z1)) != 0
    agree = (chosen_by_pursuit == (expected != 0)).all(axis=1)
    assert agree.any(), "but where the earlier code was better, pursuit keeps it"


def test_masks_are_those_of_both_steps_with_a_mean_image_taken_away():
    two, model, x = encoder("linear")
    assert model.b_dec.any()
    first, second = two.masks(x)
    np.testing.assert_array_equal(first, model.encode(x) != 0)
    np.testing.assert_array_equal(second, two.encode(x) != 0)


def test_it_draws_with_the_models_dictionary_and_mean_image():
    two, model, x = encoder()
    expected = two.encode(x) @ model.W_dec + model.b_dec
    np.testing.assert_allclose(two.reconstruct(x), expected, atol=1e-12)
    assert two.error(x) == two.loss(x) == pytest.approx(np.mean((expected - x) ** 2))


def test_training_lowers_the_error_and_leaves_the_model_alone():
    two, model, _ = encoder()
    x = np.random.default_rng(2).normal(size=(200, 12))
    before = {name: w.copy() for name, w in model.parameters.items()}
    error = two.error(x)
    two.fit(x, optimizer=Adam(0.01), epochs=10, batch_size=20, rng=np.random.default_rng(0))
    assert two.error(x) < 0.95 * error
    for name, w in model.parameters.items():
        np.testing.assert_array_equal(w, before[name])
    assert (np.count_nonzero(two.encode(x), axis=1) == 3).all()
