"""The ways of taking a step that are compared, all from one start, and what they learn from."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from ksae_lab.benchmarks import timing, torch_steps
from ksae_lab.data.datasets import load_dataset
from ksae_lab.engine.sparse_step import SparseStep
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.training.optimizers import Adam
from ksae_lab.training.steps import PlainStep

PLAIN, ENGINE, SCREENED = "plain", "engine", "engine, screened"
DENSE, AUTOCAST, BY_HAND = "torch, dense", "torch, autocast and bags", "torch, by hand"
PRODUCT = "product"  # of the encoder, in float32: the floor of every dense method

MAKERS: dict[str, Callable[[Any, Any], Any]] = {
    PLAIN: PlainStep,
    ENGINE: partial(SparseStep, screen=False, threads=1),
    SCREENED: partial(SparseStep, screen=True, threads=1),
    DENSE: torch_steps.Dense,
    AUTOCAST: torch_steps.Autocast,
    BY_HAND: torch_steps.ByHand,
}


def at_hand(names: Iterable[str] = tuple(MAKERS)) -> list[str]:
    """Those of the ways that can be taken here: PyTorch's need PyTorch, screening AVX512-VNNI.

    Chapter 17.
    """
    absent = [] if find_spec("torch") else [DENSE, AUTOCAST, BY_HAND]
    if not _bytes_multiply():
        absent.append(SCREENED)
    return [name for name in names if name not in absent]


def _bytes_multiply() -> bool:
    if not find_spec("numba"):
        return False
    from ksae_lab.engine import byte_product

    return byte_product.available()


def steps(model: KSparseAutoencoder, adam: Adam, names: Iterable[str]) -> dict[str, Any]:
    """What takes the steps of each way, with copies of the model and of Adam, memory and all.

    Raises `ImportError` where numba is missing for the engine.

    Chapter 17.
    """
    return {name: MAKERS[name](deepcopy(model), deepcopy(adam)) for name in names}


def digits(d: int = 784, part: str = "train") -> np.ndarray:
    """Real digits (images, d): of other sizes than 784 their pixels, shuffled, cut or repeated.

    Chapter 17.
    """
    x = getattr(load_dataset("mnist5k"), f"x_{part}")
    if d == x.shape[1]:
        return x
    order = np.random.default_rng(0).permutation(x.shape[1])
    return np.ascontiguousarray(x[:, np.resize(order, d)])


def network(n: int, k: int, x: np.ndarray, seed: int = 0) -> KSparseAutoencoder:
    """A network of n units that starts at images of x (images, d).

    Chapter 17.
    """
    rng = np.random.default_rng(seed)
    model = KSparseAutoencoder(x.shape[1], n, k, rng=rng)
    model.init_from_data(x, rng)
    return model


def settled(
    n: int, k: int, x: np.ndarray, batch: int, count: int
) -> tuple[KSparseAutoencoder, Adam]:
    """A network that has learned from so many batches of x (images, d), and the Adam it had.

    Its first steps are not those that a training is made of: far more units are touched in them.

    Raises `ImportError` where numba is missing.

    Chapter 17.
    """
    model, adam = network(n, k, x), Adam()
    step = MAKERS[ENGINE](model, adam)
    for each in timing.bar(batches(x, batch, count), f"settling, n = {n}", count):
        step((each,))
    step.flush()
    model.W_enc = np.ascontiguousarray(model.W_enc)  # as the plain step would have it
    return model, adam


def batches(x: np.ndarray, size: int, count: int) -> list[np.ndarray]:
    """So many batches (size, d), drawn from the images x (images, d) one like the other.

    Chapter 17.
    """
    rng = np.random.default_rng(0)
    return [x[rng.integers(len(x), size=size)] for _ in range(count)]
