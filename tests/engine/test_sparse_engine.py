"""The sparse engine against the plain step, whose gradients are checked elsewhere."""

import copy
import json
import subprocess
import sys
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ksae_lab import (
    SGD,
    AdaGrad,
    Adam,
    AuxK,
    BatchTopK,
    Callback,
    DeadUnitMonitor,
    DeCov,
    InputNoise,
    JumpReLU,
    KSparseAutoencoder,
    ResetDeadUnits,
    RMSprop,
    Scheduled,
    TopK,
    load_model,
)
from ksae_lab.engine import passes
from ksae_lab.engine.catch_up import LONGEST
from ksae_lab.engine.choose import step_of
from ksae_lab.engine.sparse_step import DEBT, SparseStep
from ksae_lab.experiments import checkpoints, config, train
from ksae_lab.nn.activations import ACTIVATIONS
from ksae_lab.nn.auxiliary_losses import OfUnits
from ksae_lab.nn.parts_of_codes import HierarchicalTopK, Matryoshka
from ksae_lab.training.callbacks import Freeze
from ksae_lab.training.loop import fit
from ksae_lab.training.schedules import k_curriculum, linear
from ksae_lab.training.steps import PlainStep

OPTIMIZERS = {
    "sgd": lambda: SGD(0.1),
    "momentum": lambda: SGD(0.05, 0.9),
    "rmsprop": lambda: RMSprop(0.001),
    "adagrad": lambda: AdaGrad(0.01),
    "adam": lambda: Adam(0.001),
}
D, N, BATCH = 13, 20, 32


def images(samples=100, seed=0):
    return np.abs(np.random.default_rng(seed).normal(size=(samples, D)))


def network(k=5, activation="relu", dtype=np.float64, n=N, **options):
    rng = np.random.default_rng(1)
    model = KSparseAutoencoder(D, n, k, activation, rng=rng, dtype=dtype, **options)
    model.init_from_data(images(), rng)
    model.b_enc += 0.1 * rng.normal(size=n)
    return model


def both(model, optimizer, **options):
    """The same network and optimizer twice: steps of the one plain, of the other sparse."""
    plain = PlainStep(copy.deepcopy(model), optimizer())
    return plain, SparseStep(copy.deepcopy(model), optimizer(), **options)


def batches(steps, size=BATCH, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = images().astype(dtype)
    return [(x[rng.choice(len(x), size)],) for _ in range(steps)]


def assert_same(plain, sparse, rtol):
    ours, theirs = sparse.model.parameters, plain.model.parameters
    memories = zip(sparse.optimizer.state.values(), plain.optimizer.state.values(), strict=True)
    for a, b in [*((ours[name], theirs[name]) for name in theirs), *memories]:
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


# Selection


@given(
    arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.integers(-1, 6))
)
def test_pairs_are_sorted_by_unit_and_keep_their_order(idx):
    """−1 stands for nobody, who is counted out with others."""
    start, pairs = np.empty(8, np.int64), np.empty(idx.size, np.int64)
    counts = (idx >= 0) & (np.arange(idx.size).reshape(idx.shape) % 5 > 0)
    passes.by_unit(idx, counts, start, pairs)
    order = np.argsort(idx.ravel(), kind="stable")
    expected = order[counts.ravel()[order]]
    np.testing.assert_array_equal(pairs[: len(expected)], expected)
    np.testing.assert_array_equal(np.diff(start), np.bincount(idx[counts], minlength=7))


# Steps


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("unit_norm", [False, True])
def test_where_no_unit_is_idle_every_step_is_the_plain_one(optimizer, tied, unit_norm):
    model = network(k=N, activation="elu", tied=tied, unit_norm=unit_norm)
    plain, sparse = both(model, OPTIMIZERS[optimizer])
    for batch in batches(10):
        (a, _), (b, forward) = plain(batch), sparse(batch)
        assert b == pytest.approx(a, rel=1e-10)
        assert forward.z.shape == (BATCH, N) and not sparse.idle.any()
    assert_same(plain, sparse, 1e-9)


