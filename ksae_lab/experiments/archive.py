"""Arrays as files: the numbers, and beside them a card that says what they are.

`model.json`, the card, names the file that holds the arrays, `model-1f0c….safetensors`, and its
SHA-256; the card's last line is a SHA-256 of the card itself. Reading runs no code from either.
Other arrays get another file, and the card changes in one move after it: a process that is killed
at any moment leaves the earlier pair or the new one, and no mixture.
One process at a time may write to a path.
"""

import hashlib
import io
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.numpy

import ksae_lab
from ksae_lab.data.paths import content, user_path
from ksae_lab.data.rows import Rows
from ksae_lab.experiments.sentences import one_line

FORMAT = "ksae-lab"
VERSION = 2
READABLE = (1, 2)  # what changed in 2 is what cards say of models

Card = dict[str, Any]  # what JSON holds


def write(path: str | Path, arrays: dict[str, np.ndarray], card: Card) -> None:
    """Write arrays of any shapes and a card about them, both or neither; `path` ends in .json.

    The card also gets "format", "version", "libraries", "weights" and, last, "checksum".

    Raises `ValueError`, with nothing written, for another ending, for arrays that are no plain
    numbers, and for a card that JSON cannot hold; `OSError` if the disk refuses.

    Chapter 6.
    """
    path = _card_path(path)
    try:
        # In C order: safetensors takes the memory as it lies, whatever the strides.
        weights = safetensors.numpy.save({k: np.array(a, order="C") for k, a in arrays.items()})
    except safetensors.SafetensorError as error:
        raise ValueError(f"The arrays for {path} are no plain numbers: {error}.") from None
    digest = hashlib.sha256(weights).hexdigest()
    weights_path = path.with_name(f"{path.stem}-{digest[:16]}.safetensors")
    own = {
        "format": FORMAT,
        "version": VERSION,
        "libraries": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "ksae_lab": ksae_lab.__version__,
            "safetensors": safetensors.__version__,
        },
        "weights": {"file": weights_path.name, "sha256": digest},
    }
    try:
        rendered = _rendered(own | card | own)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"JSON cannot hold the card for {path}: {error}.") from None
    put(weights_path, weights)
    put(path, rendered)  # from here on the new pair counts
    _sweep(path, keep=weights_path)


def read(path: str | Path) -> tuple[dict[str, np.ndarray], Card]:
    """The arrays, of the shapes they had, and the card; both are checked to the last byte.

    Raises `FileNotFoundError` if one of the two files is missing, and `ValueError` if they are not
    as they were written, or were written by a newer version of this package.

    Chapter 6.
    """
    path = _card_path(path)
    raw = _bytes(path, "give the path of a card, such as model.json")
    try:
        card = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged or no JSON; copy or write it again.") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ValueError(f"{path} is damaged or no card of {FORMAT}; give one that `save` wrote.")
    if card.get("version") not in READABLE:
        raise ValueError(
            f"{path} has format version {card.get('version')!r}, and this package reads "
            f"{' and '.join(map(str, READABLE))}; install a newer ksae_lab."
        )
    if not _is_whole(card, raw):
        raise ValueError(
            f"{path} does not fit its own checksum: it was damaged or edited; "
            "copy or write it again."
        )
    named = _fields(card.get("weights"), {"file": str, "sha256": str}, f"weights in {path}")
    weights_path = path.with_name(Path(named["file"]).name)
    weights = _bytes(weights_path, f"{path.name} needs it, so copy the two together")
    digest = hashlib.sha256(weights).hexdigest()
    if digest != named["sha256"]:
        raise ValueError(
            f"{weights_path} does not fit {path.name}: its SHA-256 is {digest}, "
            f"expected {named['sha256']}; copy or write both again."
        )
    try:
        return safetensors.numpy.load(weights), card
    except safetensors.SafetensorError as error:
        raise ValueError(f"{weights_path} holds no arrays ({error}); write both again.") from None


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a card of the right checksum, made by hand, into a sentence.

    Raises `ValueError` in place of what a missing or wrong field, or an array of another shape,
    would have raised.

    Chapter 6.
    """
    try:
        yield
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not say what it should ({type(error).__name__}: {one_line(error)}): it "
            "was made by hand or by another version; delete it, or bring the right one back."
        ) from None


def put(path: Path, content: bytes) -> None:
    """Write a whole file in place of the earlier one, or leave that as it is.

    A missing folder is made.

    Raises `OSError` if the disk refuses.

    Chapter 6.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        _settle(path.parent)
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error.strerror}); make room or choose another place."
        ) from None


def put_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays of any shapes by their names, compressed, as `put` does.

    Raises what `put` raises.

    Chapter 8.
    """
    file, named = io.BytesIO(), cast(dict[str, Any], arrays)
    np.savez_compressed(file, **named)
    put(path, file.getvalue())


def remove(path: Path) -> None:
    """Delete what `write` wrote to `path`, the card first, if it is there.

    Chapter 6.
    """
    path.unlink(missing_ok=True)
    _sweep(path, keep=None)


def fingerprint(*arrays: np.ndarray | Rows) -> str:
    """SHA-256, in hexadecimal, of the dtypes, the shapes and all bytes of arrays of any shapes.

    Rows (n, d) that are read as they are needed have that of the array that they stand for.

    Chapter 6.
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        for block in array.blocks() if isinstance(array, Rows) else [array]:
            digest.update(block.tobytes())
    return digest.hexdigest()


def _fields(part: object, types: dict[str, type], where: str) -> Card:
    """A part of a card, once it is sure that it has just these fields, of these types."""
    if not isinstance(part, dict) or part.keys() != types.keys():
        raise ValueError(f"{where} is {part!r}; expected the fields {', '.join(types)}.")
    for key, kind in types.items():
        if type(part[key]) is not kind:
            raise ValueError(f"{key} of {where} is {part[key]!r}; expected {kind.__name__}.")
    return part


def _settle(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: one file's before the next one's."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sweep(path: Path, keep: Path | None) -> None:
    """Delete the arrays of earlier cards at `path`, and what a killed process left of others."""
    ours = re.compile(re.escape(path.stem) + r"-[0-9a-f]{16}\.safetensors(\.part)?")
    for file in list(path.parent.iterdir()):
        if ours.fullmatch(file.name) and file != keep:
            file.unlink(missing_ok=True)


def _rendered(content: Card) -> bytes:
    """The card's text, its last line the checksum of what stands above."""
    text = json.dumps(content, default=_number, allow_nan=False)
    whole = content | {"checksum": hashlib.sha256(text.encode()).hexdigest()}
    text = json.dumps(whole, default=_number, allow_nan=False, ensure_ascii=False, indent=1)
    return text.encode() + b"\n"


def _is_whole(card: Card, raw: bytes) -> bool:
    try:
        return _rendered({k: v for k, v in card.items() if k != "checksum"}) == raw
    except (ValueError, RecursionError):
        return False


def _number(value: object) -> int | float | bool:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is neither text, number, list nor dict")


def _card_path(path: str | Path) -> Path:
    path = user_path(path)
    if path.suffix != ".json":
        raise ValueError(f"{path} does not end in .json; give the path of the card.")
    return path


def _bytes(path: Path, advice: str) -> bytes:
    try:
        return content(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}; {advice}.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {advice}.") from None
