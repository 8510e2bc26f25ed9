"""The callbacks: k and resets as in NumPy, and what any optimiser of Keras remembers afterwards."""

import keras
import numpy as np
import pytest
from keras import ops, optimizers

from ksae_lab.keras.callbacks import DeadUnitMonitor, KCurriculum, ResetDeadUnits
from ksae_lab.keras.layers import KSparse
from ksae_lab.keras.models import KSparseAutoencoder
from ksae_lab.models import k_sparse
from ksae_lab.training import dead_units
from ksae_lab.training.callbacks import Scheduled
from ksae_lab.training.loop import Callback, Trainer
from ksae_lab.training.optimizers import SGD
from ksae_lab.training.schedules import k_curriculum

DEAD = [1, 4]


def images(rows=30):
    return np.random.default_rng(1).uniform(size=(rows, 7)).astype(np.float32)


def numpy_model(**how):
    """Six units, of which two cannot speak."""
    model = k_sparse.KSparseAutoencoder(7, 6, 2, rng=np.random.default_rng(0), **how)
    model.init_from_data(images(), np.random.default_rng(0))
    model.b_enc[DEAD] = -100
    return model


def compiled(model, optimizer="sgd"):
    # Eagerly, since nothing here trains long enough to be worth a graph.
    model.compile(optimizer, loss="mse", run_eagerly=True)
    return model


def sparse_model(optimizer="sgd", **how):
    return compiled(KSparseAutoencoder.from_numpy(numpy_model(**how), dead_after=30), optimizer)


class Seen(keras.callbacks.Callback):
    """Notes k in each step."""

    def __init__(self):
        super().__init__()
        self.k = []

    def on_train_batch_end(self, batch, logs=None):
        self.k.append(self.model.k)


def test_k_falls_step_by_step_as_in_numpy():
    x, seen = images(), Seen()
    history = sparse_model().fit(
        x, x, batch_size=8, epochs=6, verbose=0, callbacks=[KCurriculum(6, 2, finish=0.6), seen]
    )

    used = []

    class Note(Callback):
        def before_step(self, run):
            used.append(run.model.k)

    model = numpy_model()
    callbacks = [Scheduled(model, "k", k_curriculum(6, 2, finish=0.6)), Note()]
    how = {"optimizer": SGD(0.01), "rng": np.random.default_rng(0), "callbacks": callbacks}
    notes = model.fit(x, epochs=6, batch_size=8, **how).logs
    assert seen.k == used
    assert history.history["k"] == notes["k"]
    assert used[0] == 6 and used[-1] == 2 and len(set(used)) == 5


def test_k_falls_epoch_by_epoch_where_the_steps_are_not_known():
    def batches():
        for _ in range(6):
            yield (images(4),) * 2

    model, seen = sparse_model(), Seen()
    curriculum = KCurriculum(6, 2, finish=1.0)
    curriculum.set_model(model)
    curriculum.set_params({"epochs": 4, "steps": None})
    curriculum.on_train_begin()
    for epoch in range(4):
        curriculum.on_epoch_begin(epoch)
        curriculum.on_train_batch_begin(0)
        curriculum.on_train_batch_begin(1)
        seen.k.append(model.k)
    assert seen.k == [6, 5, 4, 3]
    callbacks = [KCurriculum(6, 2), seen]
    with pytest.warns(UserWarning, match="ran out of data"):  # Keras cannot count these batches
        model.fit(batches(), shuffle=False, verbose=0, callbacks=callbacks)
    assert seen.k[4:] == [6] * 6


def test_k_takes_up_where_training_was_left():
    x, model, seen = images(), sparse_model(), Seen()
    callbacks = [KCurriculum(6, 2), seen]
    model.fit(x, x, batch_size=30, epochs=4, initial_epoch=1, verbose=0, callbacks=callbacks)
    assert seen.k == [4, 2, 2]


def sequential(*layers):
    return compiled(keras.Sequential([keras.Input((7,)), *layers]))


def test_all_sparse_layers_follow_however_deep_and_their_dead_are_added():
    inner = keras.Sequential([keras.Input((6,)), KSparse(5, 3, "relu", dead_after=1)])
    outer = KSparse(6, 4, dead_after=1)
    model = sequential(outer, inner, keras.layers.Dense(7))
    outer.bias.assign([-100, 0, 0, 0, 0, 0])
    inner.layers[0].bias.assign([100, 100, 100, -100, -100])
    callbacks = [KCurriculum(5, 2), DeadUnitMonitor()]
    x = images(200)
    history = model.fit(x, x, batch_size=200, epochs=3, verbose=0, callbacks=callbacks).history
    assert (outer.k, inner.layers[0].k) == (2, 2)
    assert history["k"] == [5, 3, 2]
    assert history["dead"][0] == 3


