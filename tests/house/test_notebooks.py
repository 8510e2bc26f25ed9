"""Every notebook is in order: figures that can be read by all, small cells, nothing stray."""

import re
from pathlib import Path

import nbformat
import pytest

from tests.repo import PAGES, ROOT, cells, code_cells, name, notebooks
from tools.execute import tidy

LONGEST_CELL = 40  # lines
LARGEST_NOTEBOOK = 700_000  # bytes
SHELL = re.compile(r"^\s*(?:\w+\s*=\s*)?(?:!|%%?(?:bash|sh|script|system|sx|pip|conda)\b)", re.M)

STUB = (ROOT / "ksae_lab" / "__init__.pyi").read_text(encoding="utf-8")
# What can be imported from the package itself, and where it lives.
FACE = {name: module for module, name in re.findall(r"^from \.([\w.]+) import (\w+)", STUB, re.M)}

each_notebook = pytest.mark.parametrize("path", notebooks(), ids=name)


def figure_fault(cell: nbformat.NotebookNode) -> str:
    """Say what a cell's figure lacks for a reader who cannot see it, or return ''."""
    if not any("image/png" in output.get("data", {}) for output in cell.outputs):
        return ""
    render = cell.metadata.get("mystnb", {})
    caption = render.get("figure", {}).get("caption", "")
    alt = render.get("image", {}).get("alt", "")
    if len(caption) < 30 or not re.search(r"\.(\s|$)", caption):
        return "its caption is not a sentence of at least 30 characters (mystnb: figure: caption)"
    if len(alt) < 40:
        return "its alt text has less than 40 characters (mystnb: image: alt)"
    if alt.strip() == caption.strip():
        return "its alt text repeats the caption; say what the picture shows"
    return ""


@each_notebook
def test_every_figure_has_a_caption_and_alt_text(path: Path):
    faults = {cell.id: figure_fault(cell) for cell in code_cells(path)}
    assert {cell: fault for cell, fault in faults.items() if fault} == {}


@each_notebook
def test_cells_are_short(path: Path):
    lengths = {cell.id: len(cell.source.splitlines()) for cell in code_cells(path)}
    assert {cell: n for cell, n in lengths.items() if n > LONGEST_CELL} == {}


@each_notebook
def test_no_cell_calls_a_shell(path: Path):
    """Its failure would not be an error, and not every reader has that shell."""
    assert [cell.id for cell in code_cells(path) if SHELL.search(cell.source)] == []


@each_notebook
def test_no_cell_changes_where_modules_are_looked_for(path: Path):
    """What a page imports is the package, or lies beside the page."""
    assert [cell.id for cell in code_cells(path) if "sys.path" in cell.source] == []


@each_notebook
def test_what_is_on_the_face_is_imported_from_there(path: Path):
    deep = [
        f"{cell.id}: {name}"
        for cell in code_cells(path)
        for module, names in re.findall(r"^from ksae_lab\.([\w.]+) import (.+)$", cell.source, re.M)
        for name in re.findall(r"\w+", names)
        if FACE.get(name) == module
    ]
    assert deep == []


@each_notebook
def test_the_file_is_small(path: Path):
    assert path.stat().st_size <= LARGEST_NOTEBOOK


@each_notebook
def test_cell_ids_are_unique(path: Path):
    ids = [cell.get("id") for cell in cells(path)]
    assert None not in ids
    assert sorted(ids) == sorted(set(ids))


@each_notebook
def test_the_file_is_as_make_execute_writes_it(path: Path):
    """So it has the metadata that the book uses, no editor's, and diffs show changes only."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.v4.reads(text)
    tidy(notebook)
    assert text == nbformat.writes(notebook) + "\n", "run `make execute`"


def test_there_are_notebooks_and_the_contents_name_pages_that_exist():
    found = {page: [s for s in (".ipynb", ".md") if (ROOT / (page + s)).exists()] for page in PAGES}
    assert {page: files for page, files in found.items() if len(files) != 1} == {}
    written = {name(path).removesuffix(".ipynb") for path in notebooks()}
    assert written and written == {page for page in PAGES if found[page] == [".ipynb"]}


def figure_cell(caption: str, alt: str) -> nbformat.NotebookNode:
    metadata = {"mystnb": {"figure": {"caption": caption, "name": "fig-x"}, "image": {"alt": alt}}}
    output = nbformat.v4.new_output("display_data", data={"image/png": ""})
    return nbformat.v4.new_code_cell("plot()", outputs=[output], metadata=metadata)


CAPTION = "The ten digits of the test set, as stored."
ALT = "Ten grey images in a row, each a handwritten digit, from zero to nine."


@pytest.mark.parametrize(
    ("caption", "alt", "fault"),
    [
        (CAPTION, ALT, ""),
        ("", ALT, "caption"),
        ("Digits.", ALT, "caption"),
        (CAPTION.removesuffix("."), ALT, "caption"),
        (CAPTION, "", "alt text"),
        (CAPTION, "Ten digits.", "alt text"),
        (CAPTION, CAPTION, "repeats"),
    ],
)
def test_the_figure_lint_sees_what_is_missing(caption, alt, fault):
    found = figure_fault(figure_cell(caption, alt))
    assert fault in found and bool(fault) == bool(found)


@pytest.mark.parametrize("source", ["!ls", "x = 1\n!ls", "files = !ls", "%%bash\nls", "%pip list"])
def test_the_shell_lint_sees_it(source):
    assert SHELL.search(source)


@pytest.mark.parametrize("source", ["x != y", "%matplotlib inline", "print('!')", "a %= sh"])
def test_the_shell_lint_spares_python(source):
    assert not SHELL.search(source)
