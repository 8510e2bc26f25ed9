"""The directive ``{figure-from}`` shows a chapter's figure on another page.

The landing page shows what the chapters hold. A copied picture would age; this one is read from
the stored notebook, with its alt text, each time the site is built. The content is the caption.

    ```{figure-from} sparse_codes.ipynb fig-strokes
    A two in six numbers.
    ```
"""

import base64
import json
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = "_build/figure_from"  # under the source folder, where Sphinx looks for pictures


class FigureFrom(SphinxDirective):
    required_arguments = 2  # the notebook, seen from this page, and the figure's name in it
    has_content = True

    def run(self) -> list[nodes.Node]:
        notebook, name = self.arguments
        page = Path(self.env.doc2path(self.env.docname))
        source = page.parent / notebook
        self.env.note_dependency(str(source))
        cell = self._cell(source, name)
        png = self._png(cell, name)
        picture = Path(self.env.srcdir) / FOLDER / f"{source.stem}-{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(base64.b64decode(png))

        alt = cell["metadata"]["mystnb"]["image"]["alt"]
        figure = nodes.figure("", nodes.image(uri=f"/{FOLDER}/{picture.name}", alt=alt))
        text, messages = self.parse_inline(" ".join(self.content))
        figure += nodes.caption("", "", *text)
        return [figure, *messages]

    def _cell(self, source: Path, name: str) -> dict:
        """The cell of the notebook whose figure has this name."""
        cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == name:
                return cell
        raise self.error(f"{source.name} has no figure named {name}.")

    def _png(self, cell: dict, name: str) -> str:
        """The stored picture of that cell, in base64."""
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return output["data"]["image/png"]
        raise self.error(f"The cell of {name} holds no picture; run `make execute` first.")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("figure-from", FigureFrom)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
