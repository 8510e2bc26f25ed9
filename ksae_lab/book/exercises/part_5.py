"""Checkers of Part V's exercises."""

from collections.abc import Callable
from typing import Any

import numpy as np


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


CHECKERS: dict[str, Callable[[Any], str | None]] = {"18.1": _support_f1}
