"""The errors of parts of a code, and their gradients, beside the slow way: one model a part."""

import numpy as np
import pytest

from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.parts_of_codes import HierarchicalTopK, Matryoshka, take_away
from ksae_lab.nn.selectors import BatchTopK, PrefixTopK, TopK
from ksae_lab.training.gradcheck import check_gradients

D, N = 7, 12
EVERY_K = [(k, 1.0) for k in range(1, 6)]
SOME_K = [(1, 2.0), (4, 0.125)]
PREFIXES = [(3, 1.0), (6, 0.5), (11, 2.0)]


def network(selector, *losses, seed=0):
    rng = np.random.default_rng(seed)
    options = {"auxiliary_losses": losses, "unit_norm": False, "rng": rng, "dtype": np.float64}
    model = KSparseAutoencoder(D, N, selector, **options)
    for w in model.parameters.values():
        w += 0.3 * rng.normal(size=w.shape)
    return model


def images(rows=9, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, D))


def in_turn(model, x, parts, set_up):
    """The loss and gradients of several models with the same weights, added up the slow way."""
    whole = model.selector
    loss, gradients = model.loss_and_gradients(x)
    for size, weight in parts:
        model.selector = set_up(size)
        one, own = model.loss_and_gradients(x)
        loss += weight * one
        gradients = {name: g + weight * own[name] for name, g in gradients.items()}
    model.selector = whole
    return loss, gradients


@pytest.mark.parametrize("parts", [EVERY_K, SOME_K])
@pytest.mark.parametrize("seed", range(3))
def test_all_k_at_once_are_as_many_models_with_one_k(parts, seed):
    model, x = network(TopK(6), seed=seed), images(seed=seed + 10)
    expected, slopes = in_turn(model, x, parts, TopK)
    model.auxiliary_losses = [HierarchicalTopK(parts)]
    loss, found = model.loss_and_gradients(x)
    assert loss == pytest.approx(expected, rel=1e-12)
    for name, slope in slopes.items():
        np.testing.assert_allclose(found[name], slope, atol=1e-12, err_msg=name)


def test_with_all_units_active_a_prefix_is_a_smaller_network():
    # With k = n the code is cut as if it were selected from the first units.
    model, x = network(TopK(N)), images()
    expected, slopes = in_turn(model, x, PREFIXES, lambda prefix: PrefixTopK(N, prefix))
    model.auxiliary_losses = [Matryoshka(PREFIXES)]
    loss, found = model.loss_and_gradients(x)
    assert loss == pytest.approx(expected, rel=1e-12)
    for name, slope in slopes.items():
        np.testing.assert_allclose(found[name], slope, atol=1e-12, err_msg=name)


def test_units_are_selected_once_for_all_prefixes():
    model, x = network(TopK(4)), images()
    z = model.encode(x)
    value, _ = Matryoshka([(5, 1.0)])(model.forward_backward(x).forward)
    cut = np.where(np.arange(N) < 5, z, 0)
    assert ((cut != 0).sum(axis=1) < 4).any()
    assert value == pytest.approx(np.mean((model.decode(cut) - x) ** 2))


@pytest.mark.parametrize("selector", [TopK(6), TopK(6, by="magnitude"), BatchTopK(3)])
@pytest.mark.parametrize("loss", [HierarchicalTopK(SOME_K), Matryoshka(PREFIXES)])
def test_gradients_agree_with_central_differences(selector, loss):
    model = network(selector, loss)
    check = check_gradients(model, images(5))
    assert check.relative_error < 1e-6 and check.checked > 100


def test_the_empty_part_is_the_mean_image():
    model, x = network(TopK(4)), images()
    forward = model.forward_backward(x).forward
    for loss in (HierarchicalTopK([(0, 1.0)]), Matryoshka([(0, 1.0)])):
        value, gradients = loss(forward)
        assert value == pytest.approx(np.mean((model.b_dec - x) ** 2))
        assert not gradients["z"].any() and not gradients["W_dec"].any()


def test_parts_beyond_the_code_are_the_code():
    model, x = network(TopK(4)), images()
    forward = model.forward_backward(x).forward
    for loss in (HierarchicalTopK([(4, 1.0), (9, 1.0)]), Matryoshka([(N, 1.0), (99, 1.0)])):
        assert loss(forward)[0] == pytest.approx(2 * np.mean((forward.x_hat - x) ** 2))


def test_the_compiled_pass_is_the_plain_one():
    passes = pytest.importorskip("ksae_lab.engine.passes")
    rng = np.random.default_rng(0)
    W_dec, error = rng.normal(size=(N, D)), rng.normal(size=(5, D))
    units, own = rng.integers(N, size=(5, 4)), rng.normal(size=(5, 4))
    weights = rng.uniform(size=(5, 5)) * (rng.uniform(size=(5, 5)) < 0.5)
    expected = take_away(W_dec, units, own, weights, error)
    for a, b in zip(passes.take_away(W_dec, units, own, weights, error), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize(
    ("parts", "error", "says"),
    [
        ([], ValueError, "give pairs"),
        ([(1, 2, 3)], ValueError, "give pairs"),
        ([(-1, 1.0)], ValueError, "size"),
        ([(1.5, 1.0)], TypeError, "size"),
        ([(2, 0)], ValueError, "weight"),
    ],
)
def test_parts_that_are_none_are_refused(parts, error, says):
    for kind in (HierarchicalTopK, Matryoshka):
        with pytest.raises(error, match=says):
            kind(parts)


@pytest.mark.parametrize("loss", [HierarchicalTopK(SOME_K), Matryoshka(PREFIXES)])
def test_a_batch_in_which_no_unit_speaks_is_the_mean_image_for_every_part(loss):
    model, x = network(TopK(4)), images()
    model.b_enc[:] = -1e3
    value, gradients = loss(model.forward_backward(x).forward)
    assert value == pytest.approx(sum(w for _, w in loss.parts) * model.error(x), rel=1e-12)
    assert not gradients["z"].any() and not gradients["W_dec"].any()
