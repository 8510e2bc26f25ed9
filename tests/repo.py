"""What the tests of the house and of the site read: contents, package, notebooks and prose."""

import functools
import subprocess
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parent.parent
PUBLIC_MODULES = sorted(
    path for path in (ROOT / "ksae_lab").rglob("*.py") if not path.name.startswith("_")
)

_CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))


def _pages(parts: list[dict]) -> list[str]:
    chapters = [chapter for part in parts for chapter in part["chapters"]]
    inner = [section["file"] for chapter in chapters for section in chapter.get("sections", [])]
    return [*(chapter["file"] for chapter in chapters), *inner]


PAGES = [_CONTENTS["root"], *_pages(_CONTENTS["parts"])]
CHAPTERS = _pages([part for part in _CONTENTS["parts"] if part.get("numbered")])
LABS = _pages([part for part in _CONTENTS["parts"] if part.get("caption") == "Labs"])


def name(path: Path) -> str:
    """A file's name as the reader knows it: its path in the repository."""
    return path.relative_to(ROOT).as_posix()


def notebooks() -> list[Path]:
    """The chapters and the labs that are notebooks."""
    return sorted([*ROOT.glob("book/*.ipynb"), *ROOT.glob("notebooks/*/*.ipynb")])


@functools.cache
def cells(path: Path) -> list[nbformat.NotebookNode]:
    """The cells of a notebook, to be read only."""
    # Not nbformat.read: it repairs what the lints are to find, such as two cells with one id.
    return nbformat.v4.reads(path.read_text(encoding="utf-8")).cells


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    """The code cells of a notebook, to be read only."""
    return [cell for cell in cells(path) if cell.cell_type == "code"]


def markdown() -> dict[str, str]:
    """All prose: where it is (file, or notebook and cell) and its text."""
    pages = [ROOT / "README.md", *sorted(ROOT.glob("book/*.md"))]
    texts = {name(page): page.read_text(encoding="utf-8") for page in pages}
    for path in notebooks():
        for cell in cells(path):
            if cell.cell_type == "markdown":
                texts[f"{name(path)} cell {cell.id}"] = cell.source
    return texts


def figure_texts() -> dict[str, str]:
    """The captions and alt texts of the notebooks' figures, by where they are."""
    texts = {}
    for path in notebooks():
        for cell in code_cells(path):
            render = cell.metadata.get("mystnb", {})
            for kind, text in (
                ("caption", render.get("figure", {}).get("caption", "")),
                ("alt text", render.get("image", {}).get("alt", "")),
            ):
                texts[f"{name(path)} cell {cell.id}, {kind}"] = text
    return texts


def sources() -> list[Path]:
    """The files of the repository: those git tracks or would offer to add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file()]
