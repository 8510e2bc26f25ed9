"""Lab 10's table: digits and clothes, drawn by what was learned from the one and from the other.

    python -m ksae_lab sweep experiments/k_sweep.yaml --out runs/k_sweep
    python -m ksae_lab sweep experiments/fashion.yaml --out runs/fashion
    python -m tools.transfer experiments/k_sweep.yaml runs/k_sweep experiments/fashion.yaml \
        runs/fashion notebooks/results/lab_10.csv

A row is a source of atoms, a k and a seed, and has errors of test digits and of test clothes. The
networks of a hundred units are those of the two sweeps, and some that this trains: of as many
clothes as there are digits. The pictures of the lab go beside the table, in a file lab_10.npz.

A column is named after whose images are drawn, how the code is found, and "mean" where the mean
image of these images stands in place of the source's own.
"""

import argparse
import hashlib
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.experiments import saved_models, sweep
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.train import MODEL, build
from ksae_lab.inference.pursuit import refit
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.losses import mse
from ksae_lab.nn.rows import unit_rows
from tools.tables import Job, fill, provenance

KS, SEEDS = (5, 10, 50), (0, 1, 2)
UNITS = 100
IMAGES = 1000  # of each test set, from its start: all digits, a tenth of the clothes
FEW, FEW_VALIDATION = 3500, 500  # as many clothes as there are digits
FRAME = 4  # pixels around the 20 x 20 into which MNIST's digits were fitted
SHOWN, SHOWN_K = 8, 10

Key = tuple[str, int, int]  # the name of a source, k and the seed


@dataclass(frozen=True)
class Source:
    """Atoms W (n, d) of length 1, the mean image (d,) that belongs to them, and an encoder.

    Atoms without a mean image are used with that of the images they draw.
    """

    W: np.ndarray
    mean: np.ndarray | None = None
    encode: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None  # x, mean → z


@dataclass(frozen=True)
class Target:
    """Test images x (images, d), and the mean image (d,) of the training images beside them."""

    x: np.ndarray
    mean: np.ndarray


def target(dataset: Dataset) -> Target:
    """What is to be drawn of a data set, in float64."""
    return Target(dataset.x_test[:IMAGES].astype(float), dataset.x_train.mean(axis=0, dtype=float))


