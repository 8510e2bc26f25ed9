"""Chapter 15's other tables: networks of a sweep against noise, with few labels, in little room.

    python -m tools.uses denoising experiments/k_sweep.yaml runs/k_sweep table.csv

and likewise `labels`, `compression` and `classes`.
The networks are those of a sweep over k and seeds that `python -m ksae_lab sweep` has run. A row of
the same seed draws the same noise or the same labels, whoever is measured: rows can be paired.
A row is written as soon as it is measured; started again, the command does what is missing.
"""

import argparse
import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from sklearn.decomposition import PCA

from ksae_lab.autoencoder import KSparseAutoencoder
from ksae_lab.compress import prune, quantise
from ksae_lab.data import Dataset
from ksae_lab.losses import mse
from ksae_lab.probe import best_probe
from tools.probe import Stored, measure, stored
from tools.tables import Job, fill, provenance

Networks = dict[tuple[int, int], Stored]  # by k and seed

SIGMAS = (0.1, 0.2, 0.4, 0.8)
LABELS = (10, 30, 100, 300, 1000)
DRAWS = 10
FEW_LABELS_KS = (5, 10, 50)
COMPRESSED_KS = (10, 50)
SHARES = (0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
BITS = (8, 6, 5, 4, 3, 2)


# Noise


def noisy(x: np.ndarray, sigma: float, *seeds: int) -> np.ndarray:
    """x (batch, d) with normal noise of σ grey levels, not clipped."""
    noise = np.random.default_rng(seeds).normal(size=x.shape)
    return (x + sigma * noise).astype(np.float32)


def denoisers(networks: Networks, dataset: Dataset, sigma: float, seed: int) -> dict[str, dict]:
    """Every method's settings to choose from, each a function from noisy to clean images."""
    models = {k: network.model() for (k, of), network in networks.items() if of == seed}
    pca = PCA(svd_solver="covariance_eigh").fit(dataset.x_train.astype(float))

    def kept(k, x):
        return pca.mean_ + (x - pca.mean_) @ pca.components_[:k].T @ pca.components_[:k]

    def shrunk(x):
        # The best linear answer, if images were normal: each component as far as it is signal.
        share = pca.explained_variance_ / (pca.explained_variance_ + sigma**2)
        return pca.mean_ + (x - pca.mean_) @ pca.components_.T * share @ pca.components_

    def one_by_one(denoise, x):
        side = int(np.sqrt(x.shape[1]))
        return np.array([denoise(image.reshape(side, side)).ravel() for image in x])

    means = partial(denoise_nl_means, patch_size=5, patch_distance=6, fast_mode=True)
    return {
        "k-sparse": {k: model.reconstruct for k, model in models.items()},
        "PCA": {k: partial(kept, k) for k in (5, 7, 10, 14, 20, 30, 40, 50, 70, 100, 150)},
        "PCA, shrunk": {0: shrunk},
        "total variation": {
            weight: partial(one_by_one, partial(denoise_tv_chambolle, weight=weight))
            for weight in (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
        },
        "non-local means": {
            h: partial(one_by_one, partial(means, h=h * sigma, sigma=sigma))
            for h in (0.4, 0.6, 0.8, 1.0, 1.5)
        },
        "nothing": {0: lambda x: x},
    }


def denoising(networks: Networks, dataset: Dataset, sigma: float, method: str, seed: int) -> dict:
    """One row: the setting that validation digits prefer, and the error on test digits."""
    candidates = denoisers(networks, dataset, sigma, seed)[method]
    spoilt = noisy(dataset.x_val, sigma, seed, 0)
    errors = {name: mse(clean(spoilt), dataset.x_val) for name, clean in candidates.items()}
    best = min(errors, key=errors.get)
    test = mse(candidates[best](noisy(dataset.x_test, sigma, seed, 1)), dataset.x_test)
    return {"setting": best, "validation": errors[best], "test": test}


def denoising_rows(networks: Networks, dataset: Dataset) -> Iterator[Job]:
    """Every σ, every method, every seed."""
    names = denoisers({}, dataset, 1.0, 0)
    for sigma in SIGMAS:
        for method in names:
            for seed, hashes in by_seed(networks).items():
                yield Job(
                    f"{method}, σ={sigma}",
                    seed,
                    settings(sigma, list(names[method]), hashes if method == "k-sparse" else ""),
                    partial(denoising, networks, dataset, sigma, method, seed),
                )


# Few labels


def some(y: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` indices of labels y (samples,), equally many of each class."""
    classes = np.unique(y)
    each = count // len(classes)
    drawn = [rng.choice(np.flatnonzero(y == c), each, replace=False) for c in classes]
    return np.concatenate(drawn)


def few_labels(encode, dataset: Dataset, seed: int) -> dict:
    """One row: the mean error of the probes for each number of labels, over the draws."""
    codes, z_val, z_test = map(encode, (dataset.x_train, dataset.x_val, dataset.x_test))
    validation, test = (z_val, dataset.y_val), (z_test, dataset.y_test)
    # How loud a unit is, all the training digits tell, and these need no label. With few labels it
    # matters whether quiet units are brought to the same scale: the validation digits say.
    scales = [codes.std(axis=0), np.full(codes.shape[1], codes.std())]
    row = {}
    for count in LABELS:
        errors = []
        for draw in range(DRAWS):
            few = some(dataset.y_train, count, np.random.default_rng([seed, draw]))
            train = codes[few], dataset.y_train[few]
            errors.append(best_probe(train, validation, test, scales).test)
        row[f"error_{count}"] = np.mean(errors)
    return row


def labels_of_network(network: Stored, dataset: Dataset) -> dict:
    """The row of a network."""
    return few_labels(network.model().encode, dataset, network.seed)


def labels_of_pca(k: int, dataset: Dataset, seed: int) -> dict:
    """The row of PCA's first k components, fitted to all training digits."""
    return few_labels(PCA(k, svd_solver="full").fit(dataset.x_train).transform, dataset, seed)


def labels_of_pixels(dataset: Dataset, seed: int) -> dict:
    """The row of the digits themselves."""
    return few_labels(lambda x: x, dataset, seed)


def labels_rows(networks: Networks, dataset: Dataset) -> Iterator[Job]:
    """Codes, components and pixels, with the same labels for all of a seed."""
    for k in FEW_LABELS_KS:
        for seed in by_seed(networks):
            one = networks[k, seed]
            digest = settings(LABELS, DRAWS, one.settings)
            yield Job(f"k-sparse, k={k}", seed, digest, partial(labels_of_network, one, dataset))
            digest = settings(LABELS, DRAWS, k)
            yield Job(f"PCA, k={k}", seed, digest, partial(labels_of_pca, k, dataset, seed))
    for seed in by_seed(networks):
        job = partial(labels_of_pixels, dataset, seed)
        yield Job("raw pixels", seed, settings(LABELS, DRAWS), job)


# Pruned and quantised


def pca_as_network(x: np.ndarray, k: int) -> KSparseAutoencoder:
    """PCA of x (samples, d) as a network whose k units, all linear, always speak."""
    pca = PCA(k, svd_solver="full").fit(x)
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(x.shape[1], k, k, "linear", rng=rng)
    model.b_dec[:], model.W_dec[:], model.W_enc[:] = pca.mean_, pca.components_, pca.components_.T
    return model


def compressed(load, change, dataset: Dataset) -> dict:
    """One row: the error on test digits, and what a probe reads, of a network that was changed."""
    model = change(load())
    return {"mse": model.error(dataset.x_test)} | measure(model.encode, dataset)


def compression_rows(networks: Networks, dataset: Dataset) -> Iterator[Job]:
    """Every k and seed, and PCA(k), pruned and quantised."""
    changes = {f"pruned {share:.0%}": partial(prune, share=share) for share in SHARES}
    changes |= {f"{bits} bits": partial(quantise, bits=bits) for bits in BITS}
    for how, change in changes.items():
        for k in COMPRESSED_KS:
            for seed in by_seed(networks):
                one = networks[k, seed]
                job = partial(compressed, one.model, change, dataset)
                yield Job(f"k-sparse, k={k}, {how}", seed, settings(how, one.settings), job)
            load = partial(pca_as_network, dataset.x_train, k)
            job = partial(compressed, load, change, dataset)
            yield Job(f"PCA, k={k}, {how}", 0, settings(how, k), job)


# Classes


def shares(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How much of its activity each unit spends on each class: z (samples, n) → (n, classes).

    What is below zero counts by its size; the row of a unit that says nothing is NaN.
    """
    total = np.array([np.abs(z[y == c]).sum(axis=0) for c in np.unique(y)]).T
    with np.errstate(invalid="ignore"):
        return total / total.sum(axis=1, keepdims=True)


def favourites(encode, dataset: Dataset) -> dict:
    """One row: mean over units of the share of the favourite class, and of the entropy in bits.

    Favourites are found with training digits and measured on test digits: a unit that speaks for
    ten digits of a set has a favourite among these whatever it does.
    """
    seen = shares(encode(dataset.x_train), dataset.y_train)
    unseen = shares(encode(dataset.x_test), dataset.y_test)
    speaks = ~np.isnan(seen).any(axis=1) & ~np.isnan(unseen).any(axis=1)
    seen, unseen = seen[speaks], unseen[speaks]
    share = unseen[np.arange(len(seen)), seen.argmax(axis=1)]
    bits = -(seen * np.log2(np.where(seen > 0, seen, 1))).sum(axis=1)
    return {
        "units": len(seen),
        "share": share.mean(),
        "lowest": share.min(),
        "highest": share.max(),
        "entropy": bits.mean(),
    }


def classes_of_network(network: Stored, dataset: Dataset) -> dict:
    """The row of a network."""
    return favourites(network.model().encode, dataset)


def classes_rows(networks: Networks, dataset: Dataset) -> Iterator[Job]:
    """Every network; and what it would be for components and for pixels."""
    for (k, seed), one in networks.items():
        job = partial(classes_of_network, one, dataset)
        yield Job(f"k-sparse, k={k}", seed, settings("classes", one.settings), job)
    units = next(iter(networks.values())).n_units
    pca = PCA(units, svd_solver="full").fit(dataset.x_train)
    job = partial(favourites, pca.transform, dataset)
    yield Job(f"PCA, k={units}", 0, settings("classes", units), job)
    job = partial(favourites, lambda x: x, dataset)
    yield Job("raw pixels", 0, settings("classes"), job)


def by_seed(networks: Networks) -> dict[int, list[str]]:
    """The hashes of the networks of each seed."""
    found = {}
    for (_, seed), network in networks.items():
        found.setdefault(seed, []).append(network.settings)
    return found


def settings(*what: object) -> str:
    """A hash of what a row depends on, the seed apart."""
    return hashlib.sha256(repr(what).encode()).hexdigest()


TABLES = {
    "denoising": denoising_rows,
    "labels": labels_rows,
    "compression": compression_rows,
    "classes": classes_rows,
}


def main() -> None:
    """Read the command line, and measure what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("use", choices=TABLES)
    parser.add_argument("plan", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("table", type=Path)
    asked = parser.parse_args()
    dataset, networks = stored(asked.plan, asked.folder)
    rows = TABLES[asked.use](networks, dataset)
    command = f"-m tools.uses {asked.use} {asked.plan} {asked.folder} {asked.table}"
    fill(asked.table, provenance(command), list(rows))


if __name__ == "__main__":
    main()
