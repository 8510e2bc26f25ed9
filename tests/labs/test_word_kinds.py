"""Chapter 20's tables: a unit is chosen on some words and judged by others."""

import numpy as np
import pytest

from ksae_lab.evaluation.metrics import fvu
from tests.labs.imported import module

words = module("words")


def test_a_draw_parts_all_words():
    drawn, other = words.data(0), words.data(1)
    parts = [set(getattr(drawn, f"y_{part}")) for part in ("train", "val", "test")]
    assert [len(part) for part in parts] == [7000, 1000, 2000]
    assert len(set.union(*parts)) == 10_000
    assert set(drawn.y_train) != set(other.y_train)
    everything = words.every_word()
    place = {word: i for i, word in enumerate(everything.y_train)}
    at = place[drawn.y_val[0]]
    np.testing.assert_array_equal(drawn.x_val[0], everything.x_train[at])


def test_what_was_learned_by_heart_is_worth_nothing_on_other_words():
    dataset = words.data(0)
    countries = list(words.kinds()["countries"])
    known = {row.tobytes() for row in dataset.x_train}
    of_kind = {
        row.tobytes()
        for part in ("train", "val", "test")
        for row, word in zip(
            getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}"), strict=True
        )
        if word in countries
    }

    def scores(x):
        keys = [row.tobytes() for row in x]
        by_heart = [key in of_kind and key in known for key in keys]
        return np.array([by_heart, np.zeros(len(x))], dtype=float).T

    def knows(x):
        return np.array([[row.tobytes() in of_kind] for row in x], dtype=float)

    assert words.of_kinds(scores, dataset)["countries"] == pytest.approx(0.5)
    assert words.of_kinds(knows, dataset)["countries"] == 1
    assert words.of_kinds(knows, dataset, shuffled=0)["countries"] < 0.7
    rest = [*dataset.y_val, *dataset.y_test]
    few = {name for name, of in words.kinds().items() if len(of & set(rest)) < words.LEAST}
    areas = words.of_kinds(knows, dataset)
    assert few and {name for name, area in areas.items() if np.isnan(area)} == few


def test_rivals_may_be_read_either_way():
    scores = np.array([[1.0, -2.0]])
    np.testing.assert_array_equal(words.either_way(scores), [[1, -2, -1, 2]])


def test_the_stored_networks_take_words_apart():
    x = words.every_word().x_train
    for n in words.SHOWN:
        model = words.stored(n)
        assert np.count_nonzero(model.encode(x[:50]), axis=1).max() == words.K
        assert fvu(x, model.reconstruct(x)) < 0.3
