"""Networks whose units differ in length and bias, as trained ones do, and images for them."""

import numpy as np

from ksae_lab import KSparseAutoencoder

D = 11


def network(n, k=4, activation="linear", *, d=D, seed=0, dtype=np.float32, **options):
    rng = np.random.default_rng(seed)
    model = KSparseAutoencoder(d, n, k, activation, rng=rng, dtype=dtype, **options)
    if not model.tied:
        model.W_enc[:] = rng.normal(size=(d, n)) * rng.uniform(0.1, 3, size=n)
    model.b_enc[:], model.b_dec[:] = rng.normal(size=n), rng.normal(size=d)
    return model


def images(samples=30, d=D, seed=0):
    return np.random.default_rng(seed).normal(size=(samples, d)).astype(np.float32)
