"""Paths as their users write them, and what lies there."""

import errno
from pathlib import Path


def user_path(given: str | Path, what: str = "path") -> Path:
    """The path that somebody gave, with `~` for a home; `what` says what is asked for.

    Raises `ValueError` for an empty one, for a user who has no home here, and for a name that no
    file can have.

    Chapter 1.
    """
    if not str(given):
        raise ValueError(f"The {what} is empty; give its name.")
    try:
        path = Path(given).expanduser()
        path.stat()
    except RuntimeError:
        raise ValueError(
            f"{given} begins with a user who has no home here; give the whole {what}."
        ) from None
    except ValueError as error:  # a null byte
        raise _no_path(given, error, what) from None
    except OSError as error:  # whatever else is wrong with it shows when it is used
        if error.errno == errno.ENAMETOOLONG:
            raise _no_path(given, error.strerror, what) from None
    return path


def content(path: Path) -> bytes:
    """The bytes of a plain file: nobody waits for a FIFO, or for the end of a device.

    Raises `OSError` for anything else, and what reading raises.

    Chapter 1.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "no plain file", str(path))
    return path.read_bytes()  # which says what it finds of a folder


def _no_path(given: str | Path, reason: object, what: str) -> ValueError:
    return ValueError(f"{str(given)!r} is no path ({reason}); give another {what}.")
