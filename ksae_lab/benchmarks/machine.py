"""The card of the machine that the rows were measured on: what it is, and what it can do."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import ksae_lab
from ksae_lab.benchmarks import counting
from ksae_lab.benchmarks.timing import take_turns

SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")
PACKAGES = ("numpy", "scipy", "numba", "threadpoolctl")
PEERS = ("torch", "scikit-learn", "keras", "tensorflow", "onnxruntime")
ABSENT = "absent"
SHAPE = 256, 784, 4096  # of the product that is timed: batch, d, n
MOVED = 2**28  # bytes, far more than a cache
TURNS = 12


def card() -> dict[str, Any]:
    """Processor, caches, measured speeds, libraries, peers, date and commit, as JSON holds them.

    Raises what `measured_gflops` and `measured_gbs` raise.

    Chapter 17.
    """
    flags = _cpuinfo("flags").split()
    return {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "caches": _caches(),
        "instruction_sets": {name: name in flags for name in SETS} if flags else "unknown",
        "gflops_float32_product": measured_gflops(),
        "gbs_in_place": measured_gbs(),
        "threads": 1,
        "blas": [
            {key: pool.get(key) for key in ("internal_api", "version", "architecture")}
            | {"threads": pool["num_threads"]}
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        ],
        "python": platform.python_version(),
        "ksae_lab": ksae_lab.__version__,
        "packages": {name: installed(name) for name in PACKAGES},
        "peers": {name: installed(name) for name in PEERS},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
    }


def installed(package: str) -> str:
    """The version of a package, or "absent"; nothing is imported.

    Chapter 17.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return ABSENT


def measured_gflops() -> float:
    """Billions of operations a second, a scalar, of a float32 product of an encoder's size.

    Raises `FloatingPointError` if the product is not the one that so many operations lead to.

    Chapter 17.
    """
    rows, inner, columns = SHAPE
    left = np.outer(np.arange(rows) % 3, np.ones(inner)).astype(np.float32)
    right = np.outer(np.ones(inner), np.arange(columns) % 5).astype(np.float32)
    result = np.empty((rows, columns), np.float32)
    median = _median(lambda _: np.matmul(left, right, out=result))
    # Small integers are exact: every term of every sum was there, once.
    if not (result == inner * np.outer(np.arange(rows) % 3, np.arange(columns) % 5)).all():
        raise FloatingPointError("A product of small integers is wrong; do not trust this BLAS.")
    return counting.product_operations(*SHAPE) / median / 1e9


def measured_gbs() -> float:
    """Billions of bytes a second, a scalar, read and written again in place, as an optimizer does.

    The array is too large for the caches. A copy would be slower: it reads what it overwrites.

    Raises `FloatingPointError` if the numbers are not those that came of it.

    Chapter 17.
    """
    array = np.ones(MOVED // 4, dtype=np.float32)

    def turn(_: np.ndarray) -> None:
        np.negative(array, out=array)

    median = _median(turn)
    if abs(array[0]) != 1 or (array != array[0]).any():
        raise FloatingPointError("Numbers that changed signs are others; test this memory.")
    return 2 * array.nbytes / median / 1e9


def _median(do: Any) -> float:
    nothing = [np.empty(0)] * TURNS
    return float(np.median(take_turns({"it": do}, nothing, "machine")["it"]))


def _cpuinfo(key: str) -> str:
    """What Linux says of the first core; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    found = (line.partition(":")[2].strip() for line in lines if line.partition("\t")[0] == key)
    return next(found, "")


def _caches() -> dict[str, str]:
    """Sizes of the first core's caches, as Linux says them: {"L2": "1024K", …}."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / name).read_text().strip() for name in _CACHE)
        sizes[f"L{level}{'' if kind == 'Unified' else kind[0].lower()}"] = size
    return sizes


_CACHE = ("level", "type", "size")


def _commit() -> str | None:
    """The commit of this package, with "-dirty" behind it if files differ; None outside of Git."""
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    for words in (["ls-files", "--error-unmatch", here.name], ["describe", *_DESCRIBE]):
        try:
            done = subprocess.run([*git, *words], capture_output=True, text=True)
        except FileNotFoundError:
            return None
        if done.returncode:  # the package may lie in somebody else's repository
            return None
    return done.stdout.strip()


_DESCRIBE = ("--always", "--dirty", "--abbrev=40", "--exclude=*")
