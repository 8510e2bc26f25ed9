"""Samples that stay where they are until somebody asks for some of them."""

from pathlib import Path
from typing import Any

import numpy as np

from ksae_lab.data.scaling import Scaling
from ksae_lab.nn.inputs import LazyRows


class OnDisk:
    """The array (n, …) of a `.npy` file, read where it is indexed; shape and dtype are known.

    Rows are read one by one and not mapped: with each page that is touched a system maps its
    neighbours, and all of them count as our memory.

    Raises `ValueError` for a file that holds no such array, or another number of bytes than it
    should.

    Chapter 1.
    """

    def __init__(self, path: Path):
        self.path = path
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read = np.lib.format.read_array_header_2_0
            self.shape, self.by_columns, self.dtype = read(file)
            self.start = file.tell()
        expected = self.start + self.dtype.itemsize * int(np.prod(self.shape, dtype=object))
        if self.dtype.hasobject or path.stat().st_size != expected:
            raise ValueError(f"{path} does not hold the array that its first bytes announce.")
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: Any) -> np.ndarray:
        places = np.arange(len(self))[index]
        if self.by_columns:  # no row lies together
            return np.array(np.load(self.path, mmap_mode="r")[places])
        rows = np.empty((len(places), *self.shape[1:]), self.dtype)
        size = rows[0].nbytes if len(rows) else 0
        with open(self.path, "rb", buffering=0) as file:
            for row, place in zip(rows, places.tolist(), strict=True):
                file.seek(self.start + place * size)
                file.readinto(row.reshape(-1).view(np.uint8))
        return rows


Source = np.ndarray | OnDisk


class Rows(LazyRows):
    """Some rows of a source (n, …), each one sample: (rows, d) float32, scaled as they are read.

    `index` holds their places, integers (rows,). Indexing, by a slice or by integers, gives an
    array.

    Chapter 1.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, source: Source, index: np.ndarray, scaling: Scaling | None = None):
        self.source = source
        self.index = index
        self.scaling = scaling
        self.shape = (len(index), int(np.prod(source.shape[1:])))

    def __getitem__(self, wanted: Any) -> np.ndarray:
        places = self.index[wanted]
        if places.ndim != 1:
            raise IndexError(f"{wanted!r} is one place; give a slice or a list of them.")
        # In the order of the file, which a disk likes; then back.
        order = np.argsort(places, kind="stable")
        rows = np.empty((len(places), self.shape[1]), np.float32)
        found = self.source[places[order]].reshape(rows.shape)
        with np.errstate(over="ignore"):  # beyond float32 lies infinity, which is looked for
            rows[order] = found if self.scaling is None else self.scaling.apply(found)
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def joined(self, other: "Rows") -> "Rows":
        """These rows (rows, d), then the others of the same source."""
        return Rows(self.source, np.concatenate([self.index, other.index]), self.scaling)