def test_other_callbacks_see_the_number_of_dead_units():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = logs["dead"] > 0

    x = images()
    history = sparse_model().fit(
        x, x, batch_size=10, epochs=9, verbose=0, callbacks=[DeadUnitMonitor(), Stop()]
    )
    assert history.history["dead"] == [2]


@pytest.mark.parametrize("tied", [False, True], ids=["", "tied"])
def test_resets_as_numpy_does(tied):
    x, model = images(), sparse_model(tied=tied, activation="tanh")
    before, expected = model.to_numpy(), model.to_numpy()
    monitor = dead_units.DeadUnitMonitor(6, 30)
    monitor.silent[DEAD] = 30
    model.selector.silent.assign(monitor.silent)
    reset = ResetDeadUnits(x, every=2, until=0.5, seed=5)
    reset.set_model(model)
    reset.set_params({"epochs": 8})
    recipe = dead_units.ResetDeadUnits(monitor, every=2, until=0.5)
    reset.on_train_begin()

    model.optimizer.build(model.trainable_variables)
    for epoch in range(8):
        reset.on_epoch_end(epoch)
        changed = not np.array_equal(model.W_dec, before.W_dec)
        assert changed == (epoch >= 1)
        if epoch == 1:
            recipe.after_epoch(
                Trainer(expected, (x,), SGD(0.1), 8, 1, np.random.default_rng(5), epoch=2)
            )
        for name, w in expected.parameters.items():
            near = {"rtol": 0, "atol": 1e-6} if changed else {"rtol": 0}
            np.testing.assert_allclose(getattr(model, name), w, **near, err_msg=name)


def test_a_reset_looks_at_all_images_however_many():
    x = np.zeros((2500, 7), np.float32)
    x[2300:2306] = 100 * np.random.default_rng(0).normal(size=(6, 7))  # all others are drawn well
    model = compiled(KSparseAutoencoder(7, 6, 0, dead_after=1))
    model.fit(x, x, batch_size=2500, verbose=0, callbacks=[ResetDeadUnits(x, every=1, until=1.0)])
    directions = x[2300:2306] / np.linalg.norm(x[2300:2306], axis=1, keepdims=True)
    overlap = ops.convert_to_numpy(model.W_dec) @ directions.T
    np.testing.assert_allclose(np.sort(overlap.max(axis=1)), 1, atol=1e-3)
    assert len(set(overlap.argmax(axis=1))) == 6


def test_a_reset_unit_counts_from_zero_and_the_others_go_on():
    x, model = images(), sparse_model()
    callbacks = [DeadUnitMonitor(), ResetDeadUnits(x, every=1, until=1.0)]
    silent = []

    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            silent.append(ops.convert_to_numpy(model.selector.silent))

    model.b_enc.assign(np.where(np.isin(np.arange(6), [*DEAD, 0]), -100, 0))
    model.selector.silent.assign([-5, 0, 0, 0, 0, 0])  # one that will not have been silent for long
    history = model.fit(x, x, batch_size=10, verbose=0, callbacks=[*callbacks, Note()])
    assert history.history["dead"] == [2]
    np.testing.assert_array_equal(silent[0][[0, *DEAD]], [25, 0, 0])


OPTIMIZERS = {
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: optimizers.Adam(amsgrad=True),
    "rmsprop": lambda: optimizers.RMSprop(momentum=0.9, centered=True),
    "adagrad": lambda: optimizers.Adagrad(initial_accumulator_value=0.2),
    "adadelta": lambda: optimizers.Adadelta(),
    "adamw": lambda: optimizers.AdamW(),
    "adamax": lambda: optimizers.Adamax(),
    "nadam": lambda: optimizers.Nadam(),
    "ftrl": lambda: optimizers.Ftrl(),
    "lion": lambda: optimizers.Lion(),
    "lamb": lambda: optimizers.Lamb(),
    "muon": lambda: optimizers.Muon(),
    "adafactor": lambda: optimizers.Adafactor(),
    "schedule-free": lambda: optimizers.ScheduleFreeAdamW(),
    "average": lambda: optimizers.Adam(use_ema=True),
    "accumulate": lambda: optimizers.SGD(0.1, gradient_accumulation_steps=4),
    "loss scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adam()),
    "schedule": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)),
}


