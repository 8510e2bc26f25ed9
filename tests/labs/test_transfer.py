"""Lab 10's table and pictures, against the same things done by hand on a few images."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.statistics import above_zero, difference
from ksae_lab.experiments import sweep
from ksae_lab.experiments.build import build
from ksae_lab.experiments.networks import Sweep
from ksae_lab.experiments.tables import fill
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.topk import top_k_mask
from tests.labs.imported import module

transfer = module("transfer")

K = 3


@pytest.fixture(scope="module")
def digits():
    whole = load_dataset()
    return replace(whole, x_train=whole.x_train[:200], x_test=whole.x_test[:20])


@pytest.fixture(scope="module")
def others(digits):
    """What is no digit: negatives, brighter below."""
    shade = np.linspace(0.5, 1, 784, dtype=np.float32)
    return replace(digits, x_train=(1 - digits.x_train) * shade, x_test=(1 - digits.x_test) * shade)


@pytest.fixture(scope="module")
def model(digits):
    """A network whose biases, mean image and encoder are all its own."""
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(784, 30, K, rng=rng, dtype=np.float64)
    model.init_from_data(digits.x_train, rng)
    model.W_enc += 0.05 * rng.normal(size=model.W_enc.shape)
    model.b_enc[:] = rng.normal(size=30) - 2
    model.b_dec += 0.1 * rng.random(784)
    return model


def error_by_omp(W, mean, x, k):
    """Take the atom that fits best what is left, and fit all that were taken anew."""
    left = x - mean
    for row, image in enumerate(x - mean):
        taken = []
        for _ in range(k):
            taken.append(np.argmax(np.abs(W @ left[row])))
            part, *_ = np.linalg.lstsq(W[taken].T, image)
            left[row] = image - part @ W[taken]
    return left


def framed(images):
    """The share of squares in the four outermost rows and columns."""
    where = np.zeros((28, 28), bool)
    where[:4] = where[-4:] = where[:, :4] = where[:, -4:] = True
    return np.sum(images[:, where.ravel()] ** 2) / np.sum(images**2)


def test_a_row_of_a_network(model, digits, others):
    before = model.b_dec.copy()
    targets = {"digits": transfer.target(digits), "others": transfer.target(others)}
    row, _ = transfer.errors(lambda: transfer.of_network(model), targets, K)
    W = model.W_dec
    expected = {}
    for on, dataset in {"digits": digits, "others": others}.items():
        x, own = dataset.x_test.astype(float), dataset.x_train.astype(float).mean(axis=0)
        for suffix, mean in {"": model.b_dec, "_mean": own}.items():
            h = (x - mean) @ model.W_enc + model.b_enc
            z = np.where(top_k_mask(h, K), np.maximum(h, 0), 0)
            best = np.zeros_like(x)
            for image, (code, wanted) in enumerate(zip(z, x - mean, strict=True)):
                part, *_ = np.linalg.lstsq(W[code > 0].T, wanted)
                best[image] = part @ W[code > 0]
            left = error_by_omp(W, mean, x, K)
            expected[f"{on}_one_pass{suffix}"] = np.mean((z @ W + mean - x) ** 2)
            expected[f"{on}_refit{suffix}"] = np.mean((best + mean - x) ** 2)
            expected[f"{on}_omp{suffix}"] = np.mean(left**2)
            if not suffix:
                expected[f"{on}_active"] = np.mean(np.sum(z != 0, axis=1))
        directions = np.linalg.svd(W, full_matrices=False)[2]
        inside = (x - own) @ directions.T
        expected[f"{on}_span"] = np.sum(inside**2) / np.sum((x - own) ** 2)
        expected[f"{on}_frame"] = framed(left)
        # The residual is the image less its OMP code's drawing, which tells the code.
        a = np.linalg.lstsq(W.T, (x - own - left).T)[0].T
        expected[f"{on}_negative"] = np.mean(a[np.abs(a) > 1e-9] < 0)
    expected["spread"] = np.mean(1 / np.sum((W**2 / np.sum(W**2, axis=1)[:, None]) ** 2, axis=1))
    expected["atoms_frame"] = framed(W)
    assert row.pop("seconds") >= 0
    assert row == pytest.approx(expected, rel=1e-4)
    assert row["digits_active"] != row["others_active"] and 0 < row["others_negative"] < 1
    np.testing.assert_array_equal(model.b_dec, before)


def test_a_target_is_the_first_test_images_and_the_mean_of_training(digits, monkeypatch):
    monkeypatch.setattr(transfer, "IMAGES", 7)
    target = transfer.target(digits)
    np.testing.assert_array_equal(target.x, digits.x_test[:7])
    np.testing.assert_allclose(target.mean, digits.x_train.astype(float).mean(axis=0))
    assert target.x.dtype == target.mean.dtype == np.float64


def test_controls(digits, others):
    x = digits.x_train.astype(float)
    drawn, again = transfer.images(x, 0), transfer.images(x, 1)
    centred = x - x.mean(axis=0)
    cosines = drawn.W @ centred.T / np.linalg.norm(centred, axis=1)
    np.testing.assert_allclose(cosines.max(axis=1), 1)
    assert len(set(cosines.argmax(axis=1))) == 100
    assert not np.allclose(drawn.W, again.W)
    blind = transfer.noise(784, 0)
    np.testing.assert_allclose(np.linalg.norm(blind.W, axis=1), 1)
    assert abs(blind.W.mean()) < 1e-3
    # They have no mean image of their own, and no glance.
    row, _ = transfer.errors(lambda: drawn, {"others": transfer.target(others)}, K)
    assert {name for name in row if "omp" in name or "pass" in name} == {"others_omp_mean"}


def test_components_are_those_of_pca(digits, others):
    pca = PCA(K, svd_solver="full").fit(digits.x_train.astype(float))
    row, _ = transfer.errors(
        lambda: transfer.components(digits.x_train, K), {"others": transfer.target(others)}, K
    )
    x = others.x_test.astype(float)
    expected = np.mean((pca.inverse_transform(pca.transform(x)) - x) ** 2)
    assert row["others_one_pass"] == pytest.approx(expected, rel=1e-4)
    # OMP may take any three of the hundred.
    assert row["others_omp"] < row["others_one_pass"]


def test_no_atoms_leave_the_variance(digits, others):
    x, mean = others.x_test.astype(float), others.x_train.astype(float).mean(axis=0)
    nothing = transfer.source(("mean of digits", 0, 0), None, {"digits": digits})
    row, _ = transfer.errors(lambda: nothing, {"others": transfer.target(others)}, 0)
    assert row["others_omp_mean"] == pytest.approx(np.mean((x - mean) ** 2), rel=1e-4)
    wrong = digits.x_train.astype(float).mean(axis=0)
    assert row["others_omp"] == pytest.approx(np.mean((x - wrong) ** 2), rel=1e-4)
    assert row["others_frame"] == pytest.approx(framed(x - mean), rel=1e-4)
    assert row["others_span"] == 0


PLANS = {
    "digits": {"sweep": {"model.k": [2, K], "seed": [0, 4]}},
    "clothes": {
        "optimizer": {"learning_rate": 0.01},  # or both sweeps would be the same
        "sweep": {"model.k": [K], "seed": [0, 1], "model.n_units": [30, 40]},
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, digits, others):
    """Two small sweeps, their images, and the table that comes of them; pictures lie beside it."""
    folder, sweeps = tmp_path_factory.mktemp("transfer"), []
    data = {"digits": digits, "clothes": others}
    for name, varied in PLANS.items():
        plan = folder / f"{name}.yaml"
        training = {"epochs": 1, "batch_size": 500}
        plan.write_text(yaml.safe_dump({"model": {"n_units": 30}, "training": training} | varied))
        of = Sweep(plan, folder / name)
        of.__dict__["dataset"] = data[name]  # cached, so that no clothes are loaded
        wanted = [run for run in of.runs if run.experiment.model.n_units == 30]
        sweep.run(wanted, of.out)
        sweeps.append(of)
    table = folder / "table.csv"
    with pytest.MonkeyPatch.context() as patch:
        own = {"KS": (K,), "SEEDS": (0, 1, 4), "UNITS": 30, "FEW": 100, "SHOWN_K": K}
        own["kept"] = transfer.kept.func
        for name, value in own.items():
            patch.setattr(transfer, name, value)
        fill(table, transfer.jobs(*sweeps))
        fill(folder / "verdicts.csv", transfer.verdict_jobs(*sweeps))
        transfer.draw(folder / "pictures.npz", *sweeps)
        plan = transfer.plan(*sweeps)
    return dict(zip(PLANS, sweeps, strict=True)), plan, table, data


def stored(of, seed):
    """The network of a sweep with 30 units, of which K may be active."""
    return of.by_k_and_seed(30)[K, seed].model()


def test_every_row_is_planned_and_measured(made):
    sweeps, plan, path, data = made
    table = pd.read_csv(path, comment="#")
    rows = list(zip(table.variant, table.seed, strict=True))
    assert rows == [(f"{name}, k={k}", seed) for name, k, seed in plan]
    seeds = {name: set(rows.seed) for name, rows in table.groupby("variant")}
    assert {name: found for name, found in seeds.items() if name.startswith("network")} == {
        f"network of digits, k={K}": {0, 4},
        f"network of clothes, k={K}": {0, 1},
        f"network of few clothes, k={K}": {0},
    }
    table = table.set_index(["variant", "seed"])
    for of, seed in (("digits", 4), ("clothes", 1)):
        row = table.loc[f"network of {of}, k={K}", seed]
        for on in ("digits", "clothes"):
            error = stored(sweeps[of], seed).error(data[on].x_test)
            assert row[f"{on}_one_pass"] == pytest.approx(error, rel=1e-4)


def test_a_verdict_draws_networks_and_images(made):
    sweeps, _, path, data = made
    found = pd.read_csv(path.with_name("verdicts.csv"), comment="#").set_index("variant")
    assert len(found) == 2 * len(transfer.CONTESTS) - 1  # few clothes draw digits only
    x = data["digits"].x_test.astype(float)
    foreign = [stored(sweeps["clothes"], seed) for seed in (0, 1)]
    passes = np.stack([((net.reconstruct(x) - x) ** 2).mean(axis=1) for net in foreign])
    nothing = ((x - data["digits"].x_train.mean(axis=0)) ** 2).mean(axis=1)
    expected = difference(passes, nothing[None])
    row = found.loc[f"digits, k={K}: one pass over nothing"]
    assert row.difference == pytest.approx(expected.mean, rel=1e-3)
    assert row.half_width == pytest.approx(expected.half_width, rel=1e-3)
    # Codes of the same networks are compared within each.
    refits = np.stack(
        [
            transfer.errors(lambda net=net: transfer.of_network(net), targets, K)[1]["digits_refit"]
            for net in foreign
            for targets in [{"digits": transfer.target(data["digits"])}]
        ]
    )
    row = found.loc[f"digits, k={K}: best values over one pass"]
    within = above_zero(refits - passes)
    assert row.difference == pytest.approx(within.mean, rel=1e-3) and row.difference < 0
    assert row.half_width == pytest.approx(within.half_width, rel=1e-2)


def test_few_clothes_have_the_recipe_of_digits(made):
    _, plan, path, data = made
    few = replace(data["clothes"], x_train=data["clothes"].x_train[:100])
    run = build(plan["network of digits", K, 0].experiment, few)
    run.fit()
    table = pd.read_csv(path, comment="#").set_index("variant")
    found = table.loc[f"network of few clothes, k={K}", "clothes_one_pass"]
    assert found == pytest.approx(run.model.error(few.x_test), rel=1e-4)


def test_the_pictures_are_what_the_networks_draw(made):
    sweeps, _, path, data = made
    shown = dict(np.load(path.with_name("pictures.npz")))
    models = {name: stored(of, 0) for name, of in sweeps.items()}
    for on, other in (("digits", "clothes"), ("clothes", "digits")):
        x = data[on].x_test[:8]
        for name, image in {
            "original": x,
            "own": models[on].reconstruct(x),
            "one_pass": models[other].reconstruct(x),
        }.items():
            expected = 255 * np.clip(image, 0, 1)
            np.testing.assert_allclose(shown[f"{on}_{name}"], expected, atol=0.51)
        mean = data[on].x_train.astype(float).mean(axis=0)
        left = error_by_omp(models[other].W_dec.astype(float), mean, x.astype(float), K)
        expected = 255 * np.clip(x - left, 0, 1)
        np.testing.assert_allclose(shown[f"{on}_omp"], expected, atol=0.51)
        W = models[on].W_dec[:16]
        np.testing.assert_allclose(shown[f"{on}_atoms"] * np.abs(W).max() / 127, W, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "of"), [("FEW", {"network of few clothes"}), ("IMAGES", "all"), ("UNITS", "all")]
)
def test_settings_that_differ_have_another_hash(made, monkeypatch, name, of):
    plan = made[1]
    before = {key: transfer.settings(key, network) for key, network in plan.items()}
    assert len(set(before.values())) == len({(key, plan[key]) for key in plan if plan[key]}) + len(
        {key[:2] for key in plan if not plan[key]}
    )
    monkeypatch.setattr(transfer, name, 29)
    changed = {key[0] for key, of in plan.items() if transfer.settings(key, of) != before[key]}
    assert changed == ({key[0] for key in plan} if of == "all" else of)
