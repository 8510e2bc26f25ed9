"""What is saved comes back to the last bit, what is damaged is refused, and a kill does no harm."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import count, product

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, floating_dtypes, integer_dtypes

from ksae_lab.experiments import archive, saved_models
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.network import Network
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.nn.activations import ACTIVATIONS, Activation
from ksae_lab.nn.auxiliary_losses import DeCov
from ksae_lab.nn.layers import Dense, KSparse
from ksae_lab.nn.selectors import TopK

D, N, K = 6, 5, 2
BUILDERS = {
    "dense": lambda phi, **how: Network([Dense(D, N, phi, **how), Dense(N, D, **how)]),
    "k-sparse": lambda phi, **how: Network([KSparse(D, N, K, phi, **how), Dense(N, D, phi, **how)]),
    "by magnitude": lambda phi, **how: Network([KSparse(D, D, TopK(K, "magnitude"), phi, **how)]),
    "autoencoder": lambda phi, **how: KSparseAutoencoder(D, N, K, phi, **how),
    "tied": lambda phi, **how: KSparseAutoencoder(D, N, K, phi, tied=True, **how),
    "dream": lambda phi, **how: SparseDream(D, N, "log", 0.3, 2, init="as_found", **how),
    "free": lambda phi, **how: KSparseAutoencoder(
        D, N, TopK(K, by="magnitude"), phi, unit_norm=False, **how
    ),
}


def build(kind="autoencoder", phi="relu", dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    model = BUILDERS[kind](phi, rng=rng, dtype=dtype)
    for w in model.parameters.values():
        w[...] = rng.normal(size=w.shape)
    return model


def bits(model):
    return {name: (w.dtype, w.shape, w.tobytes()) for name, w in model.parameters.items()}


def output(model, x):
    return model.predict(x) if isinstance(model, Network) else model.reconstruct(x)


def parts(model):
    return model.layers if isinstance(model, Network) else [model]


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def weights_of(path):
    return path.with_name(json.loads(path.read_bytes())["weights"]["file"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.json"


# There and back


@pytest.mark.parametrize(
    ("kind", "phi", "dtype"),
    [
        *product(BUILDERS, ["relu"], [np.float32, np.float64]),
        *product(["autoencoder"], ACTIVATIONS, [np.float32]),
        ("dense", "tanh", np.float16),
    ],
)
def test_a_model_comes_back_bit_for_bit(path, kind, phi, dtype):
    model = build(kind, phi, dtype)
    saved_models.save_model(model, path)
    loaded = saved_models.load_model(path)
    x = np.random.default_rng(1).normal(size=(9, D)).astype(dtype)
    assert type(loaded) is type(model)
    assert bits(loaded) == bits(model)
    assert output(loaded, x).tobytes() == output(model, x).tobytes()
    for ours, theirs in zip(parts(model), parts(loaded), strict=True):
        assert type(theirs) is type(ours)
        assert repr(theirs) == repr(ours)
        for setting in ("phi", "penalty", "sparsity", "norm_weight"):
            assert getattr(theirs, setting, None) == getattr(ours, setting, None)
        for setting in ("k", "tied", "unit_norm"):
            assert getattr(theirs, setting, None) == getattr(ours, setting, None)


def test_a_loaded_model_can_be_trained_and_tied_stays_tied(path):
    model = build("tied")
    saved_models.save_model(model, path)
    loaded = saved_models.load_model(path)
    loaded.W_dec[:] = 1
    np.testing.assert_array_equal(loaded.W_enc, np.ones((D, N)))


VERSION_1 = {
    "autoencoder": {
        "class": "KSparseAutoencoder",
        "n_pixels": D,
        "n_units": N,
        "activation": "relu",
        "tied": False,
        "unit_norm": True,
        "dtype": "float32",
        "k": K,
        "by": "value",
    },
    "k-sparse": {
        "class": "Network",
        "layers": [
            {
                "class": "KSparse",
                "n_in": D,
                "n_out": N,
                "activation": "relu",
                "dtype": "float32",
                "k": K,
                "by": "value",
            },
            {"class": "Dense", "n_in": N, "n_out": D, "activation": "relu", "dtype": "float32"},
        ],
    },
    "dream": {
        "class": "SparseDream",
        "n_pixels": D,
        "n_units": N,
        "penalty": "log",
        "sparsity": 0.3,
        "norm_weight": 2.0,
        "init": "as_found",
        "dtype": "float32",
    },
}


@pytest.mark.parametrize("kind", VERSION_1)
def test_a_card_of_version_1_is_read(path, kind, monkeypatch):
    model = build(kind)
    with monkeypatch.context() as earlier:
        earlier.setattr(archive, "VERSION", 1)
        archive.write(path, model.parameters, {"model": VERSION_1[kind], "facts": {}})
    loaded = saved_models.load_model(path)
    assert repr(loaded) == repr(model) and bits(loaded) == bits(model)


def test_k_is_saved_as_it_is_now_and_terms_are_not(path):
    model = build()
    model.k = np.int64(4)
    model.auxiliary_losses.append(DeCov(1))
    saved_models.save_model(model, path)
    assert saved_models.load_model(path).k == 4
    assert saved_models.load_model(path).auxiliary_losses == []


number = st.sampled_from([floating_dtypes(endianness="="), integer_dtypes(endianness="=")])


@settings(max_examples=60)
@given(
    array=number.flatmap(lambda d: arrays(d, array_shapes(min_dims=0, min_side=0, max_side=4))),
    view=st.sampled_from([lambda a: a, np.transpose, lambda a: a[..., ::-1] if a.ndim else a]),
)
def test_any_array_comes_back_however_it_lies_in_memory(tmp_path_factory, array, view):
    path = tmp_path_factory.mktemp("arrays") / "any.json"
    array = view(array)
    archive.write(path, {"a": array, "b/c": np.array(7)}, {"note": "ä"})
    found, card = archive.read(path)
    assert (found["a"].dtype, found["a"].shape) == (array.dtype, array.shape)
    assert found["a"].tobytes() == array.tobytes()
    assert found["b/c"] == 7
    assert card["note"] == "ä"


def test_the_card_says_what_there_is(path):
    model = build("k-sparse", "tanh")
    facts = {"data": {"name": "mine"}, "config": {"seed": 3}, "metrics": {"mse": np.float32(0.5)}}
    saved_models.save_model(model, path, **facts)
    card = json.loads(path.read_text(encoding="utf-8"))
    assert (card["format"], card["version"]) == ("ksae-lab", 2)
    assert card["facts"] == {**facts, "metrics": {"mse": 0.5}}
    assert card["libraries"].keys() == {"python", "numpy", "ksae_lab", "safetensors"}
    assert card["libraries"]["numpy"] == np.__version__
    first, second = card["model"]["layers"]
    sizes = {"n_in": D, "n_out": N, "k": {"class": "TopK", "k": K, "by": "value"}}
    assert first == {"class": "KSparse", "activation": "tanh", "dtype": "float32", **sizes}
    assert second["class"] == "Dense"
    raw = weights_of(path).read_bytes()
    assert card["weights"]["sha256"] == hashlib.sha256(raw).hexdigest()
    theirs = safetensors.numpy.load(raw)  # any reader of the format can read it
    assert theirs.keys() == model.parameters.keys()
    np.testing.assert_array_equal(theirs["W0"], model.layers[0].W)


def test_a_fingerprint_sees_every_byte():
    x = np.zeros((300, 784), np.float32)
    whole = archive.fingerprint(x)
    changed = x.copy()
    changed[150, 400] = 1e-30  # where a printed array has its dots
    assert str(changed) == str(x)
    assert archive.fingerprint(changed) != whole
    assert archive.fingerprint(x.copy()) == whole
    assert archive.fingerprint(x.reshape(784, 300)) != whole
    assert archive.fingerprint(x.view(np.int32)) != whole
    assert archive.fingerprint(np.asfortranarray(x)) == whole
    assert archive.fingerprint(x, x) != whole
    rows = np.arange(6).reshape(2, 3)
    assert archive.fingerprint(rows) != archive.fingerprint(rows.T.reshape(2, 3))


def test_a_new_selector_needs_no_entry_anywhere(path):
    """One file is all that it takes; here it is as if the class stood in the package's."""

    class TopHalf(TopK):
        __module__ = "ksae_lab.nn.selectors"

        def __init__(self):
            super().__init__(N // 2)

        def get_config(self):
            return {}

    model = KSparseAutoencoder(D, N, TopHalf(), rng=np.random.default_rng(0))
    saved_models.save_model(model, path)
    loaded = saved_models.load_model(path)
    assert type(loaded.selector).__name__ == "TopHalf" and bits(loaded) == bits(model)


# What cannot be saved


class Other(KSparseAutoencoder):
    pass


class OtherDense(Dense):
    pass


def changed(**attributes):
    model = build()
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def dense(cls=Dense):
    return Network([cls(3, 2, rng=np.random.default_rng(0))])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Other(3, 2, 1, rng=np.random.default_rng(0)), "Other is not a class of this package"),
        (dense(OtherDense), "OtherDense is not a class"),
        (changed(phi=Activation("relu", abs, np.sign)), "'relu' is a function of your own"),
        (changed(k=N + 1), "k = 6"),
        (changed(k=1.5), "k is 1.5, not an integer"),
        (changed(selector=TopK(K, by="size")), "'size'"),
        (changed(b_enc=np.zeros(N)), "b_enc is float64.*expected float32"),
        (changed(b_dec=np.zeros(3, np.float32)), r"b_dec is float32 \(3,\), expected .*\(6,\)"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(path, model, message):
    with pytest.raises(ValueError, match=message):
        saved_models.save_model(model, path)
    assert files(path.parent) == {}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"mse": float("nan")}, "JSON cannot hold"),
        ({"mse": np.float64("inf")}, "JSON cannot hold"),
        ({"thing": object()}, "neither text, number, list nor dict"),
    ],
)
def test_facts_that_json_cannot_hold_are_refused(path, facts, message):
    saved_models.save_model(build(), path, note="earlier")
    before = files(path.parent)
    with pytest.raises(ValueError, match=message):
        saved_models.save_model(build(seed=1), path, **facts)
    assert files(path.parent) == before


