"""The training loop: what it visits, what it records, and how it stops."""

from itertools import chain

import numpy as np
import pytest

from ksae_lab.models.network import Network
from ksae_lab.nn.layers import Dense, KSparse
from ksae_lab.nn.module import ForwardPass, Model, Passes
from ksae_lab.training.callbacks import Freeze, InputNoise, PixelShifts, Scheduled
from ksae_lab.training.loop import Callback, Trainer, fit
from ksae_lab.training.optimizers import SGD, Adam


class Recorder(Model):
    """A model that learns nothing and remembers which samples it saw."""

    def __init__(self):
        self.w = np.zeros(1)
        self.seen = []

    @property
    def parameters(self):
        return {"w": self.w}

    def get_config(self):
        return {}

    def loss(self, x, target=None):
        return float(x.mean())

    def forward_backward(self, x, target=None):
        self.seen.append(x[:, 0].tolist())
        return Passes(self.loss(x), {"w": np.zeros(1)}, ForwardPass(x, x, x, x, x))


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


def test_a_batch_may_be_one_sample():
    model, x = Recorder(), np.arange(4.0)[:, None]
    fit(model, (x,), optimizer=SGD(0.1), epochs=1, batch_size=1, rng=rng())
    assert sorted(model.seen) == [[0], [1], [2], [3]]


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
    honest = network.error

    def stops_in_the_second_epoch(*arrays):
        if next(calls) == 3:  # one sample of each set is looked at before the first epoch
            raise KeyboardInterrupt
        return honest(*arrays)

    network.error = stops_in_the_second_epoch
    how = {"epochs": 9, "batch_size": 16, "rng": rng(), "validation": (x, x)}
    history = network.fit(x, x, optimizer=SGD(0.1), **how)
    assert history.interrupted is True
    assert len(history.training) == len(history.validation) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": (data(8), data(7))}, r"\[8, 7\] samples"),
        ({"epochs": -1}, "epochs is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
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
    large = np.full_like(x, 1e30)  # finite, and its square is not
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError, match="too large"):
        network.fit(x, large, optimizer=SGD(0.1), epochs=1, batch_size=64, rng=rng())
    np.testing.assert_array_equal(network.parameters["W1"], before)


class Diary(Callback):
    """Writes down when it was called."""

    def __init__(self):
        self.lines = []

    def before_step(self, run):
        self.lines.append(("before", run.progress))

    def after_step(self, run, forward):
        self.lines.append(("after", run.progress))

    def after_epoch(self, run):
        self.lines.append(("epoch", run.epoch, len(run.history.training)))

    def logs(self):
        return {"lines": len(self.lines)}


def test_callbacks_are_called_in_order_and_progress_goes_from_zero_towards_one():
    diary, x = Diary(), np.arange(6.0)[:, None]
    how = {"optimizer": SGD(0.1), "epochs": 2, "batch_size": 3, "rng": rng()}
    history = fit(Recorder(), (x,), callbacks=[diary], **how)
    steps = [(when, progress) for progress in (0, 0.25) for when in ("before", "after")]
    later = [(when, progress) for progress in (0.5, 0.75) for when in ("before", "after")]
    assert diary.lines == [*steps, ("epoch", 1, 1), *later, ("epoch", 2, 2)]
    assert history.logs == {"lines": [4, 9]}


def test_follow_sets_what_the_schedule_says_before_each_step():
    optimizer, rates = SGD(1.0), []

    class Watch(Callback):
        def after_step(self, run, forward):
            rates.append(run.optimizer.learning_rate)

    follow = Scheduled(optimizer, "learning_rate", lambda progress: 1 - progress)
    how = {"optimizer": optimizer, "epochs": 2, "batch_size": 2, "rng": rng()}
    history = fit(Recorder(), (np.ones((4, 1)),), callbacks=[follow, Watch()], **how)
    assert rates == [1, 0.75, 0.5, 0.25]
    assert history.logs["learning_rate"] == [0.75, 0.25]
    with pytest.raises(AttributeError, match="lerning_rate"):
        Scheduled(optimizer, "lerning_rate", abs)


