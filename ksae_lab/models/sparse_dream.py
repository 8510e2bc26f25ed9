"""SparseDream: an autoencoder whose units act on each other by lateral weights."""

from typing import Any, Self

import numpy as np

from ksae_lab.models.base import Coder
from ksae_lab.nn import inputs, penalties
from ksae_lab.nn.checks import Rng, floating, generator, not_negative, whole
from ksae_lab.nn.layers import Stage
from ksae_lab.nn.module import Arrays, ForwardPass, Passes
from ksae_lab.nn.rows import unit_rows

INITS = ("as_found", "repaired")


class SparseDream(Coder):
    """x̂ = a W with a = relu(h Sᵀ + b) and h = relu(x Wᵀ): one matrix for both.

    x and x̂ have shape (batch, d), h and a (batch, n), W (n, d), S (n, n), b (n,):
    `n_pixels` is d, `n_units` n. Row i of W is the prototype of unit i; S holds the lateral
    weights, S[i, j] from unit j to unit i.

    The loss is ‖x̂ − x‖² + λ Σ penalty(a), the mean over the batch, + ρ Σᵢ (‖wᵢ‖² − 1)².
    λ is `sparsity`, ρ `norm_weight`; `penalty` is a name from `ksae_lab.nn.penalties`.
    Both weights may be changed at any time.

    `init` says where training starts; b is zero in both.
    "as_found": W uniform between 0 and 1, S between −1 and 1, rows of both at length 1.
    "repaired": each prototype one of `images` (samples, d) that is not black, drawn without
    repetition while there are enough, at length 1; S the identity, −`inhibition` off its diagonal.

    Raises `ValueError` for an unknown penalty or init, for missing, unfit or black `images`, for
    sizes below 1 and negative weights, and `TypeError` for settings of another type.

    Source: Geisz (2020), who wrote the objective; the repaired start is this book's.
    Chapter 9 for the network, chapter 10 for the gradient, chapter 11 for the repaired start.
    """

    def __init__(
        self,
        n_pixels: int,
        n_units: int,
        penalty: str = "tanh",
        sparsity: float = 1.0,
        norm_weight: float = 1.0,
        init: str = "repaired",
        *,
        images: np.ndarray | None = None,
        inhibition: float = 0.01,
        rng: Rng,
        dtype: type | str = np.float32,
    ):
        self.penalty = penalties.get(penalty)
        n_pixels, n_units = whole(n_pixels, "n_pixels"), whole(n_units, "n_units")
        dtype, rng = floating(dtype), generator(rng)
        self.sparsity = not_negative(sparsity, "sparsity")
        self.norm_weight = not_negative(norm_weight, "norm_weight")
        not_negative(inhibition, "inhibition")
        if init == "as_found":
            W = rng.uniform(0, 1, (n_units, n_pixels))
            S = unit_rows(rng.uniform(-1, 1, (n_units, n_units)))
        elif init == "repaired":
            if images is None:
                raise ValueError(
                    f"The repaired start draws prototypes from images (samples, {n_pixels}), "
                    "and was given none; pass the training images as images=…"
                )
            if isinstance(images, inputs.LazyRows):
                images = images.some(rng, n_units)
            images = inputs.rows(images, n_pixels, dtype=dtype)
            images = images[images.any(axis=1)]  # black has no direction
            if not len(images):
                raise ValueError("All images are black; give some that prototypes can start from.")
            W = images[rng.choice(len(images), n_units, replace=n_units > len(images))]
            S = (1 + inhibition) * np.eye(n_units) - inhibition
        else:
            raise ValueError(f"There is no init {init!r}; expected one of {', '.join(INITS)}.")
        self.W = unit_rows(W).astype(dtype)
        self.S = S.astype(dtype)
        self.b = np.zeros(n_units, dtype)

    @property
    def parameters(self) -> Arrays:
        """The live arrays by name: W (n, d), S (n, n), b (n,)."""
        return {"W": self.W, "S": self.S, "b": self.b}

    def get_config(self) -> dict[str, Any]:
        """Sizes, penalty and weights as they are now; where training started is left out."""
        n, d = self.W.shape
        return {
            "n_pixels": d,
            "n_units": n,
            "penalty": self.penalty.name,
            "sparsity": float(self.sparsity),
            "norm_weight": float(self.norm_weight),
            "dtype": self.W.dtype.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A network with these settings; raises what the constructor raises."""
        # The start that needs no images: it is overwritten.
        return super().from_config(config | {"init": "as_found"})

    @property
    def stages(self) -> list[Stage]:
        """The image, what units see of it, what is left after inhibition, the image again."""
        n, d = self.W.shape
        return [Stage("image", d), Stage("relu", n), Stage("relu", n), Stage("image", d)]

    def activities(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """h, u = h Sᵀ + b, and the code a = relu(u), all (batch, n), for x (batch, d).

        Raises what `ksae_lab.nn.inputs.rows` raises.
        """
        x = inputs.rows(x, self.W.shape[1], dtype=self.W.dtype)
        h = np.maximum(x @ self.W.T, 0)
        u = h @ self.S.T + self.b
        return h, u, np.maximum(u, 0)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The code a (batch, n) of x (batch, d): no number is negative, and most are zero.

        Raises `ValueError` for another shape.
        """
        return self.activities(x)[-1]

    def decode(self, a: np.ndarray) -> np.ndarray:
        """The images x̂ (batch, d) of the codes a (batch, n)."""
        return inputs.rows(a, len(self.W), "codes", dtype=self.W.dtype, finite=False) @ self.W

    def masks(self, x: np.ndarray, target: np.ndarray | None = None) -> list[np.ndarray]:
        """Who passes each relu for x (batch, d): h > 0 and a > 0, both (batch, n), for `gradcheck`.

        `target` is ignored; it is there so that every method takes the same batch.

        Chapter 10.
        """
        h, _, a = self.activities(x)
        return [h > 0, a > 0]

    def forward_backward(self, x: np.ndarray, target: np.ndarray | None = None) -> Passes:
        """The loss of x (batch, d), its gradient for each of `parameters`, and the forward pass.

        Give a `target` (batch, d) if x is a noisy copy of what is to be reconstructed.

        Raises `ValueError` for another shape.

        Chapter 10.
        """
        x, target = inputs.with_target(x, target, self.W.shape[1], self.W.dtype)
        h, u, a = self.activities(x)
        x_hat, target = inputs.pair(self.decode(a), target, "outputs", "targets", finite=False)
        e = x_hat - target
        excess = (self.W**2).sum(axis=1) - 1  # how far each ‖wᵢ‖² is from the unit sphere
        of_images = (e**2).sum() + self.sparsity * self.penalty(a).sum()
        loss = of_images / len(x) + self.norm_weight * (excess**2).sum()

        d_x_hat = 2 * e / len(x)
        da = d_x_hat @ self.W.T + self.sparsity * self.penalty.derivative(a) / len(x)
        du = da * (u > 0)
        dv = du @ self.S * (h > 0)  # v is what enters the first relu
        gradients = {
            # W decodes, W encodes, and its rows have a penalty on their lengths.
            "W": a.T @ d_x_hat + dv.T @ x + 4 * self.norm_weight * excess[:, None] * self.W,
            "S": du.T @ h,
            "b": du.sum(axis=0),
        }
        return Passes(float(loss), gradients, ForwardPass(target, u, a, x_hat, self.W))
