"""Random models for all three ways out."""

import numpy as np
from hypothesis import strategies as st

from ksae_lab import (
    BatchTopK,
    JumpReLU,
    KSparseAutoencoder,
    PrefixTopK,
    Relaxation,
    TopK,
)
from ksae_lab.nn.activations import ACTIVATIONS

# How far two orders of the same sums may be apart, for numbers of a few units.
ROUNDING = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-12}

D, N = 6, 9
SELECTORS = {
    "value": TopK(3),
    "magnitude": TopK(3, by="magnitude"),
    "nobody": TopK(0),
    "everybody": TopK(N),
    "prefix": PrefixTopK(3, 5),
    "short prefix": PrefixTopK(3, 2, by="magnitude"),
    "JumpReLU": JumpReLU(0.5),
    "batch": BatchTopK(3),
    "batch by magnitude": BatchTopK(3, by="magnitude"),
    "relaxed": Relaxation("sparsemax", 3, 0.5),
}


def scattered(model, rng):
    """The model, with random numbers in all of its arrays."""
    for name, w in model.state.items():
        w[...] = 0.5 * rng.normal(size=w.shape)
        if name == "threshold":
            w[...] = abs(w)
    return model


def autoencoder(k=3, phi="relu", *, d=D, n=N, seed=0, dtype=np.float64, **options):
    rng = np.random.default_rng(seed)
    return scattered(KSparseAutoencoder(d, n, k, phi, rng=rng, dtype=dtype, **options), rng)


def images(d=D, samples=20, seed=1, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(samples, d)).astype(dtype)


@st.composite
def autoencoders(draw, selectors, phis=tuple(ACTIVATIONS), dtypes=("float32", "float64")):
    """Autoencoders of few units, for one of these selectors; `selectors` takes k and n."""
    n, d = draw(st.integers(1, 12)), draw(st.integers(1, 8))
    k = draw(st.integers(0, n))
    return autoencoder(
        draw(st.sampled_from(selectors))(k, n),
        draw(st.sampled_from(phis)),
        d=d,
        n=n,
        seed=draw(st.integers(0, 2**32)),
        dtype=draw(st.sampled_from(dtypes)),
        tied=draw(st.booleans()),
        unit_norm=False,
    )


def decided(model, x):
    """Whether no unit of any row is chosen, or left out, by a rounding error.

    Where two numbers are as good as equal, another order of the same sums may choose the other one,
    and its code has a number in another place: neither is wrong.
    """
    rounding = 2 * ROUNDING[model.W_dec.dtype.name]
    h = model.pre_activations(x).astype(np.float64)
    chosen = model.selector.mask(h)
    worst = np.where(chosen, -rounding, rounding)  # against what is chosen, for what is not
    if getattr(model.selector, "by", "value") == "magnitude":
        worst *= np.where(h < 0, -1, 1)
    return np.array_equal(model.selector.mask(h + worst), chosen)
