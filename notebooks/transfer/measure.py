"""Lab 10's table: digits and clothes, drawn by what was learned from the one and from the other.

A row is a source of atoms, a k and a seed, and has errors of test digits and of test clothes. The
networks of a hundred units are those of the two sweeps, and some that this trains: of as many
clothes as there are digits. The pictures of the lab go beside the table.

A column is named after whose images are drawn, how the code is found, and "mean" where the mean
image of these images stands in place of the source's own.
`verdicts.csv` says what is settled, for seeds and images that are drawn. What that needs, the error
of each image, is kept in `runs/lab_10`.
"""

import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path

import joblib
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.evaluation.statistics import above_zero, difference
from ksae_lab.experiments import archive
from ksae_lab.experiments.build import build
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.inference.pursuit import refit
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.rows import unit_rows

KS, SEEDS = (5, 10, 50), (0, 1, 2)
UNITS = 100
IMAGES = 1000  # of each test set, from its start: all digits, a tenth of the clothes
FEW, FEW_VALIDATION = 3500, 500  # as many clothes as there are digits
FRAME = 4  # pixels around the 20 x 20 into which MNIST's digits were fitted
SHOWN, SHOWN_K = 8, 10
ON = ("digits", "clothes")  # whose test images are drawn
HOME, FOREIGN = "network of {on}", "network of {other}"
# Who is held against whom: a source and a way to its code, and another.
CONTESTS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "best values over one pass": ((FOREIGN, "refit"), (FOREIGN, "one_pass")),
    "OMP over best values": ((FOREIGN, "omp"), (FOREIGN, "refit")),
    "OMP with the mean of home over its own": ((FOREIGN, "omp_mean"), (FOREIGN, "omp")),
    "pass with the mean of home over its own": ((FOREIGN, "one_pass_mean"), (FOREIGN, "one_pass")),
    "at home, the mean over its own": ((HOME, "omp_mean"), (HOME, "omp")),
    "OMP over one pass at home": ((FOREIGN, "omp_mean"), (HOME, "one_pass")),
    "one pass over nothing": ((FOREIGN, "one_pass"), ("mean of {on}", "omp_mean")),
    "over foreign images": ((FOREIGN, "omp_mean"), ("images of {other}", "omp_mean")),
    "over foreign components": ((FOREIGN, "omp_mean"), ("PCA of {other}", "omp_mean")),
    "over random directions": ((FOREIGN, "omp_mean"), ("noise", "omp_mean")),
    "over images from home": ((FOREIGN, "omp_mean"), ("images of {on}", "omp_mean")),
    "over components from home": ((FOREIGN, "omp_mean"), ("PCA of {on}", "one_pass")),
    "few clothes over many": (("network of few clothes", "omp_mean"), (FOREIGN, "omp_mean")),
}

memory = joblib.Memory(Path(__file__).parents[2] / "runs" / "lab_10", verbose=0)
Key = tuple[str, int, int]  # the name of a source, k and the seed
Errors = dict[str, np.ndarray]  # by column: the error of each image


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


def of_network(model: KSparseAutoencoder) -> Source:
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
    centred, result = x - mean, {}
    if source.encode:
        z = source.encode(x, mean)
        result = {"one_pass": z, "refit": refit(centred, source.W, z != 0)}
    return result | {"omp": omp(source.W, centred, k)}


def errors(make: Callable[[], Source], targets: dict[str, Target], k: int) -> tuple[Row, Errors]:
    """One row: errors by target, mean image and way to a code, and what may explain them.

    Beside it the errors of each image, by the same columns.
    `span` is the share of the target's variance that all atoms together can draw, `frame` the share
    of what OMP leaves there that lies near the border, `negative` the share of its numbers that are
    below zero, `active` the units that speak at a glance. `spread` counts the pixels of an atom,
    and `atoms_frame` is the share of the atoms that lies near the border.
    """
    started = time.process_time()
    source = make()
    W, row, each = source.W, {}, {}
    for on, images in targets.items():
        for suffix, mean in {"": source.mean, "_mean": images.mean}.items():
            if mean is None:
                continue
            for way, code in codes(source, images.x, mean, k).items():
                column = f"{on}_{way}{suffix}"
                each[column] = squared_errors(code @ W + mean, images.x)
                row[column] = each[column].mean()
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
    return row, each


def near_border(images: np.ndarray) -> float:
    """The share of the squares of images (count, d) that lies in the frame."""
    side = int(np.sqrt(images.shape[1]))
    squares = (images**2).reshape(-1, side, side)
    return float(1 - squares[:, FRAME:-FRAME, FRAME:-FRAME].sum() / squares.sum())


def plan(k_sweep: Sweep, fashion: Sweep) -> dict[Key, Network | None]:
    """All rows of the table, with the networks of the two sweeps; controls have none.

    The networks of few clothes have the settings of those of digits.
    """
    small, large = networks(k_sweep), networks(fashion)
    rows: dict[Key, Network | None] = {}
    rows |= {("network of digits", *at): network for at, network in small.items()}
    rows |= {("network of clothes", *at): network for at, network in large.items()}
    rows |= {("network of few clothes", *at): small[at] for at in small if at in large}
    for k in KS:
        for name in ("images of digits", "images of clothes", "noise"):
            rows |= {(name, k, seed): None for seed in SEEDS}
        rows |= {(f"PCA of {of}", k, 0): None for of in ("digits", "clothes")}
    return rows | {(f"mean of {of}", 0, 0): None for of in ("digits", "clothes")}


