"""Chapter 20's tables: how much of a word is lost, and what single units know of kinds of words.

`choice.csv`, made first, has what validation words say of the network's rate and start, with a seed
that is used nowhere else. A row of `kinds.csv` is a way to give each word scores: for each kind of
`categories.yml` the area under the curve of the single unit that tells it best, chosen among words
to learn from and judged by words from which nothing was learned. A seed draws these words anew.
`networks.npz` has the three networks that the chapter takes words apart with, which learned from
all words.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FastICA

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import dead_units, fvu
from ksae_lab.evaluation.separation import area_under_curve
from ksae_lab.experiments import archive
from ksae_lab.experiments.build import build, trained
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.rows import unit_rows

N, K, EPOCHS, BATCH = 1000, 10, 40, 128
SIZES = ((N, K), (300, K), (3000, K))
SETTINGS = tuple(product((0.002, 0.004, 0.008, 0.016), ("mean", "data")))  # rate, start
SEEDS, TRIAL = (0, 1, 2), 100
LEAST = 3  # words of a kind that nothing was learned from; kinds with fewer are left out
KINDS = Path(__file__).with_name("categories.yml")

Scores = Callable[[np.ndarray], np.ndarray]  # words (words, d) → (words, units)


@cache
def kinds() -> dict[str, frozenset[str]]:
    """The words of each kind, by its name."""
    lists = yaml.safe_load(KINDS.read_text(encoding="utf-8"))
    return {name: frozenset(words.split()) for name, words in lists.items()}


@cache
def data(seed: int) -> Dataset:
    """The words, drawn anew: 7,000 to learn from, 1,000 for validation, 2,000 for test."""
    words = load_dataset("words")
    order = np.random.default_rng(seed).permutation(10_000)
    parts = dict(zip(("train", "val", "test"), np.split(order, [7000, 8000]), strict=True))
    x, y = (
        words.joined("train", "val", "test"),
        np.concatenate([words.y_train, words.y_val, words.y_test]),
    )
    drawn = {f"{of}_{part}": {"x": x, "y": y}[of][at] for part, at in parts.items() for of in "xy"}
    return replace(words, **drawn)


def network(
    dataset: Dataset, n: int, k: int, setting: tuple[float, str], seed: int
) -> KSparseAutoencoder:
    """The k-sparse network of this book, as it stands."""
    rate, start = setting
    settings = {
        "seed": seed,
        "model": {"n_units": n, "k": k, "start": start},
        "optimizer": {"learning_rate": rate},
        "training": {"epochs": EPOCHS, "batch_size": BATCH, "engine": "auto"},
    }
    return trained(build(Experiment.model_validate(settings), dataset))


# Choice


def choice_jobs() -> Iterator[Job]:
    """The network with each rate and start: what validation words lose."""

    def row(setting: tuple[float, str]) -> Row:
        dataset = data(TRIAL)
        model = network(dataset, N, K, setting, TRIAL)
        return {"left": fvu(dataset.x_val, model.reconstruct(dataset.x_val))}

    for setting in SETTINGS:
        settings = hash_of(f"{N} {K} {EPOCHS} {BATCH} {setting}")
        yield Job(f"{setting}", TRIAL, settings, partial(row, setting))


@cache
def chosen() -> tuple[float, str]:
    """What validation words chose: of the settings that are within half a percent, the slowest.

    Raises `FileNotFoundError` before choice.csv is made.
    """
    tried = pd.read_csv(Path(__file__).with_name("choice.csv"), comment="#", index_col="variant")
    good = tried.index[tried.left <= 1.005 * tried.left.min()]
    return next(setting for setting in SETTINGS if f"{setting}" in good)


# Kinds. A direction that has no sign of its own may be read either way.


def either_way(scores: np.ndarray) -> np.ndarray:
    """Scores (words, units), and the same with the other sign: (words, 2 units)."""
    return np.concatenate([scores, -scores], axis=1)


def coordinates(x: np.ndarray, seed: int) -> Scores:
    """The hundred numbers as they are."""
    return either_way


def principal(x: np.ndarray, seed: int) -> Scores:
    """The hundred principal components."""
    pca = PCA(svd_solver="full").fit(x)
    return lambda words: either_way(pca.transform(words))


def independent(x: np.ndarray, seed: int) -> Scores:
    """A hundred independent components."""
    ica = FastICA(whiten="unit-variance", max_iter=1000, tol=1e-3, random_state=seed).fit(x)
    return lambda words: either_way(ica.transform(words))


def clusters(x: np.ndarray, seed: int) -> Scores:
    """How near a word is to each of a thousand means of k-means."""
    means = KMeans(N, n_init=1, random_state=seed).fit(x)
    return lambda words: -means.transform(words)


def at_random(x: np.ndarray, seed: int) -> Scores:
    """A thousand directions that know nothing."""
    W = unit_rows(np.random.default_rng(seed).normal(size=(N, x.shape[1])))
    return lambda words: either_way(words @ W.T)


RIVALS: dict[str, Callable[[np.ndarray, int], Scores]] = {
    "raw numbers": coordinates,
    "PCA": principal,
    "ICA": independent,
    "k-means": clusters,
    "random directions": at_random,
}


def of_kinds(scores: Scores, dataset: Dataset, shuffled: int | None = None) -> Row:
    """By kind: the area of the best unit among words to learn from, on the other words.

    With `shuffled`, a seed, each word is of another's kinds: what chance makes of the same choice.
    """
    x_rest = dataset.joined("val", "test")
    y_rest = np.concatenate([dataset.y_val, dataset.y_test])
    seen, unseen = scores(dataset.x_train), scores(x_rest)
    y_train = dataset.y_train
    if shuffled is not None:
        rng = np.random.default_rng(shuffled)
        y_train, y_rest = rng.permutation(y_train), rng.permutation(y_rest)
    row = {}
    for name, words in kinds().items():
        known, of_kind = (np.isin(y, list(words)) for y in (y_train, y_rest))
        if of_kind.sum() < LEAST:
            row[name] = np.nan
            continue
        best = area_under_curve(seen, known).argmax()
        row[name] = area_under_curve(unseen[:, [best]], of_kind)[0]
    return row


def kind_jobs() -> Iterator[Job]:
    """A row for each way and seed."""

    def of_network(n: int, k: int, seed: int) -> Iterator[tuple[str, Callable[[], Row]]]:
        @cache
        def learnt() -> KSparseAutoencoder:
            return network(data(seed), n, k, chosen(), seed)

        def row(scores: str, shuffled: int | None = None) -> Row:
            model, dataset = learnt(), data(seed)
            lost = {
                f"left_{part}": fvu(x, model.reconstruct(x))
                for part, x in (("train", dataset.x_train), ("test", dataset.x_test))
            }
            lost |= {"dead": dead_units(model.encode(dataset.x_train))}
            return lost | of_kinds(getattr(model, scores), dataset, shuffled)

        yield f"pre-activations, n={n}, k={k}", partial(row, "pre_activations")
        yield f"codes, n={n}, k={k}", partial(row, "encode")
        if (n, k) == (N, K):
            yield "chance", partial(row, "pre_activations", seed)

    def of_rival(make: Callable[[np.ndarray, int], Scores], seed: int) -> Row:
        blank = {"left_train": np.nan, "left_test": np.nan, "dead": np.nan}
        dataset = data(seed)
        return blank | of_kinds(make(dataset.x_train, seed), dataset)

    text = KINDS.read_text(encoding="utf-8")
    for seed in SEEDS:
        for n, k in SIZES:
            for name, measure in of_network(n, k, seed):
                settings = hash_of(f"{name} {chosen()} {EPOCHS} {BATCH} {LEAST} {text}")
                yield Job(name, seed, settings, measure)
        for name, make in RIVALS.items():
            settings = hash_of(f"{name} {N} {LEAST} {text}")
            yield Job(name, seed, settings, partial(of_rival, make, seed))


# What the chapter shows

PARTS = ("W_enc", "b_enc", "W_dec", "b_dec")
SHOWN, SHOWN_SEED = (300, N, 2000), 0


@cache
def every_word() -> Dataset:
    """The data set, with all of its words to learn from."""
    words = load_dataset("words")
    y = np.concatenate([words.y_train, words.y_val, words.y_test])
    return replace(words, x_train=words.joined("train", "val", "test"), y_train=y)


def networks(path: Path) -> None:
    """Write networks of all words in half precision: by size and part."""
    arrays = {}
    for n in SHOWN:
        model = network(every_word(), n, K, chosen(), SHOWN_SEED)
        arrays |= {f"{n}_{part}": getattr(model, part).astype(np.float16) for part in PARTS}
    archive.put_arrays(path, arrays)


def stored(n: int) -> KSparseAutoencoder:
    """One of these networks."""
    model = KSparseAutoencoder(every_word().x_train.shape[1], n, K, rng=SHOWN_SEED)
    with np.load(Path(__file__).with_name("networks.npz")) as arrays:
        for part in PARTS:
            getattr(model, part)[:] = arrays[f"{n}_{part}"]
    return model


TABLES: dict[str, Any] = {"choice.csv": choice_jobs, "kinds.csv": kind_jobs}
FILES = {"networks.npz": networks}
