"""Is a fresh output the stored one? Text exactly or within a stated tolerance, figures by eye.

Each function returns "" when the two agree, and otherwise one sentence that says how they differ.
"""

import base64
import io
import re
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from PIL import Image

# A number stands alone: not part of a name (W1), of a version (1.0.4) or of a size (28x28).
NUMBER = re.compile(r"(?<![\w.])([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\w|\.\d)")


@dataclass(frozen=True)
class Tolerance:
    """How far a float may move: always one unit in its last printed digit, and as said here.

    What a clock says belongs to a machine: with `timing` any number may be another one, and a
    figure another one of the same size.
    """

    rtol: Decimal = Decimal(0)
    atol: Decimal = Decimal(0)
    timing: bool = False

    def allows(self, stored: str, fresh: str) -> bool:
        """Tell whether two printed numbers agree; integers agree only when they are equal."""
        if stored == fresh or self.timing:
            return True
        if not all(re.search("[.eE]", number) for number in (stored, fresh)):
            return False
        a, b = Decimal(stored), Decimal(fresh)
        # Of two precisions the finer one counts: 0.5 and 0.5412 are not one unit apart. A number
        # without digits after its point (5., 1e3) has no last digit that rounding could move.
        exact = any(not re.search(r"\.\d", number) for number in (stored, fresh))
        finer = min(a.as_tuple().exponent, b.as_tuple().exponent)
        unit = Decimal(0) if exact else Decimal(1).scaleb(finer)
        return abs(a - b) <= max(unit, self.atol, self.rtol * abs(a))


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
