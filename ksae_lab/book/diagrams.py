"""Pictures of a network and of what it does: its parts, its codes, its training, one step of it."""

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator

from ksae_lab.book.figures import COLOURS, DIVERGING, GREY, canvas, name_lines
from ksae_lab.evaluation.metrics import selection_counts
from ksae_lab.models.base import Coder
from ksae_lab.nn.layers import Stage
from ksae_lab.training.loop import History

ACCENT = COLOURS["k-sparse"]


class HasStages(Protocol):
    """Any model that says what it is made of: input, layers, output.

    Chapter 5.
    """

    @property
    def stages(self) -> Sequence[Stage]:
        """The sizes, each a scalar, from the input to the output, and what makes each of them."""


def architecture(model: HasStages) -> Figure:
    """The stages of a model from left to right, each a column of (at most 100) units.

    Under each stands its size, its activation and, where there is one, its k;
    a share of k / n of the units of a k-sparse stage is filled.

    Chapter 5.
    """
    stages = list(model.stages)
    largest = max(stage.size for stage in stages)
    fig, ax = canvas(3.0)
    ax.set_axis_off()
    heights = [0.25 + 0.75 * np.sqrt(stage.size / largest) for stage in stages]
    for i, (left, right) in enumerate(pairwise(heights)):
        corners = [(i + 0.14, left / 2), (i + 0.86, right / 2)]
        corners += [(x, -y) for x, y in reversed(corners)]
        ax.add_patch(Polygon(corners, color=GREY, alpha=0.15, linewidth=0))
    for i, (stage, height) in enumerate(zip(stages, heights, strict=True)):
        cells = min(stage.size, 100 if stage.k is not None else 28)
        filled = 0 if stage.k is None else round(stage.k / stage.size * cells)
        # The active ones are spread over the column: a real selection has no order either.
        active = np.zeros(cells, dtype=bool)
        if filled:
            active[((np.arange(filled) + 0.5) / filled * cells).astype(int)] = True
        step = height / cells
        for j in range(cells):
            colour, alpha = (ACCENT, 1.0) if active[j] else (GREY, 0.35)
            corner = (i - 0.12, height / 2 - (j + 0.9) * step)
            box = Rectangle(corner, 0.24, 0.8 * step, color=colour, alpha=alpha, linewidth=0)
            ax.add_patch(box)
        ax.text(i, -0.54, f"{stage.name}\n{stage.size}", ha="center", va="top")
        if stage.k is not None:
            ax.text(i, 0.56, f"{stage.k} of {stage.size}\nspeak", ha="center", color=ACCENT)
    ax.set(xlim=(-0.4, len(stages) - 0.6), ylim=(-0.85, 0.85))
    return fig


def code_pattern(z: np.ndarray) -> Figure:
    """Codes z (samples, n) as a picture: a row is an image, a column a unit.

    Zero is the page; all codes share one range.

    Chapter 5.
    """
    fig, ax = canvas(3.0)
    limit = np.abs(z).max() or 1.0
    look: dict[str, Any] = {"cmap": DIVERGING, "vmin": -limit, "vmax": limit, "aspect": "auto"}
    ax.imshow(z, interpolation="none", **look)
    ax.set(xlabel="unit", ylabel="image")
    for spine in ax.spines.values():
        spine.set_visible(True)
    return fig


def selection_histogram(z: np.ndarray) -> Figure:
    """How evenly the units of codes z (samples, n) are used: how often each is active.

    Units are sorted, the busiest first; the dotted line is an equal share for all.

    Chapter 8.
    """
    share = np.sort(selection_counts(z))[::-1] / len(z)
    fig, ax = canvas(2.8)
    units = np.arange(1, len(share) + 1)
    ax.fill_between(units, share, step="mid", color=ACCENT, alpha=0.7, linewidth=0)
    ax.axhline(share.mean(), color=GREY, linestyle=":")
    ax.text(len(share), share.mean(), "equal share", ha="right", va="bottom")
    ax.set(xlabel="units, busiest first", ylabel="share of images", xlim=(1, None), ylim=(0, None))
    return fig


def training_progress(history: History) -> Figure:
    """What happened, epoch by epoch, on one time axis: the losses, and below whatever was noted.

    Each name in `history.logs` has a panel of its own, such as k or the number of dead units.

    Chapter 5.
    """
    noted = {name: values for name, values in history.logs.items() if values}
    heights = [2.2] + [1] * len(noted)
    fig, axes = canvas(
        2.6 + 1.1 * len(noted),
        len(heights),
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    epochs = np.arange(1, len(history.training) + 1)
    top, *panels = axes[:, 0]
    top.plot(epochs, history.training, color=GREY, label="training")
    if history.validation:
        top.plot(epochs, history.validation, color=ACCENT, label="validation")
    top.set(ylabel="squared error", yscale="log")
    top.yaxis.set_major_formatter("{x:g}")
    top.yaxis.set_minor_formatter("{x:g}")
    top.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    for ax, (name, values) in zip(panels, noted.items(), strict=True):
        ax.step(epochs, values, where="mid", color=ACCENT)
        ax.set(ylabel=name.replace("learning_rate", "rate"), ylim=(0, None))
        ax.yaxis.set_major_locator(MaxNLocator(2))
    axes[-1, 0].set(xlabel="epoch")
    fig.align_ylabels()
    name_lines(fig)
    return fig


def one_step(model: Coder, x: np.ndarray) -> Figure:
    """The mathematics of one training step, measured on x (batch, d), in four panels, top down.

    How the pre-activations of the first image are selected; what the loss is made of;
    how long the gradient of each parameter is, from the image error and from the other terms;
    which units are active for which image.

    Chapter 8.
    """
    bare, extra = copy.copy(model), getattr(model, "auxiliary_losses", [])
    setattr(bare, "auxiliary_losses", [])  # noqa: B010 # not every model has such
    error, plain = bare.loss_and_gradients(x)
    _, gradients, seen = model.forward_backward(x)
    losses = {"error": error} | {type(t).__name__: t(seen)[0] for t in extra}

    fig, (selection, loss, norms, pattern) = canvas(9.0, 4)

    order = np.argsort(-seen.h[0], kind="stable")
    chosen = seen.z[0][order] != 0
    units = np.arange(len(order))
    selection.vlines(units, 0, seen.h[0][order], color=GREY, alpha=0.5, linewidth=1)
    selection.vlines(units[chosen], 0, seen.h[0][order][chosen], color=ACCENT, linewidth=1.5)
    selection.set(title="one image: $h$, sorted", xlabel="rank of the unit")

    loss.barh(list(losses), list(losses.values()), color=ACCENT, height=0.5)
    loss.set(title="what the loss is made of", xlim=(0, None))
    loss.xaxis.set_major_locator(MaxNLocator(4))
    loss.invert_yaxis()

    names, rows = list(gradients), np.arange(len(gradients))
    by_error = [np.linalg.norm(plain[name]) for name in names]
    by_terms = [np.linalg.norm(gradients[name] - plain[name]) for name in names]
    # Points, not bars: a logarithmic axis has no zero for a bar to start from.
    norms.plot(by_error, rows, "o", color=ACCENT)
    norms.plot(by_terms, rows, "D", color=GREY)
    norms.set(title="length of the gradients", xscale="log")
    norms.set_yticks(rows, names)
    norms.set_ylim(len(names) - 0.5, -0.5)

    pattern.imshow(seen.z != 0, cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto")
    pattern.set(title="who speaks for whom", xlabel="unit", ylabel="image")
    return fig
