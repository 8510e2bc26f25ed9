"""Chapter 15's table of anomalies: who notices a digit that is not like those it has learned?

Two tasks, each for every class of mnist5k in turn. "one class" learns the training digits of that
class, and the others are anomalies; "all but one" learns nine classes, and the tenth is one.
Networks and PCA score a test digit by its squared error. Nothing is tuned: whoever looks for
anomalies has seen none. So the networks have the first edition's settings, with digits that stay
where they are, for all; the two that the chapter judges also train twice as long.
A row has the ten areas under the ROC curve.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.experiments.build import build
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, hash_of
from ksae_lab.models.k_sparse import KSparseAutoencoder

TASKS = {"one class": 120, "all but one": 40}  # and the epochs of a training, a few seconds' worth
KS = {"one class": (3, 10, 30), "all but one": (10,)}
SEEDS = (0, 1, 2, 3, 4)
TWICE = {"one class": 30, "all but one": 10}  # whose training is doubled, with the first seeds
TWICE_SEEDS = (0,)

Scorer = Callable[[np.ndarray], np.ndarray]  # images (batch, d) → how strange each is (batch,)


def learned(dataset: Dataset, task: str, label: int) -> Dataset:
    """The data without what is to be an anomaly; test digits stay all."""
    train, val = ((y == label) == (task == "one class") for y in (dataset.y_train, dataset.y_val))
    return replace(
        dataset,
        x_train=dataset.x_train[train],
        y_train=dataset.y_train[train],
        x_val=dataset.x_val[val],
        y_val=dataset.y_val[val],
    )


def experiment(task: str, k: int, seed: int, times: int = 1) -> Experiment:
    """The first edition's settings, for so many times the epochs of the task."""
    return Experiment.model_validate(
        {
            "seed": seed,
            "model": {"k": k},
            "optimizer": {"learning_rate": 0.004},
            "curriculum": {"k_start": 60} if k <= 10 else None,
            "training": {"epochs": times * TASKS[task], "batch_size": 128, "noise": 0.2},
        }
    )


def network(task: str, k: int, seed: int, times: int, known: Dataset) -> KSparseAutoencoder:
    """A k-sparse network that has learned what is known."""
    run = build(experiment(task, k, seed, times), known)
    run.fit()
    return run.model


def by_network(task: str, k: int, seed: int, times: int, known: Dataset) -> Scorer:
    """Strange is what the network draws badly."""
    model = network(task, k, seed, times, known)
    return lambda x: ((model.reconstruct(x) - x) ** 2).mean(axis=1)


def by_pca(k: int, known: Dataset) -> Scorer:
    """Strange is what k components draw badly."""
    pca = PCA(k, svd_solver="full").fit(known.x_train)
    return lambda x: ((pca.inverse_transform(pca.transform(x)) - x) ** 2).mean(axis=1)


def by_distance(known: Dataset) -> Scorer:
    """Strange is what is far from every image that was learned."""
    nearest = NearestNeighbors(n_neighbors=1).fit(known.x_train)
    return lambda x: nearest.kneighbors(x)[0][:, 0]


def by_detector(make: Callable, known: Dataset) -> Scorer:
    """Strange is what one of scikit-learn's detectors finds so."""
    detector = make().fit(known.x_train)
    return lambda x: -detector.score_samples(x)


def areas(learn: Callable[[Dataset], Scorer], task: str, dataset: Dataset) -> dict:
    """One row: the area under the ROC curve for each class, 1/2 for guessing, and their mean."""
    row = {}
    for label in np.unique(dataset.y_test):
        score = learn(learned(dataset, task, label))(dataset.x_test)
        strange = (dataset.y_test != label) == (task == "one class")
        row[f"class_{label}"] = roc_auc_score(strange, score)
    row["mean"] = np.mean(list(row.values()))
    return {name: float(f"{value:.5g}") for name, value in row.items()}


def methods(task: str, seed: int) -> Iterator[tuple[str, str, Callable[[Dataset], Scorer]]]:
    """Each method's name, what it depends on beside the seed, and how it learns.

    What has no randomness learns with the first seed only.
    """
    for k in KS[task]:
        settings = experiment(task, k, seed).hash
        yield f"k-sparse, k={k}", settings, partial(by_network, task, k, seed, 1)
    if seed in TWICE_SEEDS:
        k = TWICE[task]
        settings = experiment(task, k, seed, 2).hash
        yield f"k-sparse, k={k}, twice", settings, partial(by_network, task, k, seed, 2)
    forest = partial(by_detector, partial(IsolationForest, random_state=seed))
    yield "isolation forest", "defaults", forest
    if seed == SEEDS[0]:
        for k in KS[task]:
            yield f"PCA, k={k}", "full", partial(by_pca, k)
        yield "nearest digit", "pixels", by_distance
        yield "one-class SVM", "defaults", partial(by_detector, OneClassSVM)
        local = partial(LocalOutlierFactor, novelty=True)
        yield "local outlier factor", "defaults", partial(by_detector, local)


def jobs() -> Iterator[Job]:
    """Every task, seed and method."""
    dataset = load_dataset("mnist5k")
    for task in TASKS:
        for seed in SEEDS:
            for name, settings, learn in methods(task, seed):
                measure = partial(areas, learn, task, dataset)
                yield Job(f"{task}, {name}", seed, hash_of(f"{task} {name} {settings}"), measure)


TABLES = {"anomalies.csv": jobs}
