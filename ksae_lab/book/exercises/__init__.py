"""Instant feedback on the book's exercises: `check("2.2", my_answer)` says right, or what to mend.

Each checker of the files beside this one takes an answer and returns None if it is right, else a
hint. What an answer should compute is computed there by another route than the chapter's solution,
and an answer gets copies, so that it cannot change what it is compared with.
"""

from ksae_lab.book.exercises import part_1, part_2, part_3, part_4, part_5

PARTS = (part_1, part_2, part_3, part_4, part_5)
CHECKERS = {number: check for part in PARTS for number, check in part.CHECKERS.items()}


def check(exercise: str, answer: object) -> None:
    """Print whether `answer` solves the exercise of that number, and a hint if it does not.

    A wrong answer is no error, and neither is one that fails: the hint says what happened.

    Raises `ValueError` for a number no exercise has.

    Chapter 1.
    """
    if exercise not in CHECKERS:
        raise ValueError(f"There is no exercise {exercise!r}; choose from {', '.join(CHECKERS)}.")
    try:
        hint = CHECKERS[exercise](answer)
    except Exception as error:  # the reader's own code may fail in any way
        hint = f"your answer stopped with {type(error).__name__}: {error}"
    print(f"Exercise {exercise}: " + ("right." if hint is None else f"not yet: {hint}"))
