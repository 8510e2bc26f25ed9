"""Competing units: an image pulls the units that won it towards itself, and pushes one away."""

from typing import Any

import numpy as np

from ksae_lab.nn import inputs
from ksae_lab.nn.checks import Rng, finite, floating, generator, not_negative, whole
from ksae_lab.nn.module import Arrays, Module
from ksae_lab.nn.topk import top_k_mask


class KrotovHopfield(Module):
    """Units that learn prototypes from ranks alone: no decoder, no loss, no gradient.

    W (n, d) starts at standard normal numbers; row μ is the prototype of unit μ. An image x (d,)
    overlaps with it by ⟨w, x⟩ = Σⱼ sign(wⱼ) abs(wⱼ)^(p−1) xⱼ. The units are ranked by overlap, and
    g is 1 for the first `winners` of them, −`delta` for the one at place `rank`, else 0.
    `n_pixels` is d, `n_units` n. Published: one winner, place 2, delta .4, p = 2.
    Without a `rank`, the place after the winners is punished: the unit that came closest.

    The winners' prototypes come to have Σⱼ abs(wⱼ)^p = 1, whatever they started with.

    Raises `ValueError` unless 1 ≤ winners < rank ≤ n, p > 1 and delta ≥ 0, and `TypeError` for
    settings of another type.

    Source: Krotov & Hopfield (2019), in the fast form of their code; several winners are
    this book's, on a suggestion of Geisz (2020).
    Chapter 12.
    """

    def __init__(
        self,
        n_pixels: int,
        n_units: int,
        winners: int = 1,
        rank: int | None = None,
        *,
        delta: float = 0.4,
        p: float = 2.0,
        rng: Rng,
        dtype: type | str = np.float32,
    ):
        n_pixels, n_units = whole(n_pixels, "n_pixels"), whole(n_units, "n_units")
        winners = whole(winners, "winners")
        rank = winners + 1 if rank is None else whole(rank, "rank")
        if not 1 <= winners < rank <= n_units:
            raise ValueError(
                f"{winners} winners and the unit at place {rank} punished, of {n_units} units; "
                "choose at least one winner, and a place after the winners that there is."
            )
        if finite(p, "p") <= 1:
            raise ValueError(
                f"p is {p}; give more than 1, since the overlap takes the power p − 1 of weights."
            )
        self.winners = winners
        self.rank = rank
        self.delta = not_negative(delta, "delta")
        self.p = p
        self.W = generator(rng).normal(0, 1, (n_units, n_pixels)).astype(floating(dtype))

    @property
    def parameters(self) -> Arrays:
        """What the units learn by their own rule: W (n, d)."""
        return {"W": self.W}

    def get_config(self) -> dict[str, Any]:
        """Sizes and settings, as they are now."""
        n, d = self.W.shape
        return {
            "n_pixels": d,
            "n_units": n,
            "winners": int(self.winners),
            "rank": int(self.rank),
            "delta": float(self.delta),
            "p": float(self.p),
            "dtype": self.W.dtype.name,
        }

    def overlaps(self, x: np.ndarray) -> np.ndarray:
        """⟨w, x⟩ of every unit with every image: x (batch, d) → (batch, n).

        Raises `ValueError` for images of another shape.
        """
        x = inputs.rows(x, self.W.shape[1], dtype=self.W.dtype)
        return x @ (np.sign(self.W) * np.abs(self.W) ** (self.p - 1)).T

    def learn(self, x: np.ndarray, learning_rate: float, rounds: int = 1) -> None:
        """Show one batch x (batch, d): ΔW_μ = Σ g_μ (x − ⟨w_μ, x⟩ w_μ), summed over its images.

        ΔW is scaled so that the weight that moves most moves by `learning_rate`, a scalar.
        It is published at .02, falling linearly to 0, with batches of 100.
        With more `rounds` than the published one, ΔW is summed over them, and each round sees
        what is left of x when the best prototype of the round before is projected out.

        Raises `ValueError` for images of another shape, no round and a negative rate.

        Source: Mallat & Zhang (1993) for the residual; to learn from it is this book's.
        """
        whole(rounds, "rounds")
        not_negative(learning_rate, "learning_rate")
        x = inputs.rows(x, self.W.shape[1], dtype=self.W.dtype)
        step = np.zeros_like(self.W)
        squares = (self.W**2).sum(axis=1)
        for _ in range(rounds):
            h = self.overlaps(x)
            punished = top_k_mask(h, self.rank) & ~top_k_mask(h, self.rank - 1)
            g = top_k_mask(h, self.winners) - self.delta * punished
            g = g.astype(self.W.dtype)  # a mask minus a float is float64, twice the work
            step += g.T @ x - (g * h).sum(axis=0)[:, None] * self.W
            best = h.argmax(axis=1)
            share = (x * self.W[best]).sum(axis=1) / squares[best]
            x = x - share[:, None] * self.W[best]
        largest = np.abs(step).max()
        if largest > 0:
            self.W += learning_rate / largest * step

    def encode(self, x: np.ndarray, k: int) -> np.ndarray:
        """A code z (batch, n) of x (batch, d): the k largest overlaps, relu, and else zeros.

        There is no decoder; a linear one can be fitted to the codes by least squares.

        Raises `ValueError` for images of another shape, or a k that is not from 0 to n.
        """
        h = self.overlaps(x)
        return np.where(top_k_mask(h, k), np.maximum(h, 0), 0)
