"""Chapter 5's ladder: neighbours differ in one part, and each is at its best before it is told."""

import numpy as np
import pytest

from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.settings import flat
from tests.labs.imported import module

measure = module("training")


def settings_of(network):
    return flat(measure.experiment(network, 1.0, 50, 0).model_dump(mode="json"))


@pytest.mark.parametrize("pair", measure.PAIRS, ids=" → ".join)
def test_neighbours_differ_in_one_part(pair):
    a, b = map(settings_of, pair)
    changed = {name for name in a if a[name] != b[name]}
    alone = set(measure.NETWORKS[pair[0]]) ^ set(measure.NETWORKS[pair[1]])
    assert len(alone) == 1
    parts = {
        "time": {"training.epochs"},
        "Adam": {"optimizer.name", "optimizer.momentum"},
        "relu": {"model.activation"},
        "mean image": {"model.start"},
        "unit rows": set(),
        "noise": {"training.noise"},
        "tied": {"model.tied"},
        "shifts": {"training.shifts"},
    }
    assert changed == parts[alone.pop()]


@pytest.mark.parametrize("unit_rows", [True, False])
def test_rows_are_free_where_they_are_said_to_be(monkeypatch, unit_rows):
    runs, build = [], measure.build

    def remembered(*how):
        runs.append(build(*how))
        return runs[-1]

    monkeypatch.setattr(measure, "build", remembered)
    settings = measure.experiment("+ noise", 0.005, 1, 0).model_dump(mode="json")
    row, errors = measure.trained(settings, unit_rows=unit_rows)
    lengths = np.linalg.norm(runs[0].model.W_dec, axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) == unit_rows
    assert errors.shape == (1000,)
    assert errors.mean() == pytest.approx(row["test"], rel=1e-5)


def test_a_training_is_doubled_until_a_hundredth_is_not_gained(monkeypatch):
    def result(name, rate, epochs, seed):
        assert seed == measure.CHOICE_SEED and seed not in measure.SEEDS
        of_length = {2: 3.0, 10: 1.0, 20: 0.98, 40: 0.972, 80: 0.5}[epochs]
        if rate == 0.016:
            raise ValueError("h holds NaN")
        return {"validation": of_length if rate == 0.004 else 2.0}, None

    monkeypatch.setattr(measure, "result", result)
    monkeypatch.setattr(measure, "LENGTHS", (10, 20, 40, 80))
    row = measure.search("+ noise")
    # Forty epochs gain 0.8 % on twenty, so nobody asks for eighty.
    assert (row["rate"], row["epochs"]) == (0.004, 20)
    assert row["epochs_40"] == 0.972 and np.isnan(row["epochs_80"])
    monkeypatch.setattr(measure, "WORTH_IT", 0.005)
    assert measure.search("+ noise")["epochs"] == 80
    assert measure.search("and tied")["epochs"] == 80  # as long as the whole recipe
    assert measure.search("- time")["epochs"] == 2


def test_a_difference_is_that_of_all_seeds_and_images(monkeypatch):
    rng = np.random.default_rng(0)
    errors = {name: rng.random((5, 30)) for name in "ab"}

    def result(name, rate, epochs, seed):
        assert (rate, epochs) == {"a": (1.0, 50), "b": (2.0, 100)}[name]
        return {}, errors[name][seed]

    monkeypatch.setattr(measure, "result", result)
    row = measure._compared({"a": (1.0, 50), "b": (2.0, 100)})
    found = difference(errors["a"], errors["b"])
    assert (row["mean"], row["half_width"], row["p"]) == (found.mean, found.half_width, found.p)
