"""Weights of one byte: against the network of rounded weights, and the exact codes of the model."""

import numpy as np
import pytest

from ksae_lab import (
    BatchTopK,
    JumpReLU,
    Scaled,
    Scaling,
    SparseDream,
    TopK,
    quantise_weights,
)
from ksae_lab.models.int8_encoder import Int8Encoder, int8_report
from tests.models.uneven import D, images, network

pytestmark = pytest.mark.slow  # it compiles

N = 40


# Scores


@pytest.mark.parametrize("d", [1, 11, 512, 513, 1500])
@pytest.mark.parametrize("tied", [False, True])
def test_scores_are_those_of_rounded_weights(d, tied):
    model = network(N, N, d=d, tied=tied, dtype=np.float64)
    rounded, x = quantise_weights(model), images(5, d)
    x[3] *= 1e-6
    codes = Int8Encoder(model).encode_sparse(x)
    assert codes.values.dtype == np.float32
    expected = rounded.encode(x)
    # What is lost of an image: half a 32,767th of its largest number, for each weight.
    lost = np.abs(x - model.b_dec).max(axis=1, keepdims=True) / 65534
    near = lost * np.abs(rounded.W_enc).sum(axis=0) + 1e-5 * np.abs(expected).max()
    assert (np.abs(codes.to_dense() - expected) <= near).all()


def test_the_largest_sums_do_not_overflow():
    model = network(2, 2, d=1024)
    model.W_enc[:], model.b_enc[:], model.b_dec[:] = [[1, -1]], 0, 0
    codes = Int8Encoder(model).encode_sparse(np.full((1, 1024), 7.0))
    np.testing.assert_allclose(codes.values, [[7168, -7168]], rtol=1e-6)


def test_an_image_that_is_the_mean_has_the_biases_for_its_code():
    model = network(N, N)
    codes = Int8Encoder(model).encode_sparse(model.b_dec[None])
    np.testing.assert_array_equal(codes.values, model.b_enc[None])


def test_a_unit_without_weights_has_its_bias():
    model = network(N, N)
    model.W_enc[:, 3] = 0
    values = Int8Encoder(model).encode_sparse(images()).values
    np.testing.assert_array_equal(values[:, 3], np.full(30, model.b_enc[3]))


@pytest.mark.parametrize("selector", [BatchTopK(3), JumpReLU(0.5), TopK(3, by="magnitude")])
def test_every_selector_selects_by_these_scores(selector):
    model = network(N, selector, "relu")
    expected = quantise_weights(model).encode(images())
    found = Int8Encoder(model).encode_sparse(images()).to_dense()
    np.testing.assert_allclose(found, expected, atol=5e-3)
    np.testing.assert_array_equal(found != 0, expected != 0)


# What it costs and who may have it


def test_it_takes_a_quarter_of_the_memory():
    model = network(500, d=784)
    floats = 4 * (784 * 500 + 500 + 784)
    assert floats / 4 < Int8Encoder(model).nbytes < 1.02 * floats / 4


def test_the_report_compares_with_the_model():
    model, x = network(N, k=3), images(200)
    told = int8_report(model, x)
    own = model.encode(x) != 0
    theirs = Int8Encoder(model).encode_sparse(x).to_dense() != 0
    assert told["same_units"] == pytest.approx((own & theirs).sum() / own.sum())
    assert told["same_rows"] == pytest.approx((own == theirs).all(axis=1).mean())
    assert 0.9 < told["same_rows"] < 1 and told["same_rows"] < told["same_units"]
    assert told["error"] == pytest.approx(model.error(x), rel=1e-5)
    assert told["int8_error"] == pytest.approx(
        np.mean((model.decode(Int8Encoder(model).encode_sparse(x).to_dense()) - x) ** 2), rel=1e-5
    )
    assert told["bytes"] == 4 * (D * N + N + D) and told["int8_bytes"] < told["bytes"]
    silent = int8_report(network(N, k=0), x)
    assert silent["same_units"] == silent["same_rows"] == 1


def test_what_it_cannot_encode_is_refused():
    with pytest.raises(TypeError, match="A SparseDream is given; give a KSparseAutoencoder"):
        Int8Encoder(SparseDream(D, N, init="as_found", rng=0))
    with pytest.raises(TypeError, match=r"such as `folded\(\)` makes of a Scaled one"):
        Int8Encoder(Scaled(network(N), Scaling("none", D)))
    with pytest.raises(ValueError, match=r"expected \(batch, 11\)"):
        Int8Encoder(network(N)).encode_sparse(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN or infinity, first in row 1"):
        Int8Encoder(network(N)).encode_sparse([[0.0] * D, [np.nan] * D])


def test_no_images_have_no_codes_and_later_changes_are_not_seen():
    model = network(N)
    encoder = Int8Encoder(model)
    assert encoder.encode_sparse(np.zeros((0, D))).indices.shape == (0, 4)
    before = encoder.encode_sparse(images()).values
    for w in model.parameters.values():
        w *= 2
    model.k = 1
    np.testing.assert_array_equal(encoder.encode_sparse(images()).values, before)
