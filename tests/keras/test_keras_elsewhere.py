"""The Keras package in other processes: saved and loaded, and on JAX."""

import importlib
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from ksae_lab.keras import auxiliary_losses
from ksae_lab.keras.layers import KSparse
from ksae_lab.keras.models import KSparseAutoencoder


def run(program, *arguments, **environment):
    """What a program writes to stdout and to stderr in a new process, in which it must succeed."""
    inherited = dict(os.environ)
    inherited.pop("TF_CPP_MIN_LOG_LEVEL", None)  # JAX sets it, and Keras imports JAX if it can
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=inherited | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A trained model in a file, without code in a folder, images, and what it makes of them."""
    folder = tmp_path_factory.mktemp("saved")
    x = np.random.default_rng(0).uniform(size=(50, 9)).astype(np.float32)
    model = KSparseAutoencoder(
        9, 12, 3, "gelu", auxiliary_losses=[auxiliary_losses.AuxK(2)], dead_after=50
    )
    model.compile("adam", loss="mse")
    model.fit(x, x, verbose=0)
    model.k = 4
    model.save(folder / "model.keras")
    model.export(folder / "exported", verbose=False)
    np.savez(folder / "images.npz", x=x, x_hat=model.predict(x, verbose=0))
    return folder


def test_a_file_loads_once_the_package_is_imported_and_an_export_without_it(saved):
    # Of purpose, Keras imports nothing but its own modules because a file says so.
    program = """
import sys
import keras
import numpy as np

folder = sys.argv[1]
images = np.load(f"{folder}/images.npz")
model = keras.layers.TFSMLayer(f"{folder}/exported", call_endpoint="serve")
np.testing.assert_allclose(model(images["x"]), images["x_hat"], atol=1e-6)
try:
    keras.saving.load_model(f"{folder}/model.keras")
except TypeError as error:
    print("'module': 'ksae_lab.keras.models'" in str(error))
print(any(name.startswith("ksae_lab") for name in sys.modules))

import ksae_lab.keras

model = keras.saving.load_model(f"{folder}/model.keras")
np.testing.assert_allclose(model.predict(images["x"], verbose=0), images["x_hat"], atol=1e-6)
model.fit(images["x"], images["x"], verbose=0)
print(type(model).__name__, model.k, int(model.optimizer.iterations))
"""
    output, _ = run(program, saved)
    assert output == "True\nFalse\nKSparseAutoencoder 4 4\n"


def test_agrees_with_numpy_on_jax():
    program = """
import keras
import numpy as np
from ksae_lab import SGD, AuxK, DeCov
from ksae_lab.keras.callbacks import DeadUnitMonitor, KCurriculum, ResetDeadUnits
from ksae_lab.keras import auxiliary_losses, top_k_mask
from ksae_lab.keras.models import KSparseAutoencoder
from ksae_lab.models import k_sparse
from ksae_lab.nn.topk import top_k_mask as reference
from ksae_lab.training import dead_units

assert keras.backend.backend() == "jax"
rng = np.random.default_rng(0)
h = rng.normal(size=(20, 100)).round(1)
h[0] = np.tile([-0.0, 0.0], 50)
for k in (0, 1, 30, 100):
    np.testing.assert_array_equal(top_k_mask(keras.ops.convert_to_tensor(h), k), reference(h, k))

x = rng.uniform(size=(40, 9))
monitor = dead_units.DeadUnitMonitor(12, 40)
monitor.silent[:] = 39
monitor.silent[[2, 5]] = 40
terms = [AuxK(monitor, 2), DeCov(0.1)]
model = k_sparse.KSparseAutoencoder(
    9, 12, 3, "relu", auxiliary_losses=terms, rng=rng, dtype=np.float64
)
extra = [auxiliary_losses.AuxK(2), auxiliary_losses.DeCov(0.1)]
twin = KSparseAutoencoder.from_numpy(model, auxiliary_losses=extra, dead_after=40)
twin.selector.silent.assign(monitor.silent)
np.testing.assert_allclose(twin.encode(x), model.encode(x), atol=1e-12)
np.testing.assert_allclose(twin(x), model.reconstruct(x), atol=1e-12)

twin.compile(keras.optimizers.SGD(0.5), loss=keras.losses.MeanSquaredError(dtype="float64"))
twin.fit(x, x, batch_size=40, verbose=0)
model.fit(x, optimizer=SGD(0.5), epochs=1, batch_size=40, rng=rng)
for name, w in model.parameters.items():
    np.testing.assert_allclose(getattr(twin, name), w, rtol=0, atol=1e-6, err_msg=name)

class Seen(keras.callbacks.Callback):
    seen = []
    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.k)  # the final one, as it will be used

twin.selector.silent.assign(np.where(np.arange(12) < 2, 99, 0))
twin.b_enc.assign(np.where(np.arange(12) < 2, -99, 0))
callbacks = [KCurriculum(9, 3), DeadUnitMonitor(), ResetDeadUnits(x, every=2), Seen()]
history = twin.fit(x, x, batch_size=10, epochs=4, verbose=0, callbacks=callbacks).history
assert history["dead"][1] >= 2 and (keras.ops.convert_to_numpy(twin.b_enc) > -1).all()
print(Seen.seen, history["k"])
"""
    output, _ = run(program, KERAS_BACKEND="jax", JAX_ENABLE_X64="1")
    assert output == "[3, 3, 3, 3] [7, 4, 3, 3]\n"


def test_the_names_in_a_file_are_those_of_the_package(saved):
    assert keras.saving.get_registered_name(KSparse) == "ksae_lab>KSparse"
    assert keras.saving.get_registered_name(KSparseAutoencoder) == "ksae_lab>KSparseAutoencoder"


def test_the_twins_are_on_the_face_of_their_room():
    room = importlib.import_module("ksae_lab.keras")
    assert {"KSparse", "KSparseAutoencoder", "SparseDream"} < set(room.__all__)
    for name in room.__all__:
        assert getattr(room, name).__module__.startswith("ksae_lab.keras."), name
