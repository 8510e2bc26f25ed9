"""What a chapter or a lab needs around its experiments."""


def glue(name: str, value: str) -> None:
    """Store a measured number, already formatted, so that the prose can quote it: `{glue:text}`.

    Outside the book (on Colab, say) there is no page to quote it on: nothing happens then.

    Chapter 1.
    """
    try:
        from myst_nb import glue as store
    except ImportError:
        return
    store(name, value, display=False)
