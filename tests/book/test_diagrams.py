"""The diagrams show what the model and the history hold, and nothing else."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from ksae_lab.book import diagrams
from ksae_lab.book.figures import GREY
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.network import Network
from ksae_lab.nn.auxiliary_losses import AuxK, DeCov
from ksae_lab.nn.layers import Dense, KSparse
from ksae_lab.training.loop import History

rng = np.random.default_rng(0)


def texts(fig):
    return {text.get_text() for ax in fig.axes for text in ax.texts}


def speaking(fig):
    """How many cells of an architecture are filled."""
    cells = [patch for patch in fig.axes[0].patches if isinstance(patch, Rectangle)]
    return sum(cell.get_alpha() == 1 for cell in cells)


@pytest.mark.parametrize(("n", "k", "filled"), [(100, 10, 10), (50, 50, 50), (1000, 25, 2)])
def test_architecture_fills_the_share_that_speaks(n, k, filled):
    fig = diagrams.architecture(KSparseAutoencoder(784, n, k, rng=rng))
    assert texts(fig) == {"image\n784", f"relu\n{n}", f"{k} of {n}\nspeak"}
    assert speaking(fig) == filled


def test_architecture_shows_every_layer_of_a_network():
    layers = [Dense(9, 6, "tanh", rng=rng), KSparse(6, 8, 2, rng=rng), Dense(8, 9, rng=rng)]
    fig = diagrams.architecture(Network(layers))
    assert texts(fig) == {"input\n9", "tanh\n6", "linear\n8", "linear\n9", "2 of 8\nspeak"}
    assert speaking(fig) == 2


def test_code_pattern_is_the_code():
    z = rng.normal(size=(4, 6))
    (image,) = diagrams.code_pattern(z).axes[0].images
    np.testing.assert_array_equal(image.get_array(), z)
    assert -image.norm.vmin == image.norm.vmax == np.abs(z).max()


def test_selection_histogram_sorts_the_shares():
    z = np.array([[1.0, 0, 2], [0, 0, 3], [0, 0, -1], [5, 0, 0]])
    ax = diagrams.selection_histogram(z).axes[0]
    (area,) = ax.collections
    heights = area.get_paths()[0].vertices[:, 1]
    assert heights.max() == 0.75 and heights.min() == 0
    assert ax.lines[0].get_ydata()[0] == pytest.approx((0.5 + 0 + 0.75) / 3)


def test_training_progress_has_a_panel_for_each_note():
    history = History([3.0, 2, 1], [2.5, 2, 1.5], {"dead": [9, 4, 0], "k": [30, 20, 10]})
    top, dead, k = diagrams.training_progress(history).axes
    assert [line.get_ydata().tolist() for line in top.lines] == [[3, 2, 1], [2.5, 2, 1.5]]
    assert (dead.get_ylabel(), k.get_ylabel()) == ("dead", "k")
    assert dead.lines[0].get_ydata().tolist() == [9, 4, 0]
    assert (dead.lines[0].get_xdata() == [1, 2, 3]).all()
    assert len(diagrams.training_progress(History([1.0])).axes) == 1


class Monitor:
    dead = np.arange(9) < 4


def test_one_step_measures_what_it_shows():
    model = KSparseAutoencoder(7, 9, 3, rng=rng, dtype=np.float64)
    x = rng.normal(size=(5, 7))
    model.auxiliary_losses = [AuxK(Monitor(), 2, weight=1.0), DeCov(0.5)]
    terms = list(model.auxiliary_losses)
    selection, loss, norms, pattern = diagrams.one_step(model, x).axes
    assert model.auxiliary_losses == terms, "the model is as it was"

    total, gradients = model.loss_and_gradients(x)
    shown = [bar.get_width() for bar in loss.patches]
    assert sum(shown) == pytest.approx(total) and shown[0] == pytest.approx(model.error(x))
    by_error, by_terms = (line.get_xdata() for line in norms.lines)
    model.auxiliary_losses = []
    _, plain = model.loss_and_gradients(x)
    for i, name in enumerate(gradients):
        assert by_error[i] == pytest.approx(np.linalg.norm(plain[name]))
        assert by_terms[i] == pytest.approx(np.linalg.norm(gradients[name] - plain[name]))
    z = model.encode(x)
    np.testing.assert_array_equal(pattern.images[0].get_array(), z != 0)
    everyone, chosen = selection.collections
    assert len(everyone.get_segments()) == 9
    assert len(chosen.get_segments()) == np.count_nonzero(z[0])
    assert everyone.get_color()[0][:3] == pytest.approx([int(GREY[1:3], 16) / 255] * 3)
