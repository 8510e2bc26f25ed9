"""A pytest plugin: nbval runs the notebooks, and this closes the holes it leaves.

By itself nbval passes a cell that was never executed, cells executed out of order, a changed or
vanished figure, a cell tagged `raises-exception` that raises nothing, and a cell that asks not to
be looked at. Here each of them fails, every output is compared (text, errors, stderr, glued
values, figures), and only the tags that tolerance.py lists allow a number to move.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from tests.notebooks.compare import output_differences
from tests.notebooks.tolerance import Tolerance

REMEDY = "If the change is meant, run `make execute` and look at what it stored."


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Iterator[None]:
    """Put our collector in the place of nbval's: its own hook can be neither set nor subclassed."""
    collectors = yield
    return [
        StrictNotebook.from_parent(parent, path=file_path) if isinstance(c, IPyNbFile) else c
        for c in collectors
    ]


class StrictNotebook(IPyNbFile):
    """nbval's notebook, with cells of our kind that know which execution count they must have."""

    def collect(self) -> Iterator["StrictCell"]:
        count = 0
        for item in super().collect():
            empty = not item.cell.source.strip()
            count += not empty
            strict = StrictCell.from_parent(
                self, name=item.name, cell_num=item.cell_num, cell=item.cell, options=item.options
            )
            strict.expected_count = None if empty else count
            yield strict

    def setup(self) -> None:
        """Start the kernel as nbval does, and run cells in it as JupyterLab does."""
        super().setup()
        # nbval keeps cells out of the kernel's history. IPython looks there for the `;` that
        # silences a cell, and for `_`, so a cell that uses them would not repeat its output.
        self.kernel.execute_cell_input = partial(self.kernel.kc.execute, stop_on_error=False)


class StrictCell(IPyNbCell):
    """One code cell: run by nbval, judged here."""

    def runtest(self) -> None:
        tags = self.cell.metadata.get("tags", [])
        if self.options["skip"] or not self.options["check"]:
            self.raise_cell_error("The cell asks not to be compared; remove that tag or comment.")
        try:
            self.tolerance = Tolerance.from_tags(tags)
        except ValueError as error:
            self.raise_cell_error(str(error))
        super().runtest()
        # After the run, so that the cells below still find what this one defines.
        stored_count = self.cell.execution_count
        if self.expected_count is not None and stored_count is None:
            self.raise_cell_error(f"The stored cell was never executed. {REMEDY}")
        if stored_count != self.expected_count:
            self.raise_cell_error(
                f"The stored cell was executed as number {stored_count} but stands as number "
                f"{self.expected_count}: the reader cannot get its output by running from the "
                "top. Run `make execute`."
            )
        raised = any(output.output_type == "error" for output in self.test_outputs)
        if "raises-exception" in tags and not raised:
            self.raise_cell_error("The cell is tagged raises-exception but raised nothing.")

    def compare_outputs(self, test: list, ref: list, skip_compare: tuple | None = None) -> bool:
        """Compare fresh and stored outputs; nbval calls this and reports comparison_traceback.

        It replaces nbval's comparison, which leaves pictures out and compares only whole strings.
        """
        found = output_differences(ref, test, self.tolerance, self.sanitize)
        self.comparison_traceback = [*found, REMEDY] if found else []
        return not found
