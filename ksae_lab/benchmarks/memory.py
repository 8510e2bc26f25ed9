"""What a step needs beside parameters and optimizer, and how that grows with the units.

Each case is measured in a process of its own, once steps have been taken: the peak of what NumPy
allocates during one more step, and how far the whole process grows in yet another, which sees what
compiled code allocates by itself, too. `kept_bytes` is what stays between steps in addition to
parameters and optimizer: for the screened engine, W_enc in eight bits.
"""

import gc
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ksae_lab.benchmarks import laws, timing, ways
from ksae_lab.evaluation.metrics import peak_memory
from ksae_lab.experiments.sentences import one_line
from ksae_lab.training.optimizers import Adam

Row = dict[str, Any]

COLUMNS = ("held_bytes", "kept_bytes", "working_bytes", "process_bytes", "exponent", "low", "high")

SIZES, BATCH = tuple((n, 32) for n in (1024, 2048, 4096, 8192, 16384, 32768)), 256  # n, k
QUICK_SIZES = tuple((n, 8) for n in (128, 256, 512))
COMPARED = (ways.PLAIN, ways.ENGINE, ways.SCREENED)


def rows(quick: bool) -> Iterator[Row]:
    """A row for each size and way, and one for each way's law: working memory ~ n^a.

    Raises `ImportError` where numba is missing, and `OSError` if a process fails.

    Chapter 17.
    """
    sizes = QUICK_SIZES if quick else SIZES
    names = ways.at_hand(COMPARED)
    cases = [(n, k, way) for n, k in sizes for way in names]
    measured = []
    for n, k, way in timing.bar(cases, "memory", len(cases)):
        measured.append(elsewhere(n, k, way))
        yield measured[-1]
    for way in names:
        own = [row for row in measured if row["way"] == way]
        law = laws.fit([row["n"] for row in own], [row["working_bytes"] for row in own])
        yield _row(None, own[0]["k"], way) | law.told()


def measure(n: int, k: int, way: str) -> Row:
    """One case, in this process, whose parts must not be in use yet.

    Raises `ImportError` where numba is missing.

    Chapter 17.
    """
    make, x = ways.MAKERS[way], ways.digits()
    batches = ways.batches(x, BATCH, 2 * timing.WARM)
    small = ways.network(64, k, x)
    make(small, Adam())((batches[0],))  # compiles, which takes memory of its own
    gc.collect()
    tracemalloc.start()
    model, adam = ways.network(n, k, x), Adam()
    step = make(model, adam)
    for batch in batches[: timing.WARM]:
        step((batch,))
    del batch
    gc.collect()
    held = sum(a.nbytes for a in (*model.parameters.values(), *adam.memory.values()))
    kept = tracemalloc.get_traced_memory()[0] - held
    working = peak_memory(lambda: step((batches[-2],)))
    tracemalloc.stop()
    before = _process("VmRSS", forget_peak=True)
    step((batches[-1],))
    after = _process("VmHWM")
    process = None if before is None or after is None else after - before
    told: Row = {"held_bytes": held, "working_bytes": working, "kept_bytes": kept}
    told |= {"process_bytes": process, "batch_n_bytes": 4 * BATCH * n}
    told |= {"batch_k_bytes": 4 * BATCH * k}
    return _row(n, k, way) | told


def elsewhere(n: int, k: int, way: str) -> Row:
    """`measure`, in a new process, which gives memory back to the system as it is freed.

    Raises `OSError` if the process fails.

    Chapter 17.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(n), str(k), way],
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = one_line(done.stderr.strip().rpartition("\n")[2])
        raise OSError(f"The process that measures {way} at n = {n} has failed: {said}")
    return json.loads(done.stdout)


def _process(what: str, forget_peak: bool = False) -> int | None:
    """Bytes of this process now ("VmRSS") or at most ("VmHWM"), where Linux says them."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    if forget_peak:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in status.read_text().splitlines() if line.startswith(what))
    return 1024 * int(line.split()[1])


def _row(n: int | None, k: int, way: str) -> Row:
    own = {"benchmark": "memory", "n": n, "k": k, "d": 784, "batch": BATCH, "way": way}
    return own | {"median_ms": None, "ratio_to_product": None}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
