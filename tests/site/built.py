"""Where the built site lies, and which pages _toc.yml says it has."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"

_TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
_PARTS = _TOC["parts"]


def _files(parts: list[dict]) -> list[str]:
    return [chapter["file"] for part in parts for chapter in part["chapters"]]


PAGES = [_TOC["root"], *_files(_PARTS)]
CHAPTERS = _files([part for part in _PARTS if part.get("numbered")])
LABS = _files([part for part in _PARTS if part.get("caption") == "Labs"])


def require_site() -> None:
    """Fail with the remedy if nobody has built the book."""
    if not (SITE / "index.html").exists():
        pytest.fail("There is no built site to test. Run `make book` first.", pytrace=False)
