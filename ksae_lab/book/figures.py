"""One style for every picture of the book.

Figures are transparent with mid-grey axes, so that they read on a light and on a dark page.
They are as narrow as a phone and as tall as they need to be.
The same thing has the same colour everywhere (the hues are Okabe and Ito's).
Every function returns the figure and leaves it closed: a notebook shows it once, as a result.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from ksae_lab.evaluation.statistics import interval_half_width
from ksae_lab.training.loop import History

WIDTH = 4.0  # inches: 384 pixels on a page, a little more than a phone's column

GREY = "#808080"
COLOURS = {
    "k-sparse": "#D55E00",
    "SparseDream": "#CC79A7",
    "PCA": "#0072B2",
    "PCA, own k": "#56B4E9",
    "PCA, own k by value": GREY,
    "dictionary + OMP": "#009E73",
    "encoder frozen": "#E69F00",
    "published": GREY,
}
MARKERS = {
    "k-sparse": "o",
    "SparseDream": "D",
    "PCA": "s",
    "PCA, own k": "P",
    "PCA, own k by value": "v",
    "dictionary + OMP": "^",
    "encoder frozen": "<",
    "published": "x",
}


def _zero_is_the_page() -> ListedColormap:
    """Blue below zero, vermilion above, and the page itself at zero, whatever its colour is."""
    level = np.linspace(-1, 1, 255)
    rgba = np.where(level[:, None] < 0, to_rgba(COLOURS["PCA"]), to_rgba(COLOURS["k-sparse"]))
    rgba[:, 3] = np.abs(level) ** 0.6  # small weights would be too pale to see on a linear scale
    return ListedColormap(rgba, "zero is the page")


DIVERGING = _zero_is_the_page()


def use_style() -> None:
    """Make the book's style matplotlib's default, for this session; call it once, on top.

    Chapter 1.
    """
    plt.rcParams.update(
        {
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "figure.dpi": 160,
            "figure.figsize": (WIDTH, 2.8),
            "figure.constrained_layout.use": True,
            "font.size": 13,
            "axes.labelsize": 13,
            "axes.titlesize": 13,
            "xtick.labelsize": 12,
            "ytick.labelsize": 12,
            "text.color": GREY,
            "axes.labelcolor": GREY,
            "axes.edgecolor": GREY,
            "xtick.color": GREY,
            "ytick.color": GREY,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=[c for c in COLOURS.values() if c != GREY]),
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
        }
    )
    try:
        notebook = get_ipython()  # type: ignore[name-defined]
    except NameError:
        return
    # Notebooks crop figures to their ink by default; then no two have letters of the same size.
    notebook.run_line_magic("config", "InlineBackend.print_figure_kwargs = {'bbox_inches': None}")


@overload
def canvas(height: float) -> tuple[Figure, Axes]: ...


@overload
def canvas(
    height: float, rows: int, columns: int = 1, **options: Any
) -> tuple[Figure, np.ndarray]: ...


def canvas(
    height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Axes | np.ndarray]:
    """A figure of the book's width and `height` inches, and its empty axes (rows, columns).

    `options` go to `matplotlib.pyplot.subplots`; a single axes comes alone, not in an array.

    Chapter 1.
    """
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, height), layout="constrained", **options
    )
    plt.close(fig)
    return fig, axes


def tiles(images: np.ndarray, columns: int = 10, *, signed: bool = False) -> Figure:
    """Images of shape (count, d), d a square number, side by side in rows of `columns`.

    Digits are grey from 0 (black) to 1 (white).
    `signed=True` is for weights: zero is the page, and all share one range around it.

    Raises `ValueError` if d is not a square.

    Chapter 1.
    """
    rows = -(-len(images) // columns)
    fig, axes = canvas(rows * WIDTH / columns, rows, columns, squeeze=False)
    _close_up(fig)
    show = _shower(images, signed)
    for ax, image in zip(axes.flat, images, strict=False):
        show(ax, image)
    return fig


def reconstructions(x: np.ndarray, x_hat: Mapping[str, np.ndarray]) -> Figure:
    """The images x (count, d) in the first row, and below it each of `x_hat` (count, d) by name.

    All are grey from 0 to 1, clipped there.

    Chapter 1.
    """
    named_rows = {"original": x, **x_hat}
    height = len(named_rows) * (WIDTH / len(x) + 0.3)
    fig, axes = canvas(height, len(named_rows), len(x), squeeze=False)
    _close_up(fig)
    show = _shower(x, signed=False)
    for row, (name, images) in zip(axes, named_rows.items(), strict=True):
        row[0].set_title(name, loc="left", fontsize=12)
        for ax, image in zip(row, images, strict=True):
            show(ax, image)
    return fig


def build_up(start: np.ndarray, parts: np.ndarray) -> Figure:
    """How an image grows: the signed `parts` (count, d), below them `start` (d,) plus those so far.

    Chapter 1.
    """
    sums = start + np.cumsum(parts, axis=0)
    fig, axes = canvas(2 * WIDTH / len(parts), 2, len(parts), squeeze=False)
    _close_up(fig)
    for row, images, signed in zip(axes, (parts, sums), (True, False), strict=True):
        show = _shower(images, signed)
        for ax, image in zip(row, images, strict=True):
            show(ax, image)
    return fig


def film(frames: Sequence[np.ndarray], names: Sequence[str], columns: int) -> Figure:
    """Frames of equal size, in rows of `columns`: each the weights (count, d) of one moment.

    All frames share one range around zero, which is the page; count and d are square numbers.
    The directive `{film}` of the website cuts the figure into its frames again, and plays them.

    Chapter 11.
    """
    rows, name_height = -(-len(frames) // columns), 0.25  # inches
    height = rows * (WIDTH / columns + name_height)
    fig = plt.figure(figsize=(WIDTH, height), layout="none")
    plt.close(fig)
    mosaics = np.stack([_mosaic(frame).ravel() for frame in frames])
    show = _shower(mosaics, signed=True)
    for i, (mosaic, name) in enumerate(zip(mosaics, names, strict=True)):
        row, column = divmod(i, columns)
        width, gap = 1 / columns, 0.03 / columns
        left, bottom = column * width + gap, 1 - (row + 1) / rows
        ax = fig.add_axes((left, bottom, width - 2 * gap, WIDTH * width / height))
        ax.set_axis_off()
        show(ax, mosaic)
        ax.set_title(name, fontsize=11, pad=1)
    return fig


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Square images (count, d), count a square number, as one picture without gaps."""
    count, side = (round(np.sqrt(size)) for size in images.shape)
    tiles = images.reshape(count, count, side, side)
    return tiles.transpose(0, 2, 1, 3).reshape(count * side, count * side)


