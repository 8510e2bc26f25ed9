"""Where an export is put: nothing of anybody else's is overwritten, and nothing is half written."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from ksae_lab.data.paths import user_path
from ksae_lab.experiments import archive


def free_place(path: str | Path, is_ours: Callable[[Path], bool], ending: str = "") -> Path:
    """The path, once it is sure that an export may be put there; `~` is the home folder.

    `is_ours` tells an earlier export, which may be overwritten, from anything else.

    Raises `ValueError` for a path without the `ending`, and for a place that is taken.

    Chapter 6.
    """
    path = user_path(path)
    if not path.name or (ending and path.suffix != ending):
        raise ValueError(f"{path} has no name{f' that ends in {ending}' if ending else ''}.")
    if path.exists() and not is_ours(path):
        raise ValueError(f"{path} holds something else; remove it, or choose another place.")
    return path


def put_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write files, by their names, in place of all that a folder holds, or leave that as it is.

    The last file is the one without which the folder cannot be read: it comes after all others, so
    that a process that is killed leaves no mixture.

    Raises `OSError` if the disk refuses.

    Chapter 6.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent)
    except OSError as error:
        raise OSError(
            f"{folder} cannot be written ({error.strerror}); make room or choose another place."
        ) from None
    with made as part:
        for name, content in files.items():
            archive.put(Path(part, name), content)
        for earlier in folder.iterdir():
            earlier.unlink()
        for name in files:
            Path(part, name).replace(folder / name)
