"""Chapter 15's table of anomalies."""

from dataclasses import replace

import numpy as np
import pytest

from ksae_lab.data.datasets import load_dataset
from tests.labs.imported import module

anomalies = module("code_use", "anomalies")


@pytest.fixture(scope="module")
def digits():
    """Three classes only."""
    whole = load_dataset()
    parts = {}
    for part in ("train", "val", "test"):
        few = np.isin(getattr(whole, f"y_{part}"), (0, 1, 7))
        parts |= {f"{axis}_{part}": getattr(whole, f"{axis}_{part}")[few] for axis in "xy"}
    return replace(whole, **parts)


def test_what_is_an_anomaly_is_not_learned(digits):
    one, but = (anomalies.learned(digits, task, 7) for task in ("one class", "all but one"))
    assert set(one.y_train) == set(one.y_val) == {7}
    assert set(but.y_train) == set(but.y_val) == {0, 1}
    assert len(one.x_train) + len(but.x_train) == len(digits.x_train)
    np.testing.assert_array_equal(one.x_train, digits.x_train[digits.y_train == 7])
    for known in (one, but):
        assert known.x_test is digits.x_test


def test_an_area_is_the_share_of_pairs_in_the_right_order(digits):
    """The score is the number of bright pixels, whatever was learned."""

    def learn(known):
        return lambda x: (x > 0.5).sum(axis=1)

    x, y = (digits.x_test > 0.5).sum(axis=1), digits.y_test
    row = anomalies.areas(learn, "one class", digits)
    strange, known = x[y != 7][:, None], x[y == 7]
    by_pairs = np.mean((strange > known) + (strange == known) / 2)
    assert row["class_7"] == pytest.approx(by_pairs, abs=1e-4)
    assert row["mean"] == pytest.approx(np.mean([row[f"class_{c}"] for c in (0, 1, 7)]), abs=1e-4)
    assert set(row) == {"class_0", "class_1", "class_7", "mean"}
    other = anomalies.areas(learn, "all but one", digits)
    assert other["class_7"] == pytest.approx(1 - by_pairs, abs=1e-4)


@pytest.mark.parametrize("name", ["PCA, k=3", "nearest digit", "isolation forest", "one-class SVM"])
def test_every_method_finds_a_zero_strange_that_has_learned_ones(digits, name):
    methods = {name: learn for name, _, learn in anomalies.methods("one class", 0)}
    row = anomalies.areas(methods[name], "one class", digits)
    assert row["class_1"] > 0.97


def test_a_network_scores_by_its_own_errors(digits, monkeypatch):
    monkeypatch.setitem(anomalies.TASKS, "one class", 2)
    known = anomalies.learned(digits, "one class", 1)
    score = anomalies.by_network("one class", 3, 5, 1, known)
    model = anomalies.network("one class", 3, 5, 1, known)
    assert model.k == 3
    x = digits.x_test
    assert score(x).mean() == pytest.approx(model.error(x), rel=1e-4)
    worst = score(x).argmax()
    assert model.error(x[worst, None]) == pytest.approx(score(x)[worst], rel=1e-4)


def test_every_row_is_planned_once():
    jobs = list(anomalies.jobs())
    assert (
        len({(job.variant, job.seed) for job in jobs}) == len(jobs) == 5 * (3 + 1 + 2) + 6 + 4 + 2
    )
