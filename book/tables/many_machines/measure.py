"""The table of the page on more than one machine: what a step of one Keras model costs.

The ways are those of `program/worker.py`. Each has two cores of this machine, but for the first of
each backend, which has one and is what the others are compared with; of two processes each has one.
Two networks at once know nothing of each other, as in a sweep.

By the clock (`ms`) a step is worth comparing only while nothing else is at work on the machine.
What the processor spends on it, in all threads and processes, says where the time goes.
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
SETTINGS = {"n_units": 100, "k": 10, "batch_size": 100, "images": 1000}
SETTINGS |= {"epochs": 1, "recipes": False}

ONE, BOTH, EACH = [[0]], [[0, 1]], [[0], [1]]
WAYS = {
    "one core": ("one device", ONE),
    "two networks": ("one device", EACH),
    "two cores": ("one device", BOTH),
    "two devices": ("two devices", BOTH),
    "two processes": ("two processes", EACH),
    "JAX, one core": ("one JAX device", ONE),
    "JAX, two cores": ("one JAX device", BOTH),
    "JAX, two processes": ("two JAX processes", EACH),
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


def environments(way: str, networks: int) -> list[dict[str, str]]:
    """What each process finds in its environment: two that share a network, or one for each."""
    jax = {"KERAS_BACKEND": "jax"} if "JAX" in way else {}
    if "processes" not in way:
        return [jax] * networks
    places = [f"localhost:{port}" for port in free_ports(2)]
    if jax:
        jax |= {"KERAS_DISTRIBUTION_JOB_ADDRESSES": places[0]}
        jax |= {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
        return [jax | {"KERAS_DISTRIBUTION_PROCESS_ID": str(i)} for i in range(2)]
    tasks = [{"type": "worker", "index": i} for i in range(2)]
    return [{"TF_CONFIG": json.dumps({"cluster": {"worker": places}, "task": t})} for t in tasks]


def train(
    way: str, *trainings: dict, cores: list[list[int]] | None = None, timeout: float = 300
) -> list[list[dict[str, np.ndarray]]]:
    """Train in one of the ways of `program/worker.py`: for each process its results, in order.

    `cores` says for each process which cores of the processor it may use: all, if left. With more
    of them than a way has processes, as many networks are trained, each alone.

    Raises `RuntimeError`, with what it said, if a process fails.
    """
    told = {"way": way, "trainings": [SETTINGS | settings for settings in trainings]}
    with tempfile.TemporaryDirectory() as name:
        processes = []
        for i, own in enumerate(environments(way, len(cores or ONE))):
            folder = Path(name, str(i))
            folder.mkdir()
            told["cores"] = cores[i] if cores else []
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
def timed(variant: str) -> dict[tuple[int, int], tuple[float, float]]:
    """For every size the milliseconds of a step: by the clock, and of the processor.

    Both are medians over steps, after some to warm up. All come from one start.
    """
    way, cores = WAYS[variant]
    trainings = [{"n_units": n, "k": K, "batch_size": b, "images": b * STEPS} for n, b in SIZES]
    processes = train(way, *trainings, cores=cores)
    found = {}
    for size, results in zip(SIZES, zip(*processes, strict=True), strict=True):
        each = [1000 * np.median(result["seconds"][WARM:], axis=0) for result in results]
        found[size] = each[0][0], sum(spent for _, spent in each)
    return found


def measure(variant: str, size: tuple[int, int]) -> dict:
    """One row: milliseconds of a step, by the clock and of the processor."""
    names = dict(zip(("way", "n_units", "batch_size"), (variant, *size), strict=True))
    return names | dict(zip(("ms", "processor_ms"), timed(variant)[size], strict=True))


def jobs() -> Iterator[Job]:
    """Every way at every size."""
    settings = hash_of(f"{WAYS} {SIZES} {K} {WARM} {STEPS}")
    for variant in WAYS:
        for n_units, batch_size in SIZES:
            row = partial(measure, variant, (n_units, batch_size))
            yield Job(f"{variant}: {n_units} units, batch {batch_size}", 0, settings, row)


TABLES = {"table.csv": jobs}
