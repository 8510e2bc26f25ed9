"""Chapter 14's table: what it counts, on a few digits."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.code_length import code_bits, quantise, support_bits
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments import networks, saved_models
from ksae_lab.experiments.build import build
from ksae_lab.experiments.networks import Sweep
from ksae_lab.models.k_sparse import KSparseAutoencoder
from tests.labs.imported import module

measure = module("code_cost")


@pytest.fixture(scope="module")
def digits():
    whole = load_dataset()
    return replace(
        whole, x_train=whole.x_train[:200], x_val=whole.x_val[:30], x_test=whole.x_test[:40]
    )


@pytest.fixture(autouse=True)
def few_settings(monkeypatch):
    monkeypatch.setattr(measure, "STEPS", (0.5, 4.0))
    monkeypatch.setattr(measure, "QUALITIES", (10, 90))


def test_rows_of_a_code(digits):
    """One number for each digit, its ink: everything can be counted by hand."""

    def encode(x):
        return x.sum(axis=1, keepdims=True) / 10

    def decode(z):
        return np.repeat(z / 30 - 0.05, 784, axis=1)

    fine, coarse = measure.coded(encode, decode, digits)
    assert (fine["step"], coarse["step"]) == (0.5, 4.0)
    for row in (fine, coarse):
        inks = [encode(x.astype(float)) / row["step"] for x in (digits.x_test, digits.x_val)]
        drawn = [np.rint(ink) * row["step"] / 30 - 0.05 for ink in inks]
        assert row["unclipped"] == pytest.approx(np.mean((drawn[0] - digits.x_test) ** 2))
        clipped = [np.clip(grey, 0, 1) for grey in drawn]
        assert row["mse"] == pytest.approx(np.mean((clipped[0] - digits.x_test) ** 2))
        assert row["validation_mse"] == pytest.approx(np.mean((clipped[1] - digits.x_val) ** 2))
        told, val, train = (
            quantise(encode(x.astype(float)), row["step"])
            for x in (digits.x_test, digits.x_val, digits.x_train)
        )
        assert row["bits"] == pytest.approx(code_bits(told, train).mean())
        assert row["support_bits"] == pytest.approx(support_bits(told, train).mean())
        assert row["validation_bits"] == pytest.approx(code_bits(val, train).mean())


def test_pca_rounds_every_axis_alike(digits):
    rows = {
        name: pd.DataFrame(measure.coded(axes.encode, axes.decode, digits)).set_index("step")
        for name, axes in measure.pca(digits.x_train).items()
    }
    few, many = rows["100 axes"], rows["all axes"]
    assert (few["bits"] < many["bits"]).all()
    assert (many["unclipped"] <= few["unclipped"]).all()
    assert all((of["mse"] < of["unclipped"]).all() for of in rows.values())
    assert many["bits"][0.5] > 3 * many["bits"][4.0]
    # on axes that vary, rounding is the whole error, step² / 12; on others less
    assert many["unclipped"][0.5] < 0.5**2 / 12 + 0.005


@pytest.fixture
def sweep(digits, tmp_path, monkeypatch):
    """Networks that have not learned, with one unit and with four, two seeds each."""
    plan = tmp_path / "plan.yaml"
    plan.write_text("sweep: {model.k: [1, 4], seed: [0, 1]}", encoding="utf-8")
    sweep = Sweep(plan, tmp_path)
    monkeypatch.setattr(networks, "load_dataset", lambda name: digits)
    for network in sweep.networks:
        rng = np.random.default_rng(network.seed)
        model = KSparseAutoencoder(784, 100, network.k, rng=rng)
        model.init_from_data(digits.x_train, rng)
        saved_models.save_model(model, network.card)
    return sweep


def test_rows_of_a_sweep(digits, sweep):
    rows = pd.DataFrame(measure.k_sparse(sweep))
    assert list(zip(rows["k"], rows["seed"], strict=True))[::2] == [(1, 0), (1, 1), (4, 0), (4, 1)]
    assert set(rows["method"]) == {"k-sparse"}
    bits = rows[rows["step"] == 0.5].groupby("k")["bits"].mean()
    assert 2 < bits[1] < bits[4]
    last, model = rows.iloc[-2], sweep.networks[-1].model()
    x = digits.x_test.astype(float)
    x_hat = model.decode(np.rint(model.encode(x) / 0.5) * 0.5)
    assert last["unclipped"] == pytest.approx(np.mean((x_hat - x) ** 2))


def test_rows_of_a_network_that_is_trained_for_them(digits, monkeypatch):
    planned = measure.expand(measure.HALF)["k=10, half", 0]
    brief = planned.model_copy(
        update={"training": planned.training.model_copy(update={"epochs": 2})}
    )
    monkeypatch.setattr(measure, "expand", lambda plan: {("k=10, half", 0): brief})
    rows = pd.DataFrame(measure.half(digits))
    about = rows[["method", "k", "seed"]].drop_duplicates().to_numpy().tolist()
    assert about == [["k-sparse, half as long", 10, 0]]
    run = build(brief, digits)
    run.fit()
    expected = list(measure.coded(run.model.encode, run.model.decode, digits))
    assert rows["mse"].tolist() == pytest.approx([row["mse"] for row in expected], rel=1e-3)


def test_a_code_is_told_as_finely_as_the_rate_allows(digits):
    axes = measure.pca(digits.x_train)["100 axes"]
    found = measure.at_rate(axes.encode, axes.decode, digits, 40)
    [low, high] = (
        measure.at_rate(axes.encode, axes.decode, digits, rate)["errors"].mean()
        for rate in (20, 80)
    )
    assert found["errors"].shape == (40,) and high < found["errors"].mean() < low
    steps = np.geomspace(1, 8, 200)
    x = (digits.x_train, digits.x_val, digits.x_test)
    train, val, test = (axes.encode(part.astype(float)) for part in x)
    bits = [code_bits(quantise(val, s), quantise(train, s)).mean() for s in steps]
    step = steps[np.argmin(np.abs(np.subtract(bits, 40)))]
    assert found["bits"] == pytest.approx(
        code_bits(quantise(test, step), quantise(train, step)).mean(), rel=0.03
    )
    drawn = np.clip(axes.decode(np.rint(val / step) * step), 0, 1)
    assert found["validation"] == pytest.approx(np.mean((drawn - digits.x_val) ** 2), rel=0.03)
    assert measure.at_rate(lambda x: x[:, :1], axes.decode, digits, 40) is None


def test_the_best_network_meets_the_best_pca_at_a_rate(digits, sweep):
    row = measure.compared(sweep, 20)
    told = {}
    for network in sweep.networks:
        model = network.model()
        code = measure.at_rate(model.encode, model.decode, digits, 20)
        told.setdefault(network.k, []).append(code)
    k = min(told, key=lambda k: np.mean([code["validation"] for code in told[k]]))
    assert (row["k"], row["seeds"], row["images"]) == (k, 2, 40)
    ours = [code["errors"] for code in told[k]]
    rivals = [
        measure.at_rate(axes.encode, axes.decode, digits, 20)
        for axes in measure.rival_axes(sweep).values()
    ]
    theirs = min(rivals, key=lambda rival: rival["validation"])["errors"]
    expected = difference(np.array(ours), theirs[None])
    assert row["difference"] == expected.mean == pytest.approx(row["mse"] - row["pca_mse"])
    assert (row["half_width"], row["p"]) == (expected.half_width, expected.p)
    assert measure.rival_axes(sweep).keys() > measure.pca(digits.x_train).keys()
    # one unit cannot spend so much, even with the finest step
    assert k == 1 and measure.compared(sweep, 40)["k"] == 4


def test_rows_of_jpeg(digits):
    rows = pd.DataFrame(measure.jpeg(digits.x_test)).set_index(["method", "quality"])
    x = np.rint(digits.x_test * 255).astype(np.uint8).reshape(-1, 28, 28)
    sizes, errors = [], []
    for digit in x:
        file = io.BytesIO()
        Image.fromarray(digit).save(file, "JPEG", quality=90)
        sizes.append(8 * len(file.getvalue()))
        errors.append(np.mean((np.asarray(Image.open(file), float) - digit) ** 2) / 255**2)
    assert rows["bits"]["JPEG, file", 90] == pytest.approx(np.mean(sizes))
    assert rows["mse"]["JPEG, file", 90] == pytest.approx(np.mean(errors))
    # the header of a file is the same for all, at all qualities
    headers = rows["bits"].loc["JPEG, file"] - rows["bits"].loc["JPEG, scan"]
    assert headers[10] == headers[90] > 8 * 300
    np.testing.assert_array_equal(rows["mse"].loc["JPEG, scan"], rows["mse"].loc["JPEG, file"])
    # blocks of eight stay within a digit's square, so the mosaic is as wrong as the files
    mosaic = rows.loc["JPEG, mosaic"]
    assert mosaic["mse"][90] == pytest.approx(rows["mse"]["JPEG, file", 90], rel=0.3)
    assert mosaic["bits"][90] == pytest.approx(rows["bits"]["JPEG, scan", 90], rel=0.3)
    assert (mosaic["bits"][10], mosaic["mse"][90]) < (mosaic["bits"][90], mosaic["mse"][10])


def test_a_scan_is_counted_without_header_and_end():
    header = b"\xff\xd8 header \xff\xda\x00\x05abc"  # two bytes of length, which count themselves
    assert measure.scan_length(header + b"12345" + b"\xff\xd9") == 5


def test_the_table_holds_all_methods(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "k_sparse", lambda sweep: iter([{"k": 1, "mse": 1 / 3}]))
    monkeypatch.setattr(measure, "half", lambda digits: iter([{"k": 10, "mse": 2 / 3}]))
    table = tmp_path / "table.csv"
    measure.rates(table, SimpleNamespace(dataset=digits))
    rows = pd.read_csv(table, comment="#")
    assert rows["mse"][0] == 0.333333
    assert len(rows) == 1 + 1 + 2 * 2 + 3 * 2
