"""Is a fresh output the stored one? Text exactly or within a stated tolerance, figures by eye.

A `…_difference` is "" when the two agree, and otherwise one sentence that says how they differ.
"""

import base64
import io
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.notebooks.tolerance import NUMBER, Tolerance


def output_differences(
    stored: list[dict],
    fresh: list[dict],
    tolerance: Tolerance | None,
    sanitize: Callable[[object], object],
) -> list[str]:
    """Compare the outputs of a cell kind by kind; no sentence at all says that they agree."""
    old, new = (by_kind(outputs, sanitize) for outputs in (stored, fresh))
    return [
        f"{kind}: {difference}"
        for kind in sorted(set(old) | set(new))
        if (difference := _kind_difference(kind, old[kind], new[kind], tolerance))
    ]


def by_kind(
    outputs: list[dict], sanitize: Callable[[object], object]
) -> defaultdict[str, list[object]]:
    """Sort outputs by what they are: kinds may mix their order, within one kind it counts."""
    kinds = defaultdict(list)
    for output in outputs:
        if output.output_type == "stream":
            kinds[output.name].append(sanitize(output.text))
        elif output.output_type == "error":
            kinds["error"].append(sanitize(f"{output.ename}: {output.evalue}"))
        else:
            # The name of a glued value stands in the metadata, which nothing else compares.
            glued = output.metadata.get("scrapbook", {}).get("name")
            suffix = f" glued as {glued}" if glued else ""
            for mime, value in output.data.items():
                kinds[mime + suffix].append(sanitize(value))
    return kinds


def _kind_difference(kind: str, stored: list, fresh: list, tolerance: Tolerance | None) -> str:
    if len(stored) != len(fresh):
        return f"{len(stored)} stored, {len(fresh)} now"
    # Pictures come as image/png, or as application/papermill.record/image/png when glued.
    picture = "image/png" in kind or "image/jpeg" in kind
    compare = figure_difference if picture else text_difference
    found = (compare(a, b, tolerance) for a, b in zip(stored, fresh, strict=True) if a != b)
    return next(filter(None, found), "")


def text_difference(stored: object, fresh: object, tolerance: Tolerance | None) -> str:
    """Compare two texts (or JSON values); with a tolerance, the numbers in them by their value."""
    if stored == fresh:
        return ""
    whole = f"stored:\n{stored}\nnow:\n{fresh}"
    if tolerance is None or not (isinstance(stored, str) and isinstance(fresh, str)):
        return whole
    # Split by one group: words at the even places, numbers at the odd ones.
    stored_parts, fresh_parts = NUMBER.split(stored), NUMBER.split(fresh)
    if len(stored_parts) != len(fresh_parts):
        return whole
    for place, (a, b) in enumerate(zip(stored_parts, fresh_parts, strict=True)):
        is_number = place % 2 == 1
        # Spaces next to a number are its padding and change with its width or sign.
        agree = tolerance.allows(a, b) if is_number else a.strip(" ") == b.strip(" ")
        if not agree:
            return f"{a!r} became {b!r}, which the cell's tolerance does not allow; {whole}"
    return ""


# A figure drawn elsewhere differs by the shade of pixels along its lines: many small differences,
# or a few on the scale of a fraction of a pixel. A moved line or a changed bar makes some small
# region very different and leaves the mean over the whole picture low. So: a low limit for
# the picture as a whole, and a higher one for every block. In units of full scale (white to black).
LARGEST_RMS = 0.02
LARGEST_BLOCK_RMS = 0.1
BLOCK = 16


def figure_difference(stored: str, fresh: str, tolerance: Tolerance | None = None) -> str:
    """Compare two base64 pictures as they look on a white and on a black page."""
    a, b = _pixels(stored), _pixels(fresh)
    if a.shape != b.shape:
        return f"a figure of {_size(a)} pixels became one of {_size(b)}"
    if tolerance and tolerance.timing:
        return ""
    for name, page in (("white", 1.0), ("black", 0.0)):
        # A transparent picture has no colour of its own: what the reader sees is compared.
        squares = ((_on_page(a, page) - _on_page(b, page)) ** 2).mean(axis=2)
        rms, block_rms = np.sqrt(squares.mean()), np.sqrt(_block_means(squares).max())
        if rms > LARGEST_RMS or block_rms > LARGEST_BLOCK_RMS:
            return (
                f"the figure changed: on a {name} page the pixels differ by {rms:.3f} "
                f"(RMS; at most {LARGEST_RMS}), in the worst block of {BLOCK} x {BLOCK} "
                f"by {block_rms:.3f} (at most {LARGEST_BLOCK_RMS})"
            )
    return ""


def _pixels(picture: str) -> np.ndarray:
    """Decode to RGBA in [0, 1], shape (height, width, 4)."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        return np.asarray(image.convert("RGBA"), dtype=np.float64) / 255


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def _on_page(pixels: np.ndarray, page: float) -> np.ndarray:
    opacity = pixels[..., 3:]
    return pixels[..., :3] * opacity + page * (1 - opacity)


def _block_means(squares: np.ndarray) -> np.ndarray:
    """Mean of every block of shape (BLOCK, BLOCK); the last ones are filled up with zeros."""
    height, width = squares.shape
    filled = np.pad(squares, ((0, -height % BLOCK), (0, -width % BLOCK)))
    return filled.reshape(-(-height // BLOCK), BLOCK, -(-width // BLOCK), BLOCK).mean(axis=(1, 3))
