"""Networks that are compared: rows of a table, and errors of test images, of the same trainings."""

import numpy as np
import pytest

from ksae_lab.data.datasets import load_dataset
from ksae_lab.experiments import compared, networks
from ksae_lab.experiments.build import build
from ksae_lab.experiments.tables import expand, train_and_measure

PLAN = """
model: {n_units: 12, k: 3}
training: {epochs: 1, batch_size: 500}
sweep:
  choice:
    mask: {}
    soft: {selection: {name: shift_sigmoid, temperature: 0.1}}
  seed: [0, 1]
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(networks, "ALL_CORES", 1)
    path = tmp_path / "lab" / "table.yaml"
    path.parent.mkdir()
    path.write_text(PLAN)
    return path


def test_rows_say_what_a_training_of_its_own_says(plan):
    jobs = list(compared.rows(plan, lambda model, experiment, data: {"k": model.k}))
    assert not (plan.parents[1] / "runs").exists()
    assert [(job.variant, job.seed) for job in jobs] == list(expand(plan))
    row = jobs[2].measure()
    assert row.pop("k") == 3
    own = train_and_measure(expand(plan)["soft", 0], load_dataset())
    assert own.items() >= row.items() and row.keys() == own.keys() - {"seconds"}


def test_errors_are_those_of_each_image_and_seed(plan):
    path = plan.with_suffix(".npz")
    compared.Errors(plan)(path)
    errors, data = np.load(path), load_dataset()
    assert errors.files == ["mask", "soft", "settings"]
    run = build(expand(plan)["soft", 1], data)
    run.fit()
    each = ((run.model.reconstruct(data.x_test) - data.x_test) ** 2).mean(axis=1)
    assert errors["soft"].shape == (2, len(data.x_test))
    np.testing.assert_allclose(errors["soft"][1], each, rtol=1e-5)
    assert (errors["soft"][0] != errors["soft"][1]).any()


def test_a_file_of_other_networks_is_not_complete(plan):
    path = plan.with_suffix(".npz")
    errors = compared.Errors(plan)
    assert not errors.complete(path)
    errors(path)
    assert errors.complete(path) and not compared.Errors(plan, alpha=1.5).complete(path)
    plan.write_text(PLAN.replace("epochs: 1", "epochs: 2"))
    assert not compared.Errors(plan).complete(path)
    np.savez(path, mask=np.zeros((2, 3)))  # as an earlier version wrote it
    assert not errors.complete(path)


def test_errors_of_more_units_than_were_trained(plan):
    path = plan.with_suffix(".npz")
    compared.Errors(plan, alpha=1.5)(path)
    data, run = load_dataset(), build(expand(plan)["mask", 0], load_dataset())
    run.fit()
    run.model.k = 4  # of 4.5, the even one
    each = ((run.model.reconstruct(data.x_test) - data.x_test) ** 2).mean(axis=1)
    np.testing.assert_allclose(np.load(path)["mask"][0], each, rtol=1e-5)
