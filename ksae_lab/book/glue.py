"""What a chapter or a lab needs around its experiments."""

import json
from itertools import chain
from pathlib import Path


def glue(name: str, value: str) -> None:
    """Store a measured number, already formatted, so that the prose can quote it: `{glue:text}`.

    Outside the book (on Colab, say) there is no page to quote it on: nothing happens then.

    Chapter 1.
    """
    try:
        from myst_nb import glue as store
    except ImportError:
        return
    store(name, value, display=False)


def glued(notebook: str | Path, name: str) -> float:
    """The number, a scalar, that another notebook glued under this name in its stored run.

    So one page can plot what another has measured. The path is seen from the working directory.

    Raises `ValueError` if the notebook holds no such number, and `FileNotFoundError` if there is no
    such notebook.

    Chapter 11.
    """
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    for output in chain.from_iterable(cell.get("outputs", []) for cell in cells):
        if output.get("metadata", {}).get("scrapbook", {}).get("name") == name:
            (text,) = output["data"].values()
            return float("".join(text).strip("'").replace(",", ""))
    raise ValueError(f"{notebook} has glued no number {name!r}; run it, or fix the name.")
