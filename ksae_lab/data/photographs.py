"""Patches of photographs, whitened as Olshausen and Field did.

The photographs come with scikit-image and scikit-learn, whose READMEs name their authors: all are
in the public domain or under licences that let anybody use them with credit.
"""

import numpy as np

from ksae_lab._optional import optional
from ksae_lab.data.files import Samples
from ksae_lab.nn import inputs
from ksae_lab.nn.checks import Rng, generator, positive, whole

LEARNT = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "rocket")
HELD_OUT = ("china.jpg", "flower.jpg")  # scikit-learn's
SIDE, TRAINING, TEST = 12, 50_000, 10_000
FLOOR = 0.1  # of a patch's variance, so that what is flat stays small


def grey(image: np.ndarray) -> np.ndarray:
    """An image (height, width) or (height, width, 3 or 4) of bytes as grey (height, width), 0 to 1.

    The weights of red, green and blue are those of the eye's sensitivity (ITU-R BT.709).

    Raises `ValueError` for another shape.

    Chapter 19.
    """
    if image.ndim == 2:
        return image / 255
    if image.ndim != 3 or image.shape[2] not in (3, 4):
        raise ValueError(f"The image has shape {image.shape}; expected (height, width[, 3 or 4]).")
    return image[..., :3] @ np.array([0.2126, 0.7152, 0.0722]) / 255


def photographs(names: tuple[str, ...] = LEARNT) -> list[np.ndarray]:
    """Grey photographs (height, width), by the names that scikit-image or scikit-learn give them.

    Raises `ImportError` without scikit-image, and `ValueError` for a name that neither has.

    Chapter 19.
    """
    from sklearn.datasets import load_sample_image

    skimage = optional("skimage.data", names)
    found = []
    for name in names:
        if name not in (*LEARNT, *HELD_OUT):
            choices = ", ".join((*LEARNT, *HELD_OUT))
            raise ValueError(f"There is no photograph {name!r}; choose from {choices}.")
        image = load_sample_image(name) if name in HELD_OUT else getattr(skimage, name)()
        found.append(grey(image))
    return found


def whitened(image: np.ndarray, cutoff: float = 0.4) -> np.ndarray:
    """A grey image (height, width) whose frequencies all have about the same power; its mean is 0.

    Amplitudes of photographs fall as 1/f, so each is multiplied by f; beyond `cutoff`, in cycles
    per pixel, where noise and the corners of the grid are, by exp(-(f / cutoff)⁴) as well. The
    result has a variance of 1.

    Raises `ValueError` for another shape or a cutoff of 0 or less.

    Source: Olshausen & Field (1996; 1997, section 5.1).
    Chapter 19.
    """
    image = inputs.floats(image, "image")
    positive(cutoff, "cutoff")
    if image.ndim != 2:
        raise ValueError(f"The image has shape {image.shape}; expected (height, width), grey.")
    down, across = (np.fft.fftfreq(length) for length in image.shape)
    f = np.hypot(down[:, None], across)
    result = np.fft.ifft2(np.fft.fft2(image) * f * np.exp(-((f / cutoff) ** 4))).real
    return result / result.std()


def patches(images: list[np.ndarray], count: int, rng: Rng, side: int = SIDE) -> np.ndarray:
    """Patches (count, side²) at random places of images (height, width), as many of each.

    Each has the mean 0, and is divided by the root of its variance and `FLOOR`, so that what is
    flat stays small.

    Raises `ValueError` for an image that is smaller than a patch.

    Chapter 19.
    """
    rng = generator(rng)
    whole(side, "side", 2)
    whole(count, "count", len(images))
    found = []
    for image, some in zip(images, np.array_split(np.arange(count), len(images)), strict=True):
        if min(image.shape) < side:
            raise ValueError(f"An image of {image.shape} has no patch of {side} x {side}.")
        windows = np.lib.stride_tricks.sliding_window_view(image, (side, side))
        rows = rng.integers(windows.shape[0], size=len(some))
        columns = rng.integers(windows.shape[1], size=len(some))
        found.append(windows[rows, columns].reshape(-1, side * side))
    x = np.concatenate(found)
    x = x - x.mean(axis=1, keepdims=True)
    return x / np.sqrt(x.var(axis=1, keepdims=True) + FLOOR)


def read_photographs() -> Samples:
    """60,000 whitened patches (60000, 144), the last 10,000 of photographs that no other is of.

    Raises `ImportError` without scikit-image.

    Source: Olshausen & Field (1996).
    Chapter 19.
    """
    learnt, held_out = (
        [whitened(image) for image in photographs(names)] for names in (LEARNT, HELD_OUT)
    )
    rng = np.random.default_rng(0)
    x = np.concatenate([patches(learnt, TRAINING, rng), patches(held_out, TEST, rng)])
    order = rng.permutation(TRAINING)  # validation is the end of the first part
    return Samples(np.concatenate([x[order], x[TRAINING:]]).astype(np.float32), None, (SIDE, SIDE))
