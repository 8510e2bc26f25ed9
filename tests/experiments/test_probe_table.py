"""A table of probes: networks and rivals, against scikit-learn by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA, SparseCoder

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.probe import best_probe
from ksae_lab.experiments import probe_rivals, probe_table
from ksae_lab.experiments.networks import Sweep
from ksae_lab.experiments.tables import fill
from ksae_lab.models.k_sparse import KSparseAutoencoder


@pytest.mark.slow
def test_the_table_holds_networks_and_rivals(ran, tmp_path, monkeypatch):
    table = tmp_path / "probe.csv"
    monkeypatch.setattr("ksae_lab.evaluation.probe.STRENGTHS", (0.001, 0.01))  # the quick ones
    fill(table, probe_table.probe_jobs(ran))
    rows = pd.read_csv(table, comment="#").set_index(["variant", "seed"])
    networks = [("k-sparse, k=2, α=1", s) for s in (0, 3)] + [
        ("k-sparse, k=2, α=2", s) for s in (0, 3)
    ]
    networks += [("k-sparse, k=8, α=1", s) for s in (0, 3)]  # 16 units cannot speak: there are 12
    rivals = [("raw pixels", 0)] + [(f"PCA, k={k}", 0) for k in (2, 8, 12)]
    atoms = [(f"dictionary + OMP, k={k}", s) for s in (0, 3) for k in (2, 8)]
    atoms += [(f"{of}, k={k}", s) for s in (0, 3) for k in (2, 8) for of in probe_rivals.UNTRAINED]
    assert sorted(rows.index) == sorted(networks + rivals + atoms)

    digits = ran.dataset
    model = ran.by_k_and_seed()[2, 3].model()
    model.k = 4
    expected = best_probe(
        *(
            (model.encode(x), y)
            for x, y in (
                (digits.x_train, digits.y_train),
                (digits.x_val, digits.y_val),
                (digits.x_test, digits.y_test),
            )
        )
    )
    row = rows.loc["k-sparse, k=2, α=2", 3]
    assert (row.C, row.validation, row.test) == pytest.approx(expected[:3])
    np.testing.assert_array_equal(probe_table.unpacked(row.wrong, 1000), expected.wrong)
    assert row.active == pytest.approx(np.count_nonzero(model.encode(digits.x_test)) / 1000)
    assert rows.loc["raw pixels", 0].active == pytest.approx((digits.x_test > 0).sum() / 1000)
    assert rows.loc["PCA, k=8", 0].active == 8
    assert rows.loc["dictionary + OMP, k=8", 3].active == pytest.approx(8, abs=0.01)
    assert not (rows.settings.groupby(level=0).nunique() == 0).any()


@pytest.mark.slow
def test_rivals_code_the_digits_as_scikit_learn_does(ran):
    digits = ran.dataset
    rivals = probe_rivals.Rivals(ran)
    pca = PCA(5, svd_solver="full").fit(digits.x_train.astype(float))
    found = rivals.pca(5)(digits.x_test)
    np.testing.assert_allclose(np.abs(found), np.abs(pca.transform(digits.x_test)), atol=1e-6)
    atoms, mean = rivals.atoms(10, 1, 0)
    coder = SparseCoder(atoms, transform_algorithm="omp", transform_n_nonzero_coefs=3)
    expected = coder.transform(digits.x_test - mean)
    np.testing.assert_allclose(rivals.omp(10, 3, 0)(digits.x_test), expected, atol=1e-6)
    assert not np.allclose(rivals.atoms(10, 1, 1).W, atoms)
    assert not np.allclose(rivals.atoms(10, 0.5, 0).W, atoms)


@pytest.mark.parametrize("k", [1, 7])
def test_untrained_codes_are_those_of_a_network_that_nobody_trained(k):
    x = load_dataset().x_train.astype(float)
    mean = x.mean(axis=0)
    for atoms in probe_rivals.UNTRAINED:
        model = KSparseAutoencoder(784, 20, k, rng=0, dtype=np.float64)
        rng = np.random.default_rng(3)
        if atoms == "random directions":
            W = rng.normal(size=(20, 784))
        else:
            W = x[rng.choice(len(x), 20, replace=False)] - mean
        model.W_enc[:] = (W / np.linalg.norm(W, axis=1)[:, None]).T
        model.b_dec[:], model.b_enc[:] = mean, 0
        encode = probe_rivals.untrained(atoms, x, 20, k, 3)
        np.testing.assert_allclose(encode(x[:50]), model.encode(x[:50]), atol=1e-9)


def test_a_word_holds_yes_and_no_of_each_image():
    wrong = np.random.default_rng(0).random(1003) < 0.1
    np.testing.assert_array_equal(probe_table.unpacked(probe_table.packed(wrong), 1003), wrong)


def test_fewer_rows_where_fewer_are_asked_for(ran):
    jobs = probe_table.probe_jobs(ran, 12, alphas=(1,), dictionary=False, untrained=())
    assert [job.variant for job in jobs] == [
        *["k-sparse, k=2, α=1"] * 2,
        *["k-sparse, k=8, α=1"] * 2,
        "raw pixels",
        *[f"PCA, k={k}" for k in (2, 8, 12)],
    ]


def test_there_are_no_more_components_than_pixels(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("sweep: {model.n_units: [1000]}")
    names = [job.variant for job in probe_table.probe_jobs(Sweep(plan, tmp_path))]
    assert "PCA, k=10" in names and "PCA, k=1000" not in names
