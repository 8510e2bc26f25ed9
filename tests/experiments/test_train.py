"""Experiments: what is built, what is left behind, and a training that may stop at any moment."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from ksae_lab.data import datasets
from ksae_lab.data.datasets import load_dataset
from ksae_lab.data.rows import Rows
from ksae_lab.experiments import archive, checkpoints, config, saved_models, saved_runs, train
from ksae_lab.experiments.settings import Experiment
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.nn.auxiliary_losses import AuxK, DeCov
from ksae_lab.nn.losses import mse
from ksae_lab.nn.selectors import BatchTopK, TopK
from ksae_lab.training import loop
from ksae_lab.training.callbacks import Freeze, InputNoise, PixelShifts, Scheduled
from ksae_lab.training.dead_units import DeadUnitMonitor, ResetDeadUnits, ReviveDead
from ksae_lab.training.loop import Callback
from ksae_lab.training.optimizers import SGD, AdaGrad, Adam, RMSprop
from tests.repo import ROOT

# Of 60 images 42 are for training: five batches an epoch, the last a short one.
N_IMAGES, BATCHES = 60, 5
EVERYTHING = {
    "seed": 3,
    "model": {"n_units": 30, "k": 2},
    "curriculum": {"k_start": 5, "finish": 0.5},
    "auxk": {"k_aux": 4, "weight": 1.0},
    "diversity": {"weight": 0.001},
    "resets": {"every": 3, "until": 0.7},
    "training": {"epochs": 6, "batch_size": 10, "noise": 0.1, "shifts": 0.5, "dead_after": 25},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "own.npy"
    x = np.random.default_rng(0).uniform(size=(N_IMAGES, 784)) ** 4
    np.save(path, x.astype(np.float32))
    return path


@pytest.fixture(scope="module")
def dataset(images):
    return load_dataset(images)


@pytest.fixture
def settings(images):
    def make(**changes):
        small = {"model": {"n_units": 12, "k": 3}, "training": {"epochs": 2, "batch_size": 10}}
        return Experiment.model_validate({"data": str(images)} | small | changes)

    return make


@pytest.fixture(autouse=True)
def a_checkpoint_each_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints, "PAUSE", 0)


def files(folder):
    """The bytes of all files but the one that tells the seconds."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "cost.json"}


def callbacks(run, kind):
    return [callback for callback in run.callbacks if type(callback) is kind]


# What is built


@pytest.mark.parametrize(
    ("optimizer", "kind", "expected"),
    [
        ({"name": "sgd", "momentum": 0.5, "lazy": True}, SGD, {"momentum": 0.5, "lazy": True}),
        ({"name": "rmsprop"}, RMSprop, {"lazy": False}),
        ({"name": "adagrad", "lazy": True}, AdaGrad, {"lazy": True}),
        ({"learning_rate": 0.25}, Adam, {"learning_rate": 0.25}),
    ],
)
def test_the_optimizer_is_the_one_asked_for(settings, dataset, optimizer, kind, expected):
    run = train.build(settings(optimizer=optimizer), dataset)
    assert type(run.optimizer) is kind
    assert {name: getattr(run.optimizer, name) for name in expected} == expected


def test_the_learning_rate_falls_from_where_it_is_told(settings, dataset):
    run = train.build(settings(optimizer={"learning_rate": 0.1, "decay_from": 0.2}), dataset)
    (follow,) = callbacks(run, Scheduled)
    assert (follow.owner, follow.name) == (run.optimizer, "learning_rate")
    assert [follow.schedule(p) for p in (0, 0.2, 0.6, 1)] == pytest.approx([0.1, 0.1, 0.05, 0])
    run = train.build(settings(optimizer={"decay_from": None}), dataset)
    assert callbacks(run, Scheduled) == []


