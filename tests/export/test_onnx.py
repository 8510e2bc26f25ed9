"""Graphs of ONNX, run by onnxruntime against NumPy."""

import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ksae_lab import Dense, KSparse, Network, PrefixTopK, SparseDream, TopK
from ksae_lab.export import onnx as exported
from ksae_lab.models.sparse_coding import SparseCoding
from ksae_lab.models.two_step import TwoStepEncoder
from ksae_lab.nn.activations import ACTIVATIONS, Activation
from tests.export.models import (
    SELECTORS,
    D,
    N,
    autoencoder,
    autoencoders,
    decided,
    images,
    scattered,
)

try:
    import onnx
    import onnxruntime
except ImportError:
    onnx = None

needs_onnx = pytest.mark.skipif(onnx is None, reason="onnx or onnxruntime is not installed")


def run(path, x):
    """Code and reconstruction, as onnxruntime computes them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given_,) = session.get_inputs()
    assert (given_.name, given_.shape, given_.type) == (
        "x",
        ["batch", x.shape[1]],
        "tensor(float)",
    )
    return session.run(["code", "reconstruction"], {"x": x})


def assert_agree(model, path, x=None):
    exported.write(model, path)
    x = (images(model.stages[0].size) if x is None else x).astype(np.float32)
    code, reconstruction = run(path, x)
    assert code.dtype == reconstruction.dtype == np.float32
    np.testing.assert_allclose(code, model.encode(x), rtol=0, atol=1e-5)
    np.testing.assert_allclose(reconstruction, model.reconstruct(x), rtol=0, atol=1e-5)
    return code


def network(*kinds, phi="relu", dtype=np.float32):
    rng = np.random.default_rng(0)
    sizes = [D, *[N] * (len(kinds) - 1), D]
    layers = [
        KSparse(a, b, 3, phi, rng=rng, dtype=dtype)
        if kind == "k"
        else Dense(a, b, phi, rng=rng, dtype=dtype)
        for kind, a, b in zip(kinds, sizes, sizes[1:], strict=False)
    ]
    return scattered(Network(layers), rng)


def dream():
    rng = np.random.default_rng(0)
    return scattered(SparseDream(D, N, init="as_found", rng=rng), rng)


def two_steps(k=3):
    return scattered(TwoStepEncoder(autoencoder(k)), np.random.default_rng(0))


MODELS = {
    **{f"selector {name}": autoencoder(selector) for name, selector in SELECTORS.items()},
    **{name: autoencoder(TopK(4, by="magnitude"), name) for name in ACTIVATIONS},
    "tied": autoencoder(tied=True, unit_norm=False),
    "float16": autoencoder(dtype=np.float16),
    "two steps": two_steps(),
    "two steps by magnitude": two_steps(TopK(2, by="magnitude")),
    "network": network("k", "dense"),
    "deep": network("dense", "k", "dense", "k", phi="tanh", dtype=np.float64),
    "dense": network("dense", "dense"),
    "one layer": network("k"),
    "dream": dream(),
}


@needs_onnx
@pytest.mark.parametrize("kind", MODELS)
def test_onnxruntime_computes_what_numpy_does(kind, tmp_path):
    code = assert_agree(MODELS[kind], tmp_path / "model.onnx")
    assert (code != 0).any() or kind == "selector nobody"


@needs_onnx
@settings(max_examples=40)
@given(
    model=autoencoders(
        [lambda k, n: TopK(k), lambda k, n: PrefixTopK(k, max(1, n // 2), by="magnitude")],
        dtypes=["float16", "float32"],  # widened, the weights are the same numbers
    ),
    seed=st.integers(0, 2**32),
)
def test_random_models_agree(tmp_path_factory, model, seed):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    x = images(len(model.b_dec), seed=seed).astype(np.float32)
    assume(decided(model, x))
    assert_agree(model, path, x)


def whole_numbers(by, k, n=40, tied=False):
    """A model whose pre-activations are small whole numbers, which tie and have no rounding."""
    rng = np.random.default_rng(k)
    model = autoencoder(TopK(k, by=by), "linear", n=n, tied=tied, unit_norm=False)
    for w in model.parameters.values():
        w[...] = rng.integers(-1, 2, w.shape)
    return model, rng.integers(-1, 2, (30, D)).astype(np.float32)


@needs_onnx
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("k", [1, 2, 5, 20, 39, 40])
@pytest.mark.parametrize("by", ["value", "magnitude"])
def test_ties_go_to_the_lowest_index(by, k, tied, tmp_path):
    model, x = whole_numbers(by, k, tied=tied)
    exported.write(model, tmp_path / "model.onnx")
    code, reconstruction = run(tmp_path / "model.onnx", x)
    np.testing.assert_array_equal(code, model.encode(x))
    np.testing.assert_array_equal(reconstruction, model.reconstruct(x))


@needs_onnx
@pytest.mark.parametrize("rows", [1, 1000])
def test_any_number_of_rows_will_do(rows, tmp_path):
    assert_agree(autoencoder(dtype=np.float32), tmp_path / "model.onnx", images(samples=rows))


@needs_onnx
def test_a_threshold_that_is_met_counts_for_batch_top_k_and_not_for_jumprelu(tmp_path):
    for name, active in {"batch": D, "JumpReLU": 0}.items():
        model = autoencoder(SELECTORS[name], dtype=np.float32)
        model.W_enc[:], model.b_dec[:], model.b_enc[:] = np.eye(D, N), 0, 0
        model.selector.state.popitem()[1][...] = {"batch": 1, "JumpReLU": 0}[name]  # θ, and log θ
        code = assert_agree(model, tmp_path / "model.onnx", np.ones((1, D)))
        assert np.count_nonzero(code) == active


@needs_onnx
def test_what_is_not_above_zero_is_not_active_before_there_is_a_threshold(tmp_path):
    model = autoencoder(SELECTORS["batch"], "sigmoid")
    for w in model.state.values():
        w[...] = 0
    assert not assert_agree(model, tmp_path / "model.onnx").any()


class OwnLayer(Dense):
    """A subclass may compute anything."""


class OwnSelector(TopK):
    """So may this one."""


def with_own_layer():
    model = network("dense", "dense")
    model.layers[1].__class__ = OwnLayer
    return model


def with_own_activation():
    model = autoencoder()
    model.phi = Activation("relu", np.abs, np.sign)
    return model


@needs_onnx
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SparseCoding(D, N, 0.1, rng=np.random.default_rng(0)), "no graph for a SparseCoding"),
        (with_own_layer(), "OwnLayer is a layer of your own"),
        (with_own_activation(), "'relu' is a function of your own"),
        (autoencoder(OwnSelector(3)), "OwnSelector is a class of your own"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_graph_is_refused(model, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        exported.write(model, tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


@needs_onnx
def test_a_model_that_no_file_holds_is_refused(tmp_path, monkeypatch):
    model = autoencoder(dtype=np.float64)
    size = 4 * sum(w.size for w in model.parameters.values())
    monkeypatch.setattr(exported, "LARGEST", size)
    exported.write(model, tmp_path / "model.onnx")
    monkeypatch.setattr(exported, "LARGEST", size - 1)
    with pytest.raises(ValueError, match=f"The model has {size} bytes"):
        exported.write(model, tmp_path / "another.onnx")


@needs_onnx
def test_only_an_earlier_export_is_overwritten(tmp_path):
    path = tmp_path / "folder" / "model.onnx"
    exported.write(autoencoder(1), path)
    exported.write(autoencoder(2), path)
    assert np.count_nonzero(run(path, images().astype(np.float32))[0], axis=1).max() == 2
    theirs = onnx.load(path)
    theirs.producer_name = "pytorch"
    for content in (b"", b"mine", theirs.SerializeToString()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="holds something else"):
            exported.write(autoencoder(), path)
        assert path.read_bytes() == content
    with pytest.raises(ValueError, match=r"ends in \.onnx"):
        exported.write(autoencoder(), tmp_path / "model.pb")


@needs_onnx
def test_the_same_model_is_the_same_file(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        exported.write(two_steps(), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_without_onnx_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"install ksae-lab\[onnx\]"):
        exported.write(autoencoder(), tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())
