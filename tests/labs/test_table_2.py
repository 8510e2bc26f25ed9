"""Lab 2's table of dictionary learning: against scikit-learn's own coder."""

from dataclasses import replace

import pytest
from sklearn.decomposition import MiniBatchDictionaryLearning, SparseCoder

from ksae_lab.data.datasets import load_dataset
from ksae_lab.nn.losses import mse
from tests.labs.imported import module

measure = module("table_2")


def test_a_row_is_what_scikit_learn_says(monkeypatch):
    small = {"n_components": 15, "batch_size": 64, "max_iter": 2}
    monkeypatch.setattr(measure, "SETTINGS", small)
    digits = load_dataset()
    digits = replace(digits, x_train=digits.x_train[:300], x_test=digits.x_test[:40])
    row = measure.measure(digits, 1, 5, ks=(2, 6))
    mean = digits.x_train.mean(axis=0, dtype=float)
    learner = MiniBatchDictionaryLearning(alpha=1, random_state=5, **small)
    atoms = learner.fit(digits.x_train.astype(float) - mean).components_
    for k in (2, 6):
        coder = SparseCoder(atoms, transform_algorithm="omp", transform_n_nonzero_coefs=k)
        for part, x in {"test": digits.x_test, "validation": digits.x_val}.items():
            drawn = mean + coder.transform(x - mean) @ atoms
            assert row[f"{part}_{k}"] == pytest.approx(mse(drawn, x), rel=1e-5)
