"""Gradients that come from elsewhere than the error: those of auxiliary losses, unit by unit."""

from typing import NamedTuple

import numpy as np

from ksae_lab.nn.auxiliary_losses import Gradients, OfUnits, in_full


class Elsewhere(NamedTuple):
    """Gradients of m units, enc and dec (m, d) and bias (m, 1); `where` (n,) says whose they are.

    It has −1 for all other units. `b_dec` (d,) is what goes to the mean image.

    Chapter 17.
    """

    where: np.ndarray
    enc: np.ndarray
    dec: np.ndarray
    bias: np.ndarray
    b_dec: np.ndarray


def of_code(extra: Gradients, idx: np.ndarray, n: int) -> np.ndarray | int:
    """What `extra` has for the selected units of the code, idx (batch, k); 0 if nothing.

    Chapter 17.
    """
    if "z" not in extra:
        return 0
    return np.take_along_axis(in_full(extra["z"], n), idx, axis=1)


def of_weights(extra: Gradients, x: np.ndarray, encoder: np.ndarray) -> Elsewhere:
    """What `extra` has for weights and biases; x (batch, d) is what the encoder saw, less b_dec.

    `encoder` is W_enc (d, n).

    Chapter 17.
    """
    h, W_enc = _few(extra, "h", axis=1), _few(extra, "W_enc", axis=1)
    W_dec, b_enc = _few(extra, "W_dec", axis=0), _few(extra, "b_enc", axis=0)
    parts = [part for part in (h, W_enc, W_dec, b_enc) if part]
    n = encoder.shape[1]
    units = np.unique(np.concatenate([np.empty(0, int), *(part.units for part in parts)]))
    where = np.full(n, -1)
    where[units] = np.arange(len(units))
    enc, dec = np.zeros((2, len(units), x.shape[1]), x.dtype)
    bias = np.zeros((len(units), 1), x.dtype)
    if h:
        enc[where[h.units]] += h.values.T @ x
        bias[where[h.units], 0] += h.values.sum(axis=0)
    if W_enc:
        enc[where[W_enc.units]] += W_enc.values.T
    if W_dec:
        dec[where[W_dec.units]] += W_dec.values
    b_dec = np.zeros(x.shape[1], x.dtype)
    if b_enc:
        bias[where[b_enc.units], 0] += b_enc.values
        # The update takes all that a bias gets for a slope of h, which reaches b_dec as well.
        b_dec += encoder[:, b_enc.units] @ b_enc.values
    if "b_dec" in extra:
        b_dec += in_full(extra["b_dec"], n)
    return Elsewhere(where, enc, dec, bias, b_dec)


def _few(extra: Gradients, name: str, axis: int) -> OfUnits | None:
    """The gradient of that name without its zeros, if there is one."""
    gradient = extra.get(name)
    if gradient is None or isinstance(gradient, OfUnits):
        return gradient
    others = tuple(other for other in range(gradient.ndim) if other != axis)
    units = np.flatnonzero(gradient.any(axis=others))
    return OfUnits(units, gradient.take(units, axis), axis)
