"""The checker itself, on losses whose slopes are known by heart."""

import numpy as np
import pytest

from ksae_lab.training.gradcheck import check_gradients


class Model:
    """The loss of two numbers, with a claim about its gradient and a choice that may flip."""

    def __init__(self, w, loss, gradient, choice=lambda w: w[:0] > 0):
        self.parameters = {"w": np.array(w)}
        self._loss, self._gradient, self._choice = loss, gradient, choice

    def loss(self):
        return float(self._loss(self.parameters["w"]))

    def loss_and_gradients(self):
        return self.loss(), {"w": self._gradient(self.parameters["w"])}

    def masks(self):
        return [self._choice(self.parameters["w"])]


def cubes(w):
    return (w**3).sum()


def test_a_right_gradient_passes_and_a_wrong_one_does_not():
    right = check_gradients(Model([1.0, -2.0], cubes, lambda w: 3 * w**2))
    assert right.relative_error < 1e-9
    assert right.cosine == pytest.approx(1)
    np.testing.assert_allclose(right.numerical["w"], [3, 12], rtol=1e-9)

    uphill = check_gradients(Model([1.0, -2.0], cubes, lambda w: -3 * w**2))
    assert uphill.relative_error == pytest.approx(2)
    assert uphill.cosine == pytest.approx(-1)


def test_zero_slopes_have_an_error_too():
    flat = Model([1.0, 2.0], lambda w: 5.0, lambda w: np.zeros(2))
    assert check_gradients(flat).relative_error == 0
    tilted = Model([1.0, 2.0], lambda w: 5.0, lambda w: np.ones(2))
    assert check_gradients(tilted).relative_error == np.inf


def test_flips_are_left_out_and_counted():
    """The larger of two numbers pays; a tie within the nudge has a jump, not a slope."""

    def first_wins(w):
        return w[:1] >= w[1:]

    def loss(w):
        return 10 * w[0] if first_wins(w)[0] else w[1]

    def gradient(w):
        return np.array([10.0, 0.0] if first_wins(w)[0] else [0.0, 1.0])

    apart = check_gradients(Model([1.0, 0.5], loss, gradient, first_wins))
    assert (apart.checked, apart.skipped) == (2, 0)
    assert apart.relative_error < 1e-9
    model, claimed = Model([1.0, 1.0], loss, gradient, first_wins), {"w": np.array([10.0, 0.0])}
    tied = check_gradients(model, claimed=claimed)
    assert (tied.checked, tied.skipped) == (0, 2)
    assert tied.flipped["w"].all() and np.isnan(tied.numerical["w"]).all()
    np.testing.assert_array_equal(model.parameters["w"], [1, 1])
    np.testing.assert_array_equal(claimed["w"], [10, 0])
    # A check of nothing must not look like a check that passed.
    assert np.isnan(tied.relative_error) and np.isnan(tied.cosine)


def test_one_flip_among_several_choices_is_enough():
    model = Model([1.0, 1e-9], cubes, lambda w: 3 * w**2)
    model.masks = lambda: [model.parameters["w"][:1] > 0, model.parameters["w"][1:] > 0]
    np.testing.assert_array_equal(check_gradients(model).flipped["w"], [False, True])


def test_a_claim_of_nan_is_a_wrong_claim():
    found = check_gradients(Model([1.0, 2.0], cubes, lambda w: np.array([3.0, np.nan])))
    assert found.checked == 2
    assert not found.relative_error < 1


def test_a_zero_gradient_has_no_direction():
    found = check_gradients(Model([1.0, 2.0], cubes, lambda w: np.zeros(2)))
    assert np.isnan(found.cosine) and found.relative_error == 1


def test_parameters_come_back_exactly_even_after_an_error():
    model = Model([0.1, 0.2], cubes, lambda w: 3 * w**2)
    before = model.parameters["w"].copy()
    check_gradients(model)
    np.testing.assert_array_equal(model.parameters["w"], before)

    def fails(w):
        raise RuntimeError

    model._loss = fails
    with pytest.raises(RuntimeError):
        check_gradients(model, claimed={"w": np.zeros(2)})
    np.testing.assert_array_equal(model.parameters["w"], before)


def test_claims_from_elsewhere_are_checked_in_place_of_the_models_own():
    model = Model([1.0, 2.0], cubes, lambda w: np.full(2, np.inf))
    assert check_gradients(model, claimed={"w": np.array([3.0, 12.0])}).relative_error < 1e-9


def test_says_what_is_wrong():
    model = Model([1.0, 2.0], cubes, lambda w: 3 * w**2)
    with pytest.raises(ValueError, match=r"\{'w': \(2,\)\}"):
        check_gradients(model, claimed={"v": np.zeros(2)})
    with pytest.raises(ValueError, match="do not match"):
        check_gradients(model, claimed={"w": np.zeros(3)})
    with pytest.raises(ValueError, match="no parameter to check"):
        check_gradients(model, names=[])
    with pytest.raises(ValueError, match="loss is nan"):
        check_gradients(Model([1.0], lambda w: np.nan, lambda w: w))
    model.parameters["w"] = np.zeros(2, np.float32)
    with pytest.raises(TypeError, match=r"w is float32; build the model with dtype=np\.float64"):
        check_gradients(model)


def test_only_the_named_parameters_are_checked():
    model = Model([1.0, 2.0], cubes, lambda w: 3 * w**2)
    model.parameters["idle"] = np.zeros(3)
    found = check_gradients(model, names=["w"])
    assert found.checked == 2
    assert list(found.numerical) == list(found.claimed) == ["w"]
    with pytest.raises(KeyError, match="v"):
        check_gradients(model, names=["v"])
