"""The example experiments, which come with the package."""

import difflib
from pathlib import Path

INSTALLED = Path(__file__).parents[1] / "examples"  # in a wheel
REPOSITORY = Path(__file__).parents[2] / "experiments"


def every() -> dict[str, Path]:
    """The file of each example, by its name.

    Lab 2.
    """
    folder = INSTALLED if INSTALLED.is_dir() else REPOSITORY
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def listed() -> dict[str, str]:
    """What each example is, by its name: the first words of its first comment.

    Lab 2.
    """
    firsts = {name: path.read_text(encoding="utf-8") for name, path in every().items()}
    return {name: text.splitlines()[0].lstrip("# ") for name, text in firsts.items()}


def read(name: str) -> str:
    """The text of an example; `ValueError`, with the names that there are, for another.

    Lab 2.
    """
    if name not in every():
        near = difflib.get_close_matches(name, every(), n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"There is no example {name!r}{hint}; choose from {', '.join(every())}.")
    return every()[name].read_text(encoding="utf-8")


def find(given: str) -> str | Path:
    """The path of an experiment's file, which somebody gave, or the example of that name.

    Lab 2.
    """
    return every()[given] if given in every() and not Path(given).exists() else given
