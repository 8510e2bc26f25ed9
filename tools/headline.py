"""The figures of the README, as the notebooks of the book drew them.

python -m tools.headline
"""

import base64
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "book" / "_static"
# By picture: the notebook that draws it, and the figure's name there.
FIGURES = {
    STATIC / "k_sweep.png": (ROOT / "book" / "k_sweep.ipynb", "fig-k-sweep-mse"),
    STATIC / "edges.png": (ROOT / "book" / "photographs.ipynb", "fig-edges"),
}


def figure(notebook: Path, name: str) -> bytes:
    """The PNG of the figure that a stored notebook calls by that name.

    Raises `ValueError` if there is none.
    """
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == name:
            for output in cell["outputs"]:
                if png := output.get("data", {}).get("image/png"):
                    return base64.b64decode("".join(png))
    raise ValueError(f"{notebook} has drawn no figure {name!r}; run it, or mend the name.")


if __name__ == "__main__":
    for picture, drawn in FIGURES.items():
        picture.write_bytes(figure(*drawn))
