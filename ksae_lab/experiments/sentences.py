"""What is said to somebody fits on one line."""


def one_line(text: object) -> str:
    """The text, or what an error says, with its line breaks and runs of spaces as one space each.

    Lab 2.
    """
    return " ".join(str(text).split())
