"""What a chapter or a lab needs around its experiments."""

from matplotlib.figure import Figure


def glue(name: str, value: str | Figure) -> None:
    """Store a formatted number or a figure, so that a page can show it where it speaks of it.

    Prose quotes a number as `{glue:text}`, so none that was measured is ever typed.
    Outside the book (on Colab, say) there is no page to show it on: nothing happens then.

    Chapter 1.
    """
    try:
        from myst_nb import glue as store
    except ImportError:
        return
    store(name, value, display=False)
