"""The k-sparse autoencoder: an encoder, k units that may speak, a decoder, one mean image."""

from collections.abc import Callable, Sequence

import numpy as np

from ksae_lab.models.base import Coder
from ksae_lab.nn import activations
from ksae_lab.nn.layers import Stage
from ksae_lab.nn.losses import AuxiliaryLoss, ForwardPass, mse, mse_gradient
from ksae_lab.nn.rows import unit_rows
from ksae_lab.nn.topk import By, top_k_mask

# p = select(h, k) with weights p in place of the mask, and ∂L/∂p → what the choice tells h.
Selection = Callable[[np.ndarray, int], tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]


class KSparseAutoencoder(Coder):
    """x̂ = z W_dec + b_dec with z = φ(h) ⊙ mask and h = (x − b_dec) W_enc + b_enc.

    x and x̂ have shape (batch, d), h, z and mask (batch, n), W_enc (d, n), W_dec (n, d),
    b_enc (n,), b_dec (d,): `n_pixels` is d, `n_units` n.
    b_dec is the image that the network sees when no unit speaks; it is taken away from the input
    and added to the output, so that the units describe what is special about each image.

    `activation` is a name from `ksae_lab.nn.activations`; `by` is "value" or "magnitude".
    `tied=True` uses one matrix for both: W_enc is then W_decᵀ itself, and no parameter of its own.
    Rows of W_dec keep length 1: else long rows and quiet units could say the same.
    They start at random directions of `rng`, W_enc at W_decᵀ, biases at zero, all of `dtype`;
    `init_from_data` gives a better start. `k` and `auxiliary_losses` may be changed at any time.
    `auxiliary_losses` are added to the mean squared error, see `ksae_lab.nn.losses`.
    `select` replaces the mask by another selection, see `ksae_lab.nn.relaxations`.

    Raises what `top_k_mask` raises for a k or by that cannot work, and `ValueError` for an unknown
    activation.

    Source: Makhzani & Frey (2013) for the network; Gao et al. (2024) for b_dec on both sides.
    Chapter 5.
    """

    def __init__(
        self,
        n_pixels: int,
        n_units: int,
        k: int,
        activation: str = "relu",
        *,
        by: By = "value",
        tied: bool = False,
        unit_norm: bool = True,
        auxiliary_losses: Sequence[AuxiliaryLoss] = (),
        select: Selection | None = None,
        rng: np.random.Generator,
        dtype: type = np.float32,
    ):
        self.phi = activations.get(activation)
        self.k = k
        self.by = by
        self.tied = tied
        self.unit_norm = unit_norm
        self.auxiliary_losses = list(auxiliary_losses)
        self.select = select
        self.latest: ForwardPass | None = None
        self.W_dec = unit_rows(rng.normal(size=(n_units, n_pixels))).astype(dtype)
        self.W_enc = self.W_dec.T if tied else self.W_dec.T.copy()
        self.b_enc = np.zeros(n_units, dtype)
        self.b_dec = np.zeros(n_pixels, dtype)
        top_k_mask(self.b_enc, k, by=by)

    def init_from_data(self, x: np.ndarray, rng: np.random.Generator, noise: float = 0.05) -> None:
        """Start at the data: b_dec at the mean of x (samples, d), each unit at one image of it.

        A row of W_dec is a centred image, drawn by `rng` without repetition while there are enough,
        plus normal noise of that many grey levels, brought to length 1; W_enc is W_decᵀ.
        """
        n, d = self.W_dec.shape
        self.b_dec[:] = x.mean(axis=0)
        drawn = x[rng.choice(len(x), n, replace=n > len(x))]
        self.W_dec[:] = unit_rows(drawn - self.b_dec + noise * rng.normal(size=(n, d)))
        self.W_enc[:] = self.W_dec.T
        self.b_enc[:] = 0

    @property
    def stages(self) -> list[Stage]:
        """The image, the units, the image again: three sizes, each a scalar."""
        n, d = self.W_dec.shape
        return [Stage("image", d), Stage(self.phi.name, n, self.k), Stage("image", d)]

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The live arrays: W_enc (d, n) unless tied, W_dec (n, d), b_enc (n,), b_dec (d,)."""
        names = ["W_dec", "b_enc", "b_dec"] if self.tied else ["W_enc", "W_dec", "b_enc", "b_dec"]
        return {name: getattr(self, name) for name in names}

    def pre_activations(self, x: np.ndarray) -> np.ndarray:
        """h (batch, n) for x (batch, d).

        Raises `ValueError` for another shape.
        """
        d = len(self.b_dec)
        if x.ndim != 2 or x.shape[1] != d:
            raise ValueError(f"The images have shape {x.shape}; expected (batch, {d}).")
        return (x - self.b_dec) @ self.W_enc + self.b_enc

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The code z (batch, n) of x (batch, d): at most k numbers of a row are not zero."""
        h = self.pre_activations(x)
        return np.where(top_k_mask(h, self.k, by=self.by), self.phi(h), 0)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """The images x̂ (batch, d) that the codes z (batch, n) draw."""
        return z @ self.W_dec + self.b_dec

    def masks(self, x: np.ndarray, target: np.ndarray | None = None) -> list[np.ndarray]:
        """The mask (batch, n) that x (batch, d) leads to, alone in a list, as `gradcheck` asks.

        `target` is ignored; it is there so that every method takes the same batch.
        """
        return [top_k_mask(self.pre_activations(x), self.k, by=self.by)]

    def loss_and_gradients(
        self, x: np.ndarray, target: np.ndarray | None = None
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of x (batch, d), a scalar, and its gradient for each of `parameters`.

        Give a `target` (batch, d) if x is a spoilt copy of what is to be drawn.
        `latest` then holds the pass, for whoever watches the units.

        Raises `ValueError` for another shape.

        Chapter 5 for the gradients, chapter 7 for other selections, chapter 8 for the terms.
        """
        target = x if target is None else target
        h = self.pre_activations(x)
        phi = self.phi(h)
        if self.select is None:
            p, through_choice = top_k_mask(h, self.k, by=self.by), None
        else:
            p, through_choice = self.select(h, self.k)
        z = phi * p
        x_hat = self.decode(z)
        self.latest = ForwardPass(target, h, z, x_hat, self.W_dec)
        loss = mse(x_hat, target)
        d_x_hat = mse_gradient(x_hat, target)

        told = {"h": 0, "z": 0, "W_dec": 0}  # what the terms add to each gradient
        for term in self.auxiliary_losses:
            value, gradients = term(self.latest)
            loss += value
            for name, gradient in gradients.items():
                told[name] = told[name] + gradient

        dz = d_x_hat @ self.W_dec.T + told["z"]
        dh = dz * self.phi.derivative(h) * p + told["h"]
        if through_choice is not None:
            dh = dh + through_choice(dz * phi)
        dW_enc = (x - self.b_dec).T @ dh
        dW_dec = z.T @ d_x_hat + told["W_dec"]
        # b_dec is added to the output and taken away from the input of the encoder.
        db_dec = d_x_hat.sum(axis=0) - self.W_enc @ dh.sum(axis=0)
        if self.tied:
            dW_dec = dW_dec + dW_enc.T
        gradients = {"W_enc": dW_enc, "W_dec": dW_dec, "b_enc": dh.sum(axis=0), "b_dec": db_dec}
        return loss, {name: gradients[name] for name in self.parameters}

    def constrain(self) -> None:
        """Bring the rows of W_dec (n, d) back to length 1, if `unit_norm`; after each step."""
        if self.unit_norm:
            self.W_dec[:] = unit_rows(self.W_dec)
