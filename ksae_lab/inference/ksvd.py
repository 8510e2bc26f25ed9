"""K-SVD: a dictionary for codes of k active units, by turns of pursuit and of one atom each."""

import warnings
from collections.abc import Iterator

import numpy as np

from ksae_lab.inference.iterative import images_and_atoms
from ksae_lab.nn.checks import whole
from ksae_lab.nn.rows import unit_rows


def ksvd(
    x: np.ndarray, W: np.ndarray, b: np.ndarray, k: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield atoms (n, d), of length 1, and the mean image (d,) after each round, without end.

    x has shape (batch, d); W (n, d) and b (d,) are where it starts. A round finds codes of k active
    units by orthogonal matching pursuit, with scikit-learn. Then each atom in turn is fitted to
    what the others leave of the images that use it, and its values to the atom: a step of the power
    method for the singular vector that K-SVD is named after. An atom that no image uses starts
    again at the image that is drawn worst. At last the mean takes up the mean of what is left.
    All is computed in float64.

    Raises `ValueError` at the first round for arrays or a k that do not fit.

    Source: Aharon, Elad & Bruckstein (2006); Rubinstein, Zibulevsky & Elad (2008) for the step.
    Lab 2.
    """
    from sklearn.linear_model import orthogonal_mp_gram

    x, W = images_and_atoms(x, W)
    x, W = x.astype(np.float64), unit_rows(W.astype(np.float64))
    b = images_and_atoms(np.asarray(b)[None], W)[0][0].astype(np.float64)
    whole(k, "k", 1, len(W))
    while True:
        centred = x - b
        with warnings.catch_warnings():  # of an image that fewer than k atoms draw whole
            warnings.simplefilter("ignore", RuntimeWarning)
            codes = orthogonal_mp_gram(W @ W.T, W @ centred.T, n_nonzero_coefs=k)
        codes = codes.reshape(len(W), len(x)).T  # which scikit-learn squeezes
        rest = centred - codes @ W
        for atom in range(len(W)):
            users = np.flatnonzero(codes[:, atom])
            if not len(users):
                W[atom] = unit_rows(centred[[(rest**2).sum(axis=1).argmax()]])[0]
                continue
            values = codes[users, atom]
            left = rest[users] + values[:, None] * W[atom]
            W[atom] = unit_rows((values @ left)[None])[0]
            codes[users, atom] = left @ W[atom]
            rest[users] = left - codes[users, atom, None] * W[atom]
        b = b + rest.mean(axis=0)
        yield W.copy(), b
