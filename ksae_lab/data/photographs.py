"""Patches of photographs that come with scikit-image and scikit-learn, whitened as in 1996.

Both packages say who took them: all are in the public domain, or under licences that let anybody
use them with credit.
"""

import hashlib
import io
from collections.abc import Callable
from importlib import resources

import numpy as np

from ksae_lab._optional import optional
from ksae_lab.data.files import Samples
from ksae_lab.nn import inputs
from ksae_lab.nn.checks import Rng, generator, positive, whole

# By package and file: the SHA-256 of its bytes.
SHA256 = {
    "skimage.data": {
        "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "coins.png": "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    },
    "sklearn.datasets.images": {
        "china.jpg": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "flower.jpg": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    },
}
FILES = {file.partition(".")[0]: (package, file) for package in SHA256 for file in SHA256[package]}
HELD_OUT = ("china", "flower")  # scikit-learn's: nothing is learned from them
LEARNT = tuple(name for name in FILES if name not in HELD_OUT)
SIDE, TRAINING, TEST = 12, 50_000, 10_000
FLOOR = 0.1  # of a patch's variance, so that what is flat stays small


def photograph(name: str) -> np.ndarray:
    """A photograph (height, width) or (height, width, 3) with numbers from 0 to 1.

    `FILES` has the names.

    Raises `ImportError` without scikit-image or Pillow, and `ValueError` for another name or
    another file than the one that this package knows.

    Chapter 19.
    """
    if name not in FILES:
        raise ValueError(f"There is no photograph {name!r}; choose from {', '.join(FILES)}.")
    package, file = FILES[name]
    pillow = optional("PIL.Image", "A photograph")
    optional("skimage", "A photograph")
    raw = (resources.files(package) / file).read_bytes()
    if hashlib.sha256(raw).hexdigest() != (expected := SHA256[package][file]):
        raise ValueError(
            f"{file} in {package} is not the photograph that this package knows (SHA-256 expected: "
            f"{expected}); install the version that requirements.txt names."
        )
    return np.asarray(pillow.open(io.BytesIO(raw))) / 255


def grey(image: np.ndarray) -> np.ndarray:
    """A photograph (height, width[, 3]) as grey (height, width), by scikit-image's weights.

    Raises `ImportError` without scikit-image, and `ValueError` for another shape.

    Chapter 19.
    """
    if image.ndim == 2:
        return image
    luminance: np.ndarray = optional("skimage.color", "A grey photograph").rgb2gray(image)
    return luminance


def whitened(image: np.ndarray, cutoff: float = 0.4) -> np.ndarray:
    """A grey image (height, width) with its slow frequencies turned down; its mean is 0.

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
    """Patches (count, side²[·3]) at random places of images (height, width[, 3]), as many of each.

    Each has the mean 0, and is divided by the root of its variance and `FLOOR`, so that what is
    flat stays small.

    Raises `ValueError` for an image that is smaller than a patch, or fewer patches than images.

    Chapter 19.
    """
    from sklearn.feature_extraction.image import extract_patches_2d

    rng = generator(rng)
    whole(side, "side", 2)
    whole(count, "count", len(images))
    found = []
    for image, some in zip(images, np.array_split(np.arange(count), len(images)), strict=True):
        drawn = int(rng.integers(2**31))
        windows = extract_patches_2d(image, (side, side), max_patches=len(some), random_state=drawn)
        found.append(windows.reshape(len(some), -1))
    x = np.concatenate(found)
    x -= x.mean(axis=1, keepdims=True)
    return x / np.sqrt(x.var(axis=1, keepdims=True) + FLOOR)


def parts(prepare: Callable[[np.ndarray], np.ndarray] = whitened) -> tuple[np.ndarray, np.ndarray]:
    """Patches to learn from (50000, 144) in random order, and others (10000, 144), in float32.

    The others are of `HELD_OUT`. `prepare` gets each photograph as grey (height, width).

    Raises what `photograph` raises.

    Chapter 19.
    """
    rng = np.random.default_rng(0)
    learnt, held_out = (
        [prepare(grey(photograph(name))) for name in names] for names in (LEARNT, HELD_OUT)
    )
    training = patches(learnt, TRAINING, rng)[rng.permutation(TRAINING)]
    return training.astype(np.float32), patches(held_out, TEST, rng).astype(np.float32)


def read_photographs() -> Samples:
    """60,000 whitened patches (60000, 144), the last 10,000 of photographs that no other is of.

    Raises what `photograph` raises.

    Source: Olshausen & Field (1996).
    Chapter 19.
    """
    return Samples(np.concatenate(parts()), None, (SIDE, SIDE))
