"""Lab 7's table: neighbouring k of chapter 13's sweep, compared over seeds and test images."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Job, Row, hash_of


def errors(networks: list[Network], x: np.ndarray) -> np.ndarray:
    """The errors of the images x (batch, d), by network: (networks, batch)."""
    return np.array([squared_errors(x, network.model().reconstruct(x)) for network in networks])


def compare(few: list[Network], many: list[Network], x: np.ndarray) -> Row:
    """One row: the error with few active units less that with many.

    "few_better" is the share of the images that the few draw better, in the mean of their seeds.
    """
    a, b = errors(few, x), errors(many, x)
    apart = difference(a, b)
    return {
        "seeds": len(a),
        "images": len(x),
        "of": a.mean(),
        **apart.row(),
        "few_better": (a.mean(axis=0) < b.mean(axis=0)).mean(),
    }


def jobs(k_sweep: Sweep) -> Iterator[Job]:
    """A row for each two neighbours; the table is a family of tests."""
    by_k: dict[int, list[Network]] = {}
    for network in k_sweep.networks:
        by_k.setdefault(network.k, []).append(network)

    def row(few: int, many: int) -> Row:
        return compare(by_k[few], by_k[many], k_sweep.dataset.x_test)

    for few, many in pairwise(by_k):
        settings = hash_of(f"{[n.settings for n in by_k[few] + by_k[many]]}")
        yield Job(f"{few} and {many}", 0, settings, partial(row, few, many))


TABLES = {"neighbours.csv": jobs}
