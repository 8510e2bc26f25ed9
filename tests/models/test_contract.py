"""What works for one model works for all: the contract, once, over every model and selector."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest

import ksae_lab
from ksae_lab import (
    Adam,
    BatchTopK,
    Coder,
    DeadUnitMonitor,
    Dense,
    Foldiak,
    JumpReLU,
    KrotovHopfield,
    KSparse,
    KSparseAutoencoder,
    MatchingPursuitAutoencoder,
    Model,
    Module,
    Network,
    PrefixTopK,
    Relaxation,
    Scaled,
    Scaling,
    SparseCoding,
    SparseDream,
    TopK,
    TwoStepEncoder,
    check_gradients,
    evaluate,
    load_model,
    save_model,
)
from ksae_lab.book import diagrams

D, N, K = 121, 8, 3  # SSIM asks for images of 11 x 11 pixels
OPTIONS = {"dtype": np.float64}


def images(samples=40, seed=0, d=D):
    """Sums of a few patterns, and a little noise."""
    rng = np.random.default_rng(seed)
    patterns = rng.uniform(size=(6, d)) * (rng.random((6, d)) < 0.3)
    weights = rng.uniform(0, 0.6, size=(samples, 6)) * (rng.random((samples, 6)) < 0.5)
    return np.clip(weights @ patterns + 0.02 * rng.random((samples, d)), 0, 1)


def k_sparse(k=K, d=D, **options):
    rng = np.random.default_rng(1)
    model = KSparseAutoencoder(d, N, k, rng=rng, **OPTIONS, **options)
    model.init_from_data(images(d=d), rng)
    model.b_enc += 0.05 * rng.normal(size=N)
    return model


def network(d):
    rng = np.random.default_rng(1)
    layers = [KSparse(d, N, K, "relu", rng=rng, **OPTIONS), Dense(N, d, rng=rng, **OPTIONS)]
    return Network(layers)


def dream(d):
    return SparseDream(
        d, N, sparsity=0.1, images=images(d=d), rng=np.random.default_rng(1), **OPTIONS
    )


def matching_pursuit(d):
    model = MatchingPursuitAutoencoder(d, N, K, rng=np.random.default_rng(1), **OPTIONS)
    model.init_from_data(images(d=d), np.random.default_rng(2))
    return model


def sparse_coding(d):
    model = SparseCoding(d, N, 0.1, steps=1000, rng=np.random.default_rng(1), **OPTIONS)
    model.init_from_data(images(d=d), np.random.default_rng(2))
    return model


SELECTORS = {
    "k": K,
    "by magnitude": TopK(K, by="magnitude"),
    "prefix": PrefixTopK(K, 5),
    "batch": BatchTopK(K),
    "JumpReLU": JumpReLU(0.1, 0.5),
    **{
        name: Relaxation(name, K, 0.5, rng=np.random.default_rng(3))
        for name in ksae_lab.nn.relaxations.RELAXATIONS
    },
}
CODERS = {
    **{f"k-sparse, {name}": lambda d, k=k: k_sparse(k, d) for name, k in SELECTORS.items()},
    "tied": lambda d: k_sparse(d=d, tied=True, unit_norm=False),
    "network": network,
    "two steps": lambda d: TwoStepEncoder(k_sparse(d=d)),
    "dream": dream,
    "matching pursuit": matching_pursuit,
    "sparse coding": sparse_coding,
    "scaled": lambda d: Scaled(k_sparse(d=d), Scaling.fitted("standardise", [images(d=d)])),
}
# These learn by rules of their own, and have no decoder.
OTHERS = {
    "Földiák": lambda d: Foldiak(d, N, 1 / 8, rng=np.random.default_rng(1), **OPTIONS),
    "Krotov–Hopfield": lambda d: KrotovHopfield(d, N, rng=np.random.default_rng(1), **OPTIONS),
}
# Their loss jumps or draws, and their gradient is another one on purpose.
WITHOUT_SLOPES = {"k-sparse, straight_through", "k-sparse, perturbed", "k-sparse, gumbel_subset"}

each_coder = pytest.mark.parametrize("kind", CODERS)
each_module = pytest.mark.parametrize("kind", CODERS | OTHERS)


def build(kind, d=D):
    return (CODERS | OTHERS)[kind](d)


def options(epochs=1, seed=0):
    rng = np.random.default_rng(seed)
    return {"optimizer": Adam(0.01), "epochs": epochs, "batch_size": 10, "rng": rng}


def bits(module):
    return {name: (w.dtype, w.shape, w.tobytes()) for name, w in module.state.items()}


@each_coder
def test_fit_lowers_the_loss_and_validates(kind):
    model, x = build(kind), images()
    history = model.fit(x, **options(epochs=15), validation=(images(seed=1),))
    assert history.training[-1] < history.training[0]
    assert len(history.validation) == 15 and np.isfinite(history.validation).all()


@pytest.mark.parametrize("kind", sorted(CODERS.keys() - WITHOUT_SLOPES))
def test_gradients_agree_with_central_differences(kind):
    d = 9  # each of its numbers is nudged twice
    model, x = build(kind, d), images(4, seed=2, d=d)
    if "k-sparse" in kind and model.selector.__class__ is Relaxation:
        model.masks = lambda *batch: []  # soft: nothing jumps
    # The slope of a learned threshold is made up; tests/nn/test_selectors.py has its formula.
    names = [name for name in model.parameters if name != "log_threshold"]
    result = check_gradients(model, x, names=names)
    assert result.checked > 0.9 * sum(model.parameters[name].size for name in names)
    assert result.relative_error < 1e-6


@each_coder
def test_the_forward_pass_is_handed_out(kind):
    model, x = build(kind), images(5)
    loss, gradients, forward = model.forward_backward(x)
    assert {name: g.shape for name, g in gradients.items()} == {
        name: w.shape for name, w in model.parameters.items()
    }
    own = model.scaling.apply(x) if kind == "scaled" else x
    np.testing.assert_array_equal(forward.x, own)
    assert forward.x_hat.shape == x.shape and forward.z.shape == forward.h.shape == (5, N)
    assert np.isfinite(loss)
    assert not hasattr(model, "latest")


@each_coder
def test_dead_units_are_counted_in_every_model(kind):
    model, x = build(kind), images()
    monitor = DeadUnitMonitor(N, after=1)
    model.fit(x, **options(), callbacks=[monitor])
    assert (monitor.silent <= len(x)).all() and (monitor.silent < len(x)).any()


@each_coder
def test_evaluate_answers_and_diagrams_are_drawn(kind):
    model, x = build(kind), images()
    result = evaluate(model, x)
    assert result["units"] == N and result["images"] == len(x)
    assert result["mse"] == pytest.approx(model.error(x))
    assert model.stages[0].size == model.stages[-1].size == D
    diagrams.architecture(model)
    diagrams.one_step(model, x)
    diagrams.code_pattern(model.encode(x))


def test_training_lets_a_model_note_what_it_saw():
    model = build("k-sparse, batch")
    model.fit(images(), **options())
    assert float(model.selector.threshold) > 0


@each_module
def test_saved_and_loaded_it_is_the_same_bit_for_bit(kind, tmp_path):
    model = build(kind)
    if kind in CODERS:
        model.fit(images(), **options())
    save_model(model, tmp_path / "model.json", note="mine")
    loaded = load_model(tmp_path / "model.json")
    assert type(loaded) is type(model) and repr(loaded) == repr(model)
    assert bits(loaded) == bits(model)
    assert output(loaded).tobytes() == output(model).tobytes()


@each_module
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "joblib"])
def test_copies_are_equal_and_share_nothing(kind, way):
    model = build(kind)
    if kind in CODERS:
        model.fit(images(), **options())
    twin = COPIES[way](model)
    assert repr(twin) == repr(model) and bits(twin) == bits(model)
    assert output(twin).tobytes() == output(model).tobytes()
    if kind in CODERS:
        # A copy learns what the original would have learned: tied stays tied.
        for each in (model, twin):
            each.fit(images(), **options(seed=5))
        assert bits(twin) == bits(model)
    before = bits(model)
    for w in twin.state.values():
        w += 1
    assert bits(model) == before


@each_module
def test_the_representation_names_sizes_and_k(kind):
    text = repr(build(kind))
    assert "121" in text and "8" in text, text
    if kind in CODERS and hasattr(build(kind), "k"):
        assert f"k={K}" in text, text


@each_module
def test_every_model_is_of_the_contract(kind):
    model = build(kind)
    assert isinstance(model, Module)
    assert isinstance(model, Coder) == isinstance(model, Model) == (kind in CODERS)
    assert getattr(ksae_lab, type(model).__name__) is type(model), "so that it can be loaded"


def test_every_model_of_the_package_is_here():
    rooms = {type(build(kind)) for kind in CODERS | OTHERS}
    found = {
        thing
        for name in ksae_lab.__all__
        if isinstance(thing := getattr(ksae_lab, name), type) and issubclass(thing, Module)
    }
    models = {thing for thing in found if thing.__module__.startswith("ksae_lab.models.")}
    assert models - {Coder} == rooms


@each_module
def test_what_has_no_decoder_is_refused_where_one_is_needed(kind):
    if kind in OTHERS:
        with pytest.raises(ValueError, match="does not reconstruct images"):
            evaluate(build(kind), images())


def output(model):
    x = images(7, seed=3)
    if isinstance(model, Coder):
        return model.reconstruct(x)
    return model.encode(x, K) if isinstance(model, KrotovHopfield) else model.encode(x)


def through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "joblib": through_joblib,
}
