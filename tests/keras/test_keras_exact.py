"""Exactly k and counts that stay right: ties in another order, NaNs, long counts, noise."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import ops

from ksae_lab import keras as twins
from ksae_lab.nn.topk import top_k_mask as reference
from tests.keras.test_keras_elsewhere import run

# Few different numbers make many ties.
ROWS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 20)),
    elements=st.sampled_from([-np.inf, -2.0, -0.0, 0.0, 0.5, 2.0, np.inf]),
)


@pytest.fixture(scope="module")
def ties_from_the_right():
    """A backend that orders equal numbers the other way round, as PyTorch is free to do."""
    in_order = ops.top_k

    def reversed_ties(x, k, sorted=True):
        values, indices = in_order(ops.flip(x, axis=-1), k, sorted=sorted)
        return values, x.shape[-1] - 1 - indices

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "top_k", reversed_ties)
        assert ops.convert_to_numpy(ops.top_k(ops.ones(4), 2)[1]).tolist() == [3, 2]
        yield


@given(ROWS, st.data(), st.sampled_from(["value", "magnitude"]))
def test_selects_the_same_whatever_order_the_backend_gives_to_ties(
    ties_from_the_right, h, data, by
):
    k = data.draw(st.integers(0, h.shape[1]))
    found = twins.top_k_mask(ops.convert_to_tensor(h), k, by=by)
    np.testing.assert_array_equal(found, reference(h, k, by=by))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("make", [lambda: twins.TopK(5), lambda: twins.PrefixTopK(5, 20)])
def test_exactly_k_though_there_is_a_nan_which_is_seen(make, training):
    h = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
    h[0, 7], h[1, :], h[2, 3], h[3, 4] = np.nan, np.nan, np.inf, -np.inf
    z = ops.convert_to_numpy(make()(h, training=training))
    assert np.count_nonzero(z, axis=1).tolist() == [5] * 8
    assert np.isnan(z).any(axis=1).tolist() == [True, True] + [False] * 6


def test_a_batch_keeps_exactly_k_an_image_though_there_is_a_nan_and_its_threshold_survives():
    h = np.random.default_rng(0).uniform(1, 2, size=(8, 32)).astype(np.float32)
    h[0, :3] = np.nan
    selector = twins.BatchTopK(2)
    z = ops.convert_to_numpy(selector(h, training=True))
    assert np.count_nonzero(z) == 16 and np.isnan(z[0, :3]).all()
    assert float(selector.threshold) == np.sort(h[np.isfinite(h)])[-13]
    selector(np.full((8, 32), np.nan, np.float32), training=True)
    assert np.isfinite(float(selector.threshold))


# Counts.


def test_counts_stand_still_at_the_largest_integer():
    selector = twins.TopK(1, dead_after=50)
    h = np.eye(3, dtype=np.float32)[:1]
    selector(h)
    most = np.iinfo(selector.silent.dtype).max
    selector.silent.assign(np.array([most, most, most - 1]))
    for _ in range(3):
        selector(h, training=True)
    assert ops.convert_to_numpy(selector.silent).tolist() == [0, most, most]
    assert ops.convert_to_numpy(selector.dead()).tolist() == [False, True, True]
    selector.silent.assign(np.array([-5, -5, -5]))
    selector(h, training=True)
    assert ops.convert_to_numpy(selector.silent).tolist() == [0, -4, -4]


ON_JAX = """
import keras
import numpy as np
from ksae_lab.keras import KSparseAutoencoder

model = KSparseAutoencoder(3, 3, 1)
model.selector.silent.assign(np.full(3, 2**31 - 1))
model.b_enc.assign([9, 0, 0])
model(np.ones((4, 3)), training=True)
print(keras.ops.convert_to_numpy(model.selector.silent).tolist(), model.dead.tolist())
try:
    KSparseAutoencoder(3, 3, 1, dead_after=2**31)
except ValueError as error:
    print(error)
"""


def test_counts_of_jax_which_are_of_32_bits_do_not_wrap():
    output, _ = run(ON_JAX, KERAS_BACKEND="jax")
    counts, said = output.splitlines()
    assert counts == "[0, 2147483647, 2147483647] [False, True, True]"
    assert said.startswith("Dead after 2147483648 inputs is more than this backend can count")


# Noise.


def test_a_file_keeps_where_random_numbers_stand(tmp_path):
    def made():
        return twins.KSparseAutoencoder(7, 6, twins.Relaxation("perturbed", 3, 0.5, seed=4))

    x = np.random.default_rng(0).uniform(size=(16, 7)).astype(np.float32)
    model = made()
    fresh = ops.convert_to_numpy(made()(x, training=True))
    for _ in range(3):
        model(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    found, expected = (ops.convert_to_numpy(each(x, training=True)) for each in (again, model))
    np.testing.assert_array_equal(found, expected)
    assert (found != fresh).any()


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_the_k_of_gumbel_subset_follows_a_schedule(jit_compile):
    selector = twins.Relaxation("gumbel_subset", 3, 0.5)
    model = twins.KSparseAutoencoder(7, 6, selector)
    model.compile("sgd", loss="mse", jit_compile=jit_compile)
    sums = []

    class Note(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            h = model.pre_activations(x[:2])
            sums.append(float(ops.mean(ops.sum(model.selector.weights_of(h), axis=1))))

    x = np.random.default_rng(0).uniform(size=(8, 7)).astype(np.float32)
    model.fit(x, batch_size=8, verbose=0)
    callbacks = [twins.KCurriculum(5, 1), Note()]
    model.fit(x, batch_size=8, epochs=4, verbose=0, callbacks=callbacks)
    np.testing.assert_allclose(sums, [5, 3, 1, 1], rtol=1e-5)