def networks(sweep: Sweep) -> dict[tuple[int, int], Network]:
    """The networks of a sweep that the lab compares, by k and seed; as many of each."""
    found = sweep.by_k_and_seed(UNITS, SEEDS)
    return {at: network for at, network in found.items() if network.k in KS}


def settings(key: Key, network: Network | None) -> str:
    """The hash of all that decides a row, but for its seed and the code."""
    name, k, _ = key
    own = f"{name} {k} {network and network.settings} {UNITS} {IMAGES} {FRAME}"
    if name == "network of few clothes":
        own += f" {FEW} {FEW_VALIDATION}"
    return hash_of(own)


def datasets(k_sweep: Sweep, fashion: Sweep) -> dict[str, Dataset]:
    """What sources learn from, by name."""
    clothes = fashion.dataset
    few = {"x_train": clothes.x_train[:FEW], "x_val": clothes.x_val[:FEW_VALIDATION]}
    few_clothes = replace(clothes, **few)
    return {"digits": k_sweep.dataset, "clothes": clothes, "few clothes": few_clothes}


def source(key: Key, network: Network | None, data: dict[str, Dataset]) -> Source:
    """What a row of the plan measures: loaded, drawn or trained."""
    name, k, seed = key
    kind, _, of = name.partition(" of ")
    x = data[of].x_train if of else data["digits"].x_train
    match kind:
        case "network" if of == "few clothes":
            run = build(network.experiment, data[of])
            run.fit()
            return of_network(run.model)
        case "network":
            return of_network(network.model())
        case "images":
            return images(x, seed)
        case "PCA":
            return components(x, k)
        case "mean":
            return Source(np.zeros((0, x.shape[1])), x.mean(axis=0, dtype=float))
    return noise(x.shape[1], seed)


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


Loaded = Callable[[], tuple[dict[str, Dataset], dict[str, Target]]]


def loaded(k_sweep: Sweep, fashion: Sweep) -> Loaded:
    """What sources learn from and what they draw, when it is first asked for."""

    @cache
    def load() -> tuple[dict[str, Dataset], dict[str, Target]]:
        data = datasets(k_sweep, fashion)
        return data, {on: target(data[on]) for on in ON}

    return load


def measured(key: Key, network: Network | None, load: Loaded) -> tuple[Row, Errors]:
    """What `errors` says of a source of the plan; found once, and kept."""
    row, each = kept(settings(key, network), key, network, load)
    return row, each


@memory.cache(ignore=["network", "load"])
def kept(settings: str, key: Key, network: Network | None, load: Loaded) -> tuple[Row, Errors]:
    """What `measured` gives for a source with these settings."""
    data, targets = load()
    return errors(partial(source, key, network, data), targets, key[1])


def jobs(k_sweep: Sweep, fashion: Sweep) -> Iterator[Job]:
    """The rows of the plan."""
    load = loaded(k_sweep, fashion)

    def row(key: Key, network: Network | None) -> Row:
        return measured(key, network, load)[0]

    for key, network in plan(k_sweep, fashion).items():
        name, k, seed = key
        yield Job(f"{name}, k={k}", seed, settings(key, network), partial(row, key, network))


def contests() -> Iterator[tuple[str, str, int]]:
    """Each contest, with the images that are drawn, and k; few clothes draw digits."""
    for on, k, name in product(ON, KS, CONTESTS):
        if on == "digits" or name != "few clothes over many":
            yield name, on, k


def verdict_jobs(k_sweep: Sweep, fashion: Sweep) -> Iterator[Job]:
    """How far the first side of each contest lies above the second.

    Where both are codes of the same networks, differences are taken within each.
    """
    load, planned = loaded(k_sweep, fashion), plan(k_sweep, fashion)

    def keys(template: str, on: str, k: int) -> list[Key]:
        (other,) = set(ON) - {on}
        name = template.format(on=on, other=other)
        return [key for key in planned if key[:2] == (name, 0 if name.startswith("mean") else k)]

    def row(sides: list[list[Key]], columns: list[str]) -> Row:
        a, b = (
            np.stack([measured(key, planned[key], load)[1][column] for key in side])
            for side, column in zip(sides, columns, strict=True)
        )
        apart = above_zero(a - b) if sides[0] == sides[1] else difference(a, b)
        return {"ours": a.mean(), "theirs": b.mean()} | apart.row()

    for name, on, k in contests():
        sides = [keys(template, on, k) for template, _ in CONTESTS[name]]
        columns = [f"{on}_{way}" for _, way in CONTESTS[name]]
        known = [settings(key, planned[key]) for side in sides for key in side]
        job = partial(row, sides, columns)
        yield Job(f"{on}, k={k}: {name}", 0, hash_of(f"{known} {columns}"), job)


def draw(path: Path, k_sweep: Sweep, fashion: Sweep) -> None:
    """Write the pictures, as arrays by name."""
    data, rows = datasets(k_sweep, fashion), plan(k_sweep, fashion)
    keys = {of: (f"network of {of}", SHOWN_K, 0) for of in ON}
    sources = {of: source(key, rows[key], data) for of, key in keys.items()}
    archive.put_arrays(path, pictures(sources, {on: target(data[on]) for on in ON}))


TABLES = {"table.csv": jobs, "verdicts.csv": verdict_jobs}
FILES = {"pictures.npz": draw}
