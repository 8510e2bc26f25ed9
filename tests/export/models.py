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
