"""Sweeps: what a file lists, one table however often it was stopped, on one core, two, or Dask."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import psutil
import pytest
from distributed import Client
from filelock import FileLock, Timeout
from pyarrow import parquet

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.report import evaluate
from ksae_lab.experiments import sweep
from ksae_lab.experiments.build import build
from tests.repo import ROOT

FILES = [*(ROOT / "experiments").glob("*.yaml"), *(ROOT / "experiments" / "labs").glob("*.yaml")]
SWEEPS = sorted(path for path in FILES if "\nsweep:" in path.read_text(encoding="utf-8"))

# What a run took differs from time to time; everything else must not.
COST = ["seconds", "memory"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "own.npy"
    np.save(path, np.random.default_rng(0).uniform(size=(100, 784)).astype(np.float32) ** 4)
    return path


@pytest.fixture
def plan(images, tmp_path):
    """Write a sweep's file and load it."""

    def plan(axes, epochs=2):
        path = tmp_path / "sweep.yaml"
        path.write_text(
            f"data: {images}\nmodel: {{n_units: 12}}\n"
            f"training: {{epochs: {epochs}, batch_size: 10}}\nsweep: {axes}\n"
        )
        return sweep.load(path)

    return plan


def same(table, other):
    pd.testing.assert_frame_equal(table.drop(columns=COST), other.drop(columns=COST))


# What a file lists


def test_all_combinations_in_order(plan):
    runs = plan(
        "{model.k: [2, 3], recipe: {plain: null, noisy: {training: {noise: 0.1}}}, seed: [0, 5]}"
    )
    found = [(run.experiment.model.k, run.levels["recipe"], run.experiment.seed) for run in runs]
    expected = [(k, name, seed) for k in (2, 3) for name in ("plain", "noisy") for seed in (0, 5)]
    assert found == expected
    noisy = runs[2].experiment
    assert (noisy.training.noise, noisy.training.batch_size) == (0.1, 10), "merged, not replaced"
    assert runs[0].experiment.training.noise == 0
    assert len({run.folder("out") for run in runs}) == 8


