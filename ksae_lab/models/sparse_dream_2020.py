"""SparseDream's learning rules as they were found, errors included: for history, and nothing else.

In December 2020 DGeisz wrote them into a notebook, saw the network collapse, suspected his
gradients, and published it all. Chapters 9 and 10 run them and find what is wrong.
To train a SparseDream, use its own gradients.
"""

from dataclasses import dataclass

import numpy as np

from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.nn.inputs import rows
from ksae_lab.nn.rows import unit_rows


@dataclass(frozen=True)
class Seen:
    """What the rules look at: x and e = x̂ − x (batch, d), h and a (batch, n).

    Chapter 9.
    """

    x: np.ndarray
    h: np.ndarray
    a: np.ndarray
    e: np.ndarray


def look(model: SparseDream, x: np.ndarray) -> Seen:
    """One forward pass of x (batch, d).

    Chapter 9.
    """
    x = rows(x, model.W.shape[1], dtype=model.W.dtype)
    h, _, a = model.activities(x)
    return Seen(x, h, a, model.decode(a) - x)


def _rule_S(model: SparseDream, seen: Seen) -> np.ndarray:
    return (_asked(model, seen) * (seen.a > 0)).T @ seen.h


def _rule_W(model: SparseDream, seen: Seen) -> np.ndarray:
    cost = model.sparsity * model.penalty.derivative(seen.a) * (seen.a > 0)
    lengths = (model.W**2).sum(axis=1, keepdims=True)
    return (
        2 * seen.a.T @ seen.e
        + (cost @ model.S * (seen.h > 0)).T @ seen.x
        + 4 * model.norm_weight * lengths * model.W * len(seen.x)
    )


def _rule_b(model: SparseDream, seen: Seen) -> np.ndarray:
    return (_asked(model, seen) * (seen.a > 0)).sum(axis=0)


def _asked(model: SparseDream, seen: Seen) -> np.ndarray:
    """∂L/∂a (batch, n): from the reconstruction, and from the penalty."""
    return 2 * seen.e @ model.W.T + model.sparsity * model.penalty.derivative(seen.a)


RULES = {"S": _rule_S, "W": _rule_W, "b": _rule_b}  # in the notebook's order


def gradients_2020(model: SparseDream, x: np.ndarray) -> dict[str, np.ndarray]:
    """What the notebook took for the gradient of x (batch, d): W (n, d), S (n, n), b (n,).

    The notebook has one image at a time, the tanh penalty, and 1 for both weights of the loss;
    here they are the batch's mean, and the model's own penalty and weights.

    Chapter 10.
    """
    seen = look(model, x)
    return {name: RULES[name](model, seen) / len(x) for name in model.parameters}


def update_2020(model: SparseDream, x: np.ndarray, cell: int = 1) -> float:
    """One update of the notebook on one image x (1, d), in place; returns ‖e‖² before it, a scalar.

    S changes first, W then sees the new S, and b the new W. The rate is 0.0001; in the notebook's
    second cell it is 0.01 for b, and each row of W is brought back to length 1.

    Raises `ValueError` for another cell than 1 or 2.

    Source: Geisz (2020).
    Chapter 9.
    """
    if cell not in (1, 2):
        raise ValueError(f"The notebook's cells that learn are 1 and 2; there is no {cell}.")
    rates = {"S": 1e-4, "W": 1e-4, "b": 1e-4 if cell == 1 else 1e-2}
    seen = look(model, x)
    for name, rule in RULES.items():
        model.parameters[name][...] -= rates[name] * rule(model, seen)
        if name == "W" and cell == 2:
            model.W[:] = unit_rows(model.W)
    return float((seen.e**2).sum())