def network(model: KSparseAutoencoder) -> Source:
    """A network's atoms, and its encoder, which may be given another mean image."""

    def encode(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
        other = copy(model)
        other.b_dec = mean
        return other.encode(x)

    return Source(model.W_dec.astype(float), model.b_dec.astype(float), encode)


def images(x: np.ndarray, seed: int) -> Source:
    """Some of the images x (samples, d) as they are: less the mean, and of length 1."""
    drawn = x[np.random.default_rng(seed).choice(len(x), UNITS, replace=False)]
    return Source(unit_rows(drawn.astype(float) - x.mean(axis=0, dtype=float)))


def noise(n_pixels: int, seed: int) -> Source:
    """Directions that know nothing of any image."""
    return Source(unit_rows(np.random.default_rng(seed).normal(size=(UNITS, n_pixels))))


def components(x: np.ndarray, k: int) -> Source:
    """Principal components of x (samples, d): at a glance the first k, for OMP all of them."""
    pca = PCA(UNITS, svd_solver="covariance_eigh").fit(x.astype(float))
    first = np.arange(UNITS) < k
    return Source(
        pca.components_, pca.mean_, lambda x, mean: (x - mean) @ pca.components_.T * first
    )


def omp(W: np.ndarray, centred: np.ndarray, k: int) -> np.ndarray:
    """OMP's codes (batch, n) of images without their mean (batch, d)."""
    if not k:
        return np.zeros((len(centred), len(W)))
    return orthogonal_mp_gram(W @ W.T, W @ centred.T, n_nonzero_coefs=k).T


def codes(source: Source, x: np.ndarray, mean: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Codes (batch, n) of x (batch, d) by the name of who finds them."""
    centred, found = x - mean, {}
    if source.encode:
        z = source.encode(x, mean)
        found = {"one_pass": z, "refit": refit(centred, source.W, z != 0)}
    return found | {"omp": omp(source.W, centred, k)}


def measure(make: Callable[[], Source], targets: dict[str, Target], k: int) -> dict:
    """One row: errors by target, mean image and way to a code, and what may explain them.

    `span` is the share of the target's variance that all atoms together can draw, `frame` the share
    of what OMP leaves there that lies near the border, `negative` the share of its numbers that are
    below zero, `active` the units that speak at a glance. `spread` counts the pixels of an atom,
    and `atoms_frame` is the share of the atoms that lies near the border.
    """
    started = time.process_time()
    source = make()
    W, row = source.W, {}
    for on, images in targets.items():
        for suffix, mean in {"": source.mean, "_mean": images.mean}.items():
            if mean is None:
                continue
            for way, code in codes(source, images.x, mean, k).items():
                row[f"{on}_{way}{suffix}"] = mse(code @ W + mean, images.x)
                if way == "one_pass" and not suffix:
                    row[f"{on}_active"] = np.count_nonzero(code) / len(code)
        centred = images.x - images.mean
        best = np.linalg.lstsq(W.T, centred.T)[0].T if len(W) else np.zeros((len(centred), 0))
        row[f"{on}_span"] = 1 - np.sum((centred - best @ W) ** 2) / np.sum(centred**2)
        row[f"{on}_frame"] = near_border(centred - code @ W)  # the last code was OMP's, with `mean`
        if k:
            row[f"{on}_negative"] = np.mean(code[code != 0] < 0)
    if k:
        row["spread"] = np.mean(1 / np.sum(W**4, axis=1))  # n equal pixels give n
        row["atoms_frame"] = near_border(W)
    row["seconds"] = round(time.process_time() - started, 1)
    return row


def near_border(images: np.ndarray) -> float:
    """The share of the squares of images (count, d) that lies in the frame."""
    side = int(np.sqrt(images.shape[1]))
    squares = (images**2).reshape(-1, side, side)
    return float(1 - squares[:, FRAME:-FRAME, FRAME:-FRAME].sum() / squares.sum())


def plan(digits: Path, clothes: Path) -> dict[Key, Experiment | None]:
    """All rows of the table, from the two sweeps' files; controls have no experiment."""
    small, large = networks(digits), networks(clothes)
    rows: dict[Key, Experiment | None] = {}
    rows |= {("network of digits", *at): experiment for at, experiment in small.items()}
    rows |= {("network of clothes", *at): experiment for at, experiment in large.items()}
    rows |= {("network of few clothes", *at): small[at] for at in small if at in large}
    for k in KS:
        for name in ("images of digits", "images of clothes", "noise"):
            rows |= {(name, k, seed): None for seed in SEEDS}
        rows |= {(f"PCA of {of}", k, 0): None for of in ("digits", "clothes")}
    return rows | {(f"mean of {of}", 0, 0): None for of in ("digits", "clothes")}


def networks(path: Path) -> dict[tuple[int, int], Experiment]:
    """The experiments of a sweep that the lab compares, by k and seed."""
    experiments = [run.experiment for run in sweep.load(path)]
    return {
        (of.model.k, of.seed): of
        for of in experiments
        if of.model.n_units == UNITS and of.model.k in KS
    }


def settings(key: Key, experiment: Experiment | None) -> str:
    """The hash of all that decides a row, but for its seed and the code."""
    name, k, _ = key
    own = f"{name} {k} {experiment and experiment.hash} {UNITS} {IMAGES} {FRAME}"
    if name == "network of few clothes":
        own += f" {FEW} {FEW_VALIDATION}"
    return hashlib.sha256(own.encode()).hexdigest()


def source(
    key: Key, experiment: Experiment | None, folders: dict[str, Path], data: dict[str, Dataset]
) -> Source:
    """What a row of the plan measures: loaded, drawn or trained."""
    name, k, seed = key
    kind, _, of = name.partition(" of ")
    x = data[of].x_train if of else data["digits"].x_train
    match kind:
        case "network" if of in folders:
            return network(saved_models.load_model(stored(experiment, folders[of])))
        case "network":
            run = build(experiment, data[of])
            run.fit()
            return network(run.model)
        case "images":
            return images(x, seed)
        case "PCA":
            return components(x, k)
        case "mean":
            return Source(np.zeros((0, x.shape[1])), x.mean(axis=0, dtype=float))
    return noise(x.shape[1], seed)


def stored(experiment: Experiment, folder: Path) -> Path:
    """The card of a network that a sweep has trained."""
    return sweep.Planned(experiment, {}).folder(folder) / MODEL


def pictures(sources: dict[str, Source], targets: dict[str, Target]) -> dict[str, np.ndarray]:
    """The first images of each target, drawn by its own network and by the other; some atoms.

    Images are uint8, (images, d); atoms int8, on one scale for each network.
    """
    shown = {}
    for on, images in targets.items():
        (other,) = set(targets) - {on}
        x = images.x[:SHOWN]
        own, foreign = sources[on], sources[other]
        glance = foreign.encode(x, foreign.mean)
        search = omp(foreign.W, x - images.mean, SHOWN_K)
        drawn = {
            "original": x,
            "own": own.encode(x, own.mean) @ own.W + own.mean,
            "one_pass": glance @ foreign.W + foreign.mean,
            "omp": search @ foreign.W + images.mean,
        }
        for name, image in drawn.items():
            shown[f"{on}_{name}"] = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
        atoms = own.W[: 2 * SHOWN]
        shown[f"{on}_atoms"] = np.rint(127 * atoms / np.abs(atoms).max()).astype(np.int8)
    return shown


def main() -> None:
    """Read the command line, measure what the table lacks, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("digits_plan", "digits_runs", "clothes_plan", "clothes_runs", "table"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    folders = {"digits": asked.digits_runs, "clothes": asked.clothes_runs}
    data = {"digits": load_dataset("mnist5k"), "clothes": load_dataset("fashion_mnist")}
    targets = {on: target(dataset) for on, dataset in data.items()}
    many = data["clothes"]
    data["few clothes"] = replace(
        many, x_train=many.x_train[:FEW], x_val=many.x_val[:FEW_VALIDATION]
    )
    rows = plan(asked.digits_plan, asked.clothes_plan)
    jobs = [
        Job(
            f"{key[0]}, k={key[1]}",
            key[2],
            settings(key, experiment),
            partial(measure, partial(source, key, experiment, folders, data), targets, key[1]),
        )
        for key, experiment in rows.items()
    ]
    fill(
        asked.table,
        provenance("-m tools.transfer " + " ".join(map(str, vars(asked).values()))),
        jobs,
    )
    shown = {
        of: source(key := (f"network of {of}", SHOWN_K, 0), rows[key], folders, data)
        for of in folders
    }
    np.savez_compressed(asked.table.with_suffix(".npz"), **pictures(shown, targets))


if __name__ == "__main__":
    main()
