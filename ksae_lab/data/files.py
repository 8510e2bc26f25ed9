"""The reader's own data, from a file, a folder, a table or an array; or one sentence why not."""

import gzip
import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ksae_lab._optional import optional
from ksae_lab.data.paths import user_path
from ksae_lab.data.rows import OnDisk, Source

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (
    "a .npz, .npy, .csv, .parquet or IDX file (...-idx3-ubyte or .idx, also with .gz), "
    "or a folder of .png or .jpg images"
)
LABELS = ("label", "labels", "target", "class", "y")  # columns of a table that hold labels
MNIST = (28, 28)  # what rows of 784 numbers from 0 to 1 are taken for
PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, eq=False)
class Samples:
    """What was found: x (n, …) as it lies there, one label for each sample (n,), and names.

    `image` is the shape of one sample where it is one, (height, width) or (height, width, colours).
    `names` are those of the features, where there are any.

    Chapter 1.
    """

    x: Source
    y: np.ndarray | None = None
    image: tuple[int, ...] | None = None
    names: tuple[str, ...] | None = None


def read(source: Any) -> Samples:
    """The samples of a file or folder, given by its path, of a pandas DataFrame, or of an array.

    - An array (n, d) holds samples in rows, one (n, height, width) or (n, height, width, colours)
      images. `.npy` and IDX hold one array, `.npz` an array `x` and perhaps labels `y`; the labels
      of an IDX file are looked for beside it under MNIST's own name (images -> labels).
      A `.npy` file stays on the disk.
    - A table has a column for each feature, and perhaps one called `label`, `target`, `class` or
      `y`. A CSV file may have a line of names.
    - A folder has images of one size; if they lie in folders in it, these are their labels.

    x is numbers of any real type and sign, at least 10 samples; labels are integers or words.

    Raises `FileNotFoundError` for a missing file, `ImportError` where a package for the format is
    missing, and `ValueError` for anything in it that is not as described here.

    Chapter 1.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        return _checked(_from_path(path), str(path))
    if hasattr(source, "columns") and hasattr(source, "to_numpy"):
        return _checked(_from_frame(source, "the table"), "the table")
    if hasattr(source, "tocsr"):
        raise ValueError(
            "The data are a sparse matrix; give a dense array (`x.toarray()`), "
            "or use `ksae_lab.sklearn.KSparseCoder`."
        )
    try:
        x = np.asarray(source)
    except ValueError:
        raise ValueError(
            "The data are no array: their rows differ in length; give rows of equal length."
        ) from None
    if np.ma.isMaskedArray(source) and np.ma.getmaskarray(source).any():
        raise ValueError("The data have masked entries; fill them in, or leave out their rows.")
    return _checked(Samples(x), "the array")


def read_idx(path: Path) -> np.ndarray:
    """Return the unsigned bytes of an IDX file, plain or .gz, in the shape its header gives.

    Raises `ValueError` for a file that is not as its header says.

    Chapter 1.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    with _whole(path), opened(path, "rb") as file:
        raw = file.read()
    # The header: two zeros, the type of a number (8: unsigned byte), how many axes, their lengths.
    if raw[:3] != b"\x00\x00\x08" or len(raw) < 5 or not raw[3] or len(raw) < 4 + 4 * raw[3]:
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


def _from_path(path: Path) -> Samples:
    path = user_path(path, "path of the data")
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}; give the path of {FORMATS}.")
    if path.is_dir():
        return _from_folder(path)
    if not path.is_file():
        raise ValueError(f"{path} is no plain file; give the path of {FORMATS}.")
    if path.name.removesuffix(".gz").endswith(("idx3-ubyte", ".idx")):
        return Samples(read_idx(path), _idx_labels_beside(path))
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise ValueError(f"{path} has a name of no known kind; expected {FORMATS}.")
    return _READERS[ending](path)


def _idx_labels_beside(path: Path) -> np.ndarray | None:
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for labels in (path.with_name(name), path.with_name(name + ".gz")):
        if labels.name.removesuffix(".gz") != path.name.removesuffix(".gz") and labels.exists():
            return read_idx(labels)
    return None


def _from_npz(path: Path) -> Samples:
    # Opened here: where np.load fails, it leaves open what it opened.
    with _whole(path), open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        found = archive.files
        arrays = {key: np.asarray(archive[key]) for key in ("x", "y") if key in found}
        members = zipfile.ZipFile(file).namelist()
    if "x" not in arrays:
        raise ValueError(
            f"{path} has no array named x (it has: {', '.join(found) or 'nothing'}); "
            "save it with np.savez(path, x=images, y=labels)."
        )
    if twice := sorted({name for name in members if members.count(name) > 1}):
        raise ValueError(f"{path} holds {twice[0]} twice; save it again with one of each name.")
    return Samples(arrays["x"], arrays.get("y"))


def _from_npy(path: Path) -> Samples:
    with _whole(path):
        return Samples(OnDisk(path))


def _from_csv(path: Path) -> Samples:
    pandas = optional("pandas", path)
    with _whole(path):
        frame = pandas.read_csv(path)
        if all(_is_number(name) for name in frame.columns):
            frame = pandas.read_csv(path, header=None)
    if not isinstance(frame.index, pandas.RangeIndex):  # pandas takes what is too much for one
        raise ValueError(
            f"The lines of {path} hold more values than its first line has names; name each "
            "column, with commas between columns and points in numbers."
        )
    first = frame.columns[0]
    if first == "Unnamed: 0" and (frame[first] == frame.index).all():
        raise ValueError(
            f"The first column of {path} has no name and counts the rows; leave it out, as "
            "to_csv(path, index=False) does, or give it a name."
        )
    return _from_frame(frame, str(path))


