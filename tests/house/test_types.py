"""The package is typed: mypy, strict, finds nothing, and checks those who use it."""

import subprocess
import sys

from tests.repo import ROOT

# What a reader might write; only the last line is wrong.
PROGRAM = """\
import numpy as np
from ksae_lab import KSparseAutoencoder, TopK

rng = np.random.default_rng(0)
model = KSparseAutoencoder(784, 100, TopK(10, by="magnitude"), rng=rng)
mean: float = model.encode(np.zeros((5, 784))).mean()
KSparseAutoencoder(784, 100, "ten", rng=rng)
"""


def test_mypy_finds_nothing_in_the_package_and_what_is_wrong_outside(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "ksae_lab", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1, done.stdout + done.stderr
    assert errors[0].partition("program.py:")[2].startswith('7: error: Argument 3 to "KSparse')
