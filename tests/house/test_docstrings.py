"""Every public part of the package says what it does, in which shapes, and where it is derived."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.repo import PUBLIC_MODULES, name

Definition = ast.FunctionDef | ast.ClassDef
ORIGIN = re.compile(r"\b(?:Chapter|Lab) \d+\b")
ARRAY = re.compile(r"\b(?:ndarray|NDArray|Array|ArrayLike)\b")
SHAPE = re.compile(r"\(\w+, *[^()]*\)|\(\w+,\)|\bshapes?\b|\bscalars?\b", re.I)


def public(node: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """What a module or a class defines under a name without an underscore.

    A setter and an overload are left out: the property and the function say what they are.
    """
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            decorators = [ast.unparse(each) for each in child.decorator_list]
            if not {f"{child.name}.setter", "overload"} & set(decorators):
                yield child


def annotations(node: Definition) -> str:
    """What a function takes and returns, or the fields that a class declares."""
    if isinstance(node, ast.ClassDef):
        found = [child.annotation for child in node.body if isinstance(child, ast.AnnAssign)]
    else:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        found = [*(argument.annotation for argument in arguments), node.returns]
    return " ".join(ast.unparse(annotation) for annotation in found if annotation)


def faults(source: str) -> list[str]:
    """Say what the docstrings of a module lack."""
    found = []
    for node in public(ast.parse(source)):
        docstring = ast.get_docstring(node) or ""
        found += own_faults(node, node.name, docstring)
        if docstring and not ORIGIN.search(docstring):
            found.append(f"{node.name}: name where it is derived, 'Chapter 2.' or 'Lab 1.'")
        if isinstance(node, ast.ClassDef):
            for method in public(node):
                own = ast.get_docstring(method) or ""
                # The class may have told the shapes for all its methods.
                found += own_faults(method, f"{node.name}.{method.name}", own, docstring)
    return found


def own_faults(node: Definition, label: str, docstring: str, context: str = "") -> list[str]:
    if not docstring:
        return [f"{label}: no docstring"]
    if ARRAY.search(annotations(node)) and not SHAPE.search(docstring + context):
        return [f"{label}: say the shapes of its arrays, like (batch, n)"]
    return []


@pytest.mark.parametrize("path", PUBLIC_MODULES, ids=name)
def test_docstrings_are_complete(path):
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(x): ...", "f: no docstring"),
        ("class C: ...", "C: no docstring"),
        ("class C:\n    'C. Chapter 1.'\n    def m(self): ...", "C.m: no docstring"),
        ("def f(x): 'Do it.'", "f: name where"),
        ("def f(x: np.ndarray): 'Do it. Chapter 1.'", "f: say the shapes"),
        ("def f() -> NDArray[float]: 'Do it. Chapter 1.'", "f: say the shapes"),
        ("class C:\n    'C. Chapter 1.'\n    x: np.ndarray", "C: say the shapes"),
        ("class C:\n    'C. Chapter 1.'\n    def m(self, x: NDArray): 'M.'", "C.m: say the shapes"),
    ],
)
def test_the_lint_sees_what_is_missing(source, fault):
    assert [found.startswith(fault) for found in faults(source)] == [True]


@pytest.mark.parametrize(
    "source",
    [
        "def _f(x): ...",
        "def f(k: int): 'Do it. Chapter 1.'",
        "def f(x: np.ndarray): 'Take x (batch, n). Lab 1.'",
        "class C:\n    'Works on (batch, n). Chapter 1.'\n    def m(self, x: NDArray): 'M.'",
        "class C:\n    'C. Chapter 1.'\n    def __init__(self): ...",
        "@overload\ndef f(k: int): ...",
    ],
)
def test_the_lint_spares_what_is_complete(source):
    assert faults(source) == []
