"""Run notebooks from the first cell to the last and store their outputs: `make execute`.

A notebook is written back only when all its cells ran; after an error the file is as it was.
"""

import os
import sys
import time
import uuid
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent

# Stored outputs and the tests that repeat them (conftest.py) come from the same environment.
# One thread: results then do not depend on the number of cores, and small matrices are faster.
KERNEL_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}

NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# The rest (timings, folded and scrolled states) is an editor's and changes with every visit.
CELL_METADATA = {"tags", "mystnb", "editable", "deletable"}


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Give every cell an id and leave no metadata but what the book uses, in place."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    for cell in notebook.cells:
        cell.setdefault("id", uuid.uuid4().hex[:8])
        for key in set(cell.metadata) - CELL_METADATA:
            del cell.metadata[key]


def title(path: Path) -> str:
    """What a notebook is called in a list: many are a `lab.ipynb`, each in its own folder."""
    return f"{path.resolve().parent.name}/{path.name}"


def execute(path: Path) -> None:
    """Run one notebook in its own folder with a fresh kernel and store it with its outputs.

    Raises RuntimeError naming the notebook and the cell that failed.
    """
    # nbformat.read would warn about missing ids before `tidy` can give them.
    notebook = nbformat.v4.reads(path.read_text(encoding="utf-8"))
    tidy(notebook)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    with client.setup_kernel(env=os.environ | KERNEL_ENVIRONMENT):
        for index, cell in enumerate(tqdm(notebook.cells, desc=title(path), unit="cell")):
            if cell.cell_type == "code":
                # The client leaves an empty cell alone, and with it what was stored there.
                cell.outputs, cell.execution_count = [], None
            try:
                client.execute_cell(cell, index)
            except (CellExecutionError, DeadKernelError) as error:
                raise RuntimeError(
                    f"{path}: cell {index + 1} of {len(notebook.cells)} (id {cell.id}) failed, so "
                    f"the notebook was left as it was; mend the cell and run it again.\n{error}"
                ) from error
    nbformat.validate(notebook)
    unfinished = path.with_suffix(".ipynb.part")
    unfinished.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    unfinished.replace(path)


def main(names: list[str]) -> None:
    """Run the named notebooks, or all of the book and of the lab, and say how long each took."""
    paths = [Path(name) for name in names] or [
        path
        for pages in ("book/*.ipynb", "notebooks/*/*.ipynb")
        for path in sorted(ROOT.glob(pages))
    ]
    seconds = {}
    for path in paths:
        start = time.perf_counter()
        try:
            execute(path.resolve())
        except (RuntimeError, OSError) as error:
            sys.exit(str(error))
        seconds[path] = time.perf_counter() - start
    for path, duration in seconds.items():
        print(f"{duration:6.1f} s  {title(path)}")


if __name__ == "__main__":
    main(sys.argv[1:])
