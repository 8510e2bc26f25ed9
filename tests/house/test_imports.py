"""The package is built in floors: imports point down only, and the lower floors are NumPy only."""

import ast
import subprocess
import sys

import pytest

from tests.repo import ROOT

PACKAGE = ROOT / "ksae_lab"

# From the ground up; a module imports from the floors below its own.
FLOORS = [
    {"_files"},
    {"topk", "activations", "losses", "metrics", "optimizers", "data"},
    {"layers", "training"},
    {"network"},
    {"gradcheck"},
    {"figures", "notebook"},
    {"exercises"},
]
NUMPY_ONLY = sorted(set().union(*FLOORS[:5]))
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
    """The imports of a module that do not point down."""
    floor = next(number for number, modules in enumerate(FLOORS) if module in modules)
    below = set().union(*FLOORS[:floor])
    wrong = []
    for target in sorted(imported(source)):
        top, *rest = target.split(".")
        if top in OUTSIDE or (top == "ksae_lab" and rest and rest[0] not in below):
            wrong.append(target)
    return wrong


MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def test_every_module_stands_on_a_floor():
    assert sorted(set().union(*FLOORS)) == MODULES, "keep FLOORS in step with the modules"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    assert wrong_imports(module, (PACKAGE / f"{module}.py").read_text(encoding="utf-8")) == []


def test_the_package_itself_imports_nothing():
    assert imported((PACKAGE / "__init__.py").read_text(encoding="utf-8")) == set()


QUIET_IMPORT = f"""
import importlib, sys, warnings
import numpy as np

def state():
    kind, keys, *rest = np.random.get_state()
    return kind, keys.tolist(), rest, np.geterr(), list(warnings.filters)

before = state()
for module in {["ksae_lab", *(f"ksae_lab.{module}" for module in NUMPY_ONLY)]}:
    importlib.import_module(module)
assert state() == before, "an import changed the state of NumPy or of warnings"
heavy = sorted({HEAVY} & set(sys.modules))
assert not heavy, f"an import loaded {{heavy}}"
"""


def test_the_lower_floors_load_numpy_only_and_leave_no_trace():
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