def test_the_model_is_the_one_asked_for(settings, dataset):
    wanted = {"n_units": 7, "k": 2, "activation": "gelu", "by": "magnitude", "tied": True}
    run = train.build(settings(model={**wanted, "start": "random"}, seed=5), dataset)
    model = run.model
    assert model.W_dec.shape == (7, 784)
    assert (model.k, model.phi.name, model.tied) == (2, "gelu", True)
    assert model.selector.by == "magnitude"
    assert not model.b_dec.any()
    plain = KSparseAutoencoder(784, 7, 2, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(model.W_dec, plain.W_dec)
    run = train.build(settings(model={**wanted, "start": "mean"}, seed=5), dataset)
    np.testing.assert_array_equal(run.model.W_dec, plain.W_dec)
    np.testing.assert_array_equal(run.model.b_dec, dataset.x_train.mean(axis=0))


def test_it_starts_from_the_images_it_learns(settings, dataset):
    for fit_on, x in (
        ("train", dataset.x_train),
        ("train+validation", np.concatenate([dataset.x_train, dataset.x_val])),
    ):
        run = train.build(settings(fit_on=fit_on), dataset)
        np.testing.assert_array_equal(run.data[0], x)
        np.testing.assert_allclose(run.model.b_dec, x.mean(axis=0), atol=1e-6)
        nearest = ((x - x.mean(axis=0)) @ run.model.W_dec.T).max(axis=0)
        assert (nearest > 0.8 * np.linalg.norm(x - x.mean(axis=0), axis=1).min()).all()
    assert run.validation is None
    run = train.build(settings(), dataset)
    np.testing.assert_array_equal(run.validation[0], dataset.x_val)
    assert (run.epochs, run.batch_size) == (2, 10)


def test_everything_that_can_be_asked_for_is_there(settings, dataset):
    run = train.build(settings(**EVERYTHING), dataset)
    (monitor,) = callbacks(run, DeadUnitMonitor)
    (resets,) = callbacks(run, ResetDeadUnits)
    (noise,) = callbacks(run, InputNoise)
    (shifts,) = callbacks(run, PixelShifts)
    auxk, diversity = run.model.auxiliary_losses
    assert monitor.after == 25
    assert monitor.silent.shape == (30,)
    assert (type(auxk), auxk.k_aux, auxk.weight) == (AuxK, 4, 1.0)
    assert (type(diversity), diversity.weight) == (DeCov, 0.001)
    assert (resets.plan.every, resets.plan.until) == (3, 0.7)
    assert auxk.monitor is resets.monitor is monitor
    assert noise.scale == 0.1
    assert (shifts.image, shifts.share_moved) == (dataset.image, 0.5)
    assert run.callbacks.index(shifts) < run.callbacks.index(noise)
    (follow,) = [follow for follow in callbacks(run, Scheduled) if follow.name == "k"]
    assert follow.owner is run.model
    assert [follow.schedule(p) for p in (0, 0.5, 1)] == [5, 2, 2]


def test_only_images_can_move(settings, dataset):
    numbers = replace(dataset, image=None)
    with pytest.raises(ValueError, match=r"moves images, and own\.npy holds none"):
        train.build(settings(training={"epochs": 2, "batch_size": 10, "shifts": 0.5}), numbers)


def test_a_soft_selection_is_for_training_only(settings, dataset, tmp_path):
    wanted = settings(selection={"name": "perturbed", "temperature": 2.0, "end": 0.5, "samples": 4})
    run = train.build(wanted, dataset)
    selector = run.model.selector
    assert (selector.kind, selector.temperature) == ("perturbed", 2.0)
    assert (selector.rng, selector.samples) == (run.rng, 4)
    (follow,) = [follow for follow in callbacks(run, Scheduled) if follow.name == "temperature"]
    assert follow.owner is selector
    assert [follow.schedule(p) for p in (0, 0.5, 1)] == pytest.approx([2, 1, 0.5])
    found = train.train(wanted, tmp_path)
    assert found["active_units"] == 3
    assert saved_models.load_model(tmp_path / "model.json").selector.get_config() == {
        "k": 3,
        "by": "value",
    }
    kept = settings(selection={"name": "shift_sigmoid", "temperature": 2.0})
    run = train.build(kept, dataset)
    assert run.model.selector.kind == "shift_sigmoid"
    assert {follow.name for follow in callbacks(run, Scheduled)} == {"learning_rate"}


DREAM = {
    "n_units": 9,
    "penalty": "l1",
    "sparsity": 0.4,
    "sparsity_start": 0.2,
    "norm_weight": 2.0,
    "inhibition": 0.02,
    "wake_rate": 0.05,
    "frozen": ["S"],
}


def test_the_dream_is_the_one_asked_for(settings, dataset):
    run = train.build(settings(model={}, dream=DREAM, seed=4), dataset)
    model = run.model
    assert type(model) is SparseDream
    assert (model.W.shape, model.penalty.name) == ((9, 784), "l1")
    assert (model.sparsity, model.norm_weight, model.S[0, 1]) == (0.4, 2.0, np.float32(-0.02))
    rng = np.random.default_rng(4)
    np.testing.assert_array_equal(model.W, SparseDream(784, 9, images=run.data[0], rng=rng).W)
    (wake,), (freeze,) = callbacks(run, ReviveDead), callbacks(run, Freeze)
    assert wake.rate == 0.05 and list(freeze.kept) == ["S"]
    (rising,) = [follow for follow in callbacks(run, Scheduled) if follow.name == "sparsity"]
    assert rising.owner is model
    assert [rising.schedule(p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([0.2, 0.3, 0.4, 0.4])

    plain = train.build(settings(model={}, dream={"init": "as_found"}), dataset)
    assert {type(callback) for callback in plain.callbacks} == {DeadUnitMonitor, Scheduled}
    assert (plain.model.S != plain.model.S.T).any()


def test_a_dream_is_trained_and_evaluated_like_the_others(settings, dataset, tmp_path):
    found = train.train(settings(model={}, dream=DREAM), tmp_path)
    model = saved_models.load_model(tmp_path / "model.json")
    assert type(model) is SparseDream
    assert found == train.evaluate(model, dataset.x_test) == saved_runs.find(tmp_path).evaluate()
    a = model.encode(dataset.x_test)
    assert found["active_units"] == (a > 0).sum() / len(a) and found["units"] == 9
    np.testing.assert_array_equal(np.diag(model.S), np.float32(1), err_msg="not frozen")
    assert model.b.any()


def test_the_dream_that_the_book_stores_is_the_one_of_its_file():
    folder = ROOT / "book" / "models" / "dream"
    _, card = archive.read(folder / "model.json")
    assert card["facts"]["experiment"] == config.load(ROOT / "experiments" / "dream.yaml").hash
    assert saved_runs.find(folder).evaluate() == pytest.approx(card["facts"]["metrics"], rel=1e-3)


def test_what_is_not_asked_for_is_not_there(settings, dataset):
    run = train.build(settings(), dataset)
    assert run.model.auxiliary_losses == []
    assert type(run.model.selector) is TopK
    assert {type(callback) for callback in run.callbacks} == {DeadUnitMonitor, Scheduled}
    assert callbacks(run, DeadUnitMonitor)[0].after == len(dataset.x_train) == 42


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"n_units": 40, "k": 1}},
        {"model": {"n_units": 40, "k": 1, "start": "mean"}, "fit_on": "train+validation"},
        {"model": {"n_units": 40, "k": 1}, "resets": {"every": 1, "until": 1.0}},
        {"model": {}, "dream": {"n_units": 40}},
    ],
    ids=["plain", "mean", "resets", "dream"],
)
def test_little_of_a_large_file_is_in_memory_while_it_is_learned(
    settings, changes, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets, "LARGE", 2**20)
    monkeypatch.setattr("ksae_lab.nn.inputs.BLOCK", 2**17)
    x = np.random.default_rng(0).random((4000, 2000), np.float32)  # wide, and 32 MB
    np.save(tmp_path / "own.npy", x)
    dataset = load_dataset(tmp_path / "own.npy")
    assert isinstance(dataset.x_train, Rows)
    length = {"epochs": 2, "batch_size": 100, "dead_after": 1}
    tracemalloc.start()
    run = train.build(settings(training=length, **changes), dataset)
    run.fit()
    train.evaluate(run.model, dataset.x_test)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 9e6
    if "resets" in changes:
        assert run.history.logs["dead"][0] > 0 and run.model.W_dec.any(axis=1).all()


