"""The strict plugin at work: an honest notebook passes, and each way of tampering with it fails.

One notebook is made, executed and copied. In the tampered copy every cell is tampered with in the
way its id says, so that one kernel shows them all: each cell must fail, and for its own reason.
"""

import base64
import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from PIL import Image, ImageDraw

from tools.execute import ROOT, execute

BARS = """\
import matplotlib.pyplot as plt

plt.figure(figsize=(3, 2))
plt.bar(range(8), [3, 5, 2, 7, 4, 6, 1, 5])
plt.show()"""
GLUE = "from myst_nb import glue\n\nglue('loss', 0.1234, display=False)"
HTML = "from IPython.display import HTML\n\nHTML('<b>12</b> units, loss <b>0.1234</b>')"
LOSS = "print('12 units, loss 0.1234')"

# id of the cell: its source, its tags
CELLS = {
    "changed-number": (LOSS, []),
    "changed-figure": (BARS, []),
    "removed-figure": (BARS, []),
    "cleared": (LOSS, []),
    "no-longer-raises": ("1 / 0", ["raises-exception"]),
    "never-raised": ("1 / 0", ["raises-exception"]),
    "other-exception": ("1 / 0", ["raises-exception"]),
    "changed-stderr": ("import sys\n\nprint('careful', file=sys.stderr)", []),
    "changed-glue": (GLUE, []),
    "renamed-glue": (GLUE, []),
    "near-float-moved-too-far": (LOSS, ["nbval-near"]),
    "near-integer-changed": (LOSS, ["nbval-near"]),
    "near-html-integer-changed": (HTML, ["nbval-near"]),
    "timed-words-changed": (LOSS, ["nbval-timing"]),
    "timed-figure-removed": (BARS, ["nbval-timing"]),
    "unknown-tag": (LOSS, []),
    "not-compared": (LOSS, []),
}


def tamper(cell: nbformat.NotebookNode) -> str:
    """Tamper with a cell in the way its id says; return what its failure must say."""
    match cell.id:
        case "changed-number":
            replace_in_output(cell, "0.1234", "0.1235")
            return "0.1235"
        case "changed-figure":
            paint_a_bar(cell)
            return "the figure changed"
        case "removed-figure" | "timed-figure-removed":
            cell.outputs = []
            return "image/png: 0 stored, 1 now"
        case "cleared":
            cell.outputs, cell.execution_count = [], None
            return "never executed"
        case "no-longer-raises":
            cell.source = "1 / 1;"
            return "error: 1 stored, 0 now"
        case "never-raised":
            cell.source, cell.outputs = "1 / 1;", []
            return "raised nothing"
        case "other-exception":
            cell.source = "None.x"
            return "AttributeError"
        case "changed-stderr":
            replace_in_output(cell, "careful", "carefree")
            return "stderr: stored"
        case "changed-glue":
            replace_in_output(cell, "0.1234", "0.1235")
            return "papermill.record/text/plain glued as loss: stored"
        case "renamed-glue":
            replace_in_output(cell, "loss", "mse")
            return "glued as mse: 1 stored, 0 now"
        case "near-float-moved-too-far":
            replace_in_output(cell, "0.1234", "0.1236")
            return "does not allow"
        case "near-integer-changed" | "near-html-integer-changed":
            replace_in_output(cell, "12", "13")
            return "'13' became '12'"
        case "timed-words-changed":
            replace_in_output(cell, "units", "unity")
            return "units"
        case "unknown-tag":
            cell.metadata.tags = ["nbval-nearly"]
            return "not known"
        case "not-compared":
            cell.metadata.tags = ["nbval-ignore-output"]
            return "asks not to be compared"


def replace_in_output(cell: nbformat.NotebookNode, old: str, new: str) -> None:
    """Replace the first `old` in what is stored below a cell; it must be there."""
    stored = json.dumps(cell.outputs)
    assert old in stored
    cell.outputs = nbformat.from_dict(json.loads(stored.replace(old, new, 1)))


def paint_a_bar(cell: nbformat.NotebookNode) -> None:
    """Draw one more bar, 12 pixels wide, into the stored figure of a cell."""
    data = pictures(cell)[0]
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGBA")
    x, y = image.width // 2, image.height // 2
    ImageDraw.Draw(image).rectangle([x, y, x + 11, y + 40], fill="firebrick")
    file = io.BytesIO()
    image.save(file, format="png")
    data["image/png"] = base64.b64encode(file.getvalue()).decode()


def failures(folder: Path, *notebooks: Path) -> dict[tuple[str, int], str]:
    """Run pytest on notebooks as the repository does; (notebook, cell number): message or ''."""
    report = folder / "report.xml"
    subprocess.run(
        [
            *[sys.executable, "-m", "pytest", "-q", "-p", "tests.notebooks.strict"],
            *["--nbval", "--nbval-current-env", "--color=no", "--rootdir", folder],
            *[f"--junitxml={report}", "-o", "junit_logging=no", *notebooks],
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    results = {}
    for case in ElementTree.parse(report).iter("testcase"):
        notebook, cell = case.get("classname"), int(case.get("name").removeprefix("Cell "))
        results[notebook, cell] = "".join(case.itertext())
    return results


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[dict, dict]:
    """The outcomes of an honest, a tampered and a disordered copy, and what failures must say."""
    folder = tmp_path_factory.mktemp("small")
    honest = folder / "honest.ipynb"
    cells = [
        nbformat.v4.new_code_cell(source, id=name, metadata={"tags": tags})
        for name, (source, tags) in CELLS.items()
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), honest)
    execute(honest)

    tampered = nbformat.read(honest, as_version=4)
    reasons = {cell.id: tamper(cell) for cell in tampered.cells}
    nbformat.write(tampered, folder / "tampered.ipynb")

    disordered = nbformat.read(honest, as_version=4)
    disordered.cells = [disordered.cells[list(CELLS).index("cleared")], disordered.cells[0]]
    nbformat.write(disordered, folder / "disordered.ipynb")

    moved = nbformat.read(honest, as_version=4)
    for cell in moved.cells:
        if "nbval-near" in cell.metadata.tags:
            replace_in_output(cell, "0.1234", "0.1235")
        if cell.id == "timed-words-changed":
            replace_in_output(cell, "12 units, loss 0.1234", "7 units, loss 98.7")
        if cell.id == "timed-figure-removed":
            paint_a_bar(cell)
    nbformat.write(moved, honest)
    return failures(folder, *sorted(folder.glob("*.ipynb"))), reasons


@pytest.mark.parametrize("number", range(len(CELLS)), ids=CELLS)
def test_an_honest_cell_passes_also_when_moved_by_what_its_tag_allows(small, number):
    outcomes, _ = small
    assert outcomes["honest.ipynb", number] == ""


@pytest.mark.parametrize("number", range(len(CELLS)), ids=CELLS)
def test_a_tampered_cell_fails_and_says_why(small, number):
    outcomes, reasons = small
    reason = reasons[list(CELLS)[number]]
    assert reason in outcomes["tampered.ipynb", number]


@pytest.mark.parametrize("number", [0, 1])
def test_cells_executed_out_of_order_fail(small, number):
    outcomes, _ = small
    assert "stands as number" in outcomes["disordered.ipynb", number]


def pictures(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The stored outputs of a cell that are figures."""
    return [output.data for output in cell.outputs if "image/png" in output.get("data", {})]
