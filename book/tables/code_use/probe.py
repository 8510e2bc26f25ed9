"""Chapter 15's first tables: what a linear classifier reads off codes, and off their rivals.

`probe.csv` has the errors, and which test digits the probe was wrong on. From these,
`probe_verdicts.csv` holds networks against rivals, over seeds and test digits; so it comes second.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.networks import Sweep
from ksae_lab.experiments.probe_table import probe_jobs, unpacked
from ksae_lab.experiments.tables import Job, Row, hash_of

SEEDS = (0, 1, 2)
KS = (5, 10, 20, 30, 50)  # Lab 2's
DOUBLED = (5, 10, 20, 50)  # of which 2 k is in the sweep as well
EVERY = "PCA, k=100", "raw pixels"
SAME_K = "PCA, k={k}", "dictionary + OMP, k={k}", "raw images, k={k}", "random directions, k={k}"


def jobs(k_sweep: Sweep) -> Iterator[Job]:
    """The networks of chapter 13's sweep, with k and with 2 k units, and what rivals them."""
    return probe_jobs(k_sweep, seeds=SEEDS)


def contests() -> Iterator[tuple[str, str, str]]:
    """The family, the network's variant and the rival's of every contest."""
    for alpha, ks in {1: KS, 2: DOUBLED}.items():
        for k in ks:
            rivals = {*EVERY, *(name.format(k=alpha * k) for name in SAME_K)}
            for rival in sorted(rivals):
                yield f"α={alpha}", f"k-sparse, k={k}, α={alpha}", rival
    for k in KS:
        yield "k", f"k-sparse, k={k}, α=1", "k-sparse, k=100, α=1"
    for k in DOUBLED:
        yield "k", f"k-sparse, k={k}, α=2", f"k-sparse, k={k}, α=1"


def verdict(ours: str, theirs: str, images: int) -> Row:
    """One row: how far the network's error lies above the rival's, for seeds and digits drawn."""
    rows = pd.read_csv(Path(__file__).with_name("probe.csv"), comment="#").groupby("variant")
    a, b = (
        np.stack([unpacked(word, images) for word in rows.get_group(name).wrong])
        for name in (ours, theirs)
    )
    apart = difference(a.astype(float), b.astype(float))
    means = {"network": a.mean(), "rival": b.mean()}
    return means | apart.row()


def verdict_jobs(k_sweep: Sweep) -> Iterator[Job]:
    """Every contest, by its family: codes of k units, of 2 k, and one code against another."""
    hashes: dict[str, list[str]] = {}
    for job in jobs(k_sweep):
        hashes.setdefault(job.variant, []).append(job.settings)
    images = len(k_sweep.dataset.y_test)
    for family, ours, theirs in contests():
        settings = hash_of(f"{hashes[ours]} {hashes[theirs]}")
        measure = partial(verdict, ours, theirs, images)
        yield Job(f"{family}: {ours} against {theirs}", 0, settings, measure)


TABLES = {"probe.csv": jobs, "probe_verdicts.csv": verdict_jobs}
