"""Where batches come from, and what else `fit` takes: names, seeds, an array alone, one pass."""

import warnings

import numpy as np
import pandas as pd
import pytest

from ksae_lab import (
    SGD,
    Adam,
    Callback,
    DeadUnitMonitor,
    InputNoise,
    KSparseAutoencoder,
    Relaxation,
    ResetDeadUnits,
)
from ksae_lab.training import optimizers

D, N, K = 6, 8, 2
X = np.random.default_rng(0).uniform(size=(20, D)).astype(np.float32)


def model(**options):
    return KSparseAutoencoder(D, N, K, **{"rng": 0} | options)


def weights(model):
    return {name: w.tobytes() for name, w in model.parameters.items()}


def trained(x, **options):
    net = model()
    net.fit(x, **{"optimizer": Adam(0.01), "epochs": 3} | options)
    return weights(net)


class Progress(Callback):
    """Writes down the progress and the batch's size of each step."""

    def __init__(self):
        self.seen = []

    def before_step(self, trainer):
        self.seen.append((trainer.progress, len(trainer.batch[0])))


class Stream:
    """Starts again for each epoch, and does not know how long it is."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class Counted(Stream):
    def __len__(self):
        return len(self.items)


class Tensor:
    """Some of them have no `__array__`."""

    def __init__(self, array):
        self.array = array

    def numpy(self):
        return self.array


PARTS = [X[:8], X[8:16], X[16:]]


def in_order():
    """What ready-made batches come to, each taken by hand."""
    net, adam = model(), Adam(0.01)
    for _ in range(3):
        for part in PARTS:
            adam.step(net.parameters, net.loss_and_gradients(part)[1])
            net.constrain()
    return weights(net)


@pytest.mark.parametrize(
    "batches",
    [
        PARTS,
        Stream(PARTS),
        Counted(PARTS),
        [pd.DataFrame(part) for part in PARTS],
        [(part,) for part in PARTS],
        [(part, part) for part in PARTS],
        [[part] for part in PARTS],
        [Tensor(part) for part in PARTS],
    ],
    ids=lambda batches: f"{type(batches).__name__} of {type(next(iter(batches))).__name__}",
)
def test_ready_made_batches_are_taken_in_their_order(batches):
    assert trained(batches) == in_order()


def test_nested_lists_are_batches_or_rows_by_their_depth():
    assert trained([part.astype(float).tolist() for part in PARTS]) == trained(
        [part.astype(np.float64) for part in PARTS]
    )
    rows = X.astype(float).tolist()
    expected = trained(X.astype(np.float64), rng=0)
    assert trained(rows, rng=0) == trained([*X.astype(np.float64)], rng=0) == expected


def test_a_data_set_of_tensorflow_is_taken(tf):
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(8)
    assert trained(dataset) == trained(dataset.map(lambda x: (x, x))) == in_order()


def test_a_generator_is_good_for_one_epoch():
    net, other = model(), model()
    net.fit((part for part in PARTS), optimizer=Adam(0.01), epochs=1)
    other.fit(PARTS, optimizer=Adam(0.01), epochs=1)
    assert weights(net) == weights(other)


def test_what_is_used_up_in_the_second_epoch_says_so():
    once = iter(PARTS)

    class SameAgain:
        def __iter__(self):
            yield from once

    net = model()
    with pytest.raises(ValueError, match=r"No batch came in this epoch.* used up"):
        net.fit(SameAgain(), optimizer=Adam(), epochs=2)


@pytest.mark.parametrize(
    ("batches", "progress"),
    [
        (Counted(PARTS), [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6]),
        (Stream(PARTS), [0, 0, 0, 0.5, 0.5, 0.5]),
    ],
)
def test_progress_goes_by_steps_where_they_can_be_counted(batches, progress):
    notes = Progress()
    trained(batches, epochs=2, callbacks=notes)
    assert [each for each, _ in notes.seen] == pytest.approx(progress)
    assert [size for _, size in notes.seen] == [8, 8, 4, 8, 8, 4]


def test_the_mean_loss_counts_samples_not_batches():
    net = model(dtype=np.float64)
    history = net.fit([X[:15], X[15:]], optimizer=SGD(1e-12), epochs=1)
    assert history.training == [pytest.approx(net.loss(X))]


def test_dead_units_start_again_at_the_latest_batch():
    class Residuals(Callback):
        def after_epoch(self, trainer):
            self.found = PARTS[-1] - trainer.model.reconstruct(PARTS[-1])

    net, monitor, residuals = model(dtype=np.float64), DeadUnitMonitor(N, 1), Residuals()
    net.b_enc[0] = -100
    resets = ResetDeadUnits(monitor, every=1, until=1)
    callbacks = [monitor, residuals, resets]
    net.fit(Stream(PARTS), optimizer=SGD(1e-9), epochs=1, callbacks=callbacks)
    assert net.b_enc[0] == 0, "it was dead"
    lengths = np.linalg.norm(residuals.found, axis=1)
    assert (residuals.found @ net.W_dec[0] / lengths).max() > 1 - 1e-6


def test_one_pass_after_another_is_a_fit():
    whole, parts, adam, draw = model(), model(), Adam(0.01), np.random.default_rng(3)
    how = {"batch_size": 6}
    history = whole.fit(X, optimizer=Adam(0.01), epochs=3, rng=3, **how)
    losses = [parts.partial_fit(X, optimizer=adam, rng=draw, **how) for _ in range(3)]
    assert weights(whole) == weights(parts)
    assert losses == history.training


def test_one_pass_takes_batches_targets_and_callbacks():
    net, notes = model(), Progress()
    net.partial_fit(iter(PARTS), optimizer=Adam(), callbacks=[notes])
    net.partial_fit(X, 1 - X, optimizer=Adam(), callbacks=notes)
    assert [size for _, size in notes.seen] == [8, 8, 4, 20]


def test_ctrl_c_gets_through_one_pass():
    class Stops(Callback):
        def after_step(self, trainer, forward):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model().partial_fit(X, optimizer=Adam(), callbacks=Stops())


@pytest.mark.parametrize("name", optimizers.RULES)
def test_an_optimizer_may_be_named(name):
    rule = optimizers.RULES[name]()
    assert trained(X, optimizer=name, rng=0) == trained(X, optimizer=rule, rng=0)


def test_names_and_rates_are_those_of_keras(keras):
    for name, rule in optimizers.RULES.items():
        theirs = keras.optimizers.get(name)
        assert float(theirs.learning_rate) == pytest.approx(rule().learning_rate)


def test_a_seed_a_generator_and_nothing_are_taken():
    assert trained(X, rng=7) == trained(X, rng=np.random.default_rng(7)) != trained(X, rng=8)
    assert len({trained(X, batch_size=4)["W_dec"] for _ in range(3)}) == 3
    assert len({weights(model(rng=None))["W_dec"] for _ in range(3)}) == 3
    noisy = [KSparseAutoencoder(D, N, Relaxation("perturbed", K, 0.5, rng=5), rng=0) for _ in "ab"]
    assert noisy[0].loss(X) == noisy[1].loss(X) != noisy[1].loss(X)


def test_one_array_is_enough_for_validation():
    net = model()
    history = net.fit(X, optimizer="adam", epochs=2, validation=X[:5])
    assert len(history.validation) == 2 and history.validation[-1] == net.error(X[:5])


def test_noise_falls_on_bytes_too():
    net = model(dtype=np.float64)
    shown = []

    class Sees(Callback):
        def before_step(self, trainer):
            shown.append(trainer.batch)

    x = np.uint8(200 * X)
    net.fit(x, optimizer="sgd", epochs=1, callbacks=[InputNoise(0.5), Sees()], rng=0)
    ((noisy, clean),) = shown
    assert noisy.dtype == clean.dtype == np.float64
    assert 0 < np.abs(noisy - clean).max() < 5
    assert sorted(clean.sum(axis=1)) == sorted(x.sum(axis=1, dtype=float))


def test_bytes_are_made_floats_batch_by_batch():
    x = np.zeros((2000, D), np.uint8)
    x[:, 0] = 1
    sizes = []

    class Watches(Callback):
        def before_step(self, trainer):
            sizes.append(trainer.batch[0].nbytes)
            assert trainer.data[0] is x, "no copy of all of it"

    model().fit(x, optimizer="sgd", epochs=1, batch_size=10, callbacks=Watches())
    assert set(sizes) == {10 * D * 4}


class Kills(Callback):
    """As a far too long step would."""

    def after_step(self, trainer, forward):
        trainer.model.b_enc[:] = -100


def test_a_rate_that_kills_all_units_is_told_once():
    x = X - 0.2
    good, killed, at_once, at_last = model(), model(), model(), model()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        good.fit(x, optimizer=SGD(0.01), epochs=4, batch_size=5, rng=0)
        assert told == []
        killed.fit(x, optimizer=Adam(100.0), epochs=4, batch_size=5, rng=0)
        assert len(told) == 1 and not killed.encode(x).any()
        at_once.fit(x, optimizer=SGD(0.01), epochs=1, batch_size=5, rng=0, callbacks=Kills())
        assert len(told) == 2, "one epoch is enough to see it"
        how = {"optimizer": SGD(0.01), "epochs": 1, "batch_size": len(x)}
        at_last.fit(x, **how, callbacks=Kills())
    for warning in told:
        assert "All units are dead" in str(warning.message)
        assert "lower learning rate" in str(warning.message)
        assert warning.filename == __file__
    assert len(told) == 3, "and one step"


def test_where_no_unit_is_meant_to_be_active_nothing_is_told():
    net = model()
    net.k = 0
    net.fit(X, optimizer="sgd", epochs=2)