def test_any_setting_can_be_an_axis(plan, images):
    runs = plan(
        f"{{data: [mnist5k, {images}], model.n_units: [10, 20], optimizer: [{{name: sgd}}, {{}}], "
        "curriculum: [null, {k_start: 10}], dream: [null]}"
    )
    assert len(runs) == 16
    assert {run.experiment.data for run in runs} == {"mnist5k", str(images)}
    assert {run.experiment.model.n_units for run in runs} == {10, 20}
    assert {run.experiment.optimizer.name for run in runs} == {"sgd", "adam"}
    assert {run.experiment.curriculum is None for run in runs} == {True, False}
    assert all(run.levels == {} for run in runs)


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ("null", "says nothing to vary; add a section"),
        ("[1, 2]", "says nothing to vary; add a section"),
        ("{seed: 3}", "`sweep.seed` is 3; give a list of values, or levels by name"),
        ("{seed: []}", r"`sweep.seed` is \[\]; give a list"),
        ("{model.kk: [2]}", "model.kk 2: `kk` is not known in model; did you mean `k`?"),
        ("{model.k: [2, 99]}", "model.k 99: `model.k` is 99; choose it up to `model.n_units`, 12"),
        ("{recipe: {odd: {noise: 1}}}", "recipe odd: `noise` is not known at the top level"),
        ("{recipe: {odd: 7}}", "recipe odd: its settings are 7; expected sections"),
        ("{seed: [1, 1]}", "seed 1: another run has the same settings; leave one out"),
    ],
)
def test_what_makes_no_sweep_is_said_before_anything_runs(plan, axes, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        plan(axes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_of_the_repository_is_valid_and_says_how_it_is_run(path):
    assert sweep.load(path)
    text = path.read_text(encoding="utf-8")
    assert f"ksae sweep {path.stem} --out runs/{path.stem}" in text


# One table


def test_a_row_has_everything_that_is_needed_to_know_what_it_is(plan, tmp_path):
    runs = plan("{recipe: {plain: null, noisy: {training: {noise: 0.1}}}, model.k: [2, 4]}")
    started = time.process_time()
    table = sweep.run(runs, tmp_path / "out")
    assert (table["seconds"] > 0).all()
    assert table["seconds"].sum() < time.process_time() - started
    assert table["recipe"].tolist() == ["plain", "plain", "noisy", "noisy"]
    assert table["model.k"].tolist() == [2, 4, 2, 4]
    last = runs[-1].experiment
    training = build(last, load_dataset(last.data))
    history = training.fit()
    row = table.iloc[-1]
    for name, value in evaluate(training.model, load_dataset(last.data).x_test).items():
        assert row[name] == value, name
    assert row["validation_mse"] == history.validation[-1]
    assert row["training_loss"] == history.training[-1]
    assert row["dead_in_training"] == history.logs["dead"][-1]
    assert row["experiment"] == last.hash
    settings = {name: value for name, value in row.items() if name in last.model_dump()["model"]}
    assert settings == {}, "settings have dotted names"
    assert (row["training.noise"], row["seed"], row["data"]) == (0.1, 0, last.data)
    assert row["version.numpy"] == np.__version__
    assert row["memory"] > 0
    assert pd.isna(row["error"])
    read = pd.read_csv(tmp_path / "out" / "table.csv")
    assert read.pop("error").isna().all()
    pd.testing.assert_frame_equal(read, table.drop(columns="error"), check_dtype=False)


def test_both_kinds_of_table_hold_the_same(plan, tmp_path):
    table = sweep.run(plan("{seed: [0, 1]}"), tmp_path / "out")
    for ending in ("csv", "parquet"):
        for content in (pd.DataFrame(), table):  # as a sweep begins, and as it ends
            sweep.check_free(tmp_path / f"table.{ending}")
            sweep.write(content, tmp_path / f"table.{ending}")
        sweep.check_free(tmp_path / f"table.{ending}")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)
    columns = parquet.read_schema(tmp_path / "table.parquet").names
    assert columns == table.columns.tolist(), "no row numbers, as in the .csv"
    with pytest.raises(ValueError, match=r"neither in .csv nor in .parquet; choose one"):
        sweep.write(table, tmp_path / "table.xls")


@pytest.mark.slow
def test_one_core_two_workers_and_one_more_time_give_the_same_numbers(plan, tmp_path):
    runs = plan("{model.k: [2, 4], seed: [0, 1]}", epochs=4)
    alone = sweep.run(runs, tmp_path / "alone")
    with joblib.parallel_config("loky", n_jobs=2):
        both = sweep.run(runs, tmp_path / "both")
    same(alone, both)
    again = sweep.run(runs, tmp_path / "both")
    pd.testing.assert_frame_equal(again, both)  # the seconds, too: nothing ran


def test_only_what_is_missing_runs(plan, tmp_path, monkeypatch):
    trained = []
    train = sweep.train
    monkeypatch.setattr(
        sweep, "train", lambda one, *a, **kw: (trained.append(one.seed), train(one, *a, **kw))
    )
    part = sweep.run(plan("{seed: [3, 1]}"), tmp_path / "out")
    whole = sweep.run(plan("{seed: [1, 2, 3]}"), tmp_path / "out")
    assert trained == [3, 1, 2]
    assert whole["seed"].tolist() == [1, 2, 3], "in the plan's order, whenever they ran"
    assert set(part["experiment"]) < set(whole["experiment"])


def test_a_failing_run_is_told_and_tried_again(plan, tmp_path, monkeypatch):
    runs = plan("{optimizer.learning_rate: [0.01, 1000.0], optimizer.name: [sgd], seed: [0, 1]}")
    table = sweep.run(runs, tmp_path / "out")
    assert table["error"].isna().tolist() == [True, True, False, False]
    assert table["error"].iloc[2].startswith("FloatingPointError: The loss is")
    assert table["mse"].isna().tolist() == [False, False, True, True]
    read = pd.read_csv(tmp_path / "out" / "table.csv")
    assert read["error"].iloc[3] == table["error"].iloc[3]
    same(table, sweep.run(runs, tmp_path / "out"))
    # Whatever the reason was, it may be gone the next time.
    monkeypatch.setattr(sweep, "train", lambda *a, **kw: 1 / 0)
    other = plan("{seed: [8]}")
    assert sweep.run(other, tmp_path / "out")["error"].item().startswith("ZeroDivisionError")
    monkeypatch.undo()
    assert sweep.run(other, tmp_path / "out")["error"].isna().all()
    assert not (other[0].folder(tmp_path / "out") / "error.txt").exists()


def test_a_folder_that_cannot_be_written_is_said_at_once(plan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written"):
        sweep.run(plan("{seed: [0]}"), tmp_path / "file" / "out")


def test_one_bar_counts_runs(plan, tmp_path, monkeypatch):
    bars, quiet = [], []
    monkeypatch.setattr(sweep, "tqdm", lambda done, *args, **how: bars.append((args, how)) or done)
    train = sweep.train
    monkeypatch.setattr(
        sweep, "train", lambda *a, **how: (quiet.append(how["quiet"]), train(*a, **how))
    )
    sweep.run(plan("{seed: [0]}"), tmp_path / "out")
    sweep.run(plan("{seed: [0, 1, 2]}"), tmp_path / "out")
    assert bars == [
        (("sweep", 1), {"initial": 0, "unit": "run"}),
        (("sweep", 3), {"initial": 1, "unit": "run"}),
    ]
    assert quiet == [True] * 3, "no bar for each"


# Whatever is killed

AXES = "{model.k: [2, 4], seed: [0, 1]}"
EPOCHS = 150  # half a second for each run


@pytest.fixture(scope="module")
def uninterrupted(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    path = folder / "sweep.yaml"
    path.write_text(
        f"data: {images}\nmodel: {{n_units: 12}}\n"
        f"training: {{epochs: {EPOCHS}, batch_size: 10}}\nsweep: {AXES}\n"
    )
    plan, started = sweep.load(path), time.monotonic()
    table = sweep.run(plan, folder / "out")
    return SimpleNamespace(path=path, plan=plan, table=table, seconds=time.monotonic() - started)


# The command in a process of its own; a checkpoint after every epoch, and an ear for Ctrl-C, which
# whoever starts the tests in the background may have taken from it.
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from ksae_lab.__main__ import main
from ksae_lab.experiments import checkpoints
checkpoints.PAUSE = 0
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def start(uninterrupted, tmp_path):
    """Start the command on `tmp_path / "out"`; whoever is left at the end is killed."""
    groups = []

    def start(jobs):
        arguments = ["sweep", str(uninterrupted.path), "--out", str(tmp_path / "out")]
        # Not through a pipe: orphans would hold it open.
        with open(tmp_path / "stderr", "w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, *arguments, "--jobs", str(jobs)],
                env=os.environ | {"TQDM_DISABLE": "1"},
                stderr=stderr,
                start_new_session=True,
            )
        groups.append(process.pid)
        return process

    yield start
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def wait_for(pattern, process, out):
    deadline = time.monotonic() + 60
    while not list(out.glob(pattern)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_at_a_random_point_it_arrives_at_the_same_table(uninterrupted, start, tmp_path):
    out = tmp_path / "out"
    process = start(jobs=2)
    wait_for("runs/*/experiment.yaml", process, out)
    time.sleep(random.Random(2).uniform(0, uninterrupted.seconds / 2))
    process.kill()  # and not its workers: these are orphans, and go on beside the next call
    process.wait()
    before = {file: file.stat().st_mtime_ns for file in out.glob("runs/*/model.json")}
    assert start(jobs=2).wait(120) == 0, (tmp_path / "stderr").read_text()
    same(sweep.table(uninterrupted.plan, out), uninterrupted.table)
    assert len(list(out.glob("runs/*"))) == len(uninterrupted.plan)
    for file, when in before.items():
        assert file.stat().st_mtime_ns == when, "what was finished was left alone"


def test_workers_may_stand_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "own.npy", np.random.default_rng(0).normal(size=(20, 5)))
    (tmp_path / "plan.yaml").write_text(
        "{data: own.npy, model: {n_units: 4, k: 2}, training: {epochs: 1}, sweep: {seed: [0, 1]}}"
    )
    delayed = joblib.delayed

    def moved(function):
        def call(*arguments):
            with contextlib.chdir(tmp_path / "elsewhere"):
                return function(*arguments)

        return delayed(call)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(joblib, "delayed", moved)
    result = sweep.run(sweep.load("plan.yaml"), "out")
    assert result.error.isna().all() and len(result) == 2
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_run_is_locked_while_it_trains(plan, tmp_path, monkeypatch):
    locked = []

    def train(one, folder, **how):
        with pytest.raises(Timeout):  # this is another process, such as an orphan
            FileLock(folder / sweep.LOCK).acquire(timeout=0)
        locked.append(folder)

    monkeypatch.setattr(sweep, "train", train)
    runs = plan("{seed: [0, 1]}")
    sweep.run(runs, tmp_path)
    assert locked == [run.folder(tmp_path) for run in runs]
    FileLock(locked[0] / sweep.LOCK).acquire(timeout=0)  # and only so long


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(uninterrupted, start, tmp_path):
    out = tmp_path / "out"
    process = start(2)
    wait_for("runs/*/model.json", process, out)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    said = (tmp_path / "stderr").read_text()
    assert f"ksae sweep {uninterrupted.path} --out {out}" in said
    assert "Traceback" not in said
    part = pd.read_csv(out / "table.csv")
    assert 0 < len(part) < len(uninterrupted.plan) and part["error"].isna().all()
    same(sweep.run(uninterrupted.plan, out), uninterrupted.table)


@pytest.mark.slow
def test_a_killed_worker_is_said_and_loses_nothing(uninterrupted, start, tmp_path):
    out = tmp_path / "out"
    process = start(2)
    wait_for("runs/*/checkpoint.json", process, out)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "resource_tracker" not in " ".join(child.cmdline())
    ]
    workers[0].kill()
    assert process.wait(60) == 2
    said = (tmp_path / "stderr").read_text()
    assert "A worker was killed" in said and "start again" in said
    assert "Traceback" not in said
    same(sweep.run(uninterrupted.plan, out), uninterrupted.table)


def test_on_dask_a_worker_may_die(uninterrupted, tmp_path, cluster):
    out, killed = tmp_path / "out", []

    def kill_one(workers):
        while not list(out.glob("runs/*/checkpoint.json")):
            time.sleep(0.01)
        killed.append(workers[0])
        os.kill(workers[0], signal.SIGKILL)

    with Client(cluster) as client:
        killer = threading.Thread(target=kill_one, args=[list(client.run(os.getpid).values())])
        killer.start()
        with joblib.parallel_config(backend="dask"):
            found = sweep.run(uninterrupted.plan, out)
        killer.join()
        client.wait_for_workers(2, timeout=60)  # a nanny puts another in its place
        assert killed[0] not in client.run(os.getpid).values()
    same(found, uninterrupted.table)
