"""Is the gradient right? Ask the loss itself, by nudging one parameter at a time."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ksae_lab.training import Model


@dataclass(frozen=True)
class GradientCheck:
    """What `check_gradients` found.

    `numerical` and `claimed` map each parameter's name to an array of its shape;
    where the selection flipped, both hold NaN.
    `checked` and `skipped` count single numbers.

    Chapter 3.
    """

    numerical: dict[str, np.ndarray]
    claimed: dict[str, np.ndarray]
    checked: int
    skipped: int

    @property
    def relative_error(self) -> float:
        """‖claimed − numerical‖ / ‖numerical‖ over all checked numbers: a scalar.

        If all slopes are zero, it is 0 where the claim is zero too, else infinity.
        """
        numerical, claimed = self._flat(self.numerical), self._flat(self.claimed)
        distance, length = np.linalg.norm(claimed - numerical), np.linalg.norm(numerical)
        if length == 0:
            return 0.0 if distance == 0 else float("inf")
        return float(distance / length)

    @property
    def cosine(self) -> float:
        """The cosine between claim and truth, a scalar: 1 same way, below 0 uphill."""
        numerical, claimed = self._flat(self.numerical), self._flat(self.claimed)
        lengths = np.linalg.norm(numerical) * np.linalg.norm(claimed)
        return float(numerical @ claimed / lengths) if lengths else float("nan")

    @staticmethod
    def _flat(gradients: dict[str, np.ndarray]) -> np.ndarray:
        flat = np.concatenate([g.ravel() for g in gradients.values()])
        return flat[~np.isnan(flat)]


def check_gradients(
    model: Model,
    *batch: np.ndarray,
    claimed: dict[str, np.ndarray] | None = None,
    names: Iterable[str] | None = None,
    epsilon: float = 1e-6,
) -> GradientCheck:
    """Compare gradients with central differences, (L(w + ε) − L(w − ε)) / 2ε for each number w.

    `model` has `parameters`, `loss(*batch)` and `loss_and_gradients(*batch)`, and, if it selects,
    `choices(*batch)`, a list of boolean arrays.
    A nudge that changes a choice steps over a jump of the loss, where no slope exists:
    such numbers are left out and counted in `skipped`.
    `claimed` checks gradients from elsewhere (same names and shapes) in place of the model's own,
    `names` only these parameters.
    Every parameter is put back exactly as it was.

    Raises `KeyError` for a name the model has not, `ValueError` if the claimed shapes are not
    those of the parameters, and `TypeError` if a parameter is not float64
    (differences of 10⁻⁶ drown in float32).

    Chapter 3.
    """
    parameters = model.parameters
    if names is not None:
        parameters = {name: parameters[name] for name in names}
    for name, w in parameters.items():
        if w.dtype != np.float64:
            raise TypeError(f"{name} is {w.dtype}; build the model with dtype=np.float64.")
    if claimed is None:
        claimed = model.loss_and_gradients(*batch)[1]
    shapes = {name: w.shape for name, w in parameters.items()}
    if {name: np.shape(claimed.get(name)) for name in parameters} != shapes:
        raise ValueError(f"The gradients do not match the parameters, which are {shapes}.")

    numerical = {name: np.empty_like(w) for name, w in parameters.items()}
    claimed = {name: np.array(claimed[name], dtype=np.float64) for name in parameters}
    before = _choices(model, batch)
    skipped = 0
    for name, w in parameters.items():
        for i in np.ndindex(w.shape):
            slope = _slope(model, batch, w, i, epsilon, before)
            numerical[name][i] = slope
            if np.isnan(slope):
                claimed[name][i] = np.nan
                skipped += 1
    total = sum(w.size for w in parameters.values())
    return GradientCheck(numerical, claimed, checked=total - skipped, skipped=skipped)


def _slope(model, batch, w, i, epsilon, before) -> float:
    """The central difference at one number of w, or NaN if a choice changed on either side."""
    original = w[i]
    losses = []
    try:
        for nudged in (original + epsilon, original - epsilon):
            w[i] = nudged
            if not _same(_choices(model, batch), before):
                return float("nan")
            losses.append(model.loss(*batch))
    finally:
        w[i] = original
    return (losses[0] - losses[1]) / (2 * epsilon)


def _choices(model, batch) -> list[np.ndarray]:
    return model.choices(*batch) if hasattr(model, "choices") else []


def _same(now: list[np.ndarray], before: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(now, before, strict=True))