def test_noise_is_shown_and_the_clean_image_asked_for():
    pairs = []

    class Pairs(Recorder):
        def forward_backward(self, x, target=None):
            pairs.append((x, target))
            return super().forward_backward(x)

    x = np.full((2000, 3), 0.5, np.float32)
    how = {"optimizer": SGD(0.1), "epochs": 2, "batch_size": 1000, "rng": rng()}
    fit(Pairs(), (x,), callbacks=[InputNoise(0.1)], **how)
    noise = np.stack([shown - target for shown, target in pairs])
    assert all((target == 0.5).all() for _, target in pairs)
    assert abs(noise.mean()) < 0.005 and abs(noise.std() - 0.1) < 0.005
    assert (noise[0] != noise[2]).any() and noise.dtype == np.float32


def test_moved_images_are_shown_and_asked_for():
    pairs = []

    class Pairs(Recorder):
        def forward_backward(self, x, target=None):
            pairs.append((x, x if target is None else target))
            return super().forward_backward(x)

    x = np.zeros((400, 6), np.float32)
    x[:, 4] = 1  # the middle of the lower row of 2 × 3 pixels
    how = {"optimizer": SGD(0.1), "epochs": 2, "batch_size": 400, "rng": rng()}
    fit(Pairs(), (x,), callbacks=[PixelShifts((2, 3), 0.5), InputNoise(0.0)], **how)
    (first, target), (second, _) = pairs
    np.testing.assert_array_equal(first, target)
    moved = (first != x).any(axis=1)
    assert moved.mean() == pytest.approx(0.5, abs=0.1)
    assert (first != second).any()
    with pytest.raises(ValueError, match="before InputNoise"):
        fit(Pairs(), (x,), callbacks=[InputNoise(0.1), PixelShifts((2, 3))], **how)
    with pytest.raises(ValueError, match=r"expected \(batch, 12\)"):
        fit(Pairs(), (x,), callbacks=[PixelShifts((3, 4))], **how)


def test_a_model_is_put_right_after_each_step_and_judged_by_its_error():
    class Proud(Recorder):
        constrained = 0

        def constrain(self):
            self.constrained += 1

        def error(self, x, target=None):
            return 7.0

    model, x = Proud(), np.ones((4, 1))
    how = {"optimizer": SGD(0.1), "epochs": 3, "batch_size": 2, "rng": rng()}
    history = fit(model, (x,), validation=(x,), **how)
    assert model.constrained == 6
    assert history.validation == [7, 7, 7] and history.training == [1, 1, 1]


def test_a_run_goes_on_where_it_was_interrupted():
    x = data()
    how = {"epochs": 4, "batch_size": 16}
    whole = autoencoder()
    expected = Trainer(whole, (x, x), SGD(0.1), rng=rng(), **how).fit()

    class StopsAfterTwo(Callback):
        def after_epoch(self, run):
            if run.epoch == 2 and not run.history.interrupted:
                raise KeyboardInterrupt

    halves = autoencoder()
    run = Trainer(halves, (x, x), SGD(0.1), rng=rng(), callbacks=[StopsAfterTwo()], **how)
    assert run.fit().interrupted and run.epoch == 2
    run.callbacks = []
    history = run.fit()
    assert not history.interrupted and run.epoch == 4
    assert history.training == expected.training
    np.testing.assert_array_equal(halves.parameters["W0"], whole.parameters["W0"])


def test_looking_at_the_data_draws_no_random_numbers():
    class Draws(Recorder):
        draws = 0

        def loss(self, x, target=None):
            self.draws += 1
            return 1.0

        def error(self, x, target=None):
            return 1.0

    model = Draws()
    fit(model, (np.ones((4, 1)),), optimizer=SGD(0.1), epochs=0, batch_size=2, rng=rng())
    assert model.draws == 0


def test_what_is_frozen_does_not_learn():
    network, free, x = autoencoder(), autoencoder(), data()
    how = {"epochs": 2, "batch_size": 16}
    held = Freeze(network, "W0", "b1")
    network.fit(x, x, optimizer=Adam(), rng=rng(), callbacks=[held], **how)
    free.fit(x, x, optimizer=Adam(), rng=rng(), **how)
    for name, w in autoencoder().parameters.items():
        same = np.array_equal(network.parameters[name], w)
        assert same == (name in ("W0", "b1"))
        assert not np.array_equal(free.parameters[name], w)


def test_what_is_not_there_cannot_be_frozen():
    with pytest.raises(ValueError, match="There is no V; choose from W0, b0, W1, b1"):
        Freeze(autoencoder(), "W0", "V")
