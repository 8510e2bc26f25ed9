"""What a user may get wrong with the Keras twins, and the sentence that answers each mistake."""

import numpy as np
import pytest

from ksae_lab import keras as twins

D, N, K = 6, 5, 2
X = np.random.default_rng(0).uniform(size=(8, D)).astype(np.float32)


def sparse(k=K, n_pixels=D, n_units=N, **options):
    return twins.KSparseAutoencoder(n_pixels, n_units, k, **options)


def dream(n_pixels=D, n_units=N, **options):
    return twins.SparseDream(n_pixels, n_units, **options)


def compiled():
    model = sparse()
    model.compile("sgd", loss="mse", run_eagerly=True)
    return model


def fit(x=X, y=None, **options):
    return compiled().fit(x, y, **{"verbose": 0} | options)


def set_to(name, value):
    setattr(dream(), name, value)


MISTAKES = {
    # settings
    "no pixels": (lambda: sparse(n_pixels=0), ValueError, "n_pixels is 0; give an integer of 1"),
    "text for pixels": (lambda: sparse(n_pixels="6"), TypeError, "n_pixels is '6', not an integer"),
    "no units": (lambda: sparse(0, n_units=0), ValueError, "n_units is 0"),
    "units of a half": (lambda: sparse(n_units=2.5), TypeError, "n_units is 2.5, not an integer"),
    "k too large": (lambda: sparse(N + 1), ValueError, "k = 6, but a row has 5"),
    "negative k": (lambda: sparse(-1), ValueError, "k = -1"),
    "k of a half": (lambda: sparse(1.5), TypeError, "k is 1.5; give the number of active units"),
    "k in words": (lambda: sparse("2"), TypeError, "k is '2'; give"),
    "a negative batch k": (lambda: sparse(twins.BatchTopK(-1)), ValueError, "k = -1"),
    "a prefix too long": (lambda: sparse(twins.PrefixTopK(2, 9)), ValueError, "prefix is 9"),
    "by": (lambda: sparse(twins.TopK(2, by="size")), ValueError, "by is 'size'"),
    "a threshold": (lambda: twins.JumpReLU(-1), ValueError, "threshold is -1"),
    "a relaxation": (lambda: twins.Relaxation("soft", 2, 1.0), ValueError, "No relaxation is"),
    "an activation": (lambda: sparse(activation="rleu"), ValueError, "rleu"),
    "tied": (lambda: sparse(tied="no"), TypeError, "tied is 'no'; give True or False"),
    "unit_norm": (lambda: sparse(unit_norm=1), TypeError, "unit_norm is 1; give True or False"),
    "negative noise": (lambda: sparse(noise=-1), ValueError, "noise is -1; give a finite number"),
    "noise in words": (lambda: sparse(noise="some"), TypeError, "noise is 'some', not a number"),
    "whole numbers": (lambda: sparse(dtype="int32"), ValueError, "dtype is int32; choose a float"),
    "a dream of them": (lambda: dream(dtype="int32"), ValueError, "dtype is int32; choose a float"),
    "dead at once": (lambda: sparse(dead_after=0), ValueError, "Dead after 0 inputs is no rule"),
    "a layer of none": (lambda: twins.KSparse(4, 5), ValueError, "k = 5, but a row has 4"),
    "no pixels to dream": (lambda: dream(n_pixels=-1), ValueError, "n_pixels is -1"),
    "no units to dream": (lambda: dream(n_units=0), ValueError, "n_units is 0"),
    "a penalty": (lambda: dream(penalty="l0"), ValueError, "no penalty 'l0'"),
    "negative sparsity": (lambda: dream(sparsity=-1), ValueError, "sparsity is -1"),
    "infinite weight": (lambda: dream(norm_weight=np.inf), ValueError, "norm_weight is inf"),
    "NaN for sparsity": (lambda: set_to("sparsity", np.nan), ValueError, "sparsity is nan"),
    "a weight in words": (lambda: set_to("norm_weight", "1"), TypeError, "norm_weight is '1'"),
    # auxiliary losses
    "no loss": (lambda: sparse(auxiliary_losses=[0.1]), TypeError, "0.1 is no auxiliary loss"),
    "a class": (lambda: sparse(auxiliary_losses=[twins.L0]), TypeError, "is no auxiliary loss"),
    "one alone": (lambda: sparse(auxiliary_losses=twins.AuxK(2)), TypeError, "give a list"),
    "k_aux": (lambda: twins.AuxK(0), ValueError, "k_aux is 0"),
    "k_aux of a half": (lambda: twins.AuxK(1.5), TypeError, "k_aux is 1.5, not an integer"),
    "AuxK's weight": (lambda: twins.AuxK(2, -1), ValueError, "weight is -1"),
    "DeCov's weight": (lambda: twins.DeCov(np.nan), ValueError, "weight is nan"),
    "L0's weight": (lambda: twins.L0(-1), ValueError, "weight is -1"),
    "L0 without": (
        lambda: sparse(auxiliary_losses=[twins.L0(0.1)]),
        ValueError,
        "A TopK has no thresholds",
    ),
    "a weight of zero": (lambda: twins.MultiTopK([(2, 4, 0)]), ValueError, "weighs 0"),
    "a k that is none": (lambda: twins.MultiTopK([(1.5, 4, 1)]), TypeError, "k is 1.5"),
    "pairs": (lambda: twins.MultiTopK([(2, 4)]), ValueError, "give triples"),
    "no other k": (lambda: twins.MultiTopK([]), ValueError, "give triples"),
    "a k too large": (
        lambda: sparse(auxiliary_losses=[twins.MultiTopK([(9, 5, 1.0)])]),
        ValueError,
        "k = 9",
    ),
    # callbacks
    "a negative k at last": (lambda: twins.KCurriculum(5, -3), ValueError, "k is -3"),
    "a reset never": (lambda: twins.ResetDeadUnits(X, every=0), ValueError, "every is 0"),
    "a reset too late": (lambda: twins.ResetDeadUnits(X, 1, until=2), ValueError, "until is 2"),
    "a k_start too large": (lambda: fit(callbacks=[twins.KCurriculum(9, 2)]), ValueError, "k = 9"),
    "resets from others": (
        lambda: fit(callbacks=[twins.ResetDeadUnits(X[:, 1:], every=1)]),
        ValueError,
        r"expected \(batch, 6\)",
    ),
    # data
    "another width": (lambda: fit(X[:, 1:]), ValueError, r"\(8, 5\); expected \(batch, 6\)"),
    "one image": (lambda: fit(X[0]), ValueError, r"\(6,\); expected \(batch, 6\)"),
    "no images": (lambda: fit(X[:0]), ValueError, "There are no images"),
    "none to evaluate": (lambda: compiled().evaluate(X[:0]), ValueError, "There are no images"),
    "a list": (lambda: fit(X.tolist()), TypeError, r"A list .*; give an array"),
    "a list of arrays": (lambda: fit([X]), TypeError, r"A list .*; give an array"),
    "nothing": (lambda: fit(None), TypeError, "A NoneType .*; give an array"),
    "a number": (lambda: fit(0.5), TypeError, "A float .*; give an array"),
    "words": (lambda: fit("images.npy"), TypeError, "A str .*; give an array"),
    "labels": (lambda: fit(X, np.arange(8)), ValueError, "as labels have; .* leave them out"),
    "labels of validation": (
        lambda: fit(validation_data=(X, np.arange(8))),
        ValueError,
        "as labels have; .* leave them out",
    ),
    "labels to evaluate": (
        lambda: compiled().evaluate(X, np.arange(8), verbose=0),
        ValueError,
        "as labels have",
    ),
    "NaN": (lambda: fit(np.where(X > 0.9, np.nan, X)), ValueError, "The loss was NaN in epoch 1"),
    "NaN to start from": (
        lambda: sparse().init_from_data(X * np.nan, 0),
        ValueError,
        "hold NaN or infinity, first in row 0",
    ),
    "other images to start from": (
        lambda: sparse().init_from_data(X[:, 1:], 0),
        ValueError,
        r"expected \(batch, 6\)",
    ),
    "images to encode": (lambda: sparse().encode(X[:, 1:]), ValueError, r"expected \(batch, 6\)"),
    # to and fro
    "a model by name": (
        lambda: twins.KSparseAutoencoder.from_numpy("model.json"),
        TypeError,
        "A str is given; give a KSparseAutoencoder of ksae_lab",
    ),
    "itself": (
        lambda: twins.KSparseAutoencoder.from_numpy(sparse()),
        TypeError,
        "give a KSparseAutoencoder of ksae_lab, in NumPy",
    ),
    "a dream by name": (
        lambda: twins.SparseDream.from_numpy("model.json"),
        TypeError,
        "A str is given; give a SparseDream of ksae_lab",
    ),
    "an activation of Keras alone": (
        lambda: sparse(activation="mish").to_numpy(),
        ValueError,
        "'mish'",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_with_a_sentence(name, keras):
    call, error, message = MISTAKES[name]
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.type is error
    assert len(str(caught.value)) < 400