@pytest.mark.parametrize(
    ("name", "tied"), [*((name, False) for name in OPTIMIZERS), ("momentum", True), ("adam", True)]
)
def test_the_optimiser_forgets_the_dead_and_nothing_else(name, tied):
    x, model = images(), sparse_model(OPTIMIZERS[name](), tied=tied)
    model.b_enc.assign(np.zeros(6))  # all speak at first, so that there is something to forget
    model.k = 6
    model.fit(x, x, batch_size=10, verbose=0)
    model.selector.silent.assign(np.where(np.isin(np.arange(6), DEAD), 30, 0))
    memory = [ops.convert_to_numpy(slot) for slot in model.optimizer.variables]

    reset = ResetDeadUnits(x, every=1, until=1.0)
    reset.set_model(model)
    reset.set_params({"epochs": 1})
    reset.on_epoch_end(0)

    # An optimiser that is new to all weights; its slots stand in the same order.
    new = OPTIMIZERS[name]()
    new.build(model.trainable_variables)
    where = {"W_enc": np.s_[:, DEAD], "W_dec": np.s_[DEAD], "b_enc": np.s_[DEAD]}
    weights = {w.path.replace("/", "_"): w for w in model.trainable_variables}
    forgotten = set()
    for slot, before, start in zip(model.optimizer.variables, memory, new.variables, strict=True):
        after = ops.convert_to_numpy(slot)
        expected = before.copy()
        weight = next((w for path, w in weights.items() if slot.name.startswith(f"{path}_")), None)
        if weight is not None and weight.name in where:
            begin = weight if slot.name.endswith("_average") else start
            index = where[weight.name]
            expected[index] = ops.convert_to_numpy(begin)[index]
            if not np.array_equal(before[index], expected[index]):
                forgotten.add(weight.name)
        np.testing.assert_array_equal(after, expected, err_msg=slot.name)
    assert forgotten == (where.keys() - {"W_enc"} if tied else where.keys())


def test_adagrad_begins_again_at_its_initial_accumulator():
    x, model = images(), sparse_model(optimizers.Adagrad(initial_accumulator_value=0.2))
    model.fit(x, x, verbose=0, callbacks=[ResetDeadUnits(x, every=1, until=1.0)])
    accumulator = {slot.path.split("/")[-1]: slot for slot in model.optimizer.variables}
    (of_W_dec,) = (slot for name, slot in accumulator.items() if "W_dec" in name)
    fresh = ops.convert_to_numpy(of_W_dec)[DEAD]
    np.testing.assert_array_equal(fresh, np.full_like(fresh, 0.2))


def test_resets_with_an_activation_that_numpy_does_not_know():
    x = images()
    model = compiled(KSparseAutoencoder(7, 6, 2, "hard_tanh", dead_after=1))
    model.b_enc.assign(np.full(6, -100))
    model.k = 0
    model.fit(x, x, verbose=0, callbacks=[ResetDeadUnits(x, every=1, until=1.0)])
    assert not ops.convert_to_numpy(model.b_enc).any() and not model.dead.any()


@pytest.mark.parametrize("callback", [KCurriculum(3, 2), DeadUnitMonitor()], ids=["k", "dead"])
def test_a_model_that_selects_nothing_is_refused(callback):
    model = sequential(keras.layers.Dense(7))
    with pytest.raises(ValueError, match="no layer that selects; build it with a KSparse layer"):
        model.fit(images(), images(), verbose=0, callbacks=[callback])
    assert int(model.optimizer.iterations) == 0


def test_says_what_is_wrong_before_training():
    x = images()
    with pytest.raises(ValueError, match="up from 2 to 3"):
        KCurriculum(2, 3)
    with pytest.raises(ValueError, match="every is 0"):
        ResetDeadUnits(x, every=0)
    model = sequential(KSparse(6, 2), keras.layers.Dense(7))
    with pytest.raises(ValueError, match="is a Sequential; only a KSparseAutoencoder"):
        model.fit(x, x, verbose=0, callbacks=[ResetDeadUnits(x, every=1)])
    model = sparse_model()
    with pytest.raises(ValueError, match=r"\(1, 6\); expected \(batch, 7\)"):
        model.fit(x, x, verbose=0, callbacks=[ResetDeadUnits(x[:, 1:], every=9)])
    with pytest.raises(ValueError, match="but a row has 6 entries"):
        model.fit(x, x, verbose=0, callbacks=[KCurriculum(7, 2)])
    with pytest.raises(ValueError, match="k is -1; give an integer of 0 or more"):
        KCurriculum(3, -1)
    assert int(model.optimizer.iterations) == 0
    assert model.k == 2
