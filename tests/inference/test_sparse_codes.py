"""Codes without their zeros, against the models' own dense codes, ties and all."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from ksae_lab import (
    BatchTopK,
    Dense,
    JumpReLU,
    KSparse,
    KSparseAutoencoder,
    Network,
    PrefixTopK,
    Scaled,
    Scaling,
    SparseDream,
    TopK,
)
from ksae_lab.inference import sparse_codes
from ksae_lab.inference.sparse_codes import SparseCodes, select, slabs
from ksae_lab.nn import activations
from ksae_lab.nn.inputs import LazyRows

D, N = 7, 12


def images(samples=9, seed=0):
    return np.random.default_rng(seed).normal(size=(samples, D))


def network(k=3, activation="relu", n=N, **options):
    rng = np.random.default_rng(1)
    model = KSparseAutoencoder(D, n, k, activation, rng=rng, **{"dtype": np.float64} | options)
    if not model.tied:
        model.W_enc[:] = rng.normal(size=(D, n))
    model.b_enc[:], model.b_dec[:] = rng.normal(size=n), rng.normal(size=D)
    return model


class Lazy(LazyRows):
    """Rows that are made when they are asked for, and counts how many at once."""

    def __init__(self, samples, width=D):
        self.shape, self.most = (samples, width), 0

    def __getitem__(self, index):
        places = np.arange(self.shape[0])[index]
        self.most = max(self.most, len(places))
        return np.sin(places[:, None] + np.arange(self.shape[1]))


@pytest.fixture(params=["numba", "NumPy"])
def way(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(sparse_codes, "_kernels", lambda: None)


def assert_same(codes, z):
    """The same units with the same numbers, in every form that they have."""
    assert codes.values.dtype == z.dtype and codes.n_units == z.shape[1]
    np.testing.assert_allclose(codes.to_dense(), z, rtol=1e-6, atol=0)
    np.testing.assert_array_equal(codes.to_dense() != 0, z != 0)
    csr, expected = codes.to_csr(), csr_array(z)
    assert isinstance(csr, csr_array) and csr.has_canonical_format
    for name in ("indptr", "indices"):
        np.testing.assert_array_equal(getattr(csr, name), getattr(expected, name))
    np.testing.assert_allclose(csr.data, expected.data, rtol=1e-6)


# Selection


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_selects_what_the_selector_does_ties_and_all(by, dtype):
    numbers = st.integers(-3, 3) | st.floats(-9, 9, width=32)

    @given(
        arrays(dtype, st.tuples(st.integers(0, 4), st.integers(1, 90)), elements=numbers),
        st.sampled_from(["relu", "linear", "gelu"]),
        st.data(),
    )
    def check(h, activation, data):
        k = data.draw(st.integers(0, h.shape[1]))
        selector, phi = TopK(k, by=by), activations.get(activation)
        codes = select(h, selector, phi)
        assert codes.indices.shape == codes.values.shape == (len(h), k)
        assert (np.diff(codes.indices, axis=1) > 0).all()
        chosen = np.zeros(h.shape, bool)
        np.put_along_axis(chosen, codes.indices.astype(int), True, axis=1)
        np.testing.assert_array_equal(chosen, selector.mask(h))  # also where φ gives 0
        assert_same(codes, selector.encode(h, phi))

    check()


@pytest.mark.usefixtures("way")
def test_what_cannot_be_ranked_is_refused():
    phi = activations.get("relu")
    for h, k, message in (
        (np.full((1, 3), np.nan), 2, "h holds NaN"),
        (np.zeros((1, 3)), 4, "k is 4; give an integer from 0 to 3"),
        (np.zeros(3), 2, r"h has shape \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            select(h, TopK(k), phi)


# Models


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("activation", activations.ACTIVATIONS)
@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_model_has_the_same_codes_with_zeros_and_without(activation, by, tied):
    for k in (0, 1, 5, N):
        model = network(TopK(k, by=by), activation, tied=tied)
        for x in (images(), images(1), np.zeros((2, D)), images(0)):
            codes = model.encode_sparse(x)
            assert_same(codes, model.encode(x))
            assert len(codes) == len(x) and codes.indices.shape == (len(x), k)
            np.testing.assert_allclose(
                model.decode_sparse(codes), model.decode(model.encode(x)), rtol=1e-10, atol=1e-10
            )


MODELS = {
    "prefix": lambda: network(PrefixTopK(3, 5)),
    "batch": lambda: network(BatchTopK(3)),
    "JumpReLU": lambda: network(JumpReLU(0.5)),
    "float32": lambda: network(dtype=np.float32),
    "float16": lambda: network(dtype=np.float16),
    "network": lambda: Network([KSparse(D, N, 3, rng=0), Dense(N, D, rng=0)]),
    "dream": lambda: SparseDream(D, N, images=images(), rng=0),
    "scaled": lambda: Scaled(network(), Scaling.fitted("standardise", [5 + 3 * images()])),
    "of length 1": lambda: Scaled(network(dtype=np.float32), Scaling("unit", D)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_every_coder_and_selector_has_them(kind):
    model = MODELS[kind]()
    x = images().astype(np.float32)
    codes = model.encode_sparse(x)
    assert_same(codes, model.encode(x))
    expected = model.decode(model.encode(x))
    np.testing.assert_allclose(model.decode_sparse(codes), expected, rtol=1e-3, atol=1e-5)
    counts = np.count_nonzero(model.encode(x), axis=1)
    if kind in ("batch", "JumpReLU"):
        assert len(set(counts)) > 1 and codes.indices.shape == (9, counts.max())


@pytest.mark.parametrize("k", [3, JumpReLU(0.5)], ids=str)
def test_many_samples_go_through_in_pieces(k, monkeypatch):
    monkeypatch.setattr(sparse_codes, "BLOCK", 5 * N)
    model, x = network(k), Lazy(23)
    codes = model.encode_sparse(x)
    assert x.most == 5
    assert_same(codes, model.encode(x[:]))
    assert_same(model.encode_sparse(x[:].tolist()), model.encode(x[:]))
    np.testing.assert_allclose(model.decode_sparse(codes), model.reconstruct(x[:]))
    bad = x[:]
    bad[17, 2] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity, first in row 17"):
        model.encode_sparse(bad)


def test_pieces_cover_every_row_once():
    for samples, widest in ((0, 9), (1, 10**9), (7, 2**20), (10_000, 10_000)):
        pieces = list(slabs(samples, widest))
        rows = [i for piece in pieces for i in range(*piece.indices(samples))]
        assert rows == list(range(samples)) and pieces


def test_no_array_of_all_samples_and_all_units_is_made(monkeypatch):
    monkeypatch.setattr(sparse_codes, "BLOCK", 2**16)
    model, x = network(2, n=512), Lazy(2048)
    model.encode_sparse(x[:2])  # compiles
    tracemalloc.start()
    codes = model.encode_sparse(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes.nbytes == 2048 * 2 * (4 + 8) and peak < 2048 * 512 * 8 / 2


@pytest.mark.parametrize("x", [images()[0], images()[:, :3], "a.npy", None, images() * 1j])
def test_what_encode_refuses_is_refused_with_the_same_words(x):
    model = network()
    with pytest.raises((TypeError, ValueError)) as own:
        model.encode(x)
    with pytest.raises(own.type) as found:
        model.encode_sparse(x)
    assert str(found.value) == str(own.value)


# The value itself


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(0, 5), st.integers(0, 9)),
        elements=st.sampled_from([0, 0, 1, -2]),
    )
)
def test_from_dense_and_back(z):
    codes = SparseCodes.of_dense(z)
    assert_same(codes, z)
    half = len(z) // 2
    assert_same(SparseCodes.joined([codes[:half], codes[half:]]), z)
    parts = [SparseCodes.of_dense(z[:half]), SparseCodes.of_dense(z[half:])]  # of other widths
    joined = SparseCodes.joined(parts)
    assert_same(joined, z)
    empty = joined.values == 0  # places are empty at the end of a row
    assert (empty[:, :-1] <= empty[:, 1:]).all()


def test_indices_in_any_order_mean_the_same():
    codes = SparseCodes(np.array([[4, 1, 0]]), np.array([[1.0, 2.0, 0.0]]), 6)
    assert_same(codes, np.array([[0, 2.0, 0, 0, 1.0, 0]]))


@pytest.mark.parametrize(
    ("indices", "values", "error", "message"),
    [
        ([[0, 6]], [[1.0, 1.0]], ValueError, "go from 0 to 6; expected 0 to 5"),
        ([[-1, 2]], [[1.0, 1.0]], ValueError, "go from -1 to 2; expected 0 to 5"),
        ([[0, 1]], [[1.0]], ValueError, r"shape \(1, 2\), the values \(1, 1\)"),
        ([0, 1], [1.0, 2.0], ValueError, r"expected \(samples, places\)"),
        ([[0.0, 1.0]], [[1.0, 1.0]], TypeError, "float64; give integers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(indices, values, error, message):
    with pytest.raises(error, match=message):
        SparseCodes(np.array(indices), np.array(values), 6)


def test_codes_of_other_units_are_refused():
    with pytest.raises(ValueError, match="codes are of 5 units, and the model has 12"):
        network().decode_sparse(SparseCodes.of_dense(np.eye(5)))
    with pytest.raises(ValueError, match=r"expected \(samples, n\)"):
        SparseCodes.of_dense(np.ones(3))


def test_without_numba_the_same_codes_are_found():
    program = """
import sys
sys.modules["numba"] = None
import numpy as np
from ksae_lab import KSparseAutoencoder
from ksae_lab.models.int8_encoder import Int8Encoder
model = KSparseAutoencoder(5, 9, 2, rng=0)
x = np.random.default_rng(0).random((20, 5))
print((model.encode_sparse(x).to_dense() == model.encode(x)).all())
try:
    Int8Encoder(model)
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    expected = "True\nThe encoder of bytes needs numba; install ksae-lab[fast].\n"
    assert (done.stdout, done.stderr) == (expected, "")
