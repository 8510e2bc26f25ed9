"""The figure at the top of the README: that of chapter 13's sweep, as its notebook drew it.

python -m tools.headline
"""

import base64
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK, FIGURE = ROOT / "book" / "k_sweep.ipynb", "fig-k-sweep-mse"
HEADLINE = ROOT / "book" / "_static" / "k_sweep.png"


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
    HEADLINE.write_bytes(figure(NOTEBOOK, FIGURE))
