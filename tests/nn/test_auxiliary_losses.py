"""The terms beside the mean squared error: their values, their gradients, and four known traps."""

import numpy as np
import pytest

from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.auxiliary_losses import L1, AuxK, DeCov, OfUnits, add_up, in_full
from ksae_lab.nn.module import ForwardPass

B, D, N = 6, 5, 8


class Monitor:
    def __init__(self, *dead):
        self.dead = np.isin(np.arange(N), dead)


def seen(seed=0, **parts):
    rng = np.random.default_rng(seed)
    arrays = {
        "x": rng.normal(size=(B, D)),
        "h": rng.normal(size=(B, N)),
        "z": rng.normal(size=(B, N)),
        "x_hat": rng.normal(size=(B, D)),
        "W_dec": rng.normal(size=(N, D)),
    }
    return ForwardPass(**{**arrays, **parts})


def slopes(term, seen_, name, epsilon=1e-6):
    """The central differences of a term's value by one of the arrays that it looks at."""
    array = getattr(seen_, name)
    found = np.empty_like(array)
    for i in np.ndindex(array.shape):
        original = array[i]
        values = []
        for array[i] in (original + epsilon, original - epsilon):
            values.append(term(seen_)[0])
        array[i] = original
        found[i] = (values[0] - values[1]) / (2 * epsilon)
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("term", "names"),
    [
        (AuxK(Monitor(0, 3, 4, 7), k_aux=2), ["h", "W_dec"]),
        (AuxK(Monitor(2, 5), k_aux=512, weight=3.0), ["h", "W_dec"]),
        (DeCov(1.3), ["z"]),
        (L1(0.7), ["z"]),
    ],
)
def test_gradients_agree_with_central_differences(term, names, seed):
    batch = seen(seed)
    value, gradients = term(batch)
    assert value > 0
    assert sorted(gradients) == sorted(names)
    for name in names:
        np.testing.assert_allclose(
            in_full(gradients[name], N), slopes(term, batch, name), atol=1e-8
        )


def test_aux_k_is_the_share_of_the_leftover_that_stays():
    # One dead unit, whose row is the direction of a leftover that all images share but for size.
    direction = np.array([0.6, 0.8, 0, 0, 0])
    size = np.arange(1.0, B + 1)[:, None]
    x_hat, W_dec = np.zeros((B, D)), np.zeros((N, D))
    W_dec[2] = direction
    term = AuxK(Monitor(2), k_aux=1, weight=1.0)
    for share in (0, 0.5, 1):
        h = np.zeros((B, N))
        h[:, 2:3] = share * size
        batch = seen(x=size * direction, x_hat=x_hat, h=h, W_dec=W_dec)
        # Var(x) = Var(e) here, so that the value is the plain error of what is drawn.
        assert term(batch)[0] == pytest.approx((1 - share) ** 2 * np.mean((size * direction) ** 2))


def test_aux_k_uses_the_k_aux_largest_of_the_dead_only():
    h = np.tile(np.arange(1.0, N + 1), (B, 1))
    _, gradients = AuxK(Monitor(0, 2, 5), k_aux=2)(seen(h=h))
    h, W_dec = (in_full(gradients[name], N) for name in ("h", "W_dec"))
    assert np.flatnonzero(h.any(axis=0)).tolist() == [2, 5]
    assert np.flatnonzero(W_dec.any(axis=1)).tolist() == [2, 5]


def test_a_dead_unit_at_exactly_zero_is_not_active():
    batch = seen(h=np.zeros((B, N)))
    value, gradients = AuxK(Monitor(2), k_aux=1)(batch)
    assert value > 0
    assert not gradients["h"].values.any() and not gradients["W_dec"].values.any()


def test_several_terms_are_added_up_with_their_zeros_or_without():
    few = OfUnits(np.array([1, 6]), np.ones((B, 2)), axis=1)
    rows = OfUnits(np.array([3]), np.ones((1, D)), axis=0)
    terms = [lambda f: (1.0, {"h": few}), lambda f: (2.0, {"h": np.ones((B, N)), "W_dec": rows})]
    value, gradients = add_up(terms, seen())
    assert value == 3.0 and gradients["W_dec"] is rows
    assert gradients["h"][0].tolist() == [1, 2, 1, 1, 1, 1, 2, 1]
    assert in_full(rows, N).sum(axis=1).tolist() == [0, 0, 0, D, 0, 0, 0, 0]


