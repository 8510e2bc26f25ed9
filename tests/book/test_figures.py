"""Figures show the data they were given: read back from the artists, not from the pixels."""

import io

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import t

from ksae_lab.book import figures
from ksae_lab.training.loop import History


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        figures.use_style()
        yield
    assert not plt.get_fignums()  # a figure left open would be shown twice


def shown(fig):
    return [ax.images[0] for ax in fig.axes if ax.images]


def test_tiles_show_each_image_in_one_range():
    x = np.random.default_rng(0).uniform(0.2, 0.6, (13, 784))
    images = shown(figures.tiles(x, columns=5))
    assert len(images) == 13
    for image, row in zip(images, x, strict=True):
        np.testing.assert_array_equal(image.get_array(), row.reshape(28, 28))
        assert image.get_clim() == (0, 1)


def test_signed_tiles_are_transparent_at_zero_and_symmetric():
    w = np.random.default_rng(0).normal(size=(4, 16))
    images = shown(figures.tiles(w, columns=2, signed=True))
    limit = np.abs(w).max()
    assert all(image.get_clim() == (-limit, limit) for image in images)
    assert figures.DIVERGING(0.5)[3] < 0.01
    assert figures.DIVERGING(0.0)[3] == figures.DIVERGING(1.0)[3] == 1


def test_reconstructions_stand_under_their_originals():
    x, x_hat = np.random.default_rng(0).uniform(size=(2, 3, 16))
    fig = figures.reconstructions(x, {"k = 5": x_hat})
    np.testing.assert_array_equal([i.get_array().ravel() for i in shown(fig)], [*x, *x_hat])
    assert [ax.get_title("left") for ax in fig.axes[::3]] == ["original", "k = 5"]


def test_learning_curve_draws_what_was_recorded():
    fig = figures.learning_curve(History([3.0, 2.0], [4.0, 3.5]))
    training, validation = fig.axes[0].lines
    np.testing.assert_array_equal(training.get_xydata(), [[1, 3], [2, 2]])
    np.testing.assert_array_equal(validation.get_ydata(), [4, 3.5])
    assert len(figures.learning_curve(History([3.0, 2.0])).axes[0].lines) == 1


def test_error_against_k_draws_means_and_intervals():
    seeds = np.array([0.05, 0.06, 0.07])
    fig = figures.error_against_k(
        {"k-sparse": {5: seeds, 10: seeds / 2}, "PCA": {5: 0.04, 10: 0.03}}, level=("mean", 0.07)
    )
    k_sparse, pca = fig.axes[0].containers
    np.testing.assert_allclose(k_sparse.lines[0].get_ydata().astype(float), [0.06, 0.03])
    np.testing.assert_allclose(pca.lines[0].get_ydata().astype(float), [0.04, 0.03])
    assert k_sparse.lines[0].get_color() == figures.COLOURS["k-sparse"]
    bar = np.asarray(k_sparse.lines[2][0].get_segments()[0], float)
    half = t.ppf(0.975, 2) * 0.01 / np.sqrt(3)
    np.testing.assert_allclose(bar[:, 1], [0.06 - half, 0.06 + half])


def test_background_is_transparent_and_every_figure_equally_wide():
    sizes = set()
    for fig in (figures.canvas(2)[0], figures.tiles(np.zeros((3, 4)), columns=3)):
        png = io.BytesIO()
        fig.savefig(png)
        png.seek(0)
        pixels = matplotlib.image.imread(png)
        assert pixels[0, 0, 3] == 0
        sizes.add(pixels.shape[1])
    assert len(sizes) == 1


def test_images_must_be_square():
    with pytest.raises(ValueError, match="12 pixels make no square"):
        figures.tiles(np.zeros((2, 12)))


def test_build_up_adds_part_after_part():
    start, parts = np.full(4, 0.1), np.array([[0.2, 0, 0, 0], [0, -0.1, 0, 0.3]])
    first, second, *sums = shown(figures.build_up(start, parts))
    np.testing.assert_array_equal(first.get_array().ravel(), parts[0])
    assert first.get_clim() == second.get_clim() == (-0.3, 0.3)
    assert first.get_cmap() == figures.DIVERGING
    np.testing.assert_allclose(sums[0].get_array().ravel(), [0.3, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(sums[1].get_array().ravel(), [0.3, 0, 0.1, 0.4])
    assert sums[0].get_cmap().name == "gray"


def test_diverging_colours_are_blue_below_and_vermilion_above():
    below, above = figures.DIVERGING(0.0), figures.DIVERGING(1.0)
    assert below[2] > below[0] and above[0] > above[2]


def test_error_against_k_names_everything():
    curves = {"PCA": {1: 0.06, 20: 0.02}, "published": {5: 0.05}}
    fig = figures.error_against_k(curves, level=("mean image", 0.07))
    ax = fig.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("k, numbers in the code", "mean squared error")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "5", "20"]
    assert ax.get_xscale() == "log" and ax.get_ylim()[0] == 0
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["PCA", "published"]
    assert [text.get_text() for text in ax.texts] == ["mean image"]
    pca, published = (container.lines[0] for container in ax.containers)
    assert (pca.get_linestyle(), published.get_linestyle()) == ("-", "None")


def test_figures_need_no_style_set_before():
    with plt.rc_context():
        plt.rcdefaults()
        assert len(shown(figures.tiles(np.zeros((2, 4)), columns=2))) == 2


def test_a_film_has_equal_frames_in_reading_order():
    frames = np.random.default_rng(0).normal(size=(5, 4, 9))
    fig = figures.film(frames, list("abcde"), columns=3)
    fig.savefig(io.BytesIO())  # now every name has its place
    images, limit = shown(fig), np.abs(frames).max()
    assert [ax.get_title() for ax in fig.axes] == list("abcde")
    for image, frame in zip(images, frames, strict=True):
        top = np.hstack([frame[0].reshape(3, 3), frame[1].reshape(3, 3)])
        bottom = np.hstack([frame[2].reshape(3, 3), frame[3].reshape(3, 3)])
        np.testing.assert_array_equal(image.get_array(), np.vstack([top, bottom]))
        assert image.get_clim() == (-limit, limit)
    # Cut into three columns and two rows, as the website does, each cell holds one frame.
    for i, ax in enumerate(fig.axes):
        row, column = divmod(i, 3)
        box = ax.get_position()
        assert column / 3 <= box.x0 and box.x1 <= (column + 1) / 3
        assert 1 - (row + 1) / 2 <= box.y0 + 1e-9 and box.y1 < 1 - row / 2
        name = ax.title.get_window_extent().transformed(fig.transFigure.inverted())
        assert name.y1 <= 1 - row / 2 + 1e-9 and name.y0 >= box.y1 - 1e-9
