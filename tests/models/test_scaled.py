"""A model behind a scaling: in the units of the data, and with the scaling in its weights."""

import numpy as np
import pytest

from ksae_lab import BatchTopK, JumpReLU, KSparseAutoencoder, Scaled, Scaling, SparseDream, TopK

SELECTORS = [2, TopK(2, by="magnitude"), BatchTopK(2), JumpReLU(0.3)]


def numbers(seed=0):
    rng = np.random.default_rng(seed)
    return 50 + 20 * rng.normal(size=(30, 5)) * np.arange(1, 6)


def k_sparse(k=2, **options):
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(5, 7, k, rng=rng, dtype=np.float64, **options)
    model.b_dec += rng.normal(size=5)
    model.b_enc += 0.1 * rng.normal(size=7)
    return model


@pytest.mark.parametrize("kind", ["none", "0-255", "minmax", "standardise", "centre"])
@pytest.mark.parametrize("k", SELECTORS, ids=str)
@pytest.mark.parametrize("tied", [False, True])
def test_folded_it_computes_the_same_without_a_scaling(kind, k, tied):
    x = numbers()
    model = Scaled(k_sparse(k, tied=tied), Scaling.fitted(kind, [x]))
    folded = model.folded()
    assert not isinstance(folded, Scaled)
    near = {"rtol": 1e-4, "atol": 1e-4}  # the scaling's own numbers are float32
    np.testing.assert_allclose(folded.encode(x), model.encode(x), **near)
    np.testing.assert_allclose(folded.reconstruct(x), model.reconstruct(x), **near)


def test_what_cannot_be_folded_is_refused():
    x = numbers()
    with pytest.raises(ValueError, match="scaling 'unit' of a KSparseAutoencoder cannot"):
        Scaled(k_sparse(), Scaling.fitted("unit", [x])).folded()
    dream = SparseDream(5, 7, init="as_found", rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="scaling 'minmax' of a SparseDream cannot"):
        Scaled(dream, Scaling.fitted("minmax", [x])).folded()


def test_lengths_are_given_back():
    x = numbers()
    model = Scaled(k_sparse(), Scaling.fitted("unit", [x]))
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(
        model.reconstruct(x), model.coder.reconstruct(x / lengths) * lengths, rtol=1e-5
    )
    np.testing.assert_allclose(model.reconstruct(3 * x), 3 * model.reconstruct(x), rtol=1e-5)


def test_a_scaling_of_another_width_is_refused():
    with pytest.raises(ValueError, match="scaling is of 4 features, and the model takes 5"):
        Scaled(k_sparse(), Scaling.fitted("none", [numbers()[:, :4]]))
