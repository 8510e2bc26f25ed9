"""Lab 12's tables: pursuits that can only lower the error, and networks of the sizes asked for."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.statistics import difference
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn import activations
from tests.labs.imported import module

measure = module("many_units")


@pytest.fixture
def few(monkeypatch):
    whole = load_dataset()
    digits = replace(
        whole,
        x_train=whole.x_train[:200],
        y_train=whole.y_train[:200],
        x_test=whole.x_test[:30],
        y_test=whole.y_test[:30],
    )
    monkeypatch.setattr(measure, "images", lambda name: digits)
    return digits


def test_images_are_the_first_of_each_part(monkeypatch):
    whole = load_dataset()
    found = measure.images.__wrapped__(measure.DIGITS)
    np.testing.assert_array_equal(found.x_test, whole.x_test[: measure.SHOWN])
    assert len(found.x_train) == len(found.y_train) == 3500
    monkeypatch.setitem(measure.IMAGES, "few", ("mnist5k", 70, 1))
    np.testing.assert_array_equal(measure.images.__wrapped__("few").x_train, whole.x_train[:70])


def test_better_codes_of_the_same_atoms_stand_in_their_order(few, monkeypatch):
    model = KSparseAutoencoder(784, 60, 4, rng=np.random.default_rng(0))
    model.init_from_data(few.x_train, np.random.default_rng(1))
    monkeypatch.setattr(measure, "_trained", lambda name, experiment: ({}, model))
    monkeypatch.setattr(measure, "rival", lambda *of: {"test": np.full(1000, 0.5)})
    monkeypatch.setattr(measure, "_gap", measure._gap.func)
    found = measure.gap(measure.plans()[0])
    row = {way: of.mean() for way, of in found.items()}
    assert row["values"] <= row["one_pass"]
    assert row["from_code"] <= row["values"] + 1e-9
    assert row["omp"] < row["nonnegative_omp"]
    assert row["from_omp"] <= row["omp"]
    assert row["raw_digits"] == 0.5
    for way in ("omp", "from_code", "from_omp"):
        assert (found["least"] <= found[way]).all()
    x, W = few.x_test - model.b_dec.astype(float), model.W_dec.astype(float)
    codes = orthogonal_mp_gram(W @ W.T, W @ x.T, n_nonzero_coefs=4).T
    assert row["omp"] == pytest.approx(((codes @ W - x) ** 2).mean())
    assert row["one_pass"] == pytest.approx(model.error(few.x_test), rel=1e-5)
    model.phi = activations.get("linear")
    assert "nonnegative_omp" not in measure.gap(measure.plans()[0])


def test_every_plan_is_an_experiment_of_its_own_size():
    plans = measure.plans()
    assert len({(plan.name, plan.seed) for plan in plans}) == len(plans)
    for plan in plans:
        experiment = plan.experiment
        assert (experiment.model.n_units, experiment.model.k) == (plan.n, plan.k)
        updates = experiment.training.epochs * np.ceil(
            measure.IMAGES[plan.images][1] / experiment.training.batch_size
        )
        assert updates == pytest.approx(3400 if plan.k < 20 else 6800, rel=0.05)
    twice = replace(plans[0], budget=2)
    assert twice.experiment.training.epochs == 2 * plans[0].experiment.training.epochs
    assert twice.settings != plans[0].settings


def test_a_verdict_draws_seeds_and_images_and_pairs_within_networks():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(2, 50)), 0.3 + rng.normal(size=(2, 50))
    row = measure.verdict(lambda: ours, lambda: theirs)
    apart = difference(ours, theirs)
    assert (row["difference"], row["half_width"]) == (apart.mean, apart.half_width)
    assert row["p"] == apart.p and row["ours"] - row["theirs"] == pytest.approx(apart.mean)
    # What both codes of a network share, its seed's luck, is no part of how far they are apart.
    luck = np.array([[0.0], [9.0]])
    lucky = measure.verdict(lambda: ours + luck, lambda: theirs + luck, within=True)
    fair = measure.verdict(lambda: ours, lambda: theirs, within=True)
    assert lucky["half_width"] == pytest.approx(fair["half_width"])
    far = measure.verdict(lambda: ours + luck, lambda: theirs + luck)
    assert far["half_width"] > 10 * fair["half_width"]


def test_every_contest_has_a_network_and_a_setting():
    sizes = {(plan.n, plan.k) for plan in measure.plans() if plan.images == measure.DIGITS}
    assert {(n, k) for _, n, k in measure.contests()} <= sizes
    for name, n, k in measure.contests():
        fixed = (measure.RELU_RATE if name == measure.RELU else 0.0,)
        settings = measure.OPEN[name][1] if name in measure.OPEN else fixed
        assert measure.chosen(name, n, k) in settings


@pytest.mark.parametrize("name", measure.RIVALS)
def test_a_rival_has_an_error_for_each_digit(few, name, monkeypatch):
    monkeypatch.setattr(measure, "WEIGHTS", (0.1, 2.4))
    monkeypatch.setitem(measure.IMAGES, measure.DIGITS, ("mnist5k", 3_500, 1))
    for cached in ("atoms", "priced"):
        monkeypatch.setattr(measure, cached, getattr(measure, cached).func)
    setting = measure.OPEN[name][1][-1] if name in measure.OPEN else measure.chosen(name, 12, 3)
    errors = measure.rival.func(name, 12, 3, 0, setting)
    assert errors["test"].shape == (30,)
    spread = few.x_test.astype(float).var(axis=0).mean()
    assert 0 < errors["test"].mean() < 1.5 * spread


def test_a_switched_network_differs_in_one_setting():
    for name, (plan, changed) in measure.switched().items():
        assert plan in measure.plans() and changed not in measure.plans()
        before, after = (one.experiment.model_dump() for one in (plan, changed))
        sections = {key for key in before if before[key] != after[key]}
        assert len(sections) == 1, name
    ours = measure.switched()["AuxK: 3,500 digits, n=400, k=50"][1].experiment
    assert ours.auxk.k_aux == 200  # as the recipe has it


def test_a_switched_row_is_held_against_the_unchanged(monkeypatch):
    rng = np.random.default_rng(0)
    plan, changed = measure.switched()["no noise: 3,500 digits, n=400, k=50"]
    each = {plan: rng.uniform(1, 2, size=50), changed: rng.uniform(1, 2, size=50)}
    monkeypatch.setattr(measure, "errors", each.get)
    monkeypatch.setattr(measure, "trained", lambda plan: ({"dead": 3}, None))
    (job,) = (job for job in measure.switch_jobs() if job.variant.startswith("no noise"))
    row, apart = job.measure(), difference(each[changed][None], each[plan][None])
    assert row["dead"] == 3 and row["theirs"] == each[plan].mean()
    assert (row["difference"], row["p"]) == (apart.mean, apart.p)
