"""The selection of a step: whom to look at, and who is chosen."""

import numpy as np

from ksae_lab.engine import byte_product, quantised, selection
from ksae_lab.engine.threads import Threads

FEW = 256  # units below which the float32 product is so quick that nothing is gained
WASTED = 0.1  # the share of all scores from which on deciding costs what screening saves
PATIENCE = 20  # steps in which it may cost more than it saves, before it is given up


class Screen:
    """Selects k of n units for each row, and knows what it must of their weights W (n, d).

    `as_bytes` says that scores are screened by the product of bytes, in place of that in W's own
    dtype; None, that they are where that can be done and is of use. If it turns out to be of none,
    it is given up.

    Raises `ValueError` if bytes are asked for and cannot be had.

    Chapter 17.
    """

    def __init__(self, W: np.ndarray, as_bytes: bool | None, threads: Threads):
        n, d = W.shape
        reason = _why_not(n, d, W.dtype)
        if as_bytes and reason:
            raise ValueError(f"There is no screening with bytes: {reason}.")
        self.forced = as_bytes is True
        self.off = "" if as_bytes else "not asked for" if as_bytes is False else reason
        if not self.off and not self.forced and n < FEW:
            self.off = f"{n} units are too few for it"
        self.threads = threads
        self.slack = quantised.rounding(d, W.dtype)
        self.known = quantised.units(n, d, W.dtype, not self.off)
        self.stale = True
        self.wasted = 0

    def select(
        self,
        x: np.ndarray,
        W_enc: np.ndarray,
        bias: np.ndarray,
        k: int,
        by: str,
        floor: float = -np.inf,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k largest units of each row of x (batch, d), in order, and their h: (batch, k) each.

        W_enc has shape (d, n), laid out unit by unit. By value, nobody whose h is below `floor` is
        looked for: where too few are above it, the last places hold −1 and 0.

        Raises `ValueError` for NaN.
        """
        batch, n = len(x), len(bias)
        idx, h = np.empty((batch, k), np.int64), np.empty((batch, k), x.dtype)
        W = W_enc.T
        if self.stale:
            quantised.describe_all(W, self.known, self.slack)
            self.stale = False
        if not k:
            return idx, h
        magnitude = by == "magnitude"
        floor = -np.inf if magnitude else floor
        found = selection.candidates(batch, n, k, x.dtype, floor)
        rows = quantised.rows(x, self.slack, not self.off)
        how = (self.slack, magnitude, rows, self.known, bias, found)
        if self.off:
            self.threads(selection.screen_products, batch, x @ W_enc, *how)
        else:
            self.threads(selection.screen_bytes, batch, *how, step=byte_product.ROWS)
        looks = self.threads(
            selection.decide, batch, x, W, bias, magnitude, x.dtype.type(floor), found, idx, h
        )
        if min(looks) < 0:
            raise ValueError(
                "The pre-activations hold NaN, which is neither larger nor smaller than anything; "
                "a learning rate that is too high makes it."
            )
        if not self.off and not self.forced and sum(looks) > batch * (k + WASTED * n):
            self.wasted += 1
            if self.wasted > PATIENCE:
                self.off = f"{sum(looks) / batch:.0f} of {n} units were candidates for a row"
                self.known = self.known._replace(bytes_=byte_product.packed(0, x.shape[1]))
        return idx, h

    @property
    def fact(self) -> str:
        """What it does, in words."""
        return f"off: {self.off}" if self.off else "int8"


def _why_not(n: int, d: int, dtype: np.dtype) -> str:
    """Why scores cannot be screened by bytes; empty if they can."""
    if not byte_product.available():
        return "this processor has no AVX512-VNNI"
    if dtype != np.float32:
        return f"the weights are {dtype}"
    if d > byte_product.WIDE:
        return f"{d} features are more than its sums have room for"
    return ""
