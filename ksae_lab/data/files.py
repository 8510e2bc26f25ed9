"""Read images and labels from the reader's own files, or say in one sentence why not."""

import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

FORMATS = "a .npz, a .npy or an IDX file (...-idx3-ubyte or .idx, also with .gz)"


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the images of one file, and their labels where the file has any.

    Images come back with shape (n, 784), as uint8 or as floats in [0, 1]; labels as int64 with
    shape (n,), or None. The labels of an IDX file are looked for in the file beside it that MNIST's
    own naming gives (images -> labels, idx3 -> idx1).

    Raises `FileNotFoundError` for a missing file and `ValueError` for anything in it that is not as
    described here.

    Chapter 1.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}; give the path of {FORMATS}.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the path of {FORMATS}.")
    if path.suffix == ".npz":
        x, y = _read_npz(path)
    elif path.suffix == ".npy":
        x, y = _read_npy(path), None
    elif path.name.removesuffix(".gz").endswith(("idx3-ubyte", ".idx")):
        x, y = read_idx(path), _idx_labels_beside(path)
    else:
        raise ValueError(f"{path} has a name of no known kind; expected {FORMATS}.")
    x = _checked_images(x, path)
    return x, None if y is None else _checked_labels(y, len(x), path)


def read_idx(path: Path) -> np.ndarray:
    """Return the unsigned bytes of an IDX file, plain or .gz, in the shape its header gives.

    Raises `ValueError` for a file that is not as its header says.

    Chapter 1.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    with _whole(path), opened(path, "rb") as file:
        raw = file.read()
    # The header: two zeros, the type of a number (8: unsigned byte), how many axes, their lengths.
    if raw[:3] != b"\x00\x00\x08" or len(raw) < 4 + 4 * raw[3]:
        raise ValueError(
            f"{path} does not begin as an IDX file of unsigned bytes does; "
            "check that it is one, and make or download it again."
        )
    start = 4 + 4 * raw[3]
    shape = tuple(int(length) for length in np.frombuffer(raw[4:start], dtype=">u4"))
    if len(raw) - start != math.prod(shape):
        raise ValueError(
            f"{path} holds {len(raw) - start} bytes of data where its header {shape} "
            f"asks for {math.prod(shape)}; make or download it again."
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


def _idx_labels_beside(path: Path) -> np.ndarray | None:
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for labels in (path.with_name(name), path.with_name(name + ".gz")):
        if labels.name.removesuffix(".gz") != path.name.removesuffix(".gz") and labels.exists():
            return read_idx(labels)
    return None


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    # Opened here: where np.load fails, it leaves open what it opened.
    with _whole(path), open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        result = archive.files
        arrays = {key: archive[key] for key in ("x", "y") if key in result}
    if "x" not in arrays:
        raise ValueError(
            f"{path} has no array named x (it has: {', '.join(result) or 'nothing'}); "
            "save it with np.savez(path, x=images, y=labels)."
        )
    return arrays["x"], arrays.get("y")


def _read_npy(path: Path) -> np.ndarray:
    # Not np.load: it would open an archive under this name too, and return no array.
    with _whole(path), open(path, "rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn the dozen ways in which reading a broken file can fail into one sentence."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except Exception:
        raise ValueError(
            f"{path} cannot be read: it is damaged, cut short, or not the kind of file (plain "
            "numbers, no Python objects) that its name says; make or download it again."
        ) from None


def _checked_images(x: np.ndarray, path: Path) -> np.ndarray:
    if x.shape[1:] not in ((784,), (28, 28)):
        raise ValueError(
            f"The images in {path} have shape {x.shape}; "
            "expected (n, 784) or (n, 28, 28): resize or reshape them."
        )
    if len(x) < 10:
        raise ValueError(
            f"{path} holds too few images to split ({len(x)}); give at least 10, better thousands."
        )
    x = x.reshape(len(x), 784)
    if x.dtype == np.uint8:
        if x.max() == 1:
            raise ValueError(
                f"The pixels in {path} are 0 and 1 as uint8, where 255 is white; "
                "store them as floats, or multiply them by 255."
            )
        return x
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(
            f"The pixels in {path} are of type {x.dtype}; expected uint8 (0 to 255) "
            "or floats in [0, 1]: convert them with astype."
        )
    if not np.isfinite(x).all():
        first = int(np.argmin(np.isfinite(x).all(axis=1)))
        raise ValueError(
            f"Image {first} in {path} holds NaN or infinity; expected numbers in [0, 1]: "
            "replace those pixels or leave out the image."
        )
    if x.min() < 0 or x.max() > 1:
        raise ValueError(
            f"The pixels in {path} lie between {x.min():g} and {x.max():g}; expected floats "
            "in [0, 1]: rescale them, or store 0 to 255 as uint8."
        )
    return x


def _checked_labels(y: np.ndarray, n: int, path: Path) -> np.ndarray:
    if y.shape != (n,):
        raise ValueError(
            f"The labels of {path} have shape {y.shape} where its {n} images ask for ({n},); "
            "give one label for each image."
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"The labels of {path} are of type {y.dtype}; "
            "expected whole numbers: convert them with y.astype(int)."
        )
    return y.astype(np.int64)
