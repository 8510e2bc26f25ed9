"""The k-sparse autoencoder: an encoder, k active units, a decoder, one mean image."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ksae_lab.inference.sparse_codes import SparseCodes, select
from ksae_lab.models.base import Coder
from ksae_lab.nn import activations, inputs
from ksae_lab.nn.auxiliary_losses import AuxiliaryLoss, add_up, in_full
from ksae_lab.nn.checks import Rng, flag, floating, generator, not_negative, several, whole
from ksae_lab.nn.layers import Stage
from ksae_lab.nn.losses import mse, mse_gradient
from ksae_lab.nn.module import Arrays, ForwardPass, Passes
from ksae_lab.nn.rows import unit_rows
from ksae_lab.nn.selectors import HasSelector, Selector, as_selector


class KSparseAutoencoder(HasSelector, Coder):
    """x̂ = z W_dec + b_dec with z = φ(h) ⊙ mask and h = (x − b_dec) W_enc + b_enc.

    x and x̂ have shape (batch, d), h, z and mask (batch, n), W_enc (d, n), W_dec (n, d),
    b_enc (n,), b_dec (d,): `n_pixels` is d, `n_units` n.
    b_dec is the image that the network reconstructs when no unit is active; it is taken away from
    the input and added to the output, so that the units describe what is special about each image.

    `k` is the number of active units, short for `TopK(k)`, or another selector. `activation` is a
    name from `ksae_lab.nn.activations`.
    `tied=True` uses one matrix for both: W_enc is then W_decᵀ itself, and no parameter of its own.
    Rows of W_dec keep length 1: else long rows with small values and short ones with large values
    would be the same.
    They start at random directions of `rng`, W_enc at W_decᵀ, biases at zero, all of `dtype`; what
    `rng` may be `numpy.random.default_rng` says, and images whatever `ksae_lab.nn.inputs` takes;
    `init_from_data` gives a better start. `k`, `selector` and `auxiliary_losses` may be changed at
    any time. `auxiliary_losses`, those of `ksae_lab.nn.auxiliary_losses`, are added to the mean
    squared error.

    Raises what the selector raises for a k that cannot work, `ValueError` for an unknown
    activation, sizes below 1 and a dtype without fractions, and `TypeError` for settings of another
    type.

    Source: Makhzani & Frey (2013) for the network; Gao et al. (2024) for b_dec on both sides.
    Chapter 5; chapter 7 for other selections, chapter 8 for the auxiliary losses.
    """

    def __init__(
        self,
        n_pixels: int,
        n_units: int,
        k: int | Selector,
        activation: str = "relu",
        *,
        tied: bool = False,
        unit_norm: bool = True,
        auxiliary_losses: Sequence[AuxiliaryLoss] = (),
        rng: Rng,
        dtype: type | str = np.float32,
    ):
        n_pixels, n_units = whole(n_pixels, "n_pixels"), whole(n_units, "n_units")
        dtype = floating(dtype)
        self.phi = activations.get(activation)
        self.tied = flag(tied, "tied")
        self.unit_norm = flag(unit_norm, "unit_norm")
        self.auxiliary_losses = several(auxiliary_losses, AuxiliaryLoss, "auxiliary_losses")
        self.selector = as_selector(k).for_units(n_units, dtype)
        self.W_dec = unit_rows(generator(rng).normal(size=(n_units, n_pixels))).astype(dtype)
        self._own_W_enc = None if tied else self.W_dec.T.copy()
        self.b_enc = np.zeros(n_units, dtype)
        self.b_dec = np.zeros(n_pixels, dtype)

    @property
    def W_enc(self) -> np.ndarray:
        """The encoder's matrix (d, n), live; with tied weights a view of W_dec (n, d)."""
        return self.W_dec.T if self._own_W_enc is None else self._own_W_enc

    @W_enc.setter
    def W_enc(self, W: np.ndarray) -> None:
        if self.tied:
            raise AttributeError("The weights are tied, so W_enc is W_dec.T; set W_dec.")
        self._own_W_enc = W

    def init_from_data(self, x: np.ndarray, rng: Rng, noise: float = 0.05) -> None:
        """Start at the data: b_dec at the mean of x (samples, d), each unit at one image of it.

        A row of W_dec is a centred image, drawn by `rng` without repetition while there are enough,
        plus normal noise of that many grey levels, brought to length 1; W_enc is W_decᵀ.

        Raises `ValueError` for no images, and what `ksae_lab.nn.inputs.rows` raises.
        """
        n, d = self.W_dec.shape
        x, rng = inputs.rows(x, d, dtype=self.W_dec.dtype, least=1, lazy=True), generator(rng)
        not_negative(noise, "noise")
        self.b_dec[:] = x.mean(axis=0)
        drawn = x[rng.choice(len(x), n, replace=n > len(x))]
        self.W_dec[:] = unit_rows(drawn - self.b_dec + noise * rng.normal(size=(n, d)))
        self.W_enc[:] = self.W_dec.T
        self.b_enc[:] = 0

    @property
    def stages(self) -> list[Stage]:
        """The image, the units, the image again: three sizes, each a scalar."""
        n, d = self.W_dec.shape
        k = getattr(self.selector, "k", None)
        return [Stage("image", d), Stage(self.phi.name, n, k), Stage("image", d)]

    @property
    def parameters(self) -> Arrays:
        """The live arrays: W_enc (d, n) unless tied, W_dec (n, d), b_enc (n,), b_dec (d,)."""
        names = ["W_dec", "b_enc", "b_dec"] if self.tied else ["W_enc", "W_dec", "b_enc", "b_dec"]
        return {name: getattr(self, name) for name in names} | self.selector.parameters

    @property
    def buffers(self) -> Arrays:
        """Those of the selector, of any shape."""
        return self.selector.buffers

    def get_config(self) -> dict[str, Any]:
        """Sizes, selector and settings; auxiliary losses belong to training and are left out."""
        n, d = self.W_dec.shape
        return {
            "n_pixels": d,
            "n_units": n,
            "k": self.selector,
            "activation": self.phi.name,
            "tied": bool(self.tied),
            "unit_norm": bool(self.unit_norm),
            "dtype": self.W_dec.dtype.name,
        }

    def pre_activations(self, x: np.ndarray) -> np.ndarray:
        """h (batch, n) for x (batch, d).

        Raises what `ksae_lab.nn.inputs.rows` raises.
        """
        x = inputs.rows(x, len(self.b_dec), dtype=self.b_dec.dtype)
        return (x - self.b_dec) @ self.W_enc + self.b_enc

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The code z (batch, n) of x (batch, d), once training is over.

        With `TopK`, at most k numbers of a row are not zero.
        """
        return self.selector.encode(self.pre_activations(x), self.phi)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """The images x̂ (batch, d) of the codes z (batch, n)."""
        z = inputs.rows(z, len(self.W_dec), "codes", dtype=self.W_dec.dtype, finite=False)
        return z @ self.W_dec + self.b_dec

    def _sparse(self, x: np.ndarray) -> SparseCodes:
        return select(self.pre_activations(x), self.selector, self.phi)

    def _of_sparse(self, codes: SparseCodes) -> np.ndarray:
        if codes.n_units != len(self.W_dec):
            raise ValueError(
                f"The codes are of {codes.n_units} units, and the model has {len(self.W_dec)}."
            )
        # SciPy's product goes through what is there, and so gathers k rows of W_dec for an image.
        x_hat: np.ndarray = codes.to_csr() @ self.W_dec + self.b_dec
        return x_hat

    def masks(self, x: np.ndarray, target: np.ndarray | None = None) -> list[np.ndarray]:
        """The mask (batch, n) that x (batch, d) leads to in training, alone in a list.

        `target` is ignored; it is there so that every method takes the same batch.
        """
        return [self.selector.training_mask(self.pre_activations(x))]

    def forward_backward(self, x: np.ndarray, target: np.ndarray | None = None) -> Passes:
        """The loss of x (batch, d), its gradient for each of `parameters`, and the forward pass.

        Give a `target` (batch, d) if x is a noisy copy of what is to be reconstructed.

        Raises what `ksae_lab.nn.inputs.rows` raises.
        """
        d = len(self.b_dec)
        x, target = inputs.with_target(x, target, d, self.W_dec.dtype)
        h = self.pre_activations(x)
        z, through_selection = self.selector.forward(h, self.phi)
        x_hat = self.decode(z)
        forward = ForwardPass(target, h, z, x_hat, self.W_dec)
        added, extra = add_up(self.auxiliary_losses, forward)
        further = {name: in_full(gradient, len(self.W_dec)) for name, gradient in extra.items()}

        d_x_hat = mse_gradient(x_hat, target)
        dz = d_x_hat @ self.W_dec.T + further.pop("z", 0)
        dh, own = through_selection(dz)
        dh = dh + further.pop("h", 0)
        gradients = {
            "W_enc": (x - self.b_dec).T @ dh,
            "W_dec": z.T @ d_x_hat,
            "b_enc": dh.sum(axis=0),
            # b_dec is added to the output and taken away from the input of the encoder.
            "b_dec": d_x_hat.sum(axis=0) - self.W_enc @ dh.sum(axis=0),
        } | own
        for name, gradient in further.items():
            gradients[name] = gradients[name] + gradient
        if self.tied:
            gradients["W_dec"] = gradients["W_dec"] + gradients["W_enc"].T
        loss = mse(x_hat, target) + added
        return Passes(loss, {name: gradients[name] for name in self.parameters}, forward)

    def constrain(self) -> None:
        """Bring the rows of W_dec (n, d) back to length 1, if `unit_norm`; after each step."""
        if self.unit_norm:
            self.W_dec[:] = unit_rows(self.W_dec)

    def observe(self, forward: ForwardPass) -> None:
        """Let the selector note the pre-activations (batch, n) of a step."""
        self.selector.observe(forward.h)