def test_only_plain_numbers_and_only_cards_are_written(path):
    for array in (np.array(["a"]), np.array([None]), np.zeros(2, np.complex128)):
        with pytest.raises(ValueError, match="no plain numbers"):
            archive.write(path, {"a": array}, {})
    for wrong in (path.with_suffix(".safetensors"), path.with_suffix("")):
        with pytest.raises(ValueError, match=r"does not end in \.json"):
            saved_models.save_model(build(), wrong)
    assert files(path.parent) == {}


# Damage


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder with one saved model, to be damaged and mended."""
    path = tmp_path_factory.mktemp("pair") / "model.json"
    saved_models.save_model(build(), path, metrics={"mse": 0.25, "name": "ä"})
    return path


def assert_refused(path, error=ValueError):
    with pytest.raises(error) as caught:
        saved_models.load_model(path)
    said = str(caught.value)
    assert str(path.parent) in said
    assert "; " in said  # what is wrong; what to do
    assert "\n" not in said


@settings(max_examples=400)
@given(card=st.booleans(), spot=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_a_changed_byte_anywhere_is_seen(pair, card, spot, flip):
    file = pair if card else weights_of(pair)
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[spot % len(whole)] ^= flip
    file.write_bytes(damaged)
    try:
        assert_refused(pair)
    finally:
        file.write_bytes(whole)
    saved_models.load_model(pair)


@settings(max_examples=100)
@given(card=st.booleans(), keep=st.integers(0, 10**6), more=st.binary(max_size=2))
def test_a_file_cut_short_or_run_on_is_seen(pair, card, keep, more):
    file = pair if card else weights_of(pair)
    whole = file.read_bytes()
    other = whole[: keep % (len(whole) + 1)] + more
    if other == whole:
        return
    file.write_bytes(other)
    try:
        assert_refused(pair)
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("raw", [b"", b"[]", b"5", b"{}", b"[" * 10**5, b"\xff\xfe", b"PK\x03\x04"])
def test_what_is_no_card_is_refused(path, raw):
    path.write_bytes(raw)
    assert_refused(path)


def test_missing_files_are_named(path):
    assert_refused(path, FileNotFoundError)
    saved_models.save_model(build(), path)
    weights_of(path).unlink()
    with pytest.raises(FileNotFoundError, match=r"model-\w{16}\.safetensors; model\.json needs it"):
        saved_models.load_model(path)
    path.unlink()
    path.mkdir()
    assert_refused(path)


def test_a_newer_format_asks_for_a_newer_package(path, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr(archive, "VERSION", 3)
        saved_models.save_model(build(), path)
    with pytest.raises(ValueError, match=r"format version 3.*reads 1 and 2; install a newer"):
        saved_models.load_model(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"k": 2', b'"k": 3'), (b"\n", b"\r\n"), (b" ", b"\t"), (b'"by"', b'"b\\u0079"')],
)
def test_an_edited_card_is_refused(path, old, new):
    saved_models.save_model(build(), path)
    raw = path.read_bytes()
    assert old in raw
    path.write_bytes(raw.replace(old, new, 1))
    json.loads(path.read_bytes())  # still JSON, and but for k it says the same
    with pytest.raises(ValueError, match="damaged or edited"):
        saved_models.load_model(path)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (None, "weights in .* is None; expected the fields file, sha256"),
        ({"file": "x"}, "expected the fields file, sha256"),
        ({"file": "x", "sha256": 5}, "sha256 of weights in .* is 5; expected str"),
        ({"file": "x", "sha256": hashlib.sha256(b"?").hexdigest()}, "x holds no arrays"),
    ],
)
def test_a_card_that_names_no_arrays_is_refused(path, weights, message):
    path.with_name("x").write_bytes(b"?")
    path.write_bytes(archive._rendered({"format": "ksae-lab", "version": 2, "weights": weights}))
    with pytest.raises(ValueError, match=message):
        saved_models.load_model(path)


def test_weights_of_another_model_are_refused(path):
    saved_models.save_model(build(), path)
    other = path.with_name("other.json")
    saved_models.save_model(build(seed=1), other)
    weights_of(path).write_bytes(weights_of(other).read_bytes())
    assert_refused(path)


def edit(description, **changes):
    return {key: value for key, value in (description | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": None}, "describes no model: .*missing .*'k'"),
        ({"more": 1}, "unexpected .*'more'"),
        ({"class": "Transformer"}, "its class is 'Transformer', which is no model of this package"),
        ({"class": ["Dense"]}, "describes no model"),
        ({"class": "Dense"}, "unexpected .*'n_pixels'"),
        ({"activation": "relu6"}, "'relu6'; choose from"),
        ({"k": {"class": "TopK", "k": 2, "by": "size"}}, "'size'; choose"),
        ({"k": "2"}, "k is '2', not an integer"),
        ({"k": True}, "k is True, not an integer"),
        ({"k": 99}, "k = 99"),
        ({"k": 2}, "k of KSparseAutoencoder is 2, where .*TopK.* would do"),
        ({"unit_norm": 1}, "unit_norm is 1; give True or False"),
        ({"n_units": N + 1}, r"W_dec is float32 \(5, 6\), expected float32 \(6, 6\)"),
        ({"n_units": -1}, "describes no model"),
        ({"n_pixels": 10**15}, "describes no model"),
        ({"tied": True}, "its W_enc is .*expected no such array"),
        ({"dtype": "float64"}, "is float32 .*, expected float64"),
        ({"dtype": "object"}, "its dtype is 'object', expected one of"),
    ],
)
def test_a_card_that_describes_another_model_is_refused(path, changes, message):
    saved_models.save_model(build(), path)
    found, card = archive.read(path)
    archive.write(path, found, {"model": edit(card["model"], **changes)})
    with pytest.raises(ValueError, match=message):
        saved_models.load_model(path)


@pytest.mark.parametrize("description", [None, 5, {}, {"class": "Network", "layers": [5]}])
def test_a_card_that_describes_nothing_is_refused(path, description):
    archive.write(path, build().parameters, {"model": description})
    with pytest.raises(ValueError, match="describes no model"):
        saved_models.load_model(path)


def test_a_network_is_of_layers_and_nothing_is_missing(path):
    network = build("k-sparse")
    saved_models.save_model(network, path)
    found, card = archive.read(path)
    autoencoder = saved_models._described(build())
    archive.write(path, found, {"model": {"class": "Network", "layers": [autoencoder]}})
    with pytest.raises(ValueError, match="describes no model"):
        saved_models.load_model(path)
    del found["b1"]
    archive.write(path, found, {"model": card["model"]})
    with pytest.raises(ValueError, match=r"its b1 is missing, expected float32 \(6,\)"):
        saved_models.load_model(path)


# A kill at any moment


class Killed(BaseException):
    """From here on the process can do nothing more."""


class Executioner:
    """Kills this process' dealings with one folder before the n-th of them."""

    def __init__(self):
        self.folder = self.left = None
        sys.addaudithook(self)  # for good: it cannot be taken back, only rest

    def __call__(self, event, arguments):
        if self.folder and event in ("open", "os.rename", "os.remove", "os.mkdir"):
            if str(arguments[0]).startswith(self.folder):
                self.left -= 1
            if self.left < 0:
                if event == "open" and "w" in (arguments[1] or "") and os.path.exists(arguments[0]):
                    os.truncate(arguments[0], 0)  # that much of it was done already
                raise Killed


