"""Better codes for a dictionary that stands: the best values for chosen units, and better choices.

The images x (batch, d) are drawn by k rows of W (n, d), the atoms, and by nothing else: where a
model has a mean image, take it away first. Codes are computed in float64.
The best k of n atoms are not to be had in reasonable time. scikit-learn's `orthogonal_mp_gram`
is the usual answer, one atom after the other; the pursuit here changes all k at once, and can
start at the code of an encoder. Where nothing may be taken away, as behind a relu, there is
`nonnegative_omp`.
"""

from collections.abc import Iterator

import numpy as np

from ksae_lab.inference.iterative import images_and_atoms
from ksae_lab.nn import inputs
from ksae_lab.nn.checks import flag, whole
from ksae_lab.nn.topk import top_k_mask

RIDGE = 1e-10  # in units of an atom's squared length: two equal atoms share what one would get


def refit(
    x: np.ndarray, W: np.ndarray, chosen: np.ndarray, *, nonnegative: bool = False
) -> np.ndarray:
    """The best values for the chosen units: the code a (batch, n) with the least ‖x − a W‖².

    x has shape (batch, d), W (n, d), and `chosen`, a mask, (batch, n): elsewhere a is zero.
    The normal equations of each image, (W_c W_cᵀ) a_c = W_c x for its chosen rows W_c; or, if
    `nonnegative`, the best values that are not below zero, by SciPy's `nnls`.

    Raises `ValueError` for arrays that do not fit, and `TypeError` for a mask that is not boolean.

    Source: Lawson & Hanson (1974) for values that are not negative.
    Chapter 13; Lab 8.
    """
    x, W = images_and_atoms(x, W)
    chosen = inputs.real(chosen, "chosen units")
    if chosen.dtype != np.bool_:
        raise TypeError(f"The chosen units are {chosen.dtype}; give a mask, of True and False.")
    if chosen.shape != (len(x), len(W)):
        raise ValueError(f"chosen has shape {chosen.shape}; expected {(len(x), len(W))}.")
    W = W.astype(np.float64)
    drive, gram = x @ W.T, W @ W.T
    if not flag(nonnegative, "nonnegative"):
        return _refit(drive, gram, chosen)
    a = np.zeros_like(drive)
    for code, units, towards in zip(a, chosen, drive, strict=True):
        code[units] = _nonnegative(gram[np.ix_(units, units)], towards[units])
    return a


def pursuit(
    x: np.ndarray, W: np.ndarray, k: int, start: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield one code a (batch, n) after another by hard thresholding pursuit, never a worse one.

    x has shape (batch, d), W (n, d) with rows of length 1; `start`, a code (batch, n), is zero if
    not given. A step goes down the gradient of ½ ‖x − a W‖² by 1, chooses the k units that are then
    largest by magnitude, and gives them their best values. An image whose error this does not
    lower keeps the code that it had: the plain algorithm may go in circles.

    Raises `ValueError` at the first step for arrays or a k that do not fit.

    Source: Foucart (2011).
    Chapter 13.
    """
    x, W = images_and_atoms(x, W)
    W = W.astype(np.float64)
    drive, gram = x @ W.T, W @ W.T
    a = np.zeros_like(drive)
    if start is not None:
        a = inputs.rows(start, len(W), "codes to start at").astype(np.float64)
        if len(a) != len(x):
            raise ValueError(f"There are {len(a)} codes to start at for {len(x)} images.")
    while True:
        chosen = top_k_mask(a + drive - a @ gram, k, by="magnitude")
        new = _refit(drive, gram, chosen)
        better = _cost(new, drive, gram) < _cost(a, drive, gram)
        a = np.where(better[:, None], new, a)
        yield a


def nonnegative_omp(x: np.ndarray, W: np.ndarray, k: int) -> np.ndarray:
    """Codes a (batch, n), nowhere below zero, by orthogonal matching pursuit: one atom at a time.

    x has shape (batch, d), W (n, d) with rows of length 1. Each time the atom that agrees best with
    what is left joins, if it agrees at all, and all chosen ones get the best values that are not
    negative. A code has at most k active units: an atom whose value has become 0 is not counted,
    but k atoms at most are ever tried.

    Raises `ValueError` for arrays or a k that do not fit.

    Source: Bruckstein, Elad & Zibulevsky (2008); Lawson & Hanson (1974) for the values.
    Lab 8.
    """
    x, W = images_and_atoms(x, W)
    k = whole(k, "k", 1, len(W))
    W = W.astype(np.float64)
    drive, gram = x @ W.T, W @ W.T
    codes = np.zeros_like(drive)
    for a, towards in zip(codes, drive, strict=True):
        chosen: list[int] = []
        for _ in range(k):
            left = towards - a[chosen] @ gram[chosen]
            left[chosen] = 0
            best = int(left.argmax())
            if left[best] <= 10 * RIDGE * abs(towards[best]):  # or an equal of it is in
                break
            chosen.append(best)
            a[chosen] = _nonnegative(gram[np.ix_(chosen, chosen)], towards[chosen])
    return codes


def _nonnegative(gram: np.ndarray, drive: np.ndarray) -> np.ndarray:
    """The values a ≥ 0 (k,) with the least ½ a G aᵀ − a · drive, for products G (k, k) of atoms."""
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    if not len(drive):  # of which SciPy's program dies
        return drive
    lower = np.linalg.cholesky(gram + RIDGE * np.eye(len(gram)))
    found: np.ndarray = nnls(lower.T, solve_triangular(lower, drive, lower=True))[0]
    return found


def _cost(a: np.ndarray, drive: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """½ ‖x − a W‖² without ½ ‖x‖², which no code changes: (batch,)."""
    return (a * (0.5 * a @ gram - drive)).sum(axis=1)


def _refit(drive: np.ndarray, gram: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    # All images at once: each gets the rows and columns of its units, and where another image
    # has more of them, rows of the identity, whose unknown is zero.
    most = chosen.sum(axis=1).max(initial=0)
    units = np.argsort(~chosen, axis=1, kind="stable")[:, :most]
    real = np.take_along_axis(chosen, units, axis=1)
    both = real[:, :, None] & real[:, None, :]
    systems = np.where(both, gram[units[:, :, None], units[:, None, :]], np.eye(most))
    systems += RIDGE * np.eye(most)
    wanted = np.where(real, np.take_along_axis(drive, units, axis=1), 0)
    a = np.zeros_like(drive)
    np.put_along_axis(a, units, np.linalg.solve(systems, wanted[..., None])[..., 0], axis=1)
    return a
