"""Lab 7's table: which networks a row compares, and on what."""

import numpy as np
import pytest

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments import saved_models
from ksae_lab.experiments.networks import Sweep
from ksae_lab.models.k_sparse import KSparseAutoencoder
from tests.labs.imported import module

which_k = module("which_k")


@pytest.fixture
def sweep(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("sweep: {model.k: [1, 2, 4], seed: [0, 1]}", encoding="utf-8")
    sweep = Sweep(plan, tmp_path)
    for network in sweep.networks:
        rng = np.random.default_rng(network.seed)
        model = KSparseAutoencoder(784, 100, network.k, rng=rng)
        model.init_from_data(sweep.dataset.x_train, rng)
        saved_models.save_model(model, network.card)
    return sweep


def test_a_row_for_each_two_neighbours(sweep):
    jobs = list(which_k.jobs(sweep))
    assert [job.variant for job in jobs] == ["1 and 2", "2 and 4"]
    row, x = jobs[1].measure(), load_dataset().x_test
    by_k = sweep.by_k_and_seed()
    two, four = (
        np.array([((by_k[k, s].model().reconstruct(x) - x) ** 2).mean(axis=1) for s in (0, 1)])
        for k in (2, 4)
    )
    expected = difference(two, four)
    assert (row["seeds"], row["images"]) == (2, 1000)
    assert row["of"] == pytest.approx(two.mean())
    assert row["difference"] == pytest.approx(expected.mean)
    assert row["half_width"] == pytest.approx(expected.half_width)
    assert row["p"] == pytest.approx(expected.p)
    assert row["few_better"] == np.mean(two.mean(axis=0) < four.mean(axis=0))


def test_other_settings_make_a_row_anew(sweep, tmp_path):
    plan = tmp_path / "other.yaml"
    text = "sweep: {variant: {a: {model: {k: 1}}, b: {model: {k: 2}}, "
    text += "c: {model: {k: 4}, training: {noise: 0.1}}}, seed: [0, 1]}"
    plan.write_text(text, encoding="utf-8")
    same, other = (
        [job.settings for job in which_k.jobs(s)] for s in (sweep, Sweep(plan, tmp_path))
    )
    assert same[0] == other[0] and same[1] != other[1]