def _from_parquet(path: Path) -> Samples:
    pandas = optional("pandas", path)
    optional("pyarrow", path)
    with _whole(path):
        frame = pandas.read_parquet(path)
    return _from_frame(frame, str(path))


_READERS: dict[str, Callable[[Path], Samples]] = {
    ".npz": _from_npz,
    ".npy": _from_npy,
    ".csv": _from_csv,
    ".parquet": _from_parquet,
}


def _from_frame(frame: "pd.DataFrame", where: str) -> Samples:
    labels = [name for name in frame.columns if str(name).lower() in LABELS]
    if len(labels) > 1:
        raise ValueError(
            f"{where} has {len(labels)} columns of labels ({', '.join(map(str, labels))}); "
            "keep one of them, or rename the others."
        )
    features = frame.drop(columns=labels)
    for name, kind in features.dtypes.items():
        if kind.kind not in "buif":
            raise ValueError(
                f"The column {name!r} of {where} is of type {kind}; expected numbers: "
                "leave it out, or call it `label` if it says what a sample is."
            )
    missing = frame[labels].isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"Row {missing.argmax()} of {where} has no label; give it one, or leave all labels out."
        )
    y = frame[labels[0]].to_numpy() if labels else None
    if y is not None and y.dtype == object:
        y = y.astype(str)
    names = tuple(map(str, features.columns))
    numbered = names == tuple(map(str, range(len(names))))
    x = features.to_numpy()
    if x.dtype == object:  # of columns of several kinds
        x = features.to_numpy(float, na_value=np.nan)
    return Samples(x, y, names=None if numbered else names)


def _from_folder(folder: Path) -> Samples:
    files = sorted(
        file for file in folder.rglob("*") if file.suffix.lower() in PICTURES and file.is_file()
    )
    if not files:
        raise ValueError(f"{folder} is a folder without images; give the path of {FORMATS}.")
    image = optional("PIL.Image", folder)
    pictures: list[np.ndarray] = []
    for file in files:
        with _whole(file), image.open(file) as picture:
            pixels = _pixels(picture)
        if pictures and pixels.shape != pictures[0].shape:
            raise ValueError(
                f"{file} is of shape {pixels.shape} where {files[0]} is {pictures[0].shape}; "
                "bring all images to one size and one kind of colour."
            )
        pictures.append(pixels)
    parents = [file.parent.relative_to(folder) for file in files]
    labelled = all(len(parent.parts) == 1 for parent in parents)
    y = np.array([str(parent) for parent in parents]) if labelled else None
    return Samples(np.stack(pictures), y)


def _pixels(picture: Any) -> np.ndarray:
    """Grey levels (height, width), of 8 bits or of what is more, or colours (height, width, 3)."""
    if picture.mode.startswith("I"):  # integers, which Pillow would cut off at 255
        return np.asarray(picture)
    if picture.mode == "P":
        picture = picture.convert("RGBA")  # what a palette has transparent, Pillow asks to be here
    return np.asarray(picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"))


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn the dozen ways in which reading a broken file can fail into one sentence."""
    try:
        yield
    except (FileNotFoundError, PermissionError, ImportError):
        raise
    except Exception:
        raise ValueError(
            f"{path} cannot be read: it is damaged, cut short, or not the kind of file (plain "
            "numbers, no Python objects) that its name says; make or download it again."
        ) from None


def _is_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True


def _checked(found: Samples, where: str) -> Samples:
    """The samples, once their shapes and types are sure; which of them are images is said."""
    x = found.x
    if x.dtype.kind not in "buif":
        raise ValueError(
            f"The samples in {where} are of type {x.dtype}; expected real numbers: "
            "convert them with astype."
        )
    if x.ndim not in (2, 3, 4) or (x.ndim == 4 and x.shape[3] > 4):
        raise ValueError(
            f"The samples in {where} have shape {x.shape}; expected (n, features), "
            "(n, height, width) or (n, height, width, colours): reshape them."
        )
    if len(x) < 10:
        raise ValueError(
            f"{where} holds too few samples to split ({len(x)}); "
            "give at least 10, better thousands."
        )
    if 0 in x.shape:
        raise ValueError(f"The samples in {where} have shape {x.shape}: there is nothing in them.")
    y = None if found.y is None else checked_labels(found.y, len(x), where)
    return replace(found, y=y, image=x.shape[1:] if x.ndim > 2 else None)


def checked_labels(y: np.ndarray, n: int, where: str) -> np.ndarray:
    """Labels y (n,) as int64 or as words; `ValueError` for others, `where` says whose they are.

    Chapter 1.
    """
    if y.shape != (n,):
        raise ValueError(
            f"The labels of {where} have shape {y.shape} where its {n} samples ask for ({n},); "
            "give one label for each."
        )
    if y.dtype.kind in "US":
        return y.astype(str)
    if y.dtype.kind not in "bui" or (y.dtype.kind == "u" and y.max() > np.iinfo(np.int64).max):
        raise ValueError(
            f"The labels of {where} are of type {y.dtype}; expected whole numbers below 2^63 "
            "or words: convert them with y.astype(int)."
        )
    return y.astype(np.int64)
