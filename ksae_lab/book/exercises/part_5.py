"""Checkers of Part V's exercises."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ksae_lab.data.photographs import whitened
from ksae_lab.evaluation.separation import area_under_curve


def _support_f1(f1: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5):
        z, truth = ((rng.random((30, 12)) < share) * rng.normal(size=(30, 12)) for _ in "ab")
        pairs = [set(zip(*np.nonzero(code), strict=True)) for code in (z, truth)]
        both = len(pairs[0] & pairs[1])
        precision, recall = (both / len(pair) for pair in pairs)
        expected = 2 * precision * recall / (precision + recall)
        result = float(f1(z.copy(), truth.copy()))
        if abs(result - expected) < 1e-9:
            continue
        for value, name in ((precision, "precision"), (recall, "recall")):
            if abs(result - value) < 1e-9:
                return f"that is {name} alone; the other half is missing."
        if abs(result - (precision + recall) / 2) < 1e-9:
            return "the mean is harmonic: two, over the sum of one over each."
        if abs(result - np.mean((z != 0) == (truth != 0))) < 1e-9:
            return "units that are rightly silent do not count: nearly all are."
        return f"expected {expected:.4f}, got {result:.4f}; all samples count together."
    nothing = float(f1(np.zeros((3, 4)), np.ones((3, 4))))
    if nothing != 0:
        return f"where no unit is active it is 0, got {nothing}."
    return None


def _sure_until(answer: object) -> str | None:
    if not isinstance(answer, int) or isinstance(answer, bool):
        return "answer with a whole number, the largest k."
    if answer == 10:
        return None
    if answer == 5:
        return "with values of half the size it would be five; all are equal here."
    way = "fewer" if answer < 10 else "more"
    return f"({2 * answer} − 1) / 20 is {(2 * answer - 1) / 20:g}: that is {way} than are promised."


def _whiten(whiten: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for shape, cutoff in (((24, 24), 0.4), ((16, 30), 0.25)):
        image = rng.random(shape)
        result = np.asarray(whiten(image.copy(), cutoff))
        if result.shape != shape:
            return f"the image had shape {shape}, and the result has {result.shape}."
        if np.iscomplexobj(result):
            return "the inverse transform is complex; its real part is the image."
        if abs(result.std() - 1) > 1e-6:
            return f"the result varies by {result.std():.3g}, a standard deviation; expected 1."
        if not np.allclose(result, whitened(image, cutoff), atol=1e-6):
            if np.allclose(result, whitened(image, 100.0), atol=1e-3):
                return "the frequencies are equal, but those beyond the cutoff are not turned down."
            return "not the right factors: f is the length of the two frequencies, down and across."
    return None


def _area(area: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for ties in (False, True):
        scores, of_kind = rng.normal(size=40), rng.random(40) < 0.3
        scores = np.round(scores) if ties else scores
        expected = area_under_curve(scores[:, None], of_kind)[0]
        result = float(area(scores.copy(), of_kind.copy()))
        if abs(result - expected) < 1e-9:
            continue
        if abs(result - (1 - expected)) < 1e-9:
            return "that is the share of pairs in which the one of the kind is lower."
        if ties:
            return (
                f"with equal scores expected {expected:.4f}, got {result:.4f}: count them by half."
            )
        return f"expected {expected:.4f}, got {result:.4f}."
    return None


def _best_of_many(answer: object) -> str | None:
    if answer not in (0.5, 0.7, 0.9):
        return "answer 0.5, 0.7 or 0.9."
    return None if answer == 0.9 else "the best of a thousand is far from the mean of them."


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "18.1": _support_f1,
    "18.2": _sure_until,
    "19.1": _whiten,
    "20.1": _area,
    "20.2": _best_of_many,
}