class Everything:
    """A term with a gradient for all that may have one."""

    def __call__(self, forward):
        rng = np.random.default_rng(0)
        shapes = {"h": (BATCH, N), "z": (BATCH, N), "W_dec": (N, D), "b_enc": (N,), "b_dec": (D,)}
        own = {name: 1e-3 * rng.normal(size=shape) for name, shape in shapes.items()}
        own["h"] = OfUnits(np.array([2, 5]), own["h"][:, [2, 5]], axis=1)
        return float(forward.h.sum()), own


def some_are_dead():
    monitor = DeadUnitMonitor(N, 1)
    monitor.silent[[1, 4, 5, 11]] = 1
    return monitor


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "losses",
    [
        [AuxK(some_are_dead(), 2, weight=1.0)],
        [DeCov(0.1)],
        [Everything(), AuxK(some_are_dead(), 3), Everything()],
    ],
    ids=["AuxK", "DeCov", "everything"],
)
@pytest.mark.parametrize("k", [5, N])
def test_gradients_from_elsewhere_are_those_of_the_plain_step(losses, tied, k):
    """Without momentum an idle unit stays where it is, so that all units can be compared."""
    model = network(k, "elu", tied=tied, auxiliary_losses=losses)
    plain, sparse = both(model, OPTIMIZERS["sgd"])
    for batch in batches(5):
        assert sparse(batch)[0] == pytest.approx(plain(batch)[0], rel=1e-10)
    assert_same(plain, sparse, 1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad"])
def test_without_momentum_nothing_moves_while_it_is_idle(activation, by, optimizer):
    model = network(TopK(3, by=by), activation, np.float32)
    plain, sparse = both(model, OPTIMIZERS[optimizer])
    idle = 0
    for batch in batches(10, size=4, dtype=np.float32):
        (a, _), (b, _) = plain(batch), sparse(batch)
        assert b == pytest.approx(a, rel=1e-5)
        idle = max(idle, sparse.idle.max())
    sparse.flush()
    assert idle > 1
    assert_same(plain, sparse, 1e-5 if optimizer != "adagrad" else 1e-4)


def test_the_forward_pass_is_the_plain_one():
    plain, sparse = both(network(), OPTIMIZERS["adam"])
    x, target = images(9, seed=3), images(9, seed=4)
    (a, one), (b, other) = plain((x, target)), sparse((x, target))
    assert a == pytest.approx(b)
    for name in ("x", "z", "x_hat", "active"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), atol=1e-12)
    with pytest.raises(RuntimeError, match="does not keep the pre-activations"):
        other.h_of(np.arange(3))  # the weights have changed since