# What is left behind


def test_a_training_leaves_model_history_and_settings(settings, dataset, tmp_path):
    wanted, out = settings(**EVERYTHING), tmp_path / "runs" / "one"
    found = train.train(wanted, out)
    card_path = out / "model.json"
    _, card = archive.read(card_path)
    weights = card["weights"]["file"]
    assert files(out).keys() == {"model.json", weights, "history.csv", "experiment.yaml"}
    assert config.load(out / "experiment.yaml") == wanted

    run = train.build(wanted, dataset)  # the same, without files
    history = run.fit()
    model = saved_models.load_model(card_path)
    assert model.k == 2
    for name, w in run.model.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], w)
    rows = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [float(row["training"]) for row in rows] == history.training
    assert [float(row["validation"]) for row in rows] == history.validation
    assert [int(row["dead"]) for row in rows] == history.logs["dead"]
    assert [int(row["k"]) for row in rows] == history.logs["k"]

    assert found == train.evaluate(model, dataset.x_test)
    parts = (dataset.x_train, dataset.x_val, dataset.x_test)
    assert card["facts"] == {
        "data": {
            "name": "own.npy",
            "sha256": archive.fingerprint(*parts),
            "image": [28, 28],
        },
        "experiment": wanted.hash,
        "config": wanted.model_dump(mode="json"),
        "metrics": found,
        "training": {
            "training_loss": history.training[-1],
            "validation_mse": history.validation[-1],
            "dead_in_training": history.logs["dead"][-1],
        },
        "steps": {"engine": "plain"},
    }


