"""Whom the engine selects: the k largest, whatever the screen, and who it need not look at."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ksae_lab import Adam, AuxK, DeadUnitMonitor, KSparseAutoencoder, TopK, top_k_mask
from ksae_lab.engine import byte_product, quantised, selection
from ksae_lab.engine.screen import FEW, PATIENCE, Screen
from ksae_lab.engine.sparse_step import SparseStep
from ksae_lab.engine.threads import Threads

ALONE = Threads(1)
needs_bytes = pytest.mark.skipif(
    not byte_product.available(), reason="this processor multiplies no bytes"
)
SCREENS = [False, pytest.param(True, marks=needs_bytes)]


@st.composite
def problems(draw, whole):
    """Rows, weights and biases; whole numbers tie, and their sums have no rounding."""
    n, d = draw(st.integers(1, 150)), draw(st.integers(1, 9))
    elements = st.integers(-4, 4) if whole else st.floats(-9, 9, width=32)
    shapes = array_shapes(min_dims=2, max_dims=2, max_side=9)
    x = draw(arrays(np.float32, shapes, elements=elements))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = np.resize(x, (len(x), d))
    if whole:
        W, b = rng.integers(-3, 4, (n, d)), rng.integers(-2, 3, n)
    else:
        W, b = rng.normal(size=(n, d)), rng.normal(size=n)
    return x, W.astype(np.float32), b.astype(np.float32), draw(st.integers(0, n))


def select(x, W, b, k, by, as_bytes, **options):
    return Screen(W, as_bytes, ALONE).select(x, W.T, b, k, by, **options)


@pytest.mark.parametrize("as_bytes", SCREENS)
@pytest.mark.parametrize("by", ["value", "magnitude"])
@given(problem=problems(whole=True))
def test_it_selects_what_the_mask_does_ties_and_all(as_bytes, by, problem):
    x, W, b, k = problem
    h = x @ W.T + b  # of small whole numbers: exact
    idx, chosen = select(*problem, by, as_bytes)
    mask = np.zeros(h.shape, bool)
    np.put_along_axis(mask, idx, True, axis=1)
    np.testing.assert_array_equal(mask, top_k_mask(h, k, by=by))
    np.testing.assert_array_equal(np.take_along_axis(h, idx, axis=1), chosen)
    assert (np.diff(idx, axis=1) > 0).all()


@needs_bytes
@pytest.mark.parametrize("by", ["value", "magnitude"])
@given(problem=problems(whole=False))
def test_both_screens_select_the_same_units_to_the_bit(by, problem):
    idx, h = select(*problem, by, False)
    same, bits = select(*problem, by, True)
    np.testing.assert_array_equal(idx, same)
    assert h.tobytes() == bits.tobytes()


@pytest.mark.parametrize("as_bytes", SCREENS)
@given(problem=problems(whole=False), floor=st.floats(-9, 9, width=32))
def test_who_is_below_the_floor_is_left_out(as_bytes, problem, floor):
    floor = np.float32(floor)
    idx, h = select(*problem, "value", as_bytes, floor=floor)
    for mine, scores, all_mine, all_scores in zip(
        idx, h, *select(*problem, "value", as_bytes), strict=True
    ):
        above = all_scores >= floor
        count = above.sum()
        assert (mine[count:] == -1).all() and not scores[count:].any()
        np.testing.assert_array_equal(mine[:count], all_mine[above])
        assert scores[:count].tobytes() == all_scores[above].tobytes()


@pytest.mark.parametrize("as_bytes", SCREENS)
def test_magnitudes_have_no_floor(as_bytes):
    """A large one below zero takes the place of a small one above, and is then silent."""
    x, W, b = np.ones((1, 1), np.float32), np.float32([[-5], [1], [2]]), np.zeros(3, np.float32)
    idx, h = select(x, W, b, 2, "magnitude", as_bytes, floor=3.0)
    assert idx.tolist() == [[0, 2]] and h.tolist() == [[-5, 2]]


@needs_bytes
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1, 1e6, 1e15])
@given(problem=problems(whole=False))
def test_no_score_is_further_off_than_its_bound(scale, problem):
    """The bound is what makes a screen exact: held against sums in float64."""
    x, W, b, _ = problem
    x, b = x * np.float32(scale), b * np.float32(scale)
    slack = quantised.rounding(x.shape[1], x.dtype)
    known = quantised.units(*W.shape, W.dtype, True)
    quantised.describe_all(W, known, slack)
    rows = quantised.rows(x, slack, True)
    steps = known.bytes_.shape[2]
    bytes_ = known.bytes_.view(np.int8).reshape(-1, steps, byte_product.LANES, 4)
    bytes_ = bytes_.transpose(0, 2, 1, 3).reshape(-1, 4 * steps)[: len(W)].astype(float)
    seen = rows.scale[:, None].astype(float) * (rows.bytes_[: len(x)].astype(float) - 128)
    score = seen @ (bytes_ * known.scale[:, None].astype(float)).T + b
    exact = x.astype(float) @ W.T.astype(float) + b
    off = np.outer(rows.a, known.norm) + np.outer(rows.b, known.error) + slack * abs(b)
    assert (abs(score - exact) <= off).all()


@needs_bytes
@given(st.integers(1, 200), st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**32))
def test_the_product_of_bytes_is_that_of_whole_numbers(n, d, batch, seed):
    rng = np.random.default_rng(seed)
    W = (rng.normal(size=(n, d)) * rng.choice([0, 1, 50], (n, 1))).astype(np.float32)
    x = rng.normal(size=(batch, d)).astype(np.float32)
    known = quantised.units(n, d, W.dtype, True)
    quantised.describe_all(W, known, 0 * W[0, 0])
    rows = quantised.rows(x, 0 * W[0, 0], True)
    sums = np.empty((byte_product.ROWS, byte_product.UNITS), np.int32)
    expected_W = np.rint(W / known.scale[:, None])
    expected_x = np.rint(x / rows.scale[:, None])
    for t, tile in enumerate(known.bytes_):
        for top in range(0, batch, byte_product.ROWS):
            _multiply(tile, rows.bytes_[top : top + byte_product.ROWS], sums)
            some = slice(t * byte_product.UNITS, (t + 1) * byte_product.UNITS)
            here = sums[: batch - top, : len(known.offset[some])] - known.offset[some]
            expected = expected_x[top : top + byte_product.ROWS] @ expected_W[some].T
            np.testing.assert_array_equal(here, expected)


def _multiply(tile, x, sums):
    from numba import njit

    global _compiled
    if "_compiled" not in globals():
        _compiled = njit(lambda w, x, sums: byte_product.tile(w, x, sums))
    _compiled(tile, x, sums)


# Hostile rows


@pytest.mark.parametrize("as_bytes", SCREENS)
@pytest.mark.parametrize("n", [1, 3, 64, 400])
def test_rows_without_a_decision_are_scored_in_full(as_bytes, n):
    """All units the same, or all rows zero: nobody can be left out, and the first win."""
    W, b = np.ones((n, 5), np.float32), np.zeros(n, np.float32)
    x = np.vstack([np.zeros((1, 5)), np.ones((8, 5))]).astype(np.float32)
    k = min(n, 7)
    idx, h = select(x, W, b, k, "value", as_bytes)
    assert idx.tolist() == [list(range(k))] * 9 and (h[1:] == 5).all()


@pytest.mark.parametrize("as_bytes", SCREENS)
@pytest.mark.parametrize("where", ["W", "b"])
def test_nan_is_seen(as_bytes, where):
    rng = np.random.default_rng(0)
    W, b = rng.normal(size=(300, 5)).astype(np.float32), np.zeros(300, np.float32)
    (W[200:201, 2] if where == "W" else b[200:201])[...] = np.nan
    with pytest.raises(ValueError, match="hold NaN, which is neither larger"):
        select(np.ones((2, 5), np.float32), W, b, 4, "value", as_bytes)


def test_what_is_no_use_is_left_off_and_said(monkeypatch):
    W = np.random.default_rng(0).normal(size=(FEW, 5)).astype(np.float32)
    assert Screen(W[:9], None, ALONE).fact.startswith("off: ")
    assert "float64" in Screen(W.astype(float), None, ALONE).fact or not byte_product.available()
    assert Screen(W, False, ALONE).fact == "off: not asked for"
    with pytest.raises(ValueError, match="no screening with bytes"):
        Screen(W.astype(float), True, ALONE)
    monkeypatch.setattr(byte_product, "available", lambda: False)
    assert Screen(W, None, ALONE).fact == "off: this processor has no AVX512-VNNI"


@needs_bytes
def test_a_screen_that_saves_nothing_is_given_up():
    W, b = np.ones((FEW, 5), np.float32), np.zeros(FEW, np.float32)  # nobody can be left out
    screen = Screen(W, None, ALONE)
    x = np.ones((2, 5), np.float32)
    for _ in range(PATIENCE + 2):
        idx, _ = screen.select(x, W.T, b, 3, "value")
        assert idx.tolist() == [[0, 1, 2]] * 2
    assert screen.fact == f"off: {FEW} of {FEW} units were candidates for a row"


# In training


def trained(n=300, steps=25, *, k=4, by="value", tied=False, monitor=None, **options):
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(200, 30))).astype(np.float32)
    model = KSparseAutoencoder(30, n, TopK(k, by=by), tied=tied, rng=rng)
    model.init_from_data(x, rng)
    if monitor is not None:
        model.auxiliary_losses = [AuxK(monitor, 6, weight=1.0)]
    step = SparseStep(model, Adam(0.01), **options)
    for _ in range(steps):
        step((x[rng.choice(200, 20)],))
    step.flush()
    return model


def bits(model):
    return {name: w.tobytes() for name, w in model.state.items()}


@needs_bytes
@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_training_is_the_same_bits_with_and_without_screening(by, tied):
    monitor = DeadUnitMonitor(300, 1)
    monitor.silent[::3] = 1
    options = {"by": by, "tied": tied, "monitor": monitor}
    assert bits(trained(screen=True, **options)) == bits(trained(screen=False, **options))


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("screen", SCREENS)
def test_a_training_is_the_same_bits_on_several_threads(threads, screen):
    one = trained(screen=screen, threads=1)
    assert bits(trained(screen=screen, threads=threads)) == bits(one)


@pytest.mark.parametrize("screen", SCREENS)
def test_weights_that_somebody_changed_after_a_flush_are_seen(screen):
    def run(screen):
        model = trained(steps=3, screen=screen)
        step = SparseStep(model, Adam(0.01), screen=screen)
        x = np.abs(np.random.default_rng(5).normal(size=(20, 30))).astype(np.float32)
        step((x,))
        step.flush()
        model.W_enc[:, :50] *= -3
        _, forward = step((x,))
        return forward.idx, copy.deepcopy(model)

    (idx, model), (others, other) = run(screen), run(False)
    np.testing.assert_array_equal(idx, others)
    assert bits(model) == bits(other)


def test_the_bar_rises_from_the_floor_and_never_falls_below_it():
    x, W, b = np.ones((2, 1), np.float32), -np.ones((100, 1), np.float32), np.zeros(100, np.float32)
    W[[3, 7], 0] = 2
    for k, bar in ((2, 2), (3, 0)):
        found = selection.candidates(2, 100, k, x.dtype, 0.0)
        known, slack = quantised.units(100, 1, W.dtype, False), quantised.rounding(1, W.dtype)
        quantised.describe_all(W, known, slack)
        rows = quantised.rows(x, slack, False)
        selection.screen_products(0, 2, x @ W.T, slack, False, rows, known, b, found)
        np.testing.assert_allclose(found.bar, bar, atol=1e-4)
        assert found.counts.tolist() == [2, 2]


def test_nobody_is_scored_who_cannot_win():
    """Of a screen that is unsure: who sets the bar, and who may beat the k-th of these."""
    rng = np.random.default_rng(0)
    n, d, k, slack = 500, 20, 3, np.float32(0.02)
    x, W = (rng.normal(size=shape).astype(np.float32) for shape in ((9, d), (n, d)))
    W = W[np.argsort(W @ x[0])]  # to the first row, each who comes is the best so far
    b = np.zeros(n, np.float32)
    known, rows = quantised.units(n, d, W.dtype, False), quantised.rows(x, slack, False)
    quantised.describe_all(W, known, slack)
    found = selection.candidates(9, n, k, x.dtype, -np.inf)
    h = x @ W.T
    selection.screen_products(0, 9, h, slack, False, rows, known, b, found)
    out = np.empty((9, k), np.int64), np.empty((9, k), np.float32)
    looks = selection.decide(0, 9, x, W, b, False, np.float32(-np.inf), found, *out)
    off = np.outer(rows.a, known.norm)
    sets_it = h - off >= np.sort(h - off, axis=1)[:, [-k]]
    reached = np.where(sets_it, h, np.inf).min(axis=1, keepdims=True)
    assert looks == (sets_it | (h + off >= reached)).sum() < found.counts.sum()


def test_candidates_have_room_for_k():
    for n in (1, 5, 700):
        for k in (1, n):
            found = selection.candidates(2, n, k, np.dtype(np.float32), -np.inf)
            assert k <= found.units.shape[1] <= n
