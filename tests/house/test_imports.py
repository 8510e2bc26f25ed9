"""The package is built in floors: imports point down only, and the lower floors are light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo import ROOT, name

PACKAGE = ROOT / "ksae_lab"

# From the ground up; a module imports from the floors below its own.
FLOORS = [
    {"_files", "_quiet", "_rows", "cards"},
    {
        "topk",
        "activations",
        "penalties",
        "metrics",
        "optimizers",
        "schedules",
        "data",
        "code_length",
        "probe",
        "statistics",
    },
    {
        "losses",
        "relaxed",
        "inference",
        "layers",
        "training",
        "foldiak",
        "krotov_hopfield",
        "pursuit",
    },
    {"network", "coder", "upkeep"},
    {"autoencoder", "sparse_dream", "sparse_coding"},
    {"gradcheck", "storage", "settings", "as_found", "two_step", "evaluation", "compress"},
    {"config"},
    {"experiment"},
    {"sweep"},
    {"figures", "notebook", "keras"},
    {"diagrams", "exercises", "__main__"},
]
LIGHT = sorted(set().union(*FLOORS[:9]))  # no TensorFlow, no plotting, no SciPy at import
HEAVY = {"tensorflow", "keras", "matplotlib", "sklearn", "scipy", "pandas"}
OUTSIDE = {"book", "notebooks", "tests", "tools"}


def imported(source: str) -> set[str]:
    """The full names of what a module imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "ksae_lab" if node.level else node.module
            base = f"{base}.{node.module}" if node.level and node.module else base
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def wrong_imports(module: str, source: str) -> list[str]:
    """The imports of a module, or of a file of a subpackage, that do not point down."""
    floor = next(number for number, modules in enumerate(FLOORS) if module in modules)
    below = {module}.union(*FLOORS[:floor])  # the files of a subpackage import each other
    wrong = []
    for target in sorted(imported(source)):
        top, *rest = target.split(".")
        if top in OUTSIDE or (top == "ksae_lab" and rest and rest[0] not in below):
            wrong.append(target)
    return wrong


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def module_of(path: Path) -> str:
    """The module or subpackage that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_stands_on_a_floor():
    modules = {module_of(path) for path in FILES}
    assert set().union(*FLOORS) == modules, "keep FLOORS in step with the modules"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_down(path):
    assert wrong_imports(module_of(path), path.read_text(encoding="utf-8")) == []


def test_the_package_itself_imports_nothing():
    assert imported((PACKAGE / "__init__.py").read_text(encoding="utf-8")) == set()


QUIET_IMPORT = f"""
import importlib, sys, warnings
import numpy as np

def state():
    kind, keys, *rest = np.random.get_state()
    return kind, keys.tolist(), rest, np.geterr(), list(warnings.filters)

before = state()
for module in {["ksae_lab", *(f"ksae_lab.{module}" for module in LIGHT)]}:
    importlib.import_module(module)
assert state() == before, "an import changed the state of NumPy or of warnings"
heavy = sorted({HEAVY} & set(sys.modules))
assert not heavy, f"an import loaded {{heavy}}"
"""


def test_the_lower_floors_load_nothing_heavy_and_leave_no_trace():
    run = subprocess.run(
        [sys.executable, "-c", QUIET_IMPORT], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "source",
    [
        "import ksae_lab.network",
        "from ksae_lab.network import Network",
        "from ksae_lab import topk, network",
        "from .network import Network",
        "from . import network",
        "from ksae_lab.training import fit",  # the same floor
        "def f():\n    from ksae_lab.network import Network",
        "import tools.execute",
    ],
)
def test_the_lint_sees_an_import_that_does_not_point_down(source):
    assert len(wrong_imports("layers", source)) == 1


@pytest.mark.parametrize(
    "source", ["import numpy", "from ksae_lab.topk import top_k_mask", "from . import topk"]
)
def test_the_lint_spares_imports_from_below(source):
    assert wrong_imports("layers", source) == []