executioner = Executioner()


def killed_at(step, folder, action):
    """Whether `action` was killed before its dealing number `step` with the folder."""
    executioner.left, executioner.folder = step, str(folder)
    try:
        action()
    except Killed:
        return True
    finally:
        executioner.folder = None
    return False


@pytest.mark.parametrize("same_weights", [False, True])
def test_a_kill_at_any_moment_leaves_one_complete_pair(tmp_path, same_weights):
    old, new = build(seed=0), build(seed=0 if same_weights else 1)
    seen = set()
    for step in count():
        path = tmp_path / f"{step}" / "model.json"
        saved_models.save_model(old, path, version="old")
        save_new = partial(saved_models.save_model, new, path, version="new")
        killed = killed_at(step, path.parent, save_new)
        version = archive.read(path)[1]["facts"]["version"]
        assert bits(saved_models.load_model(path)) == bits(old if version == "old" else new)
        seen.add(version)
        if not killed:
            break
        saved_models.save_model(build(seed=2), path)  # and nothing is left lying about
        assert files(path.parent).keys() == {"model.json", weights_of(path).name}
    assert step > 4
    assert version == "new"
    assert seen == {"old", "new"}


@pytest.mark.parametrize("same_weights", [False, True])
def test_a_full_disk_leaves_the_earlier_pair(path, same_weights):
    old, new = build(seed=0), build(seed=0 if same_weights else 1)
    saved_models.save_model(old, path, version="old")
    before = files(path.parent)
    sizes = [len(raw) for raw in before.values()]
    resource = pytest.importorskip("resource", reason="only POSIX limits the size of files")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 1, min(sizes) - 1, max(sizes) - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(OSError, match=r"cannot be written \(File too large\)"):
                saved_models.save_model(new, path, version="new")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert archive.read(path)[1]["facts"]["version"] == "old"
        assert bits(saved_models.load_model(path)) == bits(old)
        assert not [name for name in files(path.parent) if name.endswith(".part")]


