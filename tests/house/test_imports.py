"""Imports between the rooms of the package, and within a room, never go round in a circle.

Nothing here lists the rooms: they are the folders, and what may import what follows from what does.
"""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.repo import ROOT

PACKAGE = ROOT / "ksae_lab"
OUTSIDE = {"book", "notebooks", "tests", "tools"}
LOUD = {"book", "keras", "sklearn"}  # that draw, start TensorFlow, and inherit from scikit-learn
HEAVY = {"tensorflow", "keras", "matplotlib", "mlxtend", "sklearn", "scipy", "pandas"}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def module_of(path: Path) -> str:
    """Its dotted name: "ksae_lab.nn.topk"; that of a room's `__init__` is the room's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in FILES}


def imported(source: str) -> set[str]:
    """The full names of what a module imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "say the whole name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules_behind(names: set[str]) -> set[str]:
    """The modules of the package that names stand for: `ksae_lab.nn.topk.By` is in `…nn.topk`."""
    found = set()
    for name in names:
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found |= {name} if name else set()
    return found


def room_of(module: str) -> str:
    """The first folder below the package, or the module itself if it lies in none."""
    return module.split(".")[1]


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The names on a circle of a graph, first and last the same; none if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


IMPORTS = {
    module: modules_behind(imported(path.read_text(encoding="utf-8"))) - {module}
    for module, path in MODULES.items()
}


def test_modules_do_not_import_in_a_circle():
    assert circle(IMPORTS) == []


def test_rooms_do_not_import_in_a_circle():
    rooms: dict[str, set[str]] = {}
    for module, targets in IMPORTS.items():
        room = room_of(module)
        rooms.setdefault(room, set()).update({room_of(target) for target in targets} - {room})
    assert len(rooms) > 8 and rooms["models"] >= {"nn", "training"}
    assert circle(rooms) == []


def test_the_map_has_a_line_for_every_room_which_is_what_the_room_says_of_itself():
    rooms = sorted(path for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
    expected = {
        path.name: (ast.get_docstring(ast.parse((path / "__init__.py").read_text("utf-8"))) or "")
        for path in rooms
    }
    page = (ROOT / "book" / "api.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| \{doc\}`api/(\w+)` \| (.+) \|$", page, re.M))
    assert rows == {room: text.split("\n")[0] for room, text in expected.items()}


def test_a_circle_would_be_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert modules_behind({"ksae_lab.nn.topk.By", "numpy.linalg"}) == {"ksae_lab.nn.topk"}


def test_the_package_imports_nothing_from_outside_and_its_face_only_when_asked():
    for path in FILES:
        tops = {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))}
        assert not tops & OUTSIDE, path
    assert "import ksae_lab" not in (PACKAGE / "__init__.py").read_text(encoding="utf-8")


def run(program: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_the_package_itself_loads_no_numpy():
    done = run("import sys, ksae_lab; print('numpy' in sys.modules)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_every_name_on_the_face_is_there_and_is_what_its_module_calls_so():
    done = run(
        "import ksae_lab\n"
        "for name in set(ksae_lab.__all__) - {'keras'}:\n"  # slow, and in tests/keras
        "    thing = getattr(ksae_lab, name)\n"
        "    assert thing.__name__.rpartition('.')[2] == name, name\n"
        "print(len(ksae_lab.__all__))"
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def at_once(source: str) -> set[str]:
    """The full names of what is imported with a module, not only by one of its functions."""
    tree = ast.parse(source)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return imported(ast.unparse(ast.Module(imports, [])))


def compiled() -> set[str]:
    """The modules that bring numba, which imports SciPy and changes filters of warnings."""
    behind = {name: at_once(path.read_text()) for name, path in MODULES.items()}
    found, more = set[str](), {"numba"}
    while more:
        found |= more
        more = {
            name
            for name, names in behind.items()
            if modules_behind(names) & found or any(n.startswith("numba") for n in names)
        } - found
    return found - {"numba"}


COMPILED = compiled()
QUIET = sorted(m for m in MODULES if room_of(m) not in LOUD | {"__main__"} and m not in COMPILED)
QUIET_IMPORT = f"""
import importlib, sys, warnings
import numpy as np

def state():
    kind, keys, *rest = np.random.get_state()
    return kind, keys.tolist(), rest, np.geterr(), list(warnings.filters)

before = state()
for module in {QUIET}:
    importlib.import_module(module)
assert state() == before, "an import changed the state of NumPy or of warnings"
heavy = sorted({HEAVY} & set(sys.modules))
assert not heavy, f"an import loaded {{heavy}}"
"""


def test_quiet_rooms_load_nothing_heavy_and_leave_no_trace():
    done = run(QUIET_IMPORT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