@pytest.mark.parametrize("k", [0, 1, N])
@pytest.mark.parametrize("x", [np.zeros((1, D)), np.zeros((3, D)), 1e6 * np.ones((2, D))])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_hostile_batches(k, x, optimizer):
    plain, sparse = both(network(k), OPTIMIZERS[optimizer])
    assert sparse((x,))[0] == pytest.approx(plain((x,))[0])
    assert_same(plain, sparse, 1e-8)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_who_says_nothing_may_still_learn(activation):
    """Of a black image without biases h and z are 0, and their slopes are not."""
    model = network(activation=activation)
    model.b_enc[:] = model.b_dec[:] = 0
    plain, sparse = both(model, OPTIMIZERS["sgd"])
    batch = np.zeros((3, D)), images(3)
    assert sparse(batch)[0] == pytest.approx(plain(batch)[0])
    assert sparse.model.b_enc.any()
    assert_same(plain, sparse, 1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_who_is_selected_below_zero_is_idle(optimizer):
    model = network(k=N)
    model.b_enc -= 1  # fewer than k are above zero
    plain, sparse = both(model, OPTIMIZERS[optimizer])
    for batch in batches(6, size=2):
        a, one = plain(batch)
        b, other = sparse(batch)
        assert b == pytest.approx(a, rel=1e-3)
        np.testing.assert_array_equal(other.z != 0, one.z != 0)
        assert ((other.idx < 0) == (other.values == 0)).all()
    assert sparse.idle.max() > 1


def test_nan_is_said_as_by_the_plain_step():
    plain, sparse = both(network(), OPTIMIZERS["adam"])
    x = images(3)
    x[1, 2] = np.nan
    for step in (plain, sparse):
        with pytest.raises(ValueError, match="NaN"):
            step((x,))


# Catching up


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("missed", [1, 2, 7, 60, LONGEST - 1, LONGEST + 40])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("debt", [0, 0.2, 1])
def test_an_idle_unit_goes_where_dense_steps_with_no_gradient_would_have_led(
    optimizer, missed, tied, debt
):
    model = network(k=N, activation="linear", unit_norm=False, tied=tied)
    plain, sparse = both(model, OPTIMIZERS[optimizer], debt=debt)
    for batch in batches(5):
        plain(batch), sparse(batch)
    sparse.model.selector.k = 0  # now nobody has a gradient, but for b_dec
    rates = np.linspace(1, 0.2, missed) * plain.optimizer.learning_rate
    zero = {name: np.zeros_like(w) for name, w in plain.model.parameters.items()}
    for rate, batch in zip(rates, batches(missed), strict=True):
        plain.optimizer.learning_rate = sparse.optimizer.learning_rate = float(rate)
        plain.optimizer.step(plain.model.parameters, zero)
        sparse(batch)
    before = sparse.model.W_dec.copy()
    sparse.flush()
    assert (sparse.idle == 0).all()
    for name in ("W_enc", "W_dec", "b_enc"):
        a, b = getattr(sparse.model, name), getattr(plain.model, name)
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5 * np.abs(b).max())
        for slot in plain.optimizer.slots if name in plain.model.parameters else ():
            key = f"{slot}/{name}"
            ours, theirs = sparse.optimizer.memory[key], plain.optimizer.memory[key]
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-12)
    if debt in (0, 1):  # with another it may just have paid
        moved = np.abs(sparse.model.W_dec - before).max() > 0
        momentum = optimizer in ("momentum", "adam")
        assert moved == (momentum and debt == 1 and missed < LONGEST)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_an_idle_unit_is_soon_where_dense_steps_would_have_it(optimizer):
    """No unit owes more of the way that momentum carries it than its debt says.

    And the larger that is, the fewer payments are made.
    """
    payments = []
    for debt in (0.05, 0.2, 0.5):
        model = network(k=N, activation="linear", unit_norm=False)
        plain, sparse = both(model, OPTIMIZERS[optimizer], debt=debt)
        for batch in batches(5):
            plain(batch), sparse(batch)
        sparse.model.selector.k = 0
        zero = {name: np.zeros_like(w) for name, w in plain.model.parameters.items()}
        start, ways = plain.model.W_enc.copy(), []
        for batch in batches(100):
            plain.optimizer.step(plain.model.parameters, zero)
            sparse(batch)
            ways.append((sparse.model.W_enc.copy(), plain.model.W_enc.copy()))
        way = np.abs(plain.model.W_enc - start).sum()
        apart = [np.abs(ours - theirs).sum() for ours, theirs in ways]
        slack = 1.01 if optimizer == "momentum" else 1.3  # Adam's rate changes in its first steps
        assert 0.5 * debt * way < max(apart) < slack * debt * way
        stood = [ours for ours, _ in ways]
        payments.append(sum((a != b).any() for a, b in pairwise(stood)))
    assert 30 > payments[0] > payments[1] > payments[2] > 0


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("debt", [0, DEBT])
def test_training_ends_where_dense_training_does(optimizer, debt):
    """Where idle units are read a little late the two differ, and with that alone."""
    losses = {}
    for make_step in (PlainStep, partial(SparseStep, debt=debt)):
        options = {"epochs": 30, "batch_size": 10, "rng": 0, "make_step": make_step}
        history = fit(network(k=2, n=60), images(), optimizer=OPTIMIZERS[optimizer](), **options)
        losses[make_step] = history.training[-1]
    plain, sparse = losses.values()
    # A unit that is chosen in another's place changes all that follows, by luck either way.
    assert sparse == pytest.approx(plain, rel=0.06 if debt else 1e-4)


