"""Turn "Chapter 2" and "Lab 1" in the docstrings of the API page into links.

Each docstring names the page that derives its function. The numbers are those of _toc.yml:
the numbered parts count chapters, the part "Labs" counts labs. A number that leads nowhere is
a warning, so the strict build fails when a page moves and a docstring stays behind.
"""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx_external_toc.api import SiteMap

REFERENCE = re.compile(r"\b(chapter|lab) (\d+)\b", re.IGNORECASE)

logger = logging.getLogger(__name__)


def pages_of(site_map: SiteMap) -> dict[tuple[str, int], str]:
    """The page behind ("chapter", 2) or ("lab", 1)."""
    parts = site_map.root.subtrees
    chapters = [page for part in parts if part.numbered for page in part.items]
    labs = [page for part in parts if part.caption == "Labs" for page in part.items]
    return {
        (kind, number): page
        for kind, pages in [("chapter", chapters), ("lab", labs)]
        for number, page in enumerate(pages, start=1)
    }


def link_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Edit `lines`, the docstring of `name`, in place: that is how autodoc wants it."""
    pages = pages_of(app.config.external_site_map)

    def link(reference: re.Match) -> str:
        kind, number = reference[1].lower(), int(reference[2])
        page = pages.get((kind, number))
        if page is None:
            logger.warning("%s names %s, which _toc.yml does not have", name, reference[0])
            return reference[0]
        return f":doc:`{reference[0]} </{page}>`"

    lines[:] = [REFERENCE.sub(link, line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", link_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
