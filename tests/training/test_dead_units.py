"""Who is dead, and what a reset leaves behind."""

import numpy as np
import pytest

from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.training.dead_units import (
    DeadUnitMonitor,
    ResetDeadUnits,
    ResetPlan,
    ReviveDead,
    restart_dead,
)
from ksae_lab.training.loop import Callback, Trainer
from ksae_lab.training.optimizers import SGD, Adam

D, N = 6, 8
DEAD = np.array([0, 1, 2])


def run(optimizer=None, *, epochs=4, tied=False, callbacks=(), seed=0):
    """Five units that serve the data, and three that are never heard."""
    rng = np.random.default_rng(seed)
    model = KSparseAutoencoder(D, N, 2, tied=tied, rng=rng, dtype=np.float64)
    model.b_enc[DEAD] = -100
    x = rng.normal(size=(40, D))
    how = {"epochs": epochs, "batch_size": 8, "rng": rng, "callbacks": callbacks}
    return Trainer(model, (x,), optimizer or Adam(), **how)


class Last(Callback):
    """Keeps the forward pass of the last step."""

    def after_step(self, trainer, forward):
        self.forward = forward


def test_counts_the_images_since_a_unit_was_last_active():
    monitor = DeadUnitMonitor(N, after=40)
    last = Last()
    training = run(epochs=3, callbacks=[monitor, last])
    training.fit()
    assert (monitor.silent[DEAD] == 120).all()
    assert (monitor.dead == np.isin(np.arange(N), DEAD)).all()
    assert training.history.logs["dead"] == [3, 3, 3]
    # By hand: the order of the last epoch is lost, but who was active in its last batch counts 0.
    active = (last.forward.z != 0).any(axis=0)
    assert ((monitor.silent == 0) == active).all()


def test_is_not_dead_before_its_time():
    monitor = DeadUnitMonitor(N, after=41)
    run(epochs=1, callbacks=[monitor]).fit()
    assert not monitor.dead.any()


def test_remembers_across_a_restart():
    monitor, other = DeadUnitMonitor(N, after=40), DeadUnitMonitor(N, after=40)
    run(callbacks=[monitor]).fit()
    other.load_state(monitor.state)
    np.testing.assert_array_equal(other.silent, monitor.silent)
    monitor.silent[:] = 0
    assert other.silent.any(), "a state is a copy"


class Look(ResetDeadUnits):
    """Keeps what it saw around its first reset."""

    seen = None

    def after_epoch(self, run):
        before = {name: w.copy() for name, w in run.model.parameters.items()}
        for array in run.optimizer.memory.values():
            array[...] = 1  # as if every unit had been active once
        leftover = run.data[0] - run.model.reconstruct(run.data[0])
        super().after_epoch(run)
        if self.seen is None and self.monitor.silent[0] == 0:
            memory = {name: array.copy() for name, array in run.optimizer.state.items()}
            after = {name: w.copy() for name, w in run.model.parameters.items()}
            self.seen = before, after, leftover, memory


@pytest.mark.filterwarnings("ignore:All units are dead")
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rule", [Adam, lambda: SGD(0.01, momentum=0.9)])
def test_a_reset_gives_dead_units_a_leftover_and_no_past(rule, tied):
    monitor = DeadUnitMonitor(N, after=40)
    reset = Look(monitor, every=2, until=0.5)
    training = run(rule(), tied=tied, callbacks=[monitor, reset])
    training.fit()
    before, after, leftover, memory = reset.seen
    living = np.setdiff1d(np.arange(N), DEAD)

    leftover /= np.linalg.norm(leftover, axis=1, keepdims=True)
    overlap = after["W_dec"][DEAD] @ leftover.T
    np.testing.assert_allclose(overlap.max(axis=1), 1)
    np.testing.assert_array_equal(after["W_dec"][living], before["W_dec"][living])
    assert (after["b_enc"][DEAD] == 0).all()
    if not tied:
        np.testing.assert_array_equal(after["W_enc"][:, living], before["W_enc"][:, living])
        length = np.linalg.norm(before["W_enc"][:, living], axis=0).mean()
        np.testing.assert_allclose(after["W_enc"][:, DEAD].T, length * after["W_dec"][DEAD])
    slots = {name: array for name, array in memory.items() if name != "steps"}
    assert slots
    for name, array in slots.items():
        if "W_enc" in name:
            array = array.T
        if "b_dec" not in name:
            assert not array[DEAD].any(), f"{name} remembers the dead"
            assert array[living].any(), f"{name} forgot the living"
    assert (monitor.silent[DEAD] < 120).all()


def test_no_leftover_is_given_twice():
    monitor = DeadUnitMonitor(N, after=1)
    for seed in range(20):
        training = run(callbacks=[monitor], seed=seed)
        monitor.silent[:] = 9  # all eight units, for forty images
        training.epoch = 1
        training.optimizer.step(*2 * [training.model.parameters])
        ResetDeadUnits(monitor, every=1).after_epoch(training)
        rows = training.model.W_dec
        assert (rows @ rows.T - np.eye(N)).max() < 1 - 1e-9


