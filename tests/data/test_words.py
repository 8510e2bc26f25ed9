"""The words that come with the package: whole, of length 1, and near to what they are near to."""

import numpy as np
import pytest

from ksae_lab.data import words
from ksae_lab.data.datasets import load_dataset


def test_words_come_with_the_package():
    found = words.read_words()
    assert found.x.shape == (10_000, 100) and found.x.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.x, axis=1), 1, atol=1e-6)
    assert list(found.y[:3]) == ["the", "of", "to"] and len(set(found.y)) == 10_000


@pytest.mark.parametrize(
    ("word", "near"), [("paris", "london"), ("monday", "tuesday"), ("blue", "red")]
)
def test_words_of_a_kind_are_near(word, near):
    found = words.read_words()
    x = found.x[list(found.y).index(word)]
    assert near in found.y[np.argsort(-found.x @ x)[:20]]


def test_the_data_set_has_its_words_as_labels():
    data = load_dataset("words")
    assert len(data.x_train) == 7000 and len(data.x_test) == 2000
    assert not set(data.y_train) & set(data.y_test) and "paris" in {
        *data.y_train,
        *data.y_test,
        *data.y_val,
    }


def test_other_words_are_refused(monkeypatch, tmp_path):
    with np.load(words.FILE) as arrays:
        changed = dict(arrays)
    changed["vectors"][0, 0] += 1
    np.savez(tmp_path / "words.npz", **changed)
    monkeypatch.setattr(words, "FILE", tmp_path / "words.npz")
    with pytest.raises(ValueError, match="install ksae-lab again"):
        words.read_words()
