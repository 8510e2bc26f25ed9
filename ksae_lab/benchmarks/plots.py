"""A picture for each benchmark: the question on its axes, a line or a point for each way."""

from collections.abc import Callable, Sequence
from typing import Any

from ksae_lab.benchmarks import quality, ways

Row = dict[str, Any]

# Okabe and Ito's hues, and a mark for those who see none.
LOOKS = {
    ways.PRODUCT: ("#808080", "x"),
    ways.PLAIN: ("#0072B2", "s"),
    ways.ENGINE: ("#D55E00", "o"),
    ways.SCREENED: ("#E69F00", "D"),
    ways.DENSE: ("#56B4E9", "^"),
    ways.AUTOCAST: ("#CC79A7", "v"),
    ways.BY_HAND: ("#009E73", "P"),
}
GREY = "#808080"
AXES = {
    "n": "units n",
    "k": "active units k",
    "d": "features d",
    "batch": "images in a step",
    "images": "images in an epoch",
}


def draw(name: str, rows: Sequence[Row]) -> Any:
    """The figure of a benchmark's rows, in the book's style.

    Raises `ImportError` where matplotlib is missing.

    Chapter 17.
    """
    import matplotlib.pyplot as plt

    from ksae_lab.book import figures

    with plt.rc_context():
        figures.use_style()
        fig = PLOTS[name](figures, rows)
        for ax in fig.axes:
            ax.minorticks_off()
    return fig


def speed(figures: Any, rows: Sequence[Row]) -> Any:
    """Time of a step against n, for each way, in the encoder's product of that size.

    Chapter 17.
    """
    fig, ax = figures.canvas(5.0)
    for way in _ways(rows):
        own = [row for row in rows if row["way"] == way]
        _line(ax, way, [row["n"] for row in own], [row["ratio_to_product"] for row in own])
    ax.set(title="Time of one step", xlabel=AXES["n"], ylabel="encoder's products")
    _logarithmic(ax, sorted({row["n"] for row in rows}))
    figures.name_lines(fig)
    return fig


def scale(figures: Any, rows: Sequence[Row]) -> Any:
    """Time against each size that varies; the exponents stand in the panels' titles.

    Chapter 17.
    """
    varied = list(dict.fromkeys(row["varies"] for row in rows))
    fig, axes = figures.canvas(2.6 * len(varied) + 0.7, len(varied), squeeze=False)
    for i, (name, ax) in enumerate(zip(varied, axes.flat, strict=True)):
        panel = [row for row in rows if row["varies"] == name]
        exponents = []
        for way in _ways(panel):
            own = [row for row in panel if row["way"] == way and row["median_ms"]]
            # One label a way is enough for the whole figure.
            _line(ax, way, [r[name] for r in own], [r["median_ms"] for r in own], label=not i)
            exponents += [
                f"{way} {r['exponent']:.2f}" for r in panel if r["way"] == way and "exponent" in r
            ]
        ax.set(xlabel=AXES[name], ylabel="milliseconds")
        ax.set_title(f"exponents: {', '.join(exponents)}", fontsize=9)
        _logarithmic(ax, sorted({row[name] for row in panel if row[name]}))
    figures.name_lines(fig)
    return fig


def errors(figures: Any, rows: Sequence[Row]) -> Any:
    """By how many percent the engine's error is above the plain one's, with intervals over seeds.

    Chapter 17.
    """
    fig, ax = figures.canvas(3.2)
    told = [row for row in rows if row["way"] == quality.DIFFERENCE]
    for part, name, way, aside in (
        ("train", "error of training", ways.PLAIN, -0.1),
        ("test", "error of unseen images", ways.ENGINE, 0.1),
    ):
        colour, mark = LOOKS[way]
        middle = [row[f"{part}_percent"] for row in told]
        half = [row[f"{part}_high"] - row[f"{part}_percent"] for row in told]
        at = [i + aside for i in range(len(told))]
        ax.errorbar(at, middle, half, fmt=mark, color=colour, capsize=4, label=name)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_xticks(range(len(told)), [f"n = {row['n']:,}" for row in told])
    ax.set(title="The engine's error above the plain one's", ylabel="percent")
    ax.set_xlim(-0.5, len(told) - 0.5)
    figures.name_lines(fig)
    return fig