# Training


class Reads(Callback):
    """Looks whether anything is owed when somebody reads the weights."""

    def __init__(self):
        self.owed = []

    def after_epoch(self, trainer):
        self.owed.append(int(trainer.step.idle.sum()))


def test_all_that_training_does_goes_on_working():
    model, x = network(k=2, n=60, dtype=np.float32), images().astype(np.float32)
    adam, reads, monitor = Adam(0.01), Reads(), DeadUnitMonitor(60, after=100)
    history = model.fit(
        x,
        optimizer=adam,
        epochs=12,
        batch_size=10,
        rng=0,
        validation=images(20, seed=5),
        engine="sparse",
        callbacks=[
            monitor,
            InputNoise(0.05),
            Scheduled(adam, "learning_rate", linear(0.01, 0.0, begin=0.5)),
            Scheduled(model, "k", k_curriculum(10, 2)),
            ResetDeadUnits(monitor, every=2),
            reads,
        ],
    )
    assert history.training[-1] < history.training[0] and reads.owed == [0] * 12
    assert history.validation[-1] == pytest.approx(model.error(images(20, seed=5)))
    assert history.logs["k"][-1] == 2 == model.k
    np.testing.assert_allclose(np.linalg.norm(model.W_dec, axis=1), 1, rtol=1e-5)
    assert copy.deepcopy(model).encode(x).shape == (100, 60)


def test_what_a_callback_reads_or_changes_between_steps_is_in_its_place():
    class Watch(Callback):
        owed = 0

        def after_step(self, trainer, forward):
            self.owed += np.sum(getattr(trainer.step, "idle", 0))

    ended = {}
    for engine in ("plain", "sparse"):
        model, watch = network(k=2, n=60), Watch()
        frozen = model.W_dec.copy()
        callbacks = [Freeze(model, "W_dec"), watch]
        options = {"epochs": 3, "batch_size": 10, "rng": 0, "callbacks": callbacks}
        model.fit(images(), optimizer=Adam(0.01), engine=engine, **options)
        np.testing.assert_array_equal(model.W_dec, frozen)
        assert watch.owed == 0
        ended[engine] = model.W_enc
    np.testing.assert_allclose(ended["sparse"], ended["plain"], rtol=1e-3, atol=1e-5)


def test_stopped_in_the_middle_of_an_epoch_nobody_owes_anything():
    class Stop(Callback):
        reads_weights = False

        def after_step(self, trainer, forward):
            self.owed, self.step = trainer.step.idle.sum(), trainer.step
            if trainer.progress > 0.5:
                raise KeyboardInterrupt

    stop = Stop()
    options = {"epochs": 1, "batch_size": 10, "rng": 0, "callbacks": stop, "engine": "sparse"}
    history = network(k=2, n=60).fit(images(), optimizer="adam", **options)
    assert history.interrupted and stop.owed > 0 and not stop.step.idle.any()


