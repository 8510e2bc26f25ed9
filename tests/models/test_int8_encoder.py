"""Weights of one byte: against the network of rounded weights, and the exact codes of the model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksae_lab import (
    BatchTopK,
    JumpReLU,
    KSparseAutoencoder,
    Scaled,
    Scaling,
    SparseDream,
    TopK,
    quantise_weights,
)
from ksae_lab.models.int8_encoder import MANY, Int8Encoder, int8_report

D, N = 11, 40


def network(k=4, activation="linear", d=D, n=N, seed=0, dtype=np.float32, **options):
    rng = np.random.default_rng(seed)
    model = KSparseAutoencoder(d, n, k, activation, rng=rng, dtype=dtype, **options)
    if not model.tied:
        model.W_enc[:] = rng.normal(size=(d, n)) * rng.uniform(0.1, 3, size=n)
    model.b_enc[:], model.b_dec[:] = rng.normal(size=n), rng.normal(size=d)
    return model


def images(samples=30, d=D, seed=0):
    return np.random.default_rng(seed).normal(size=(samples, d)).astype(np.float32)


# Scores


@pytest.mark.parametrize("d", [1, 11, 512, 513, 1500])
@pytest.mark.parametrize("tied", [False, True])
def test_scores_are_those_of_rounded_weights(d, tied):
    model = network(k=N, d=d, tied=tied, dtype=np.float64)
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
    model = network(k=2, d=1024, n=2)
    model.W_enc[:], model.b_enc[:], model.b_dec[:] = [[1, -1]], 0, 0
    codes = Int8Encoder(model).encode_sparse(np.full((1, 1024), 7.0))
    np.testing.assert_allclose(codes.values, [[7168, -7168]], rtol=1e-6)


def test_an_image_that_is_the_mean_has_the_biases_for_its_code():
    model = network(k=N)
    codes = Int8Encoder(model).encode_sparse(model.b_dec[None])
    np.testing.assert_array_equal(codes.values, model.b_enc[None])


def test_a_unit_without_weights_has_its_bias():
    model = network(k=N)
    model.W_enc[:, 3] = 0
    values = Int8Encoder(model).encode_sparse(images()).values
    np.testing.assert_array_equal(values[:, 3], np.full(30, model.b_enc[3]))


@pytest.mark.parametrize("selector", [BatchTopK(3), JumpReLU(0.5), TopK(3, by="magnitude")])
def test_every_selector_selects_by_these_scores(selector):
    model = network(selector, "relu")
    expected = quantise_weights(model).encode(images())
    found = Int8Encoder(model).encode_sparse(images()).to_dense()
    np.testing.assert_allclose(found, expected, atol=5e-3)
    np.testing.assert_array_equal(found != 0, expected != 0)


# Exact


@given(
    seed=st.integers(0, 10_000),
    k=st.integers(0, 30),
    by=st.sampled_from(["value", "magnitude"]),
    activation=st.sampled_from(["relu", "linear", "gelu"]),
    size=st.sampled_from([1e-3, 1, 1e4]),
    bias=st.sampled_from([0, 1, 1e4]),
)
def test_exact_codes_are_the_models(seed, k, by, activation, size, bias):
    model = network(TopK(k, by=by), activation, n=300, seed=seed)
    model.b_enc *= np.float32(bias)
    x = np.float32(size) * images(4, seed=seed + 1)
    codes = Int8Encoder(model, exact=True).encode_sparse(x)
    # In float64 nothing is a rounding apart but what is equal.
    h = (x.astype(float) - model.b_dec) @ model.W_enc.astype(float) + model.b_enc
    scores = np.abs(h) if by == "magnitude" else h
    clear = np.sort(scores, axis=1)[:, ::-1]
    gap = clear[:, k - 1] - clear[:, k] if k else np.ones(4)
    sure = gap > 1e-5 * (np.abs(h).max(axis=1) + np.abs(model.b_enc).max())
    own = model.encode_sparse(x)
    np.testing.assert_array_equal(codes.indices[sure], own.indices[sure])
    near = 1e-5 * (np.abs(h).max(initial=0) + 1)
    np.testing.assert_allclose(codes.values[sure], own.values[sure], atol=near)


def exact_numbers(seed, k, by, n=200):
    """A network and images of small integers: every sum is exact, and many scores are equal."""
    rng = np.random.default_rng(seed)
    model = network(TopK(k, by=by), n=n)
    model.W_enc[:] = rng.integers(-3, 4, size=(D, n))
    model.W_enc[0] = 1000  # so that small weights are rounded away
    model.b_enc[:], model.b_dec[:] = rng.integers(-2, 3, size=n), 0
    x = rng.integers(-3, 4, size=(rng.integers(1, 13), D))  # one by one, and all at once
    x[:, 0] = 0
    return model, x


@given(
    seed=st.integers(0, 10_000),
    k=st.integers(0, 200),
    by=st.sampled_from(["value", "magnitude"]),
)
def test_exact_codes_are_the_models_where_bytes_say_nothing_and_scores_tie(seed, k, by):
    model, x = exact_numbers(seed, k, by)
    codes, own = Int8Encoder(model, exact=True).encode_sparse(x), model.encode_sparse(x)
    np.testing.assert_array_equal(codes.indices, own.indices)
    np.testing.assert_array_equal(codes.values, own.values)


def test_exact_scores_few_units_in_full_where_bytes_say_enough(monkeypatch):
    model = network(TopK(3), d=200, n=1000)
    encoder, x = Int8Encoder(model, exact=True), images(8, 200)
    asked = []
    doubt = encoder._doubt

    class Full(np.ndarray):
        def __getitem__(self, index):
            asked.append(len(index))
            return np.asarray(self)[index]

    encoder._full = encoder._full.view(Full)
    np.testing.assert_array_equal(encoder.encode_sparse(x).indices, model.encode_sparse(x).indices)
    assert len(asked) == 8 and max(asked) < MANY * 1000 / 4
    assert (doubt > 0).all() and (doubt < 0.02 * np.linalg.norm(model.W_enc, axis=0)).all()


@pytest.mark.parametrize("factor", [1, 1000])
def test_no_score_is_wronger_than_the_bound(factor):
    model = network(k=N, d=600, n=N)
    model.b_enc *= factor
    encoder = Int8Encoder(model, exact=True)
    W = model.W_enc.T.astype(float)
    rounded = encoder.W * encoder.step[:, None].astype(float)
    worst = W - rounded  # each unit's worst image
    for unit, x in enumerate(worst / np.linalg.norm(worst, axis=1, keepdims=True)):
        x = x.astype(np.float32)
        h = np.empty((1, N), np.float32)
        encoder._scores(x[None], encoder.W, encoder.step, encoder.b_enc, h)
        wrong = np.abs(h[0] - (W @ x + model.b_enc))
        assert (wrong <= encoder._doubt * np.linalg.norm(x) + encoder._doubt_of_bias).all()
        assert wrong[unit] > 0.9 * encoder._doubt[unit] * np.linalg.norm(x) or factor > 1


# What it costs and who may have it


def test_it_takes_a_quarter_of_the_memory_and_exact_ones_a_fourth_more():
    model = network(d=784, n=500)
    floats = 4 * (784 * 500 + 500 + 784)
    assert floats / 4 < Int8Encoder(model).nbytes < 1.02 * floats / 4
    assert 1.25 * floats < Int8Encoder(model, exact=True).nbytes < 1.27 * floats


def test_later_changes_of_the_model_are_not_seen():
    model = network()
    for exact in (False, True):
        encoder = Int8Encoder(model, exact=exact)
        before = encoder.encode_sparse(images()).values
        for w in model.parameters.values():
            w *= 2
        model.k = 1
        np.testing.assert_array_equal(encoder.encode_sparse(images()).values, before)
        model.k = 4


def test_the_report_compares_with_the_model():
    model, x = network(k=3), images(200)
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
    silent = int8_report(network(k=0), x)
    assert silent["same_units"] == silent["same_rows"] == 1


def test_what_it_cannot_encode_is_refused():
    with pytest.raises(TypeError, match="A SparseDream is given; give a KSparseAutoencoder"):
        Int8Encoder(SparseDream(D, N, init="as_found", rng=0))
    with pytest.raises(TypeError, match=r"such as `folded\(\)` makes of a Scaled one"):
        Int8Encoder(Scaled(network(), Scaling("none", D)))
    with pytest.raises(ValueError, match=r"exact needs TopK.*the selector is JumpReLU"):
        Int8Encoder(network(JumpReLU(0.5)), exact=True)
    with pytest.raises(TypeError, match="exact is 1; give True or False"):
        Int8Encoder(network(), exact=1)
    with pytest.raises(ValueError, match=r"expected \(batch, 11\)"):
        Int8Encoder(network()).encode_sparse(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN or infinity, first in row 1"):
        Int8Encoder(network()).encode_sparse([[0.0] * D, [np.nan] * D])


@pytest.mark.parametrize("exact", [False, True])
def test_no_images_have_no_codes(exact):
    codes = Int8Encoder(network(), exact=exact).encode_sparse(np.zeros((0, D)))
    assert codes.indices.shape == (0, 4) and codes.n_units == N