def memory(figures: Any, rows: Sequence[Row]) -> Any:
    """Bytes that a step needs for itself, against n, beside batch · n and batch · k numbers.

    Chapter 17.
    """
    fig, ax = figures.canvas(4.4)
    measured = [row for row in rows if row["n"]]
    for way in _ways(measured):
        own = [row for row in measured if row["way"] == way]
        _line(ax, way, [row["n"] for row in own], [row["working_bytes"] / 1e6 for row in own])
    sizes = sorted({row["n"] for row in measured})
    for key, name in (
        ("batch_n_bytes", "batch × n numbers"),
        ("batch_k_bytes", "batch × k numbers"),
    ):
        one = {row["n"]: row[key] / 1e6 for row in measured}
        style = ":" if key == "batch_n_bytes" else "--"
        ax.plot(sizes, [one[n] for n in sizes], style, color=GREY, linewidth=1, label=name)
    ax.set(title="Memory of one step", xlabel=AXES["n"], ylabel="megabytes")
    _logarithmic(ax, sizes)
    figures.name_lines(fig)
    return fig


def convergence(figures: Any, rows: Sequence[Row]) -> Any:
    """Validation error against seconds of training, a panel for each n and a line for each seed.

    Chapter 17.
    """
    sizes = sorted({row["n"] for row in rows})
    fig, axes = figures.canvas(3.0 * len(sizes) + 0.8, len(sizes), squeeze=False)
    named = set()
    for n, ax in zip(sizes, axes.flat, strict=True):
        for row in (row for row in rows if row["n"] == n):
            seconds, values = zip(*row["curve"][1:], strict=True)
            _line(ax, row["way"], seconds, values, label=row["way"] not in named)
            named.add(row["way"])
        ax.set(title=f"n = {n:,}", xlabel="seconds of training", ylabel="validation error")
    figures.name_lines(fig)
    return fig


def inference(figures: Any, rows: Sequence[Row]) -> Any:
    """Time of each way of making codes, a panel for each batch and a mark for each n.

    Chapter 17.
    """
    names, panels, sizes = ([*dict.fromkeys(row[key] for row in rows)] for key in _BY)
    fig, axes = figures.canvas((1.0 + 0.3 * len(names)) * len(panels), len(panels), squeeze=False)
    for i, (batch, ax) in enumerate(zip(panels, axes.flat, strict=True)):
        for n, (colour, mark) in zip(sizes, list(LOOKS.values())[1:], strict=False):
            own = [row for row in rows if (row["batch"], row["n"]) == (batch, n)]
            at = [names.index(row["way"]) for row in own]
            label = None if i else f"n = {n:,}"
            ax.plot([row["median_ms"] for row in own], at, mark, color=colour, label=label)
        ax.set_yticks(range(len(names)), names, fontsize=9)
        ax.invert_yaxis()
        ax.set(title=f"Codes of {batch:,} at a time", xlabel="milliseconds", xscale="log")
    figures.name_lines(fig)
    return fig


_BY = ("way", "batch", "n")

PLOTS: dict[str, Callable[[Any, Sequence[Row]], Any]] = {
    "speed": speed,
    "scale": scale,
    "quality": errors,
    "memory": memory,
    "convergence": convergence,
    "inference": inference,
}


def _ways(rows: Sequence[Row]) -> list[str]:
    there = {row["way"] for row in rows}
    return [way for way in LOOKS if way in there]


def _line(ax: Any, way: str, x: Sequence[float], y: Sequence[float], label: bool = True) -> None:
    colour, mark = LOOKS[way]
    ax.plot(x, y, color=colour, marker=mark, label=way if label else None)


def _logarithmic(ax: Any, sizes: Sequence[int]) -> None:
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45, fontsize=9)
