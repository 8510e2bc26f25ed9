"""The training loop: what it visits, what it records, and how it stops."""

from itertools import chain

import numpy as np
import pytest

from ksae_lab.layers import Dense, KSparse
from ksae_lab.network import Network
from ksae_lab.optimizers import SGD, Adam
from ksae_lab.training import fit


class Recorder:
    """A model that learns nothing and remembers which samples it saw."""

    def __init__(self):
        self.parameters = {"w": np.zeros(1)}
        self.seen = []

    def loss(self, x):
        return float(x.mean())

    def loss_and_gradients(self, x):
        self.seen.append(x[:, 0].tolist())
        return self.loss(x), {"w": np.zeros(1)}


def rng(seed=0):
    return np.random.default_rng(seed)


def autoencoder(seed=0):
    draw = rng(seed)
    return Network([KSparse(12, 8, 3, "relu", rng=draw), Dense(8, 12, rng=draw)])


def data(rows=64, seed=1):
    return rng(seed).uniform(0, 1, (rows, 12)).astype(np.float32)


def test_each_epoch_visits_every_sample_once_in_a_new_order():
    model, x = Recorder(), np.arange(10.0)[:, None]
    history = fit(model, (x,), optimizer=SGD(0.1), epochs=2, batch_size=4, rng=rng())
    assert [len(batch) for batch in model.seen] == [4, 4, 2, 4, 4, 2]
    first, second = (list(chain(*model.seen[i : i + 3])) for i in (0, 3))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    # A mean over samples: the short last batch counts for what it holds.
    assert history.training == pytest.approx([4.5, 4.5])


def test_learns_and_validates():
    network, x, x_val = autoencoder(), data(), data(seed=2)
    before = network.loss(x_val, x_val)
    history = network.fit(
        x, x, optimizer=Adam(1e-2), epochs=30, batch_size=16, rng=rng(), validation=(x_val, x_val)
    )
    assert len(history.training) == len(history.validation) == 30
    assert history.validation[-1] == network.loss(x_val, x_val) < before
    assert history.training[-1] < history.training[0]
    assert history.interrupted is False


def test_learns_the_target_not_the_input():
    network, x = autoencoder(), data()
    before = network.loss(x, 1 - x)
    network.fit(x, 1 - x, optimizer=Adam(1e-2), epochs=30, batch_size=16, rng=rng())
    assert network.loss(x, 1 - x) < 0.5 * before


def test_the_generator_alone_decides():
    histories = []
    for seed in (0, 0, 1):
        network, x = autoencoder(), data()
        how = {"optimizer": SGD(0.1), "epochs": 3, "batch_size": 16}
        histories.append(network.fit(x, x, rng=rng(seed), **how).training)
    assert histories[0] == histories[1] != histories[2]


def test_two_halves_are_the_whole():
    whole, halves, x = autoencoder(), autoencoder(), data()
    how = {"batch_size": 16}
    whole.fit(x, x, optimizer=Adam(), epochs=4, rng=rng(), **how)
    optimizer, draw = Adam(), rng()
    for _ in range(2):
        halves.fit(x, x, optimizer=optimizer, epochs=2, rng=draw, **how)
    for name, w in whole.parameters.items():
        np.testing.assert_array_equal(halves.parameters[name], w)


class StopsByHand(SGD):
    """As if the reader pressed the stop button at the given step."""

    def __init__(self, at):
        super().__init__(0.1)
        self.left = at

    def step(self, parameters, gradients):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        super().step(parameters, gradients)


def test_an_interruption_keeps_what_was_learned():
    network, x = autoencoder(), data()
    before = network.loss(x, x)
    # Four steps an epoch: the tenth step is in the third epoch.
    history = network.fit(x, x, optimizer=StopsByHand(10), epochs=50, batch_size=16, rng=rng())
    assert history.interrupted
    assert len(history.training) == 2
    assert network.loss(x, x) < before


def test_an_interrupted_validation_leaves_whole_epochs():
    network, x = autoencoder(), data()
    calls = iter(range(100))
    honest = network.loss

    def stops_in_the_second_epoch(*arrays):
        if next(calls) == 3:  # one sample of each set is looked at before the first epoch
            raise KeyboardInterrupt
        return honest(*arrays)

    network.loss = stops_in_the_second_epoch
    how = {"epochs": 9, "batch_size": 16, "rng": rng(), "validation": (x, x)}
    history = network.fit(x, x, optimizer=SGD(0.1), **how)
    assert history.interrupted is True
    assert len(history.training) == len(history.validation) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": (data(8), data(7))}, r"\[8, 7\] samples"),
        ({"epochs": -1}, "-1 epochs"),
        ({"batch_size": 0}, "batches of 0"),
        ({"data": (data(0), data(0))}, "at least one"),
        ({"data": (data()[:, :5], data())}, r"expected \(batch, 12\)"),
        ({"validation": (data(5), data(6))}, r"\[5, 6\] samples"),
        ({"validation": (data()[:, :5], data()[:, :5])}, r"expected \(batch, 12\)"),
    ],
)
def test_says_what_is_wrong_before_it_starts(change, message):
    how = {"data": (data(), data()), "epochs": 2, "batch_size": 4, "rng": rng()} | change
    network = autoencoder()
    before = network.parameters["W0"].copy()
    with pytest.raises(ValueError, match=message):
        fit(network, optimizer=SGD(0.1), **how)
    np.testing.assert_array_equal(network.parameters["W0"], before)


def test_a_loss_that_runs_away_is_reported():
    network, x = autoencoder(), data()
    with (
        np.errstate(all="ignore"),
        pytest.raises(FloatingPointError, match="lower learning rate"),
    ):
        network.fit(x, x, optimizer=SGD(1e20), epochs=5, batch_size=16, rng=rng())


def test_a_loss_that_is_no_number_takes_no_step():
    network, x = autoencoder(), data()
    before = network.parameters["W1"].copy()
    with pytest.raises(FloatingPointError, match="If the data hold NaN"):
        network.fit(x, x * np.nan, optimizer=SGD(0.1), epochs=1, batch_size=64, rng=rng())
    np.testing.assert_array_equal(network.parameters["W1"], before)
