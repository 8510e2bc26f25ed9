"""Folders of SAELens, held against its forward pass in plain NumPy, from the files alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ksae_lab
from ksae_lab import BatchTopK, JumpReLU, PrefixTopK, Relaxation, SparseDream, TopK
from ksae_lab.export import places, saelens
from ksae_lab.nn.activations import Activation
from tests.export.models import (
    ROUNDING,
    SELECTORS,
    D,
    N,
    autoencoder,
    autoencoders,
    decided,
    images,
)


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def settings_of(folder):
    return json.loads((folder / "cfg.json").read_bytes())


class TheirSAE:
    """What SAELens computes with a folder."""

    def __init__(self, folder):
        self.cfg = settings_of(folder)
        w = safetensors.numpy.load_file(folder / "sae_weights.safetensors")
        self.w = {name: a.astype(self.cfg["dtype"]) for name, a in w.items()}
        self.length = np.linalg.norm(self.w["W_dec"], axis=1)
        self.rescaled = self.cfg.get("rescale_acts_by_decoder_norm", False)

    def encode(self, x):
        x = x.astype(self.cfg["dtype"]) - self.w["b_dec"] * self.cfg["apply_b_dec_to_input"]
        h = x @ self.w["W_enc"] + self.w["b_enc"]
        if self.cfg["architecture"] == "jumprelu":
            return np.maximum(h, 0) * (h > self.w["threshold"])
        h = h * self.length if self.rescaled else h
        signed = self.cfg["architecture"] == "abstopk"
        order = np.argsort(-abs(h) if signed else -h, axis=1, kind="stable")
        z = np.zeros_like(h)
        for row, first in enumerate(order[:, : self.cfg["k"]]):
            z[row, first] = h[row, first] if signed else np.maximum(h[row, first], 0)
        return z

    def decode(self, z):
        return (z / self.length if self.rescaled else z) @ self.w["W_dec"] + self.w["b_dec"]


def assert_agree(model, theirs, x):
    near = {"rtol": 0, "atol": ROUNDING[theirs.cfg["dtype"]]}
    z = model.encode(x)
    np.testing.assert_allclose(theirs.encode(x), z, **near)
    np.testing.assert_allclose(theirs.decode(z), model.decode(z), **near)


# Out

relu_only = autoencoders(
    [lambda k, n: TopK(k), lambda k, n: Relaxation("entmax15", 1, 0.5) if n > 1 else TopK(1)],
    ["relu"],
    list(ROUNDING),
)
signed = autoencoders([lambda k, n: TopK(k, by="magnitude")], ["linear"], list(ROUNDING))
above = autoencoders(
    [lambda k, n: JumpReLU(), lambda k, n: BatchTopK(k)],
    ["relu", "linear", "leaky_relu", "elu"],
)


@settings(max_examples=60)
@given(model=st.one_of(relu_only, signed, above), seed=st.integers(0, 2**32))
def test_their_forward_pass_is_ours(tmp_path_factory, model, seed):
    folder = tmp_path_factory.mktemp("out") / "sae"
    saelens.write(model, folder)
    x = images(len(model.b_dec), seed=seed, dtype=model.W_dec.dtype)
    assume(decided(model, x))
    assert_agree(model, TheirSAE(folder), x)


def edges(theta, dtype=np.float32):
    """The numbers around θ, and θ itself, in float32."""
    middle = np.full(1, theta, dtype)
    low, high = np.nextafter(middle, dtype(-np.inf)), np.nextafter(middle, dtype(np.inf))
    return np.concatenate([low, middle, high])


@pytest.mark.parametrize("theta", [0.7, 1 / 3, 0.1, 0.5, 1e-45, 0.0])
@pytest.mark.parametrize("kind", [BatchTopK, JumpReLU])
@pytest.mark.parametrize("own", [True, False], ids=["its own dtype", "in float64"])
def test_a_threshold_is_met_there_when_it_is_here(kind, own, theta, tmp_path):
    model = autoencoder(BatchTopK(1), d=3, n=3, dtype=np.float32)
    model.W_enc[:], model.b_dec[:], model.b_enc[:] = np.eye(3), 0, 0
    selector = kind(1)
    model.selector = selector.for_units(3, np.float32) if own else selector
    if kind is BatchTopK:
        model.selector.threshold[...] = theta
    else:
        model.selector.log_threshold[...] = np.log(max(theta, 1e-300))
    saelens.write(model, tmp_path / "sae")
    x = edges(theta)[None]
    with np.errstate(under="ignore"):
        assert_agree(model, TheirSAE(tmp_path / "sae"), x)
        active = TheirSAE(tmp_path / "sae").encode(x) != 0
    np.testing.assert_array_equal(active, model.encode(x) != 0)
    assert (TheirSAE(tmp_path / "sae").w["threshold"] >= 0).all()


def test_a_folder_says_what_saelens_asks(tmp_path):
    model = autoencoder(3, dtype=np.float32)
    share = np.array([0, 1, *[0.01] * (N - 2)])
    saelens.write(model, tmp_path / "a" / "sae", share, {"model_name": "gpt2"})
    assert sorted(files(tmp_path / "a" / "sae")) == sorted(
        [saelens.CFG, saelens.SPARSITY, saelens.WEIGHTS]
    )
    assert settings_of(tmp_path / "a" / "sae") == {
        "architecture": "topk",
        "k": 3,
        "rescale_acts_by_decoder_norm": False,
        "d_in": D,
        "d_sae": N,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "model_name": "gpt2",
            "sae_lens_version": saelens.FORMAT,
            "ksae_lab_version": ksae_lab.__version__,
        },
    }
    sparsity = safetensors.numpy.load_file(tmp_path / "a" / "sae" / saelens.SPARSITY)
    logarithms = [-10, 0, *[-2] * (N - 2)]
    np.testing.assert_allclose(sparsity["sparsity"], logarithms, rtol=1e-6, atol=1e-6)
    assert sparsity["sparsity"].dtype == np.float32
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["sae"]


def swish_called_relu():
    model = autoencoder(3, "swish")
    model.phi = Activation("relu", model.phi.function, model.phi.derivative)
    return model


class OwnSelector(JumpReLU):
    """A subclass may compute anything."""


class Own(ksae_lab.KSparseAutoencoder):
    """So may this one."""


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (autoencoder(TopK(3, by="magnitude"), "relu"), "by='magnitude') and the activation relu"),
        (autoencoder(TopK(3), "linear"), "by='value') and the activation linear"),
        (autoencoder(JumpReLU(), "swish"), "the activation swish"),
        (autoencoder(BatchTopK(3, by="magnitude"), "relu"), "it has BatchTopK"),
        (autoencoder(PrefixTopK(3, N)), "it has PrefixTopK"),
        (autoencoder(OwnSelector()), "it has OwnSelector"),
        (swish_called_relu(), "the activation relu"),
        (SparseDream(D, N, init="as_found", rng=np.random.default_rng(0)), "SparseDream is no"),
        (Own(D, N, 3, rng=np.random.default_rng(0)), "Own is no KSparseAutoencoder"),
    ],
    ids=str,
)
def test_another_function_is_refused(model, reason, tmp_path):
    with pytest.raises(ValueError) as error:
        saelens.write(model, tmp_path / "sae")
    assert reason in str(error.value) and "SAELens has the k largest" in str(error.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": np.ones(N + 1)}, "give a share from 0 to 1 for 9 units"),
        ({"sparsity": np.full(N, -3.0)}, "give a share"),
        ({"sparsity": np.full(N, 1.5)}, "give a share"),
        ({"sparsity": np.full(N, np.nan)}, "give a share"),
        ({"metadata": {"a": {1, 2}}}, "JSON cannot hold the metadata"),
        ({"metadata": {"a": np.nan}}, "JSON cannot hold the metadata"),
        ({"metadata": ["a"]}, "give a dictionary"),
    ],
)
def test_facts_that_cannot_be_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        saelens.write(autoencoder(), tmp_path / "sae", **options)
    assert not any(tmp_path.iterdir())


# Back


@settings(max_examples=60)
@given(model=st.one_of(relu_only, signed, above), seed=st.integers(0, 2**32))
def test_what_comes_back_computes_the_same(tmp_path_factory, model, seed):
    folder = tmp_path_factory.mktemp("back") / "sae"
    saelens.write(model, folder)
    again = saelens.read(folder)
    x = images(len(model.b_dec), seed=seed, dtype=model.W_dec.dtype)
    assume(decided(model, x))  # thresholds come back within a rounding
    near = {"rtol": 0, "atol": ROUNDING[model.W_dec.dtype.name]}
    np.testing.assert_allclose(again.encode(x), model.encode(x), **near)
    np.testing.assert_allclose(again.reconstruct(x), model.reconstruct(x), **near)
    assert again.W_dec.dtype == model.W_dec.dtype
    for name in ("W_enc", "W_dec", "b_enc", "b_dec"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))


def put(folder, cfg, arrays):
    folder.mkdir(exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(cfg))
    safetensors.numpy.save_file(arrays, folder / "sae_weights.safetensors")
    return folder


def foreign(folder, architecture="topk", seed=0, dtype="float64", d=D, n=N, **cfg):
    """A folder as somebody else may have it."""
    rng = np.random.default_rng(seed)
    shapes = {"W_enc": (d, n), "W_dec": (n, d), "b_enc": (n,), "b_dec": (d,)}
    if architecture == "jumprelu":
        shapes["threshold"] = (n,)  # negative ones too
    arrays = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    cfg = {"architecture": architecture, "d_in": d, "d_sae": n, "k": 2, "dtype": dtype} | cfg
    return put(folder, {"apply_b_dec_to_input": True} | cfg, arrays)


@settings(max_examples=60)
@given(
    architecture=st.sampled_from(["topk", "abstopk", "jumprelu"]),
    rescaled=st.booleans(),
    applied=st.booleans(),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(["float32", "float64"]),
    d=st.integers(1, 8),
    n=st.integers(2, 12),
)
def test_a_foreign_folder_computes_the_same_here(
    tmp_path_factory, architecture, rescaled, applied, seed, dtype, d, n
):
    more = {"apply_b_dec_to_input": applied}
    if architecture != "jumprelu":
        more["rescale_acts_by_decoder_norm"] = rescaled
    folder = foreign(tmp_path_factory.mktemp("in"), architecture, seed, dtype, d, n, **more)
    theirs, x = TheirSAE(folder), images(d, seed=seed + 1, dtype=dtype)
    model = saelens.read(folder)
    assume(decided(model, x))
    near = {"rtol": 0, "atol": 20 * ROUNDING[dtype]}
    np.testing.assert_allclose(model.encode(x), theirs.encode(x), **near)
    np.testing.assert_allclose(model.reconstruct(x), theirs.decode(theirs.encode(x)), **near)


def test_rows_stay_at_length_one_only_if_they_have_it(tmp_path):
    folder = foreign(tmp_path / "any")
    assert not saelens.read(folder).unit_norm
    rescaled = foreign(tmp_path / "rescaled", rescale_acts_by_decoder_norm=True)
    assert saelens.read(rescaled).unit_norm


def test_what_a_cfg_leaves_out_is_what_saelens_takes(tmp_path):
    folder = foreign(tmp_path / "sae", dtype="float32", n=101)
    cfg = settings_of(folder)
    (folder / "cfg.json").write_text(
        json.dumps({key: cfg[key] for key in ("architecture", "d_in", "d_sae")})
    )
    model = saelens.read(folder)
    assert model.k == 100 and model.W_dec.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "gated"}, "there are topk, abstopk, jumprelu here"),
        ({"architecture": "batchtopk"}, "once save_inference_model has written it"),
        ({"architecture": ["topk"]}, "The architecture in"),
        ({"normalize_activations": "layer_norm"}, "asks to normalise each input"),
        ({"normalize_activations": "expected_average_only_in"}, "fold a constant factor"),
        ({"dtype": "bfloat16"}, "save it again"),
        ({"dtype": None}, "dtype in .* is None; expected str"),
        ({"k": 2.0}, "k in .* is 2.0; expected int"),
        ({"k": 100}, "describes no model: k = 100"),
        ({"d_in": D + 1}, r"W_dec in .* is floats \(9, 6\); expected floats \(9, 7\)"),
        ({"apply_b_dec_to_input": 1}, "expected bool"),
        ({"architecture": "jumprelu"}, r"threshold in .* is missing; expected floats \(9,\)"),
    ],
    ids=str,
)
def test_what_has_no_twin_here_is_refused(change, message, tmp_path):
    folder = foreign(tmp_path / "sae")
    (folder / "cfg.json").write_text(json.dumps(settings_of(folder) | change))
    with pytest.raises(ValueError, match=message):
        saelens.read(folder)


def test_damage_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="give a folder of SAELens"):
        saelens.read(tmp_path / "none")
    folder = foreign(tmp_path / "sae")
    (folder / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match="give a folder of SAELens"):
        saelens.read(folder / "file")
    weights = folder / "sae_weights.safetensors"
    content = weights.read_bytes()
    for broken, message in {
        content[:-1]: "holds no arrays",
        content.replace(b'"F64"', b'"BF8"'): "holds no arrays",
        safetensors.numpy.save({"scaling_factor": np.ones(D)}): "W_dec in .* is missing",
    }.items():
        weights.write_bytes(broken)
        with pytest.raises(ValueError, match=message):
            saelens.read(folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*sae_weights.safetensors"):
        saelens.read(folder)
    for text in ("{", "[" * 100_000, "[]"):
        (folder / "cfg.json").write_text(text)
        with pytest.raises(ValueError, match=r"cfg\.json is"):
            saelens.read(folder)


def test_numbers_that_numpy_does_not_have_are_refused(tmp_path):
    folder = foreign(tmp_path / "sae", dtype="float16")
    weights = folder / "sae_weights.safetensors"
    size, rest = weights.read_bytes()[:8], weights.read_bytes()[8:]
    header = rest[: int.from_bytes(size, "little")]
    new = header.replace(b'"F16"', b'"BF16"')
    weights.write_bytes(len(new).to_bytes(8, "little") + new + rest[len(header) :])
    with pytest.raises(ValueError, match=r"'BF16'|is bfloat16"):
        saelens.read(folder)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_dtype_may_have_the_name_that_pytorch_prints(dtype, tmp_path):
    folder = foreign(tmp_path / "sae", dtype=dtype)
    cfg = settings_of(folder) | {"dtype": f"torch.{dtype}"}
    (folder / "cfg.json").write_text(json.dumps(cfg))
    assert saelens.read(folder).W_dec.dtype == dtype


# Where


def test_an_earlier_export_is_overwritten_with_all_that_it_had(tmp_path):
    saelens.write(autoencoder(BatchTopK(3)), tmp_path, np.ones(N))
    saelens.write(autoencoder(2, seed=5), tmp_path)
    assert sorted(files(tmp_path)) == [saelens.CFG, saelens.WEIGHTS]
    assert saelens.read(tmp_path).k == 2


def others(folder):
    yield foreign(folder / "theirs")
    mixed = folder / "mixed"
    saelens.write(autoencoder(), mixed)
    (mixed / "notes.txt").write_text("mine")
    yield mixed
    file = folder / "file"
    file.write_text("mine")
    yield file
    broken = folder / "broken"
    broken.mkdir()
    (broken / "cfg.json").write_text("[" * 100_000)
    yield broken


def test_nothing_of_anybody_elses_is_overwritten(tmp_path):
    for place in others(tmp_path):
        before = files(place) if place.is_dir() else place.read_bytes()
        with pytest.raises(ValueError, match="holds something else"):
            saelens.write(autoencoder(), place)
        assert (files(place) if place.is_dir() else place.read_bytes()) == before
    with pytest.raises(ValueError, match="The path is empty"):
        saelens.write(autoencoder(), "")


@pytest.mark.parametrize("name", [saelens.CFG, saelens.SPARSITY, saelens.WEIGHTS])
def test_a_full_disk_leaves_what_was_there(name, tmp_path, monkeypatch):
    folder, put = tmp_path / "sae", places.archive.put

    def full(path, content):
        if path.name == name:
            raise OSError(f"{path} cannot be written")
        put(path, content)

    saelens.write(autoencoder(), folder)
    before = files(folder)
    monkeypatch.setattr(places.archive, "put", full)
    with pytest.raises(OSError, match="cannot be written"):
        saelens.write(autoencoder(seed=3), folder, np.ones(N))
    assert files(folder) == before and [path.name for path in tmp_path.iterdir()] == ["sae"]


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_what_a_killed_process_leaves_is_no_mixture(moved, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    left, move = moved, Path.replace

    def replace(path, target):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return move(path, target)

    folder = tmp_path / "sae"
    saelens.write(autoencoder(), folder)
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(Killed):
        saelens.write(autoencoder(BatchTopK(3)), folder, np.ones(N))
    with pytest.raises(FileNotFoundError):
        saelens.read(folder)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="choose another place"):
        saelens.write(autoencoder(), tmp_path / "file" / "sae")


def test_each_selector_is_either_exported_or_refused(tmp_path):
    exported = set()
    for name, selector in SELECTORS.items():
        try:
            saelens.write(autoencoder(selector), tmp_path / name)
            exported.add(name)
        except ValueError:
            assert not (tmp_path / name).exists()
    assert exported == {"value", "nobody", "everybody", "JumpReLU", "batch", "relaxed"}