ALTERNATE = """
import sys
import numpy as np
from ksae_lab.experiments import archive

a, b = np.zeros(300_000), np.ones(300_000)
archive.write(sys.argv[1], {"w": a}, {"is": 0})
print("ready", flush=True)
while True:
    archive.write(sys.argv[1], {"w": b}, {"is": 1})
    archive.write(sys.argv[1], {"w": a}, {"is": 0})
"""


@pytest.mark.slow
def test_a_killed_process_leaves_one_complete_pair(path):
    command = [sys.executable, "-c", ALTERNATE, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.05)  # any moment: those in between are tried above, one by one
        process.send_signal(signal.SIGKILL)
    found, card = archive.read(path)
    np.testing.assert_array_equal(found["w"], np.full(300_000, card["is"]))
    archive.write(path, found, {})
    assert len(files(path.parent)) == 2


def test_earlier_weights_go_and_those_of_others_stay(path):
    others = [path.with_name(name) for name in ("model-2.json", "model-0123456789abcdef.json")]
    for seed, other in enumerate(others):
        saved_models.save_model(build(seed=seed), other)
    (path.parent / "model-notes.safetensors").write_bytes(b"not ours")
    before = files(path.parent)
    for seed in range(3):
        saved_models.save_model(build(seed=seed), path)
    after = files(path.parent)
    assert before.items() <= after.items()
    assert after.keys() - before.keys() == {"model.json", weights_of(path).name}
    archive.remove(path)
    assert files(path.parent) == before


def test_a_missing_folder_is_made_and_a_card_may_move(path):
    deep = path.parent / "a" / "b" / "model.json"
    saved_models.save_model(build(), deep)
    moved = path.with_name("best.json")
    moved.write_bytes(deep.read_bytes())
    path.with_name(weights_of(deep).name).write_bytes(weights_of(deep).read_bytes())
    assert bits(saved_models.load_model(moved)) == bits(build())


def test_a_place_that_cannot_be_written_is_named(path):
    path.write_text("no folder")
    with pytest.raises(OSError, match=r"model\.json.inner.* cannot be written \(.*; make room or"):
        saved_models.save_model(build(), path / "inner.json")
