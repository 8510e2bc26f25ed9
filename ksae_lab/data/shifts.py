"""Images moved by a pixel: more digits from the same digits."""

from functools import cache
from itertools import product

import numpy as np

from ksae_lab.nn import checks, inputs

BY = tuple(step for step in product((-1, 0, 1), repeat=2) if step != (0, 0))


def shifted(
    x: np.ndarray, image: tuple[int, ...], share: float, rng: checks.Rng = None
) -> np.ndarray:
    """A copy of x (batch, d) in which about `share` of the images have moved by one pixel.

    `image` is the shape of a row: (height, width) or (height, width, colours). Each image moves
    with probability `share`, to one of its eight neighbours' places, all alike. What leaves on one
    side is lost; on the other side the rim is repeated, which is black where the rim is.
    `rng` is whatever `numpy.random.default_rng` takes.

    Raises `ValueError` for a shape that does not make d, and for a share that is not from 0 to 1;
    and what `ksae_lab.nn.inputs.real` raises.

    Source: Simard, Steinkraus & Platt (2003) for training on images moved about.
    Lab 2.
    """
    places = places_after(image)
    x = inputs.rows(x, places.shape[1], "images")
    share = checks.share(share, "share")
    rng = checks.generator(rng)
    which = rng.integers(len(BY), size=len(x))
    moves = rng.random(len(x)) < share
    return np.where(moves[:, None], np.take_along_axis(x, places[which], axis=1), x)


@cache
def places_after(image: tuple[int, ...]) -> np.ndarray:
    """Where each number of a moved image came from: (8, d), a row for each direction of `BY`.

    Raises `ValueError` for a shape that is none of an image.

    Lab 2.
    """
    if len(image) not in (2, 3):
        raise ValueError(
            f"The image's shape is {image}; give (height, width), or with colours at the end."
        )
    height, width = [checks.whole(side, "side of the image") for side in image][:2]
    numbers = np.arange(np.prod(image)).reshape(height, width, -1)
    down, right = np.arange(height), np.arange(width)
    return np.stack(
        [
            numbers[(down - dy).clip(0, height - 1)][:, (right - dx).clip(0, width - 1)].ravel()
            for dy, dx in BY
        ]
    )