def test_the_cost_of_all_sittings_is_told(settings, interrupted, tmp_path):
    wanted, started = settings(**EVERYTHING), time.process_time()
    interrupted(wanted, tmp_path, 4)
    path = tmp_path / "checkpoint.json"
    arrays, card = archive.read(path)
    assert 0 < card["seconds"] < time.process_time() - started
    own = ("format", "version", "libraries", "weights", "checksum")
    card = {key: value for key, value in card.items() if key not in own}
    archive.write(path, arrays, card | {"seconds": 1000.0})
    train.train(wanted, tmp_path, resume=True)
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert 0 < cost["seconds"] - 1000 < time.process_time() - started
    n, d, batch = 30, 784, 10
    assert 4 * n * d < cost["memory"] < 4 * (20 * n * d + 20 * batch * d)


def test_quiet_is_quiet(settings, tmp_path, monkeypatch):
    asked, trange = [], loop.trange

    def bar(*epochs, **how):
        asked.append(how.get("disable", False))
        return trange(*epochs, **how | {"disable": True})

    monkeypatch.setattr(loop, "trange", bar)
    train.train(settings(), tmp_path / "aloud")
    train.train(settings(), tmp_path / "quiet", quiet=True)
    assert asked == [False, True]


def test_without_validation_the_history_has_no_such_column(settings, tmp_path):
    train.train(settings(fit_on="train+validation"), tmp_path)
    header, *rows = (tmp_path / "history.csv").read_text().splitlines()
    assert header == "epoch,training,dead,learning_rate"
    assert len(rows) == 2


def test_a_perfect_reconstruction_has_no_psnr(tmp_path):
    np.save(tmp_path / "black.npy", np.zeros((20, 28, 28)))
    wanted = Experiment.model_validate(
        {
            "data": str(tmp_path / "black.npy"),
            "model": {"n_units": 5, "k": 2, "start": "random"},
            "training": {"epochs": 1},
        }
    )
    found = train.train(wanted, tmp_path / "out")
    assert (found["mse"], found["psnr"], found["ssim"]) == (0, None, 1)


def test_a_saved_model_is_measured_where_it_should_be(settings, dataset, images, tmp_path):
    out = tmp_path / "out"
    found = train.train(settings(), out)
    model = saved_models.load_model(out / "model.json")
    assert saved_runs.find(out).evaluate() == found
    assert saved_runs.find(out / "model.json").evaluate() == found
    every = saved_runs.find(out).evaluate(str(images))
    assert every["images"] == N_IMAGES
    parts = [dataset.x_train, dataset.x_val, dataset.x_test]
    assert every["mse"] == pytest.approx(mse(model.reconstruct(np.load(images)), np.load(images)))
    assert every == train.evaluate(model, np.concatenate(parts))
    assert saved_runs.find(out).evaluate("mnist5k")["images"] == 1000


def test_a_model_from_elsewhere_needs_data(images, tmp_path):
    path = tmp_path / "own.json"
    saved_models.save_model(
        KSparseAutoencoder(784, 5, 2, rng=np.random.default_rng(0)), path, data="mine"
    )
    with pytest.raises(ValueError, match="does not say what it was trained on; name data"):
        saved_runs.find(path).evaluate()
    assert saved_runs.find(path).evaluate(str(images))["images"] == N_IMAGES


