"""The table on data of one's own: splits, settings and errors are those that it says."""

import numpy as np
import pytest
from sklearn.decomposition import SparseCoder

from ksae_lab.sklearn import KSparseCoder
from tests.labs.imported import module

measure = module("own_data")


def test_parts_share_no_rows_and_are_scaled_by_the_training_rows():
    whole = measure.load("patches")
    parts = measure.split("patches", 1)
    assert [len(part) for part in parts] == [120, 40, 40]
    assert parts[0].mean(axis=0) == pytest.approx(0) and parts[0].var() == pytest.approx(1)
    together = np.vstack(parts)
    assert len(np.unique(together, axis=0)) == len(np.unique(whole, axis=0)) == 200
    # One number for all features: what varies most before does so afterwards, and as many times.
    scaled, raw = together.var(axis=0), whole.var(axis=0)
    np.testing.assert_allclose(scaled / scaled.max(), raw / raw.max())


def test_a_row_is_what_estimator_and_rival_say(monkeypatch):
    monkeypatch.setattr(measure, "N_UNITS", {"patches": 12})
    monkeypatch.setattr(measure, "NOISES", (0.3,))
    monkeypatch.setattr(measure, "ALPHAS", (2, 9))
    quick = {"n_steps": 50, "random_state": 4}
    monkeypatch.setattr(
        measure, "coder", lambda data, k, seed, sign, noise: coder(sign, noise, k, quick)
    )
    measure.dictionaries.cache_clear()
    row = measure.measure("patches", 3, 4)
    train, validation, test = measure.split("patches", 4)
    ours = {sign: coder(sign, 0.3, 3, quick).fit(train) for sign in (True, False)}
    best = max(ours, key=lambda sign: ours[sign].score(validation))
    assert (row["positive_code"], row["noise"]) == (best, 0.3)
    assert row["k_sparse"] == pytest.approx(1 - ours[best].score(test))

    errors = {}
    for alpha in (2, 9):
        atoms = measure.learner("patches", 4, alpha).fit(train).components_
        search = SparseCoder(atoms, transform_algorithm="omp", transform_n_nonzero_coefs=3)
        errors[alpha] = [
            ((x - search.transform(x) @ atoms) ** 2).sum() / (x**2).sum()
            for x in (validation, test)
        ]
    chosen = min(errors, key=lambda alpha: errors[alpha][0])
    assert row["alpha"] == chosen and row["dictionary"] == pytest.approx(errors[chosen][1])
    assert row["k_sparse_omp"] < row["k_sparse"]  # a search finds at least what one look does
    measure.dictionaries.cache_clear()


def coder(sign, noise, k, options):
    return KSparseCoder(12, k, positive_code=sign, noise=noise, **options)
