"""Is the gradient right? Ask the loss itself, by nudging one parameter at a time."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ksae_lab.nn.checks import positive
from ksae_lab.nn.module import Model


@dataclass(frozen=True)
class GradientCheck:
    """What `check_gradients` found.

    `numerical`, `claimed` and `flipped` map each parameter's name to an array of its shape:
    the slope that was measured, the slope that was claimed, and whether a choice changed there.
    Where it did, `numerical` is NaN, and the number counts neither for nor against the claim.

    Chapter 3.
    """

    numerical: dict[str, np.ndarray]
    claimed: dict[str, np.ndarray]
    flipped: dict[str, np.ndarray]

    @property
    def checked(self) -> int:
        """How many single numbers were compared: a scalar."""
        return sum(int((~flips).sum()) for flips in self.flipped.values())

    @property
    def skipped(self) -> int:
        """How many were left out because a choice changed: a scalar."""
        return sum(int(flips.sum()) for flips in self.flipped.values())

    @property
    def relative_error(self) -> float:
        """‖claimed − numerical‖ / ‖numerical‖ over all checked numbers: a scalar.

        If all slopes are zero, it is 0 where the claim is zero too, else infinity.
        If nothing could be checked, it is NaN, which is less than no tolerance.
        """
        numerical, claimed = self._compared(self.numerical), self._compared(self.claimed)
        if not self.checked:
            return float("nan")
        distance, length = np.linalg.norm(claimed - numerical), np.linalg.norm(numerical)
        if length == 0:
            return 0.0 if distance == 0 else float("inf")
        return float(distance / length)

    @property
    def cosine(self) -> float:
        """The cosine between claim and truth, a scalar: below 0, descent climbs.

        NaN if either is zero: then it has no direction.
        """
        numerical, claimed = self._compared(self.numerical), self._compared(self.claimed)
        lengths = np.linalg.norm(numerical) * np.linalg.norm(claimed)
        return float(numerical @ claimed / lengths) if lengths else float("nan")

    def _compared(self, gradients: dict[str, np.ndarray]) -> np.ndarray:
        """The numbers that count, of all parameters, in a row."""
        return np.concatenate([g[~self.flipped[name]] for name, g in gradients.items()])


def check_gradients(
    model: Model,
    *batch: np.ndarray,
    claimed: dict[str, np.ndarray] | None = None,
    names: Iterable[str] | None = None,
    epsilon: float = 1e-6,
) -> GradientCheck:
    """Compare gradients with central differences, (L(w + ε) − L(w − ε)) / 2ε for each number w.

    A nudge that changes one of the model's masks steps over a jump of the loss, where no slope
    exists: such numbers are left out and counted in `skipped`.
    `claimed` checks gradients from elsewhere (same names and shapes) in place of the model's own,
    `names` only these parameters.
    Every parameter is put back exactly as it was.

    Raises `KeyError` for a name the model has not, `ValueError` if there is nothing to check,
    if ε is not above 0, the loss not finite or the claimed shapes not those of the parameters,
    and `TypeError` if a parameter is not float64 (differences of 10⁻⁶ drown in float32).

    Chapter 3.
    """
    positive(epsilon, "epsilon")
    parameters = model.parameters
    if names is not None:
        parameters = {name: parameters[name] for name in names}
    if not parameters:
        raise ValueError("There is no parameter to check; name at least one.")
    for name, w in parameters.items():
        if w.dtype != np.float64:
            raise TypeError(f"{name} is {w.dtype}; build the model with dtype=np.float64.")
    loss, own = model.loss_and_gradients(*batch)
    if not np.isfinite(loss):
        raise ValueError(f"The loss is {loss}, so it has no slopes; check data and parameters.")
    claimed = own if claimed is None else claimed
    shapes = {name: w.shape for name, w in parameters.items()}
    given = {name: np.shape(claimed[name]) for name in parameters if name in claimed}
    if given != shapes:
        raise ValueError(f"The gradients do not match the parameters, which are {shapes}.")

    before = model.masks(*batch)
    numerical = {name: np.empty_like(w) for name, w in parameters.items()}
    for name, w in parameters.items():
        for i in np.ndindex(w.shape):
            numerical[name][i] = _slope(model, batch, w, i, epsilon, before)
    return GradientCheck(
        numerical,
        claimed={name: np.array(claimed[name], dtype=np.float64) for name in parameters},
        flipped={name: np.isnan(slopes) for name, slopes in numerical.items()},
    )


def _slope(
    model: Model,
    batch: tuple[np.ndarray, ...],
    w: np.ndarray,
    i: tuple[int, ...],
    epsilon: float,
    before: list[np.ndarray],
) -> float:
    """The central difference at one number of w, or NaN if a choice changed on either side."""
    original = w[i]
    losses = []
    try:
        for nudged in (original + epsilon, original - epsilon):
            w[i] = nudged
            if not _same(model.masks(*batch), before):
                return float("nan")
            losses.append(model.loss(*batch))
    finally:
        w[i] = original
    return (losses[0] - losses[1]) / (2 * epsilon)


def _same(now: list[np.ndarray], before: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(now, before, strict=True))