def test_aux_k_has_the_published_weight():
    batch = seen()
    monitor = Monitor(1, 2)
    assert AuxK(monitor, 2)(batch)[0] == AuxK(monitor, 2, weight=1.0)(batch)[0] / 32


@pytest.mark.parametrize(
    ("monitor", "batch"),
    [(Monitor(), seen()), (Monitor(1), seen(x_hat=seen().x))],
    ids=["nobody is dead", "nothing is left over"],
)
def test_aux_k_is_silent_without_need(monitor, batch):
    assert AuxK(monitor, 2)(batch) == (0.0, {})


def test_aux_k_refuses_no_units():
    with pytest.raises(ValueError, match="k_aux is 0"):
        AuxK(Monitor(1), 0)


# The traps that have been found in published code (sparsify#57 and #132, crosscode#3).


def autoencoder(*dead):
    rng = np.random.default_rng(1)
    model = KSparseAutoencoder(D, N, 2, rng=rng, dtype=np.float64)
    model.b_enc[list(dead)] = -3  # they are never among the two loudest
    return model, rng.normal(size=(B, D))


def test_trap_the_leftover_is_a_constant():
    # AuxK alone must leave the living alone: their rows drew what the dead ones are to add to.
    model, x = autoencoder(0, 1)
    model.b_enc[[0, 1]] = 0.5
    _, plain = model.loss_and_gradients(x)
    model.auxiliary_losses = [AuxK(Monitor(0, 1), 2, weight=10.0)]
    _, both = model.loss_and_gradients(x)
    living = np.arange(2, N)
    np.testing.assert_array_equal(both["W_dec"][living], plain["W_dec"][living])
    np.testing.assert_array_equal(both["W_enc"][:, living], plain["W_enc"][:, living])
    assert not np.allclose(both["W_dec"][:2], plain["W_dec"][:2])


def test_trap_the_bias_is_not_added_twice():
    # The leftover of x + c with b_dec + c is that of x with b_dec: c must not show in the value.
    model, x = autoencoder()
    model.auxiliary_losses = [AuxK(Monitor(0, 1), 2)]
    before = model.loss(x)
    model.b_dec += 5
    assert model.loss(x + 5) == pytest.approx(before)


def test_trap_what_is_computed_is_backpropagated():
    model, x = autoencoder(0)
    model.b_enc[0], model.b_enc[1:] = 1, 5
    h = model.pre_activations(x)[:, 0]
    assert (h > 0).any() and not model.masks(x)[0][:, 0].any()  # h > 0, and never selected
    _, without = model.loss_and_gradients(x)
    model.auxiliary_losses = [AuxK(Monitor(0), 1)]
    _, gradients = model.loss_and_gradients(x)
    assert not without["W_enc"][:, 0].any() and gradients["W_enc"][:, 0].any()
    assert without["b_enc"][0] == 0 and gradients["b_enc"][0] != 0


def test_trap_relu_hides_a_dead_unit_below_zero():
    # No mistake of ours: the published term cannot reach a unit whose h is below zero.
    model, x = autoencoder(0)
    model.b_enc[0] = -100
    model.auxiliary_losses = [AuxK(Monitor(0), 1)]
    _, gradients = model.loss_and_gradients(x)
    assert not gradients["W_enc"][:, 0].any() and not gradients["W_dec"][0].any()


def test_diversity_is_zero_for_uncorrelated_units_and_counts_each_pair_twice():
    z = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert DeCov(1.0)(seen(z=z))[0] == 0
    same = z[:, [0, 0]]  # covariance 1, twice in the sum, halved
    assert DeCov(0.3)(seen(z=same))[0] == pytest.approx(0.3)
    assert DeCov(0.3)(seen(z=same + 7))[0] == pytest.approx(0.3)
