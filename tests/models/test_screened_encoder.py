"""Codes found by way of bytes are the model's: over random networks, ties and hostile weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksae_lab import JumpReLU, ScreenedEncoder, SparseDream, TopK
from ksae_lab.engine import byte_product
from ksae_lab.inference import sparse_codes
from tests.models.uneven import D, images, network

pytestmark = pytest.mark.slow  # it compiles

N = 300  # so many units that bytes are used, where there is an instruction for them


@given(
    seed=st.integers(0, 10_000),
    k=st.integers(0, 30),
    by=st.sampled_from(["value", "magnitude"]),
    activation=st.sampled_from(["relu", "linear", "gelu"]),
    size=st.sampled_from([1e-3, 1, 1e4]),
    bias=st.sampled_from([0, 1, 1e4]),
    dtype=st.sampled_from([np.float32, np.float64]),
    tied=st.booleans(),
)
def test_codes_are_the_models(seed, k, by, activation, size, bias, dtype, tied):
    model = network(N, TopK(k, by=by), activation, seed=seed, dtype=dtype, tied=tied)
    model.b_enc *= dtype(bias)
    x = (size * images(4, seed=seed + 1)).astype(dtype)
    codes, own = ScreenedEncoder(model).encode_sparse(x), model.encode_sparse(x)
    assert codes.values.dtype == own.values.dtype == dtype
    assert codes.indices.shape == own.indices.shape == (4, k)
    h = (x.astype(float) - model.b_dec) @ model.W_enc.astype(float) + model.b_enc
    ranks = np.sort(np.abs(h) if by == "magnitude" else h, axis=1)[:, ::-1]
    gap = ranks[:, k - 1] - ranks[:, k] if k else np.ones(4)
    rounding = 1e-5 * (np.abs(h).max(axis=1) + np.abs(model.b_enc).max())
    sure = gap > rounding  # elsewhere a rounding decides
    np.testing.assert_array_equal(codes.indices[sure], own.indices[sure])
    assert (np.abs(codes.values - own.values)[sure] <= rounding[sure, None]).all()


@given(
    seed=st.integers(0, 10_000),
    k=st.integers(0, N),
    by=st.sampled_from(["value", "magnitude"]),
)
def test_where_bytes_say_nothing_and_scores_tie_they_are_the_models_to_the_bit(seed, k, by):
    """Of small integers every sum is exact, and many scores are equal."""
    rng = np.random.default_rng(seed)
    model = network(N, TopK(k, by=by))
    model.W_enc[:] = rng.integers(-3, 4, size=(D, N))
    model.W_enc[0] = 1000  # so that small weights are rounded away
    model.b_enc[:], model.b_dec[:] = rng.integers(-2, 3, size=N), 0
    x = rng.integers(-3, 4, size=(rng.integers(1, 13), D))
    x[:, 0] = 0
    codes, own = ScreenedEncoder(model).encode_sparse(x), model.encode_sparse(x)
    np.testing.assert_array_equal(codes.indices, own.indices)
    np.testing.assert_array_equal(codes.values, own.values)


def test_many_samples_go_through_in_pieces(monkeypatch):
    monkeypatch.setattr(sparse_codes, "BLOCK", 7 * N)
    model, x = network(N), images()
    encoder = ScreenedEncoder(model)
    np.testing.assert_array_equal(encoder.encode_sparse(x).indices, model.encode_sparse(x).indices)
    assert ScreenedEncoder(model).encode_sparse(x[:0]).indices.shape == (0, 4)


def test_later_changes_of_the_model_are_not_seen():
    model, x = network(N), images()
    encoder = ScreenedEncoder(model)
    before = model.encode(x)
    for w in model.parameters.values():
        w *= 2
    model.k = 1
    np.testing.assert_allclose(encoder.encode_sparse(x).to_dense(), before, rtol=1e-5)


def test_it_says_whether_bytes_are_in_use(monkeypatch):
    assert (ScreenedEncoder(network(N)).fact == "int8") == byte_product.available()
    monkeypatch.setattr(byte_product, "available", lambda: True)
    assert ScreenedEncoder(network(20)).fact == "off: 20 units are too few for it"
    assert ScreenedEncoder(network(N, dtype=np.float64)).fact == "off: the weights are float64"
    monkeypatch.setattr(byte_product, "available", lambda: False)
    assert ScreenedEncoder(network(N)).fact == "off: this processor has no AVX512-VNNI"


def test_what_it_cannot_encode_is_refused():
    with pytest.raises(TypeError, match="A SparseDream is given; give a KSparseAutoencoder"):
        ScreenedEncoder(SparseDream(D, N, init="as_found", rng=0))
    with pytest.raises(ValueError, match=r"The selector is JumpReLU.*; give a model with TopK"):
        ScreenedEncoder(network(N, JumpReLU(0.5)))
    with pytest.raises(ValueError, match="The weights are float16"):
        ScreenedEncoder(network(N, dtype=np.float16))
    model = network(N)
    model.k = N + 1
    with pytest.raises(ValueError, match="k is 301; give an integer from 0 to 300"):
        ScreenedEncoder(model)
    encoder = ScreenedEncoder(network(N))
    with pytest.raises(ValueError, match=r"expected \(batch, 11\)"):
        encoder.encode_sparse(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN or infinity, first in row 1"):
        encoder.encode_sparse([[0.0] * D, [np.nan] * D])
