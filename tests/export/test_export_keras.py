"""Files of Keras: what is loaded from them against the NumPy model."""

import zipfile

import numpy as np
import pytest

from ksae_lab import Network, SparseDream, TopK, TwoStepEncoder
from ksae_lab.export import keras as exported
from ksae_lab.nn.activations import ACTIVATIONS, Activation
from ksae_lab.nn.auxiliary_losses import DeCov
from tests.export.models import SELECTORS, D, N, autoencoder, images, scattered


def dream(penalty="log", **options):
    rng = np.random.default_rng(0)
    model = SparseDream(D, N, penalty, 0.25, 2.0, init="as_found", rng=rng, **options)
    return scattered(model, rng)


MODELS = {
    **{f"selector {name}": autoencoder(selector) for name, selector in SELECTORS.items()},
    **{name: autoencoder(TopK(4, by="magnitude"), name) for name in ACTIVATIONS},
    "tied": autoencoder(tied=True, unit_norm=False, dtype=np.float32),
    "float16": autoencoder(dtype=np.float16),
    "auxiliary": autoencoder(auxiliary_losses=[DeCov(0.1)]),
    "dream": dream(),
    "dream in float64": dream("l1", dtype=np.float64),
}
# TensorFlow has the √2 of gelu and the slope of leaky relu in float32, whatever h is.
NEAR = {"float16": 2e-2, "float32": 1e-5, "float64": 3e-8}


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_loaded_computes_what_numpy_does(kind, tmp_path, keras):
    model, path = MODELS[kind], tmp_path / "model.keras"
    exported.write(model, path)
    twin = keras.saving.load_model(path)
    dtype = next(iter(model.parameters.values())).dtype
    x = images(dtype=dtype)
    near = {"rtol": 0, "atol": NEAR[dtype.name]}
    np.testing.assert_allclose(twin.encode(x), model.encode(x), **near)
    np.testing.assert_allclose(twin(x), model.reconstruct(x), **near)
    again = twin.to_numpy()
    assert repr(again) == repr(model)
    for name, w in model.state.items():
        np.testing.assert_array_equal(again.state[name], w, err_msg=name)


class OwnSelector(TopK):
    """A subclass may compute anything."""


def with_own_activation():
    model = autoencoder()
    model.phi = Activation("relu", np.abs, np.sign)
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TwoStepEncoder(autoencoder()), "A TwoStepEncoder has no twin in Keras; give a KSparse"),
        (Network.__new__(Network), "A Network has no twin in Keras"),
        (with_own_activation(), "'relu' is a function of your own"),
        (autoencoder(OwnSelector(3)), "OwnSelector is a class of your own"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_twin_is_refused(model, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        exported.write(model, tmp_path / "model.keras")
    assert not any(tmp_path.iterdir())


def test_only_an_earlier_export_is_overwritten(tmp_path, keras):
    path = tmp_path / "folder" / "model.keras"
    exported.write(autoencoder(1), path)
    exported.write(autoencoder(2), path)
    twin = keras.saving.load_model(path)
    assert twin.k == 2 and [file.name for file in path.parent.iterdir()] == [path.name]
    twin.from_numpy(autoencoder(1)).save(tmp_path / "theirs.keras")
    trained = (tmp_path / "theirs.keras").read_bytes()
    for content in (b"", b"mine", trained):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="holds something else"):
            exported.write(autoencoder(), path)
        assert path.read_bytes() == content
    for text in ('["mine"]', "mine"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("config.json", text)
        with pytest.raises(ValueError, match="holds something else"):
            exported.write(autoencoder(), path)
    with pytest.raises(ValueError, match=r"ends in \.keras"):
        exported.write(autoencoder(), tmp_path / "model.h5")