def learning_curve(history: History) -> Figure:
    """Training and, where there is one, validation loss against the epoch.

    Lab 1.
    """
    fig, ax = canvas(2.8)
    curves = {"training": (history.training, GREY)}
    if history.validation:
        curves["validation"] = (history.validation, COLOURS["k-sparse"])
    for name, (losses, colour) in curves.items():
        ax.plot(np.arange(1, len(losses) + 1), losses, color=colour, label=name)
    ax.set(xlabel="epoch", ylabel="mean squared error", ylim=(0, None))
    name_lines(fig)
    return fig


def error_against_k(
    curves: Mapping[str, Mapping[int, np.ndarray | float]],
    *,
    level: tuple[str, float] | None = None,
) -> Figure:
    """Mean squared error against the number k of active units, one line a method.

    `curves` maps a method's name to {k: mse}, k at least 1; if each mse is an array (seeds,),
    the line is their mean and the bars are 95 % t-intervals.
    `level`, a pair (name, mse), is drawn as a thin line across.

    Chapter 1.
    """
    fig, ax = canvas(3.6)
    if level is not None:
        name, value = level
        ax.axhline(value, color=GREY, linewidth=0.8, linestyle=":")
        ax.text(1, value, name, transform=ax.get_yaxis_transform(), va="bottom", ha="right")
    for name, by_k in curves.items():
        look: dict[str, Any] = {"color": COLOURS.get(name, GREY), "marker": MARKERS.get(name, ".")}
        # Published figures are points from elsewhere; a line would claim what lies between.
        line = "none" if name == "published" else "-"
        mean = [np.mean(errors) for errors in by_k.values()]
        seeds = [np.asarray(errors) for errors in by_k.values() if np.ndim(errors)]
        bars = [interval_half_width(errors) for errors in seeds]
        ax.errorbar(list(by_k), mean, bars or None, capsize=3, label=name, linestyle=line, **look)
    ax.set(xlabel="k, numbers in the code", ylabel="mean squared error", xscale="log")
    ticks = sorted(set().union(*curves.values()))
    ax.set_xticks(ticks, [str(k) for k in ticks])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    name_lines(fig)
    return fig


def name_lines(fig: Figure) -> None:
    """Name the labelled lines of `fig` above its axes, each in the line's own colour.

    Beside the lines there is no room on a phone, and over the data nothing may lie.

    Chapter 1.
    """
    fig.legend(
        loc="outside upper left",
        frameon=False,
        labelcolor="linecolor",
        handlelength=1.4,
        borderaxespad=0,
        labelspacing=0.2,
    )


def _close_up(fig: Figure) -> None:
    """Set images side by side, without axes and almost without gaps."""
    fig.set_layout_engine("constrained", w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    for ax in fig.axes:
        ax.set_axis_off()


def _shower(images: np.ndarray, signed: bool) -> Callable[[Axes, np.ndarray], object]:
    """A function that draws one flat image on an axes, in a range shared by all `images`."""
    side = round(np.sqrt(images.shape[1]))
    if side * side != images.shape[1]:
        raise ValueError(f"{images.shape[1]} pixels make no square image; expected 784 or so.")
    if signed:
        limit = np.abs(images).max()
        look: dict[str, Any] = {"vmin": -limit, "vmax": limit, "cmap": DIVERGING}
    else:
        look = {"vmin": 0, "vmax": 1, "cmap": "gray"}
    return lambda ax, image: ax.imshow(image.reshape(side, side), **look)
