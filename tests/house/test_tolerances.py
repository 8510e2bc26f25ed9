"""Every tolerance can fail: each number that a notebook has printed is changed, and it is seen.

It is the stored outputs that are changed, and nothing is executed.
"""

import copy
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.compare import output_differences
from tests.notebooks.tolerance import NUMBER, WIDEST, Tolerance, is_float, last_digit
from tests.repo import code_cells, name, notebooks

each_notebook = pytest.mark.parametrize("path", notebooks(), ids=name)


def texts(cell: nbformat.NotebookNode) -> Iterator[tuple[dict, str]]:
    """Where the texts below a cell are stored, glued values among them: a dict and its key."""
    for output in cell.outputs:
        if "text" in output:
            yield output, "text"
        elif "evalue" in output:
            yield output, "evalue"
        else:
            held = (mime for mime, value in output.data.items() if isinstance(value, str))
            yield from ((output.data, mime) for mime in held if "image/" not in mime)


def changes(number: str, tolerance: Tolerance | None) -> Iterator[tuple[Decimal, bool]]:
    """What a number is changed into, and whether that is to pass."""
    value, unit = Decimal(number), last_digit(number) or Decimal(1)
    slack = tolerance.slack(number, number) if tolerance and is_float(number) else Decimal(0)
    most = slack // unit * unit
    if most:  # away from zero: 1.0e-3 minus a unit would be 9.0e-4, which has a digit more
        yield value + most.copy_sign(value), True
    yield value - most - unit, False
    yield value + most + unit, False
    # Whatever a tolerance says, this is too much.
    yield value + abs(value) * WIDEST // unit * unit + unit, False


def misjudged(cell: nbformat.NotebookNode) -> Iterator[str]:
    """Change each number below a cell, and say where the comparison does not see it as it must."""
    tolerance = Tolerance.from_tags(cell.metadata.get("tags", []))
    if tolerance and tolerance.timing:
        return
    changed = copy.deepcopy(cell)
    for holder, key in texts(changed):
        stored = holder[key]
        parts = NUMBER.split(stored)  # words at the even places, numbers at the odd ones
        for place in range(1, len(parts), 2):
            number = parts[place]
            for fresh, may_pass in changes(number, tolerance):
                text = f"{fresh:e}" if "e" in number.lower() else f"{fresh:f}"
                holder[key] = "".join([*parts[:place], text, *parts[place + 1 :]])
                found = output_differences(
                    cell.outputs, changed.outputs, tolerance, sanitize=lambda text: text
                )
                if may_pass == bool(found):
                    yield f"{number} -> {text}: {found or 'passed'}"
        holder[key] = stored


@each_notebook
def test_each_printed_number_is_held_to_its_tolerance(path: Path):
    faults = {cell.id: list(misjudged(cell)) for cell in code_cells(path)}
    assert {cell: fault for cell, fault in faults.items() if fault} == {}


def moves(cell: nbformat.NotebookNode) -> bool:
    """Tell whether any number below a cell may move."""
    tolerance = Tolerance.from_tags(cell.metadata.get("tags", []))
    numbers = [number for holder, key in texts(cell) for number in NUMBER.findall(holder[key])]
    return tolerance is not None and (
        tolerance.timing
        or any(may_pass for number in numbers for _, may_pass in changes(number, tolerance))
    )


@each_notebook
def test_a_tolerance_stands_where_a_number_may_move(path: Path):
    tagged = [
        cell for cell in code_cells(path) if Tolerance.from_tags(cell.metadata.get("tags", []))
    ]
    assert [cell.id for cell in tagged if not moves(cell)] == [], "take the tag away"


def printed(text: str, *tags: str) -> nbformat.NotebookNode:
    """A cell that has printed a text."""
    output = nbformat.v4.new_output("stream", text=text)
    return nbformat.v4.new_code_cell(outputs=[output], metadata={"tags": list(tags)})


@pytest.mark.parametrize("text", ["12 units of 100", "0.0", "0.03", "tie at 0.1", "no number"])
def test_a_tag_that_lets_nothing_move_is_seen(text):
    assert not moves(printed(text, "nbval-near"))
    assert moves(printed(f"{text}, 0.04", "nbval-near"))
    assert not moves(printed(f"{text}, 0.04"))


def test_a_comparison_that_is_too_lax_or_too_strict_is_seen(monkeypatch):
    cell = printed("share 29.2%, loudest h 0.85, of 12", "nbval-rtol:5e-2")
    assert list(misjudged(cell)) == []
    for answer, numbers in ((True, {"29.2", "0.85", "12"}), (False, {"29.2", "0.85"})):
        monkeypatch.setattr(Tolerance, "allows", lambda *_, answer=answer: answer)
        assert {fault.split()[0] for fault in misjudged(cell)} == numbers


def test_glued_numbers_and_errors_are_changed_too(monkeypatch):
    glued = nbformat.v4.new_output("display_data", data={"text/plain": "'3.1%'", "image/png": "1"})
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="5 is not 4")
    cell = nbformat.v4.new_code_cell(outputs=[glued, error], metadata={"tags": ["nbval-near"]})
    monkeypatch.setattr(Tolerance, "allows", lambda *_: True)
    assert {fault.split()[0] for fault in misjudged(cell)} == {"3.1", "5", "4"}
