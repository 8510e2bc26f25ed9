"""Numbers of any size brought to where training is used to them, and back."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from ksae_lab.nn import inputs
from ksae_lab.nn.module import Arrays, Module

# What each does to x; the names are those of the setting.
SCALINGS = {
    "none": "nothing",
    "0-255": "divides by 255",
    "minmax": "brings the least to 0 and the greatest to 1: of an image's numbers all together, "
    "of other features each by itself",
    "standardise": "takes each feature's mean away and divides by its standard deviation",
    "centre": "takes each feature's mean away",
    "unit": "brings each sample to length 1",
}
IN_UNIT_RANGE = ("0-255", "minmax")  # these lead to [0, 1]


class Scaling(Module):
    """x ↦ (x − shift) / scale, feature by feature, or x ↦ x / ‖x‖, sample by sample; and back.

    x has shape (batch, d), shift and scale (d,). `kind` is one of `SCALINGS`; `fitted` finds shift
    and scale for it. A feature that never varies has scale 1.

    Raises `ValueError` for another kind.

    Chapter 1.
    """

    def __init__(self, kind: str, n_features: int):
        if kind not in SCALINGS:
            raise ValueError(
                f"There is no scaling {kind!r}; expected one of {', '.join(SCALINGS)}."
            )
        self.kind = kind
        self.shift = np.zeros(n_features)
        self.scale = np.full(n_features, 255.0 if kind == "0-255" else 1.0)

    @classmethod
    def fitted(cls, kind: str, blocks: Iterable[np.ndarray], *, images: bool = False) -> Self:
        """A scaling of this kind for data that come in blocks (some, d), at least one row in all.

        `images` are told apart by minmax alone.

        Raises what the constructor raises.
        """
        if kind not in ("minmax", "standardise", "centre"):
            return cls(kind, next(iter(blocks)).shape[1])
        seen = Extent(blocks)
        scaling = cls(kind, len(seen.least))
        if kind == "minmax":
            least, most = seen.least, seen.most
            if images:
                least, most = np.full_like(least, least.min()), np.full_like(most, most.max())
            scaling.shift[:], spread = least, most - least
            scaling.scale[:] = np.where(spread > 0, spread, 1)
        else:
            scaling.shift[:] = seen.mean
            if kind == "standardise":
                # What rounding leaves of a constant is no deviation.
                real = seen.deviation > 1e-9 * np.abs(seen.mean)
                scaling.scale[:] = np.where(real, seen.deviation, 1)
        return scaling

    def apply(self, x: np.ndarray) -> np.ndarray:
        """x (batch, d) as training sees it, float32.

        Raises `ValueError` for another number of features.
        """
        x = self._rows(x)
        if self.kind == "unit":
            lengths = _lengths(x)
            return np.asarray(x / np.where(lengths > 0, lengths, 1), np.float32)
        if self.kind in ("none", "0-255"):  # in float32, so that bytes are divided as ever
            return np.asarray(x, np.float32) / np.float32(self.scale[0] if self.scale.size else 1)
        return np.asarray((x - self.shift) / self.scale, np.float32)

    def undo(self, scaled: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
        """The way back, (batch, d), float32; lengths of samples are those of `like` (batch, d).

        Without `like`, what was brought to length 1 stays there: nobody knows how long it was.

        Raises `ValueError` for another number of features.
        """
        scaled = self._rows(scaled)
        if self.kind == "unit":
            return scaled if like is None else np.asarray(scaled * _lengths(like), np.float32)
        return np.asarray(scaled * self.scale + self.shift, np.float32)

    @property
    def buffers(self) -> Arrays:
        """shift and scale, both (d,)."""
        return {"shift": self.shift, "scale": self.scale}

    def get_config(self) -> dict[str, Any]:
        """The kind and the number of features; what was fitted is in `buffers`."""
        return {"kind": self.kind, "n_features": len(self.shift)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Another one of this kind and size, not fitted."""
        return cls(**config)

    def _rows(self, x: np.ndarray) -> np.ndarray:
        x = inputs.real(x, "samples")
        if x.ndim != 2 or x.shape[1] != len(self.shift):
            raise ValueError(
                f"The samples have shape {x.shape}; expected (batch, {len(self.shift)})."
            )
        return x


class Extent:
    """Least, most, mean and standard deviation of each feature, (d,) each, of blocks (some, d).

    One pass, in float64. `not_finite` is the place of the first row with NaN or infinity, where the
    pass ends, or None.

    Source: Chan, Golub & LeVeque (1983) for the deviations.
    Chapter 1.
    """

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.count = 0
        self.not_finite: int | None = None
        for block in blocks:
            x = np.asarray(block, float)
            if not np.isfinite(x).all():
                self.not_finite = self.count + int(np.argmin(np.isfinite(x).all(axis=1)))
                return
            mean, squares = x.mean(axis=0), ((x - x.mean(axis=0)) ** 2).sum(axis=0)
            if not self.count:
                self.least, self.most = x.min(axis=0), x.max(axis=0)
                self.mean, self._squares = mean, squares
            else:
                apart = mean - self.mean
                share = len(x) / (self.count + len(x))
                self.least = np.minimum(self.least, x.min(axis=0))
                self.most = np.maximum(self.most, x.max(axis=0))
                self._squares += squares + apart**2 * self.count * share
                self.mean = self.mean + apart * share
            self.count += len(x)

    @property
    def deviation(self) -> np.ndarray:
        """The standard deviation of each feature, (d,), of all rows."""
        return np.sqrt(self._squares / self.count)

    @property
    def spread(self) -> float:
        """The root mean square of all deviations, a scalar."""
        return float(np.sqrt(np.mean(self._squares) / self.count))


def _lengths(x: np.ndarray) -> np.ndarray:
    return np.sqrt((np.asarray(x, float) ** 2).sum(axis=1, keepdims=True))
