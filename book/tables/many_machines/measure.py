"""The table of the page on more than one machine: the time of a step of one Keras model.

The ways are those of `program/worker.py`, on two cores of one machine, and for comparison on one.
Two processes have one core each. What a step takes is the median of a few, after some to warm up.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np

from ksae_lab.experiments.tables import Job, hash_of

WORKER = Path(__file__).parent / "program" / "worker.py"
SETTINGS = {"n_units": 200, "k": 20, "batch_size": 100, "steps": 20, "epochs": 1, "recipes": False}

BOTH, EACH = [[0, 1]], [[0], [1]]
WAYS = {
    "one device, one core": ("one device", [[0]]),
    "one device": ("one device", BOTH),
    "two devices": ("two devices", BOTH),
    "two processes": ("two processes", EACH),
    "one JAX device": ("one JAX device", BOTH),
    "two JAX processes": ("two JAX processes", EACH),
}
SIZES = ((1000, 256), (1000, 1024), (4096, 256), (4096, 1024))
K = 32
WARM, STEPS = 3, 11


def free_ports(count: int) -> list[int]:
    """Ports of localhost that nobody listens on now."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def environments(way: str) -> list[dict[str, str]]:
    """What each process of a way finds in its environment: there are as many as processes."""
    jax = {"KERAS_BACKEND": "jax"} if "JAX" in way else {}
    if "processes" not in way:
        return [jax]
    places = [f"localhost:{port}" for port in free_ports(2)]
    if jax:
        jax |= {"KERAS_DISTRIBUTION_JOB_ADDRESSES": places[0]}
        jax |= {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
        return [jax | {"KERAS_DISTRIBUTION_PROCESS_ID": str(i)} for i in range(2)]
    tasks = [{"type": "worker", "index": i} for i in range(2)]
    return [{"TF_CONFIG": json.dumps({"cluster": {"worker": places}, "task": t})} for t in tasks]


def train(
    way: str, *trainings: dict, cores: list[list[int]] | None = None, timeout: float = 120
) -> list[list[dict[str, np.ndarray]]]:
    """Train in one of the ways of `program/worker.py`: for each process its results, in order.

    `cores` says for each process which cores of the processor it may use; all if left.

    Raises `RuntimeError`, with what it said, if a process fails.
    """
    with tempfile.TemporaryDirectory() as name:
        processes = []
        for i, own in enumerate(environments(way)):
            folder = Path(name, str(i))
            folder.mkdir()
            told = {"way": way, "cores": cores[i] if cores else []}
            told["trainings"] = [SETTINGS | settings for settings in trainings]
            command = [sys.executable, WORKER, json.dumps(told), folder]
            with open(folder / "said.txt", "w") as said:
                processes.append(
                    subprocess.Popen(command, env=os.environ | own, stdout=said, stderr=said)
                )
        try:
            for i, process in enumerate(processes):
                if process.wait(timeout):
                    said = Path(name, str(i), "said.txt").read_text()
                    raise RuntimeError(f"Process {i} of {way!r} failed:\n{said[-2000:]}")
        finally:
            for process in processes:
                process.kill()
                process.wait()
        return [
            [dict(np.load(f"{name}/{i}/{j}.npz")) for j in range(len(trainings))]
            for i in range(len(processes))
        ]


@cache
def timed(variant: str) -> dict[tuple[int, int], np.ndarray]:
    """The seconds of each step at every size, all from one start."""
    way, cores = WAYS[variant]
    trainings = [{"n_units": n, "batch_size": b, "k": K, "steps": STEPS} for n, b in SIZES]
    first = train(way, *trainings, cores=cores)[0]
    return {size: result["seconds"][WARM:] for size, result in zip(SIZES, first, strict=True)}


def measure(variant: str, size: tuple[int, int]) -> dict:
    """One row: milliseconds of a step, the median and the quartiles."""
    low, median, high = np.quantile(1000 * timed(variant)[size], [0.25, 0.5, 0.75])
    names = dict(zip(("way", "n_units", "batch_size"), (variant, *size), strict=True))
    return names | {"ms": median, "ms_low": low, "ms_high": high}


def jobs() -> Iterator[Job]:
    """Every way at every size."""
    settings = hash_of(f"{WAYS} {SIZES} {K} {WARM} {STEPS}")
    for variant in WAYS:
        for n_units, batch_size in SIZES:
            row = partial(measure, variant, (n_units, batch_size))
            yield Job(f"{variant}: {n_units} units, batch {batch_size}", 0, settings, row)


TABLES = {"table.csv": jobs}