def test_a_model_that_says_just_what_it_was_trained_on_needs_none(settings, dataset, tmp_path):
    out, wanted = tmp_path / "out", settings()
    found = train.train(wanted, out)
    facts = archive.read(out / "model.json")[1]["facts"]
    path = tmp_path / "own.json"
    needed = {name: facts[name] for name in ("config", "data", "experiment")}
    saved_models.save_model(saved_models.load_model(out / "model.json"), path, **needed)
    assert saved_runs.find(path).evaluate() == found
    for name in needed:
        some = {key: value for key, value in needed.items() if key != name}
        saved_models.save_model(saved_models.load_model(out / "model.json"), path, **some)
        with pytest.raises(ValueError, match="does not say what it was trained on; name data"):
            saved_runs.find(path).evaluate()


# Stop and go on


class Interrupts(Callback):
    """Ctrl-C in the middle of the given epoch."""

    def __init__(self, epoch, step=2):
        self.epoch, self.step = epoch, step

    def before_step(self, run):
        if run.epoch == self.epoch and run.progress * run.epochs > run.epoch + self.step / BATCHES:
            raise KeyboardInterrupt


@pytest.fixture
def interrupted(monkeypatch):
    """Train, and press Ctrl-C in the middle of an epoch."""

    def begin(wanted, out, epoch, **how):
        with monkeypatch.context() as patch:
            build = train.build

            def build_with_interrupt(*arguments):
                run = build(*arguments)
                run.callbacks = [*run.callbacks, Interrupts(epoch)]
                return run

            patch.setattr(train, "build", build_with_interrupt)
            with pytest.raises(KeyboardInterrupt):
                train.train(wanted, out, **how)

    return begin


OPTIMIZERS = [
    {"name": "adam"},
    {"name": "adam", "lazy": True},
    {"name": "sgd", "momentum": 0.9, "learning_rate": 0.05},
    {"name": "rmsprop"},
    {"name": "adagrad", "learning_rate": 0.02},
]


@pytest.mark.parametrize(
    ("optimizer", "tied"),
    [*((optimizer, False) for optimizer in OPTIMIZERS), (OPTIMIZERS[0], True)],
    ids=str,
)
def test_resumed_is_uninterrupted_to_the_last_byte(
    settings, interrupted, tmp_path, optimizer, tied
):
    model = EVERYTHING["model"] | {"tied": tied}
    wanted = settings(**EVERYTHING | {"optimizer": optimizer, "model": model})
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    found = train.train(wanted, whole)
    interrupted(wanted, pieces, 3)
    assert archive.read(pieces / "checkpoint.json")[1]["epoch"] == 3
    assert "model.json" not in files(pieces)
    interrupted(wanted, pieces, 4, resume=True)
    assert train.train(wanted, pieces, resume=True) == found
    assert files(pieces) == files(whole)


def test_so_is_a_dream(settings, interrupted, tmp_path):
    training = {"epochs": 6, "batch_size": 10, "dead_after": 5, "noise": 0.1}
    wanted = settings(model={}, dream=DREAM, training=training)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    found = train.train(wanted, whole)
    interrupted(wanted, pieces, 3)
    assert train.train(wanted, pieces, resume=True) == found
    assert files(pieces) == files(whole)


@pytest.mark.parametrize("name", ["perturbed", "gumbel_subset", "shift_sigmoid"])
def test_so_is_a_training_with_a_soft_selection(settings, interrupted, tmp_path, name):
    wanted = settings(selection={"name": name, "temperature": 1.0, "end": 0.1, "samples": 3})
    train.train(wanted, tmp_path / "whole")
    interrupted(wanted, tmp_path / "pieces", 1)
    train.train(wanted, tmp_path / "pieces", resume=True)
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")


def test_the_upkeep_had_something_to_do(settings, dataset):
    """Else the test above would compare trainings in which nothing happens."""
    run = train.build(settings(**EVERYTHING), dataset)
    history = run.fit()
    assert all(dead > 0 for dead in history.logs["dead"][2:])
    assert history.logs["k"][0] > history.logs["k"][-1]


