"""Lab 11's tables: who starts where and sees what, who stops when, and what a row says."""

import copy
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ksae_lab.data.datasets import load_dataset
from ksae_lab.engine.sparse_step import SparseStep
from ksae_lab.evaluation.statistics import interval_half_width
from ksae_lab.experiments import labs
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.training.optimizers import Adam
from ksae_lab.training.steps import PlainStep
from tests.labs.imported import module
from tests.repo import ROOT

lab, compare = module("time_to_quality"), module("time_to_quality", "compare")
N, K, BATCH, RATE, SEED = 60, 3, 500, 0.003, 2


@pytest.fixture(scope="module")
def digits():
    return load_dataset("mnist5k")


@pytest.fixture(scope="module")
def race():
    """Of a small network; the plain side may run for two epochs only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab, "SIZES", {N: K})
        patch.setattr(lab, "LONGEST", 4)
        return lab.race(N, BATCH, RATE, SEED, (("plain", 2), ("sparse", 40), ("lazy", 40)))


def start(digits):
    """The network, and the generator that goes on to draw the batches."""
    rng = np.random.default_rng(SEED)
    model = KSparseAutoencoder(784, N, K, rng=rng)
    model.init_from_data(digits.x_train, rng)
    return model, rng


def curve(row, name):
    return [float(number) for number in row[f"{name}_by_epoch"].split(" ")]


def test_lazy_steps_are_those_of_lazy_adam(digits):
    x = digits.x_train[:200]
    model = KSparseAutoencoder(784, 300, 3, rng=np.random.default_rng(0))
    model.init_from_data(x, np.random.default_rng(0))
    models = [copy.deepcopy(model) for _ in range(3)]
    steps = [
        PlainStep(models[0], Adam(RATE, lazy=True)),
        lab.LazyStep(models[1], Adam(RATE)),
        SparseStep(models[2], Adam(RATE)),
    ]
    for step in steps:
        for i in range(8):
            step((x[25 * i : 25 * (i + 1)],))
        step.flush()
    plain, lazy, caught_up = (model.parameters for model in models)
    for name in ("W_enc", "W_dec", "b_enc", "b_dec"):
        np.testing.assert_allclose(lazy[name], plain[name], rtol=1e-3, atol=1e-5)
    assert abs(caught_up["W_dec"] - plain["W_dec"]).max() > 1e-3


def test_a_side_trains_as_fit_does(digits, race):
    model, rng = start(digits)
    options = {"epochs": 2, "batch_size": BATCH, "rng": rng, "validation": digits.x_val}
    history = model.fit(digits.x_train, optimizer=Adam(RATE), **options)
    row = race["plain"]
    assert curve(row, "validation") == pytest.approx(history.validation, rel=1e-3)
    assert row["validation"] == pytest.approx(history.validation[-1], rel=1e-3)
    for part, x in {"test": digits.x_test, "training": digits.x_train}.items():
        assert row[part] == pytest.approx(model.error(x), rel=1e-3)
    assert row["dead"] == (~(model.encode(digits.x_train) != 0).any(axis=0)).sum()
    assert (row["epochs"], row["updates"]) == (2, 2 * 7)


def test_all_start_together_and_end_apart(race):
    plain, sparse, lazy = race.values()
    assert curve(sparse, "validation")[:2] == pytest.approx(curve(plain, "validation"), rel=1e-2)
    assert sparse["epochs"] == lazy["epochs"] == 4
    assert sparse["validation"] != lazy["validation"]
    assert [row["engine"] for row in race.values()] == list(race)
    assert plain["screen"] == "none" != sparse["screen"]
    for name in ("race", "processor", "n", "k", "batch", "rate", "threads"):
        assert len({row[name] for row in race.values()}) == 1
    for row in race.values():
        for name in ("validation", "test", "seconds", "touched"):
            assert len(curve(row, name)) == row["epochs"]
        assert row["seconds"] == pytest.approx(sum(curve(row, "seconds")), rel=1e-3)


def test_touched_units_are_the_mean_of_the_batches_since_last_time():
    touched = lab.Touched()
    for active in ([True, False, True], [True, False, False]):
        touched.after_step(None, SimpleNamespace(active=np.array(active)))
    assert touched.mean() == 1.5
    touched.after_step(None, SimpleNamespace(active=np.zeros(3, bool)))
    assert touched.mean() == 0 and not touched.needs_all


def test_a_side_stops_when_three_epochs_bring_less_than_two_percent():
    assert not lab.stopped(9 * [1.0])  # too early to say
    assert lab.stopped([*9 * [1.0], 0.981])
    assert not lab.stopped([*9 * [1.0], 0.979])
    assert not lab.stopped([*7 * [1.0], 0.9, 0.97, 0.96])  # the least counts, and not the last
    assert lab.stopped([*5 * [1.0], 0.9, 1.0, 1.0, 1.0, 0.99])


def test_a_side_leaves_the_race_when_it_has_stopped(monkeypatch):
    monkeypatch.setattr(lab, "SIZES", {N: K})
    monkeypatch.setattr(lab, "stopped", lambda errors: len(errors) == 1)
    rows = lab.race(N, BATCH, RATE, SEED + 1, (("plain", 3), ("lazy", 3)))
    assert [row["epochs"] for row in rows.values()] == [1, 1]


@pytest.mark.parametrize(
    ("level", "place"),
    [(5.0, 1.0), (3.0, 2.0), (2.5, 3.0), (2.0, 4.0), (1.0, np.nan)],
)
def test_a_level_is_reached_on_a_line_between_epochs(level, place):
    found = compare.reached([4.0, 3.0, 2.0, 2.5], [1.0, 2.0, 4.0, 7.0], level)
    assert found == pytest.approx(place, nan_ok=True)


def rows(**columns):
    """One side of a race, two seeds; lists are curves."""
    return pd.DataFrame(columns)


def test_sides_are_compared_after_as_many_epochs_seed_by_seed():
    curves = [np.array([4.0, 2.0, 1.0]), np.array([4.0, 1.0])]
    plain = rows(epochs=[3, 2], test_by_epoch=curves)
    others = [np.array([4.0, 2.2]), np.array([5.0, 1.3, 0.5])]
    other = rows(epochs=[2, 3], test_by_epoch=others)
    assert compare.above(other, plain) == pytest.approx([10, 30])
    assert compare.above(other, plain, epoch=1) == pytest.approx([0, 25])


def test_what_was_spent_is_counted_to_the_end_of_each_epoch():
    spent = [np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0])]
    errors = [np.array([4.0, 3.0, 2.0]), np.array([4.0, 3.0, 3.5])]
    side = rows(epochs=[3, 3], updates=[21, 24], seconds_by_epoch=spent, validation_by_epoch=errors)
    assert compare.best(side) == pytest.approx([2, 3])
    assert compare.price(side) == pytest.approx([7 / 3, 2])
    levels = np.array([2.5, 2.5])
    for along, place in ((compare.seconds, 5), (compare.updates, 17.5), (compare.epochs, 2.5)):
        found = compare.to_level(side, levels, along)
        assert found == pytest.approx([place, np.nan], nan_ok=True)


def test_what_is_told_leaves_out_who_never_came():
    half = interval_half_width(np.array([1.0, 2.0, 4.0]))
    assert compare.told(np.array([1.0, np.nan, 2.0, 4.0]), 2) == f"2.33 ± {half:.2f}"
    assert compare.told(np.array([np.nan, -3.0])) == "−3.0"
    assert compare.told(np.array([np.nan])) == "never"


def test_a_size_is_raced_by_all_at_once_and_other_batches_have_their_price(monkeypatch):
    raced = []
    monkeypatch.setattr(lab, "race", lambda *of: raced.append(of) or {s: {} for s, _ in of[-1]})
    for job in lab.jobs():
        job.measure()
    assert len(set(raced)) == len(lab.SIZES) * len(lab.SEEDS) and len(raced) == 3 * len(set(raced))
    assert {(n, batch, rate) for n, batch, rate, *_ in raced} == {
        (n, lab.MAIN, lab.RATES[n, lab.MAIN]) for n in lab.SIZES
    }
    raced.clear()
    for job in lab.by_batch():
        job.measure()
    assert {batch for _, batch, *_ in raced} == set(lab.BATCHES) - {lab.MAIN}
    assert {of[-1] for of in raced} == {(("sparse", lab.LONGEST), ("plain", 1))}


def test_rates_are_those_that_validation_digits_preferred():
    table = pd.read_csv(labs.find("time_to_quality", ROOT).folder / "choice.csv", comment="#")
    found = table[table["engine"] == "sparse"]
    best = found.loc[found.groupby(["n", "batch"])["validation"].idxmin()]
    assert dict(zip(zip(best["n"], best["batch"], strict=True), best["rate"], strict=True)) == (
        lab.RATES
    )


@pytest.mark.parametrize("engine", ["plain", "sparse"])
def test_the_script_of_the_first_step_says_seconds(monkeypatch, capsys, engine):
    monkeypatch.setattr(sys, "argv", ["-c", engine])
    exec(lab.FIRST_STEP, {})
    assert 0 < float(capsys.readouterr().out) < 600


def test_first_steps_are_compiled_anew_once(monkeypatch):
    seen = []

    def called(command, env):
        seen.append((command[-1], env["NUMBA_CACHE_DIR"]))
        return b"1.5\n"

    monkeypatch.setattr(lab.subprocess, "check_output", called)
    assert lab.first_step() == {"anew": 1.5, "before": 1.5, "plain": 1.5}
    assert [engine for engine, _ in seen] == ["sparse", "sparse", "plain"]
    assert len({folder for _, folder in seen}) == 1  # and it was empty