def test_stopped_and_resumed_it_ends_in_the_same_bits(tmp_path, monkeypatch):
    np.save(tmp_path / "own.npy", images())
    (tmp_path / "own.yaml").write_text(
        f"data: {tmp_path / 'own.npy'}\nmodel: {{n_units: 40, k: 2}}\n"
        "training: {epochs: 6, batch_size: 8, noise: 0.05, engine: sparse}\n"
    )
    experiment = config.load(tmp_path / "own.yaml")
    train.train(experiment, tmp_path / "whole", quiet=True)
    write = checkpoints.Checkpoint.write

    def stop(self, trainer):
        write(self, trainer)
        if trainer.epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "PAUSE", 0.0)
        patch.setattr(checkpoints.Checkpoint, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            train.train(experiment, tmp_path / "parts", quiet=True)
    train.train(experiment, tmp_path / "parts", resume=True, quiet=True)
    whole, parts = (load_model(tmp_path / name / "model.json") for name in ("whole", "parts"))
    for name, w in whole.state.items():
        assert w.tobytes() == parts.state[name].tobytes(), name
    card = json.loads((tmp_path / "whole" / "model.json").read_text())
    assert card["facts"]["steps"]["engine"] == "sparse"


# Other selections, and parts of a code; without momentum, so that idle units owe nothing


@pytest.mark.parametrize("k", [0, 3, N])
def test_a_batch_that_shares_its_units_takes_the_plain_steps(k):
    plain, sparse = both(network(BatchTopK(k)), OPTIMIZERS["sgd"])
    for batch in batches(20):
        (a, _), (b, _) = plain(batch), sparse(batch)
        assert a == pytest.approx(b, rel=1e-9)
    sparse.flush()
    assert_same(plain, sparse, rtol=1e-7)
    theta = [step.model.selector.threshold for step in (plain, sparse)]
    np.testing.assert_allclose(theta[1], theta[0], rtol=1e-9)


@pytest.mark.parametrize("selector", [TopK(5), BatchTopK(4)])
@pytest.mark.parametrize(
    "loss", [HierarchicalTopK([(1, 1.0), (3, 0.5)]), Matryoshka([(7, 1.0), (12, 2.0)])]
)
def test_parts_of_a_code_are_the_same_losses(selector, loss):
    model = network(selector, auxiliary_losses=[loss])
    plain, sparse = both(model, OPTIMIZERS["sgd"])
    for batch in batches(20):
        (a, _), (b, _) = plain(batch), sparse(batch)
        assert a == pytest.approx(b, rel=1e-9)
    sparse.flush()
    assert_same(plain, sparse, rtol=1e-6)


# Who may use it


@pytest.mark.parametrize(
    ("model", "optimizer", "reason"),
    [
        (network(JumpReLU()), Adam(), "with TopK"),
        (network(dtype=np.float16), Adam(), "float16"),
        (network(), Adam(lazy=True), "lazy"),
        (network(), type("Own", (Adam,), {})(), "the optimizer Own"),
    ],
)
def test_what_it_does_not_know_is_refused_or_left_to_plain_steps(model, optimizer, reason):
    with pytest.raises(ValueError, match=f"The sparse engine cannot be used here: .*{reason}"):
        step_of("sparse")(model, optimizer)
    assert isinstance(step_of("auto")(model, optimizer), PlainStep)


def test_the_automatic_choice_is_by_size():
    assert isinstance(step_of("auto")(network(n=499), Adam()), PlainStep)
    assert isinstance(step_of("auto")(network(n=500), Adam()), SparseStep)
    with pytest.raises(ValueError, match="no engine 'fast'; choose from plain, sparse, auto"):
        network().fit(images(), optimizer="adam", epochs=1, engine="fast")


def test_without_numba_plain_steps_are_taken_and_it_is_said(monkeypatch):
    program = """
import sys, warnings
sys.modules["numba"] = None
import numpy as np
from ksae_lab import KSparseAutoencoder
x = np.random.default_rng(0).random((20, 5))
def fit(engine):
    KSparseAutoencoder(5, 500, 2, rng=0).fit(x, optimizer="adam", epochs=1, engine=engine)
fit("auto")
fit("auto")
try:
    fit("sparse")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "The sparse engine needs numba; install ksae-lab[fast].\n"
    assert done.stderr.count("install ksae-lab[fast]") == 1


def test_where_nothing_can_be_kept_every_process_compiles_for_itself():
    """A package that cannot be written to, and no home: numba's caches are nowhere."""
    program = """
from numba.core import caching
caching.CacheImpl._locator_classes = []
from ksae_lab.engine import compiled, passes, selection, update
from ksae_lab.inference import kernels
print(compiled.EXACT["cache"], compiled.LOOSE["cache"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False False\n", done.stderr