@pytest.mark.parametrize("epoch", [0, 5])  # the test above stops in the fourth and the fifth
def test_it_may_be_stopped_in_the_first_epoch_and_in_the_last(
    settings, interrupted, tmp_path, epoch
):
    wanted = settings(**EVERYTHING)
    train.train(wanted, tmp_path / "whole")
    interrupted(wanted, tmp_path / "pieces", epoch)
    train.train(wanted, tmp_path / "pieces", resume=True)
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")


def test_checkpoints_keep_their_distance(settings, interrupted, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "PAUSE", float("inf"))
    wanted = settings(**EVERYTHING)
    train.train(wanted, tmp_path / "whole")
    interrupted(wanted, tmp_path / "pieces", 4)
    assert archive.read(tmp_path / "pieces" / "checkpoint.json")[1]["epoch"] == 0
    train.train(wanted, tmp_path / "pieces", resume=True)
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")


def test_a_stop_while_it_measures_or_saves_loses_nothing(settings, tmp_path, monkeypatch):
    wanted = settings(**EVERYTHING)
    train.train(wanted, tmp_path / "whole")

    def stop(*arguments, **more):
        raise KeyboardInterrupt

    moments = [(train, "evaluate"), (train, "_csv")]
    for owner, name in (*moments, (saved_models, "save_model"), (archive, "remove")):
        out = tmp_path / name
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stop)
            with pytest.raises(KeyboardInterrupt):
                train.train(wanted, out)
        assert (out / "model.json").exists() == (name == "remove")
        train.train(wanted, out, resume=True)
        assert files(out) == files(tmp_path / "whole")