def test_resets_come_at_their_time_only():
    times = []

    class Clock(ResetDeadUnits):
        def after_epoch(self, run):
            before = run.model.W_dec.copy()
            super().after_epoch(run)
            if (run.model.W_dec != before).any():
                times.append(run.epoch)
                run.model.b_enc[DEAD] = -100  # and dead they are again

    monitor = DeadUnitMonitor(N, after=40)
    run(epochs=12, callbacks=[monitor, Clock(monitor, every=3, until=0.5)]).fit()
    assert times == [3, 6]


def test_a_reset_unit_is_heard_again():
    monitor = DeadUnitMonitor(N, after=40)
    training = run(epochs=8, callbacks=[monitor, ResetDeadUnits(monitor, every=1)])
    training.fit()
    assert training.history.logs["dead"][-1] < 3


def test_where_nothing_is_left_over_nobody_is_reset():
    monitor = DeadUnitMonitor(N, after=1)
    training = run(callbacks=[monitor])
    model = training.model
    model.b_enc[:] = -100  # nobody speaks, and the mean image is all there is to draw
    model.b_dec[:] = 0.5
    training.data = (np.full((8, D), 0.5),)
    monitor.silent[:] = 9
    before = model.W_dec.copy()
    training.epoch = 1
    ResetDeadUnits(monitor, every=1).after_epoch(training)
    np.testing.assert_array_equal(model.W_dec, before)


def test_an_image_that_is_reconstructed_perfectly_is_no_start_and_no_hindrance():
    rng = np.random.default_rng(0)
    residual = rng.normal(size=(3, D))
    residual[1] = 0
    W_dec, b_enc = rng.normal(size=(N, D)), np.full(N, -100.0)
    units = restart_dead(np.arange(N) < 2, residual, W_dec.T, W_dec, b_enc, rng)
    assert units.tolist() == [0, 1]
    directions = residual[[0, 2]] / np.linalg.norm(residual[[0, 2]], axis=1, keepdims=True)
    overlap = W_dec[:2] @ directions.T
    np.testing.assert_allclose(np.sort(overlap.max(axis=1)), 1)
    assert (b_enc[:2] == 0).all() and (b_enc[2:] == -100).all()


def test_a_plan_until_the_very_start_never_resets():
    plan = ResetPlan(every=1, until=0)
    assert not any(plan.is_due(epoch, 4) for epoch in range(1, 5))


def test_bad_plans_are_refused():
    with pytest.raises(ValueError, match="after is 0; give an integer of 1 or more"):
        DeadUnitMonitor(N, after=0)
    for every, until, message in ((0, 0.5, "every is 0"), (1, 1.5, "until is 1.5")):
        with pytest.raises(ValueError, match=message):
            ResetDeadUnits(DeadUnitMonitor(N, 1), every, until)


def silent_dream(callbacks, epochs):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (40, D))
    model = SparseDream(D, N, images=x, rng=rng, dtype=np.float64)
    model.b[DEAD] = -3
    how = {"optimizer": SGD(0.001), "epochs": epochs, "batch_size": 8, "rng": rng}
    return Trainer(model, (x,), callbacks=callbacks, **how)


def test_a_silent_unit_hears_nothing_until_its_threshold_falls():
    training = silent_dream([], epochs=9)
    before = training.model.S[DEAD].copy()
    training.fit()
    assert (training.model.b[DEAD] == -3).all(), "no gradient reaches it"
    np.testing.assert_array_equal(training.model.S[DEAD], before)


def test_a_dead_unit_forgets_what_it_was_told_until_it_speaks():
    monitor = DeadUnitMonitor(N, after=40)
    wake = ReviveDead(monitor, rate=0.125)
    training = silent_dream([monitor, wake], epochs=1)
    model = training.model
    model.S[DEAD, DEAD] = 0.2
    before = {name: w.copy() for name, w in model.parameters.items()}
    training.fit()  # dead from the last step on, so this is one step of forgetting
    np.testing.assert_allclose(model.b[DEAD], 0.875 * before["b"][DEAD])
    expected = 0.875 * before["S"][DEAD] + 0.125 * np.eye(N)[DEAD]
    np.testing.assert_allclose(model.S[DEAD], expected)
    living = np.setdiff1d(np.arange(N), DEAD)
    assert (np.abs(model.b[living]) < 0.1).all(), "the living are left alone"
    training.epochs = 12
    training.fit()
    assert not monitor.dead.any()
    assert (model.b[DEAD] > -3).all() and (model.b[DEAD] < 0.1).all()


@pytest.mark.parametrize("rate", [0, -0.1, 1.1, float("nan")])
def test_a_rate_that_wakes_nobody_is_refused(rate):
    with pytest.raises(ValueError, match=r"rate is .*; give a"):
        ReviveDead(DeadUnitMonitor(N, after=1), rate)
