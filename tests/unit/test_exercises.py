"""Each checker accepts a right answer and tells the likely wrong ones apart."""

import numpy as np
import pytest

from ksae_lab.exercises import _CHECKERS, check
from ksae_lab.topk import top_k_mask


def feedback(capsys, exercise, answer):
    check(exercise, answer)
    return capsys.readouterr().out


def kept_energy(x, c, k):
    return ((x**2).sum() - np.sort(c**2)[:, ::-1][:, :k].sum()) / x.size


def forgets_the_rest(x, c, k):
    return np.sort(c**2)[:, : c.shape[1] - k].sum() / x.size


def stable_sort(h, k):
    mask = np.zeros(h.shape, dtype=bool)
    np.put_along_axis(mask, np.argsort(-h, kind="stable")[:, :k], True, axis=1)
    return mask


def ties_from_the_right(h, k):
    return stable_sort(h[:, ::-1], k)[:, ::-1]


def threshold(h, k):
    return h >= np.sort(h)[:, [-k]]


def masked(h, k, dz):
    return dz * top_k_mask(h, k)


def everyone(h, k, dz):
    return dz


def overwrites_its_input(h, k):
    h[:] = 0
    mask = np.zeros(h.shape, dtype=bool)
    mask[:, :k] = True
    return mask


@pytest.mark.parametrize(
    ("exercise", "answer", "says"),
    [
        ("1.1", "median", "right."),
        ("1.1", "mean", "not squared"),
        ("1.1", "black", "brighter"),
        ("1.1", "white", "'black', 'median' or 'mean'"),
        ("1.2", kept_energy, "right."),
        ("1.2", forgets_the_rest, "no axis sees"),
        ("1.2", lambda x, c, k: x, "single number"),
        ("2.1", 4, "right."),
        ("2.1", 2, "how many reach"),
        ("2.2", stable_sort, "right."),
        ("2.2", ties_from_the_right, "lowest first"),
        ("2.2", overwrites_its_input, "lowest first"),
        ("2.2", threshold, "keeps 5 units where k = 0"),
        ("2.2", lambda h, k: np.argsort(h), "expected a boolean array"),
        ("3.1", {"softplus", "squared relu"}, "right."),
        ("3.1", {"softplus"}, "one more"),
        ("3.1", {"softplus", "arctan"}, "derivative of arctan"),
        ("3.1", ["softplus"], "a set of names"),
        ("3.2", masked, "right."),
        ("3.2", everyone, "the slopes are"),
        ("3.2", lambda h, k, dz: 0.9 * masked(h, k, dz), "the slopes are"),
        ("3.2", lambda h, k, dz: dz[0], "expected an array of shape (4, 6)"),
    ],
)
def test_feedback(capsys, exercise, answer, says):
    said = feedback(capsys, exercise, answer)
    assert said.startswith(f"Exercise {exercise}: ")
    assert says in said
    assert ("not yet" in said) == (says != "right.")


def test_every_exercise_is_tested_here():
    (cases,) = (m.args[1] for m in test_feedback.pytestmark if m.name == "parametrize")
    assert {case[0] for case in cases if case[2] == "right."} == set(_CHECKERS)


def test_an_answer_that_fails_gets_a_hint(capsys):
    assert "ZeroDivisionError" in feedback(capsys, "2.2", lambda h, k: 1 / 0)
    assert "AttributeError" in feedback(capsys, "3.2", lambda h, k, dz: h.no_such_thing)


def test_unknown_exercise():
    with pytest.raises(ValueError, match=r"'9\.9'; choose from 1\.1"):
        check("9.9", 1)