# The command line, in a process that waits in the middle of the fourth epoch to be killed.
DRIVER = """
import signal, sys
# Whoever starts the tests in the background may have made them, and so this, deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from ksae_lab import Callback
from ksae_lab.__main__ import main
from ksae_lab.experiments import checkpoints, train

class Waits(Callback):
    def before_step(self, run):
        if run.progress * run.epochs > 3.5:
            print("ready", flush=True)
            signal.pause()

build = train.build
def build_and_wait(*arguments):
    run = build(*arguments)
    run.callbacks = [*run.callbacks, Waits()]
    return run

train.build = build_and_wait
checkpoints.PAUSE = 0
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="these signals are POSIX's")
@pytest.mark.parametrize("blow", ["SIGINT", "SIGKILL"])
def test_a_process_that_was_killed_is_resumed(settings, tmp_path, blow):
    wanted = settings(**EVERYTHING)
    file, out = tmp_path / "own.yaml", tmp_path / "pieces"
    file.write_text(config.dump(wanted))
    command = [sys.executable, "-c", DRIVER, "train", file, "--out", out]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, blow))
        _, said = process.communicate(timeout=120)
    if blow == "SIGINT":
        assert process.returncode == 130
        again = f"ksae train {file} --out {out} --resume"
        assert said == f"Stopped; to go on from the last checkpoint: {again}\n"
    else:
        assert (process.returncode, said) == (-getattr(signal, blow), "")
    assert archive.read(out / "checkpoint.json")[1]["epoch"] == 3
    train.train(wanted, tmp_path / "whole")
    train.train(wanted, out, resume=True)
    assert files(out) == files(tmp_path / "whole")


def test_resume_starts_what_was_never_started_and_leaves_what_is_finished(
    settings, tmp_path, monkeypatch
):
    found = train.train(settings(), tmp_path / "one", resume=True)
    train.train(settings(), tmp_path / "two")
    before = files(tmp_path / "one")
    assert before == files(tmp_path / "two")
    monkeypatch.setattr(train, "load_dataset", None)  # no work is done again
    assert train.train(settings(), tmp_path / "one", resume=True) == found
    assert files(tmp_path / "one") == before


# Refusals, before anything is lost


def test_a_folder_with_a_training_is_not_written_over(settings, interrupted, tmp_path):
    train.train(settings(), tmp_path / "done")
    interrupted(settings(), tmp_path / "begun", 1)
    for name, state in (("done", "finished"), ("begun", "unfinished")):
        before = files(tmp_path / name)
        with pytest.raises(ValueError, match=f"a training, {state}; resume it or choose another"):
            train.train(settings(), tmp_path / name)
        with pytest.raises(ValueError, match=r"another experiment: `seed` was 0 and is 1; put the"):
            train.train(settings(seed=1), tmp_path / name, resume=True)
        assert files(tmp_path / name) == before


def test_a_changed_experiment_is_refused_with_what_changed(settings, interrupted, tmp_path):
    interrupted(settings(), tmp_path, 1)
    changed = settings(auxk={"k_aux": 3}, training={"epochs": 3, "batch_size": 10})
    with pytest.raises(ValueError) as caught:
        train.train(changed, tmp_path, resume=True)
    said = str(caught.value)
    assert "`auxk` was None and is None" not in said
    assert "`auxk.k_aux` was None and is 3" in said
    assert "put the settings back or choose another folder" in said
    assert "`training.epochs` was 2 and is 3" in said or said.count(" was ") == 3


def test_changed_images_are_refused(settings, interrupted, tmp_path):
    path = tmp_path / "own.npy"
    x = np.random.default_rng(1).uniform(size=(60, 784)).astype(np.float32)
    np.save(path, x)
    wanted = settings(data=str(path))
    interrupted(wanted, tmp_path / "begun", 1)
    train.train(wanted, tmp_path / "done")
    x[30, 400] = 0.5
    np.save(path, x)
    with pytest.raises(ValueError, match=r"images of own\.npy are not those"):
        train.train(wanted, tmp_path / "begun", resume=True)
    with pytest.raises(ValueError, match=r"images of own\.npy are not those"):
        saved_runs.find(tmp_path / "done").evaluate()


def test_what_cannot_work_is_said_before_training(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.Trainer, "fit", None)  # nothing is trained here
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(OSError, match=r"file.experiment\.yaml cannot be written \(.*; make room"):
        train.train(settings(), file)
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.npy"):
        train.train(settings(data=str(tmp_path / "nothing.npy")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_of_another_experiment_are_not_written_over(settings, tmp_path):
    own = tmp_path / "experiment.yaml"
    own.write_text("# mine\nseed: 5\n")
    with pytest.raises(ValueError, match="is that of another experiment; choose another folder"):
        train.train(settings(), tmp_path)
    assert files(tmp_path).keys() == {"experiment.yaml"}
    own.write_text("# mine\n" + config.dump(settings()))
    train.train(settings(), tmp_path)
    assert own.read_text().startswith("# mine\n")


def test_a_damaged_checkpoint_is_refused(settings, interrupted, tmp_path):
    interrupted(settings(), tmp_path, 1)
    path = tmp_path / "checkpoint.json"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="damaged"):
        train.train(settings(), tmp_path, resume=True)


def test_a_checkpoint_keeps_what_is_not_learned_by_gradients(tmp_path):
    def trainer(seed):
        model = KSparseAutoencoder(9, 8, BatchTopK(3), rng=np.random.default_rng(seed))
        x = np.random.default_rng(0).uniform(size=(20, 9)).astype(np.float32)
        return loop.Trainer(model, (x,), Adam(), 2, 5, np.random.default_rng(seed))

    first, second = trainer(0), trainer(1)
    first.fit()
    checkpoints.Checkpoint(tmp_path / "checkpoint.json", {}).write(first)
    second.optimizer.step(*2 * [second.model.parameters])
    checkpoints.restore(second, *archive.read(tmp_path / "checkpoint.json"))
    threshold = float(first.model.selector.threshold)
    assert float(second.model.selector.threshold) == threshold > 0


def test_a_checkpoint_of_an_older_version_is_refused(settings, interrupted, tmp_path, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(archive, "VERSION", 1)
        interrupted(settings(), tmp_path, 1)
    with pytest.raises(ValueError, match="of an older version of ksae_lab"):
        train.train(settings(), tmp_path, resume=True)


def test_an_unfinished_training_is_not_evaluated(settings, interrupted, tmp_path):
    interrupted(settings(), tmp_path / "begun", 1)
    with pytest.raises(ValueError, match="is not finished; resume it first"):
        saved_runs.find(tmp_path / "begun").evaluate()
    with pytest.raises(FileNotFoundError, match=r"no file .*model\.json"):
        saved_runs.find(tmp_path).evaluate()
