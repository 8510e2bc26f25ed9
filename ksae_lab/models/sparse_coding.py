"""Sparse coding: a dictionary learnt from codes that are searched for, image by image."""

from typing import Any

import numpy as np

from ksae_lab.inference.iterative import after, fista, objective
from ksae_lab.models.base import Coder
from ksae_lab.nn import inputs
from ksae_lab.nn.checks import Rng, flag, floating, generator, not_negative, whole
from ksae_lab.nn.layers import Stage
from ksae_lab.nn.module import Arrays, ForwardPass, Passes
from ksae_lab.nn.rows import unit_rows


class SparseCoding(Coder):
    """A dictionary learnt by two loops, one in the other: x̂ = a W, with a the answer of `fista`.

    x and x̂ have shape (batch, d), a (batch, n), W (n, d): `n_pixels` is d, `n_units` n.
    The inner loop takes `steps` steps towards the codes with the least ½ ‖x − a W‖² + λ ‖a‖₁;
    λ is `sparsity`. The outer loop takes one step with W, ΔW = η aᵀ (x − a W), or whatever an
    optimizer makes of that gradient, and brings each atom back to length 1. Else longer atoms
    would make every code cheaper. (Olshausen and Field adapt the lengths in place of that, until
    each unit's codes have a set variance.)
    Atoms start at random directions of `rng`, in `dtype`; `init_from_data` starts them at images.
    At random directions nothing answers to an image by more than a large λ: then all codes are
    zero, and so are all gradients. Each batch starts from a = 0, and no code is kept for the next
    epoch.
    `sparsity` and `steps` may be changed at any time.

    Raises `ValueError` for a negative λ, and sizes and steps below 1, and `TypeError` for settings
    of another type.

    Source: Olshausen & Field (1996).
    Chapter 12.
    """

    def __init__(
        self,
        n_pixels: int,
        n_units: int,
        sparsity: float,
        steps: int = 50,
        *,
        nonnegative: bool = False,
        rng: Rng,
        dtype: type | str = np.float32,
    ):
        n_pixels, n_units = whole(n_pixels, "n_pixels"), whole(n_units, "n_units")
        dtype = floating(dtype)
        self.sparsity = not_negative(sparsity, "sparsity")
        self.steps = whole(steps, "steps")
        self.nonnegative = flag(nonnegative, "nonnegative")
        self.W = unit_rows(generator(rng).normal(size=(n_units, n_pixels))).astype(dtype)

    def init_from_data(self, x: np.ndarray, rng: Rng) -> None:
        """Start each atom at one image of x (samples, d), each drawn once if there are enough.

        Raises `ValueError` for no images, and what `ksae_lab.nn.inputs.rows` raises.
        """
        x = inputs.rows(x, self.W.shape[1], dtype=self.W.dtype, least=1, lazy=True)
        rng = generator(rng)
        self.W[:] = unit_rows(x[rng.choice(len(x), len(self.W), replace=len(self.W) > len(x))])

    @property
    def parameters(self) -> Arrays:
        """The live dictionary by name: W (n, d)."""
        return {"W": self.W}

    def get_config(self) -> dict[str, Any]:
        """Sizes and settings, as they are now."""
        n, d = self.W.shape
        return {
            "n_pixels": d,
            "n_units": n,
            "sparsity": float(self.sparsity),
            "steps": int(self.steps),
            "nonnegative": bool(self.nonnegative),
            "dtype": self.W.dtype.name,
        }

    @property
    def stages(self) -> list[Stage]:
        """The image, the code that is searched for, the image again; sizes are scalars."""
        n, d = self.W.shape
        return [Stage("image", d), Stage("fista", n), Stage("image", d)]

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The code a (batch, n) of x (batch, d), after `steps` steps.

        Raises `ValueError` for another shape, a negative `sparsity`, or no steps.
        """
        x = inputs.rows(x, self.W.shape[1], dtype=self.W.dtype)
        return after(self.steps, fista(x, self.W, self.sparsity, self.nonnegative))

    def decode(self, a: np.ndarray) -> np.ndarray:
        """The images x̂ (batch, d) of the codes a (batch, n)."""
        return inputs.rows(a, len(self.W), "codes", dtype=self.W.dtype, finite=False) @ self.W

    def forward_backward(self, x: np.ndarray, target: np.ndarray | None = None) -> Passes:
        """The loss of x (batch, d), its gradient for W (n, d), and the forward pass.

        The loss is the mean `objective` of x at the codes that were found. These change when W
        does, but at a minimum over a, moving a changes nothing in first order: with codes that have
        settled, the gradient at fixed codes is the gradient.
        h of the forward pass is x Wᵀ, how well each atom fits before they compete.

        Raises `ValueError` for another target than x: codes are a minimum for x, not for it.

        Source: Danskin (1967) for the gradient of a minimum.
        """
        if target is not None and target is not x:
            raise ValueError(
                "Sparse coding finds codes for the very images that it reconstructs; give no "
                "other target, and no input noise."
            )
        x = inputs.rows(x, self.W.shape[1], dtype=self.W.dtype)
        a = self.encode(x)
        x_hat = self.decode(a)
        loss = objective(x, a, self.W, self.sparsity).mean()
        gradients = {"W": a.T @ (x_hat - x) / len(x)}
        return Passes(float(loss), gradients, ForwardPass(x, x @ self.W.T, a, x_hat, self.W))

    def constrain(self) -> None:
        """Bring the atoms, the rows of W (n, d), back to length 1; called after each step."""
        self.W[:] = unit_rows(self.W)
