"""A pytest plugin: nbval runs the notebooks, and this closes the holes it leaves.

By itself nbval passes a cell that was never executed, cells executed out of order, a changed or
vanished figure, a cell tagged `raises-exception` that raises nothing, and a cell that asks not to
be looked at. Here each of them fails, every output is compared (text, errors, stderr, glued
values, figures), and only these tags of a cell allow a float to move:

- `nbval-near`: by one unit in its last printed digit;
- `nbval-rtol:1e-3`, `nbval-atol:1e-6`: by that much, relatively or absolutely;
- `nbval-timing`: by any amount, as integers may, and a figure by all but its size: for seconds,
  which belong to a machine. Words are compared there, too.
"""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from tests.notebooks.compare import Tolerance, figure_difference, text_difference

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
        self.tolerance = self.read_tolerance(tags)
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

    def read_tolerance(self, tags: list[str]) -> Tolerance | None:
        """Read the tags that begin with `nbval-`; None means that nothing may move."""
        limits = {}
        wanted = [tag for tag in tags if tag.startswith("nbval-")]
        for tag in wanted:
            name, _, value = tag.removeprefix("nbval-").partition(":")
            try:
                if tag == "nbval-timing":
                    limits["timing"] = True
                elif name in ("rtol", "atol"):
                    limits[name] = Decimal(value)
                elif tag != "nbval-near":
                    raise InvalidOperation
            except InvalidOperation:
                self.raise_cell_error(
                    f"The tag {tag!r} is not known; use nbval-near, nbval-rtol:1e-3, "
                    "nbval-atol:1e-6 or nbval-timing."
                )
        return Tolerance(**limits) if wanted else None

    def compare_outputs(self, test: list, ref: list, skip_compare: tuple | None = None) -> bool:
        """Compare fresh and stored outputs; nbval calls this and reports comparison_traceback.

        It replaces nbval's comparison, which leaves pictures out and compares only whole strings.
        """
        stored, fresh = self.by_kind(ref), self.by_kind(test)
        self.comparison_traceback = [
            f"{kind}: {difference}"
            for kind in sorted(set(stored) | set(fresh))
            if (difference := self.difference(kind, stored[kind], fresh[kind]))
        ]
        if self.comparison_traceback:
            self.comparison_traceback.append(REMEDY)
        return not self.comparison_traceback

    def by_kind(self, outputs: list) -> defaultdict[str, list]:
        """Sort outputs by what they are: kinds may mix their order, within one kind it counts."""
        kinds = defaultdict(list)
        for output in outputs:
            if output.output_type == "stream":
                kinds[output.name].append(self.sanitize(output.text))
            elif output.output_type == "error":
                kinds["error"].append(self.sanitize(f"{output.ename}: {output.evalue}"))
            else:
                # The name of a glued value stands in the metadata, which nothing else compares.
                glued = output.metadata.get("scrapbook", {}).get("name")
                suffix = f" glued as {glued}" if glued else ""
                for mime, value in output.data.items():
                    kinds[mime + suffix].append(self.sanitize(value))
        return kinds

    def difference(self, kind: str, stored: list, fresh: list) -> str:
        """Say how the outputs of one kind differ, or return ''."""
        if len(stored) != len(fresh):
            return f"{len(stored)} stored, {len(fresh)} now"
        # Pictures come as image/png, or as application/papermill.record/image/png when glued.
        picture = "image/png" in kind or "image/jpeg" in kind
        for a, b in zip(stored, fresh, strict=True):
            if picture:
                found = figure_difference(a, b, self.tolerance)
            else:
                found = text_difference(a, b, self.tolerance)
            if found:
                return found
        return ""
