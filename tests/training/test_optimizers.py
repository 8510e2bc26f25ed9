"""Every rule against Keras, step by step; its memory, saved and forgotten; and its lazy form."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksae_lab.training import optimizers
from ksae_lab.training.optimizers import SGD, AdaGrad, Adam, RMSprop

# Keras rounds settings to float32; what float32 holds agrees to the last digits of float64.
r, rho, b1, b2, eps, acc = (
    float(np.float32(number)) for number in (0.01, 0.8, 0.85, 0.95, 1e-3, 0.3)
)
ours_and_keras = {
    "sgd": (SGD, "SGD", {"learning_rate": r}),
    "momentum": (SGD, "SGD", {"learning_rate": r, "momentum": b1}),
    "adam": (Adam, "Adam", {"learning_rate": r, "beta_1": b1, "beta_2": b2, "epsilon": eps}),
    "rmsprop": (RMSprop, "RMSprop", {"learning_rate": r, "rho": rho, "epsilon": eps}),
    "adagrad": (
        AdaGrad,
        "Adagrad",
        {"learning_rate": r, "initial_accumulator_value": acc, "epsilon": eps},
    ),
}
RULES = list(ours_and_keras)
SHAPES = {"W_enc": (5, 7), "b_enc": (7,), "W_dec": (7, 5), "b_dec": (5,)}


def make(name, **more):
    ours, _, settings = ours_and_keras[name]
    return ours(**settings, **more)


def make_keras(keras, name):
    _, theirs, settings = ours_and_keras[name]
    return getattr(keras.optimizers, theirs)(**settings)


def start(rng, dtype=np.float64, shapes=SHAPES):
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def gradients_with_zeros(rng, parameters, share=0.3):
    """Normal numbers of all sizes, of which about that share is exactly zero."""
    return {
        name: (
            rng.normal(size=w.shape) * 10.0 ** rng.integers(-4, 2) * (rng.random(w.shape) > share)
        ).astype(w.dtype)
        for name, w in parameters.items()
    }


def sparse_gradients(rng, parameters):
    """As few active units make them: whole columns of W_enc and rows of W_dec and W_enc are zero.

    Now and then everything is reached, or nothing.
    """
    n, d = SHAPES["W_dec"]
    active, lit = rng.random(n) < 0.4, rng.random(d) < rng.choice([0.5, 1])
    active[:] |= rng.random() < 0.2
    active[:] &= rng.random() > 0.2
    masks = {
        "W_enc": np.outer(lit, active),
        "b_enc": active,
        "W_dec": np.outer(active, np.ones(d)),
        "b_dec": lit,
    }
    dense = gradients_with_zeros(rng, parameters, share=0.1)
    return {name: dense[name] * masks[name].astype(w.dtype) for name, w in parameters.items()}


def keras_step(keras, theirs, gradients, variables):
    tensors = [keras.ops.convert_to_tensor(g, g.dtype.name) for g in gradients]
    theirs.apply(tensors, variables)


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name, w in left.items():
        np.testing.assert_array_equal(w, right[name], err_msg=name, strict=True)


def copies(parameters):
    return {name: w.copy() for name, w in parameters.items()}


# The rules.


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-6)])
@pytest.mark.parametrize("name", RULES)
def test_agrees_with_keras_step_by_step(name, dtype, tolerance, keras):
    ours, theirs = make(name), make_keras(keras, name)
    rng = np.random.default_rng(0)
    parameters = start(rng, dtype)
    variables = [keras.Variable(w, dtype=dtype) for w in parameters.values()]
    for step in range(30):
        if step == 15:
            ours.learning_rate = theirs.learning_rate = r / 2
        gradients = gradients_with_zeros(rng, parameters)
        ours.step(parameters, gradients)
        keras_step(keras, theirs, gradients.values(), variables)
        for w, variable in zip(parameters.values(), variables, strict=True):
            np.testing.assert_allclose(w, variable.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (Adam, "Adam", {}),
        (RMSprop, "RMSprop", {}),
        (AdaGrad, "Adagrad", {}),
        # Beside what the sum starts at, epsilon would not show.
        (AdaGrad, "Adagrad", {"initial_accumulator_value": 0.0}),
    ],
)
@pytest.mark.parametrize("size", [1, 1e-3, 1e-7])
def test_has_the_defaults_of_keras(ours, theirs, settings, size, keras):
    # Each default shows at some size of gradient: epsilon at the smallest.
    ours, theirs = ours(**settings), getattr(keras.optimizers, theirs)(**settings)
    assert not ours.lazy
    rng = np.random.default_rng(0)
    w = np.zeros(50)
    variable = keras.Variable(w, dtype="float64")
    for _ in range(20):
        g = size * rng.normal(size=50)
        ours.step({"w": w}, {"w": g})
        keras_step(keras, theirs, [g], [variable])
        # Seven digits: these rates are rounded to float32 in Keras.
        np.testing.assert_allclose(w, variable.numpy(), rtol=1e-5, atol=1e-6 * np.abs(w).max())


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_changes_arrays_in_place_and_keeps_float32(name, lazy):
    w = np.ones(3, np.float32)
    optimizer = make(name, lazy=lazy)
    optimizer.step({"w": w}, {"w": np.array([1, 1, 0], np.float32)})
    assert w.dtype == np.float32
    assert (w[:2] < 1).all()
    assert w[2] == 1
    assert {a.dtype for a in optimizer.memory.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("slab", [1, 4, 10, 16])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_slabs_change_no_bit(name, lazy, slab, monkeypatch):
    def trained():
        rng = np.random.default_rng(0)
        parameters, optimizer = start(rng, np.float32), make(name, lazy=lazy)
        for _ in range(5):
            optimizer.step(parameters, gradients_with_zeros(rng, parameters, share=0.7))
        return parameters | optimizer.state

    whole = trained()
    monkeypatch.setattr(optimizers, "SLAB", slab)
    assert_same(trained(), whole)


def test_takes_single_numbers_and_arrays_of_three_axes():
    for lazy in (False, True):
        w = {"t": np.array(1.0), "K": np.ones((2, 3, 4)), "none": np.ones((0, 3))}
        g = {name: np.ones_like(a) for name, a in w.items()}
        g["K"][1] = g["K"][:, 2] = 0
        optimizer = SGD(0.5, momentum=1.0, lazy=lazy)
        for _ in range(2):
            optimizer.step(w, g)
        assert w["t"] == -0.5
        np.testing.assert_array_equal(w["K"], 1 - 1.5 * g["K"])


# The memory.


@pytest.mark.parametrize("known", ["new", "used"])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_goes_on_bit_for_bit_from_a_saved_state(name, lazy, known):
    rng = np.random.default_rng(0)
    parameters, optimizer = start(rng), make(name, lazy=lazy)
    for _ in range(4):
        optimizer.step(parameters, sparse_gradients(rng, parameters))
    saved, state, draws = copies(parameters), optimizer.state, rng.bit_generator.state
    assert state["steps"] == 4
    assert state["steps"].shape == ()
    assert state["steps"].dtype == np.int64
    kept = copies(state)

    def three_more(optimizer, parameters):
        rng.bit_generator.state = draws
        for _ in range(3):
            optimizer.step(parameters, sparse_gradients(rng, parameters))
        return parameters | optimizer.state

    uninterrupted = three_more(optimizer, parameters)
    assert_same(state, kept)  # it is no view of the living memory
    other = make(name, lazy=lazy)
    if known == "used":
        other.step(copies(saved), gradients_with_zeros(rng, saved))
    other.load_state(state)
    assert_same(three_more(other, saved), uninterrupted)
    assert_same(state, kept)


def test_names_what_it_remembers():
    w = {"W": np.ones((2, 3)), "a/b": np.ones(3)}
    slots = {Adam(): "mv", SGD(0.1): ["velocity"], RMSprop(): "v", AdaGrad(): ["accumulator"]}
    for optimizer, names in slots.items():
        assert optimizer.state == {"steps": 0}
        optimizer.step(w, w)
        shapes = {key: a.shape for key, a in optimizer.state.items()}
        named = {f"{slot}/{name}": a.shape for slot in names for name, a in w.items()}
        assert shapes == {"steps": ()} | named
        fresh = type(optimizer)(0.1)
        fresh.load_state(optimizer.state)
        assert_same(fresh.state, optimizer.state)


@pytest.mark.parametrize("used", [False, True])
def test_refuses_a_state_that_is_not_its_own(used):
    def adam():
        optimizer = Adam()
        optimizer.step({"W": np.ones((2, 3))}, {"W": np.ones((2, 3))})
        return optimizer

    optimizer = adam() if used else Adam()
    before = optimizer.state
    good = adam().state
    wrong = {
        "m/W is missing": {key: a for key, a in good.items() if key != "m/W"},
        "steps is missing": {key: a for key, a in good.items() if key != "steps"},
        r"u/W is \(2, 3\), expected no such name": good | {"u/W": np.ones((2, 3))},
        r"other is \(1,\), expected no such name": good | {"other": np.ones(1)},
        r"m/W is \(3, 2\), expected \(2, 3\)": good | {"m/W": np.ones((3, 2))},
        r"steps is \(1,\), expected \(\)": good | {"steps": np.ones(1, int)},
    }
    for message, state in wrong.items():
        with pytest.raises(ValueError, match=f"no state of this optimizer: .*{message}"):
            optimizer.load_state(state)
        assert_same(optimizer.state, before)
    consistent = {
        "m/W is missing": {"steps": good["steps"]},
        r"m/W is \(3, 2\), expected \(2, 3\)": good
        | dict.fromkeys(["m/W", "v/W"], np.ones((3, 2))),
        "m/c is .* no such name": good | dict.fromkeys(["m/c", "v/c"], np.ones(1)),
    }
    for message, state in consistent.items() if used else ():  # wrong only beside the memory
        with pytest.raises(ValueError, match=message):
            optimizer.load_state(state)
        assert_same(optimizer.state, before)
    with pytest.raises(ValueError, match="velocity/W is missing"):
        SGD(0.1).load_state(good)
    optimizer.load_state(good)
    assert_same(optimizer.state, good)


def test_a_step_that_does_not_fit_is_refused_before_anything_changes():
    w = {"W": np.ones((2, 3)), "b": np.ones(3)}
    optimizer = Adam()
    with pytest.raises(ValueError, match=r"gradients do not fit .*: W is \(3,\), expected \(2, 3"):
        optimizer.step(w, {"W": np.ones(3), "b": np.ones(3)})
    with pytest.raises(ValueError, match=r"b is missing, expected \(3,\)"):
        optimizer.step(w, {"W": np.ones((2, 3))})
    assert optimizer.state == {"steps": 0}

    optimizer.step(w, w)
    before, kept = optimizer.state, copies(w)
    with pytest.raises(ValueError, match=r"other parameters; .*: m/c is missing, expected \(1,\)"):
        optimizer.step(w | {"c": np.ones(1)}, w | {"c": np.ones(1)})
    with pytest.raises(ValueError, match=r"m/b is \(3,\), expected \(4,\)"):
        optimizer.step(w | {"b": np.ones(4)}, w | {"b": np.ones(4)})
    assert_same(optimizer.state, before)
    assert_same(w, kept)

    # A state read before the first step meets the parameters there.
    other = Adam()
    other.load_state(before)
    with pytest.raises(ValueError, match=r"m/W0 is missing, expected \(2, 3\)"):
        other.step({"W0": w["W"]}, {"W0": w["W"]})


def test_parameters_may_be_frozen_and_thawed():
    w = {"W": np.ones((2, 3)), "b": np.ones(3)}
    optimizer = Adam()
    optimizer.step(w, copies(w))
    kept = optimizer.state
    optimizer.step({"W": w["W"]}, copies(w))
    for key in ("m/b", "v/b"):
        np.testing.assert_array_equal(optimizer.state[key], kept[key])
    assert (optimizer.state["m/W"] != kept["m/W"]).all()
    optimizer.step(w, copies(w))


@pytest.mark.parametrize("dead", [[1, 4], np.arange(7) == 3], ids=["numbers", "mask"])
@pytest.mark.parametrize("name", RULES)
def test_forgets_exactly_what_it_is_told_to(name, dead):
    rng = np.random.default_rng(0)
    parameters, optimizer = start(rng), make(name)
    optimizer.forget("W_enc", np.s_[:, dead])  # nothing to forget yet
    for _ in range(3):
        optimizer.step(parameters, gradients_with_zeros(rng, parameters, share=0))
    before, kept = optimizer.state, copies(parameters)
    beginning = acc if name == "adagrad" else 0.0
    assert all((a != beginning).all() for a in before.values())

    optimizer.forget("W_enc", np.s_[:, dead])
    optimizer.forget("W_dec", dead)
    optimizer.forget("b_enc", dead)
    forgotten = {name: np.zeros(shape, bool) for name, shape in SHAPES.items()}
    forgotten["W_enc"][:, dead] = forgotten["W_dec"][dead] = forgotten["b_enc"][dead] = True
    for key, a in optimizer.state.items():
        expected = before[key]
        if key != "steps":
            expected = np.where(forgotten[key.partition("/")[2]], beginning, expected)
        np.testing.assert_array_equal(a, expected)
    assert_same(parameters, kept)
    with pytest.raises(KeyError, match="W_end"):
        optimizer.forget("W_end", dead)


def test_after_forgetting_adam_takes_steps_of_six_learning_rates():
    w, optimizer = np.zeros(2), Adam(0.01)
    after_long = {"m/w": np.ones(2), "v/w": np.ones(2), "steps": np.array(10**6)}
    optimizer.load_state(after_long)
    optimizer.forget("w", 1)
    path = [w.copy()]
    for _ in range(100):
        optimizer.step({"w": w}, {"w": np.ones(2)})
        path.append(w.copy())
    longest = -np.diff(path, axis=0).min(axis=0)
    t = np.arange(1, 101)
    expected = ((1 - 0.9**t) / np.sqrt(1 - 0.999**t)).max()
    assert 6 < expected < 7
    np.testing.assert_allclose(longest, [0.01, 0.01 * expected], rtol=1e-5)


# Lazy.


def reached(g):
    """Which entries a lazy step reaches: their row and their column hold a number that is not 0."""
    found = np.zeros(g.shape, bool)
    for i in np.ndindex(g.shape):
        across = [g[i]] if g.ndim == 1 else [max(abs(g[i[0], :])), max(abs(g[:, i[1]]))]
        found[i] = all(across)
    return found


def lazy_keras_step(keras, name, steps, w, g, memory):
    """What Keras makes of the reached entries alone; `memory` is in the order of its variables."""
    where = reached(g)
    if where.any():
        theirs, variable = make_keras(keras, name), keras.Variable(w[where], dtype="float64")
        theirs.build([variable])
        theirs.iterations.assign(steps)
        slots = theirs.variables[2:]  # after the count of steps and the learning rate
        for slot, a in zip(slots, memory, strict=True):
            slot.assign(a[where])
        keras_step(keras, theirs, [g[where]], [variable])
        w[where] = variable.numpy()
        for slot, a in zip(slots, memory, strict=True):
            a[where] = slot.numpy()


@pytest.mark.parametrize("name", RULES)
def test_lazy_is_keras_on_the_reached_entries_alone(name, keras):
    rng = np.random.default_rng(1)
    parameters, optimizer = start(rng), make(name, lazy=True)
    assert optimizer.lazy
    expected = copies(parameters)
    # Keras remembers nothing for plain descent.
    slots = [] if name == "sgd" else optimizer.slots
    beginning = acc if name == "adagrad" else 0.0
    memory = {key: [np.full(w.shape, beginning) for _ in slots] for key, w in expected.items()}
    for steps in range(30):
        gradients = sparse_gradients(rng, parameters)
        optimizer.step(parameters, gradients)
        for key, w in expected.items():
            lazy_keras_step(keras, name, steps, w, gradients[key], memory[key])
            np.testing.assert_allclose(parameters[key], w, rtol=1e-12, atol=1e-12)
            for slot, a in zip(slots, memory[key], strict=True):
                remembered = optimizer.state[f"{slot}/{key}"]
                np.testing.assert_allclose(remembered, a, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", RULES)
def test_lazy_leaves_alone_what_is_not_reached(name):
    rng = np.random.default_rng(2)
    parameters, optimizer = start(rng, np.float32), make(name, lazy=True)
    optimizer.step(parameters, gradients_with_zeros(rng, parameters, share=0))
    for _ in range(20):
        before = copies(parameters | optimizer.state)
        gradients = sparse_gradients(rng, parameters)
        optimizer.step(parameters, gradients)
        after = parameters | optimizer.state
        for key, a in after.items():
            if key != "steps":
                g = gradients[key.rpartition("/")[2]]
                np.testing.assert_array_equal(a[~reached(g)], before[key][~reached(g)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", RULES)
def test_with_dense_gradients_lazy_is_the_same_to_the_bit(name, dtype):
    rng = np.random.default_rng(3)
    parameters, lazy, eager = start(rng, dtype), make(name, lazy=True), make(name)
    other = copies(parameters)
    for _ in range(20):
        # A zero here and there is no zero row or column.
        gradients = gradients_with_zeros(rng, parameters, share=0)
        gradients["W_enc"][2, 3] = gradients["W_dec"][0, 0] = 0
        lazy.step(parameters, gradients)
        eager.step(other, gradients)
    assert_same(parameters | lazy.state, other | eager.state)


@pytest.mark.parametrize("name", RULES)
def test_only_rules_without_fading_memory_are_the_same_lazy_or_not(name):
    rng = np.random.default_rng(4)
    parameters, lazy, eager = start(rng), make(name, lazy=True), make(name)
    other = copies(parameters)
    for _ in range(10):
        gradients = sparse_gradients(rng, parameters)
        lazy.step(parameters, gradients)
        eager.step(other, gradients)
    same = all(np.array_equal(parameters[key], other[key]) for key in other)
    assert same == (name in ("sgd", "adagrad"))


def laid_out(w, how):
    """The same numbers elsewhere in memory: by rows, by columns, or with gaps."""
    if how == "gaps":
        wide = np.zeros(tuple(2 * size for size in w.shape), w.dtype)
        view = wide[tuple(slice(None, None, 2) for _ in w.shape)]
        view[...] = w
        return view
    return np.array(w, order=how)


@pytest.mark.parametrize(("weights", "slopes"), list(product(["C", "F", "gaps"], repeat=2)))
@pytest.mark.parametrize("lazy", [False, True])
def test_the_layout_in_memory_changes_no_bit(lazy, weights, slopes):
    rng = np.random.default_rng(5)
    parameters = start(rng)
    other = {name: laid_out(w, weights) for name, w in parameters.items()}
    plain, moved = Adam(lazy=lazy), Adam(lazy=lazy)
    for step in range(12):
        if step == 6:
            renewed = Adam(lazy=lazy)
            renewed.load_state(moved.state)
            moved = renewed
        gradients = sparse_gradients(rng, parameters)
        plain.step(parameters, gradients)
        moved.step(other, {name: laid_out(g, slopes) for name, g in gradients.items()})
        for name, w in other.items():  # the memory lies as its parameter does: that is faster
            assert weights == "gaps" or moved.memory[f"m/{name}"].strides == w.strides
    assert_same(parameters | plain.state, other | moved.state)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_lazy_is_eager_where_reached_and_still_elsewhere(seed, rows, columns):
    rng = np.random.default_rng(seed)
    shapes = {"W": (rows, columns), "b": (columns,)}
    parameters, optimizer = start(rng, shapes=shapes), Adam()
    optimizer.step(parameters, gradients_with_zeros(rng, parameters, share=0))
    g = gradients_with_zeros(rng, parameters, share=rng.random())
    g["W"] *= np.outer(rng.random(rows) < 0.6, rng.random(columns) < 0.6)

    def after_one_step(lazy):
        other, w = Adam(lazy=lazy), copies(parameters)
        other.load_state(optimizer.state)
        other.step(w, copies(g))
        return w | other.state

    before = parameters | optimizer.state
    eager, lazy = after_one_step(False), after_one_step(True)
    for key in lazy:
        if key != "steps":
            where = reached(g[key.rpartition("/")[2]])
            np.testing.assert_array_equal(lazy[key], np.where(where, eager[key], before[key]))


@pytest.mark.parametrize("name", RULES)
def test_gradients_are_only_read(name):
    for lazy in (False, True):
        w, g = np.ones((3, 4)), np.ones((3, 4))
        g[1] = g[:, 2] = 0
        g.flags.writeable = False
        make(name, lazy=lazy).step({"w": w}, {"w": g})


def test_a_gradient_that_is_no_number_is_not_taken_for_zero():
    w = np.ones((2, 2))
    Adam(lazy=True).step({"w": w}, {"w": np.array([[np.nan, 0], [0, 0]])})
    assert np.isnan(w[0, 0])
    assert (w.ravel()[1:] == 1).all()
