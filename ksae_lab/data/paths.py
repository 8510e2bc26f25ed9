"""Paths as their users write them."""

from pathlib import Path


def user_path(given: str | Path, what: str = "path") -> Path:
    """The path that somebody gave, with `~` for a home; `what` says what is asked for.

    Raises `ValueError` for an empty one, and for a user who has no home here.

    Chapter 1.
    """
    if not str(given):
        raise ValueError(f"The {what} is empty; give its name.")
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{given} begins with a user who has no home here; give the whole {what}."
        ) from None
