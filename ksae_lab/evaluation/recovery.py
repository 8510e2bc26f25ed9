"""How much of a known dictionary, and of known codes, has been found."""

from dataclasses import dataclass

import numpy as np

from ksae_lab.nn import inputs


@dataclass(frozen=True, eq=False)
class Match:
    """One atom that was learned for each that is sought, no two the same.

    `units` (n,) are the places of the learned atoms, −1 where there are too few, and `cosines` (n,)
    how nearly each points in the direction that is sought, from 0 to 1; 0 where there is none.

    Chapter 18.
    """

    units: np.ndarray
    cosines: np.ndarray

    def codes(self, z: np.ndarray) -> np.ndarray:
        """Learned codes z (samples, m) in the order of the atoms that are sought: (samples, n).

        Where an atom has none, the code is zero.
        """
        return np.where(self.units >= 0, z[:, self.units], 0)


def match(W: np.ndarray, sought: np.ndarray, *, either_way: bool = True) -> Match:
    """Pair learned atoms W (m, d) with those that are sought (n, d), one to one.

    Of all pairings it is the one with the largest sum of cosines, whatever their signs; unless they
    count `either_way`, an atom that points away from another has the cosine 0. An atom without a
    length resembles none.

    Raises `ValueError` if the atoms do not have the same d.

    Source: Kuhn (1955), the Hungarian algorithm.
    Chapter 18.
    """
    from scipy.optimize import linear_sum_assignment

    W, sought = (inputs.floats(atoms, "atoms").astype(float) for atoms in (W, sought))
    if W.ndim != 2 or sought.ndim != 2 or W.shape[1] != sought.shape[1]:
        raise ValueError(
            f"The atoms have shapes {W.shape} and {sought.shape}; expected (m, d) and (n, d)."
        )
    cosines = cosines_of(sought, W)
    cosines = np.abs(cosines) if either_way else np.maximum(cosines, 0)
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    units, found = np.full(len(sought), -1), np.zeros(len(sought))
    units[rows], found[rows] = columns, cosines[rows, columns]
    return Match(units, found)


def cosines_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine between each row of a (n, d) and each of b (m, d): (n, m); 0 for a row of zeros.

    Chapter 18.
    """
    a, b = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(float).tiny)
        for rows in (a, b)
    )
    return a @ b.T


@dataclass(frozen=True)
class Support:
    """Which active units were found: scalars from 0 to 1.

    `precision` is the share of the units found that are right, `recall` the share of the right ones
    that were found, `f1` their harmonic mean.

    Chapter 18.
    """

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 if both are."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def support(z: np.ndarray, sought: np.ndarray) -> Support:
    """Compare the active units of codes z (samples, n) with those of the codes that are sought.

    Raises `ValueError` if the shapes differ.

    Chapter 18.
    """
    z, sought = inputs.pair(z, sought, "codes", "codes that are sought")
    found, right = z != 0, sought != 0
    both = int(np.count_nonzero(found & right))
    counts = (int(np.count_nonzero(mask)) for mask in (found, right))
    return Support(*(both / max(count, 1) for count in counts))


def coherence(W: np.ndarray) -> float:
    """The largest cosine, whatever its sign, between two different atoms of W (n, d): a scalar.

    Raises `ValueError` for fewer than two atoms.

    Source: Donoho & Huo (2001).
    Chapter 18.
    """
    W = inputs.floats(W, "atoms").astype(float)
    if W.ndim != 2 or len(W) < 2:
        raise ValueError(f"The atoms have shape {W.shape}; expected (n, d), two or more.")
    cosines = np.abs(cosines_of(W, W))
    np.fill_diagonal(cosines, 0)
    return float(cosines.max())
