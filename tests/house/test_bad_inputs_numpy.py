"""What a user may get wrong with the NumPy API, and the sentence each mistake is answered with.

Every case must raise the error that is named, in words of this package: what NumPy, SciPy or
scikit-learn say of an array somewhere inside helps nobody, and a number helps even less.
"""

import datetime
import re
import traceback
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import ksae_lab
from ksae_lab import (
    L0,
    L1,
    SGD,
    AdaGrad,
    Adam,
    AuxK,
    BatchTopK,
    DeadUnitMonitor,
    DeCov,
    Dense,
    Foldiak,
    Freeze,
    InputNoise,
    JumpReLU,
    KrotovHopfield,
    KSparse,
    KSparseAutoencoder,
    Network,
    PixelShifts,
    PrefixTopK,
    Relaxation,
    ResetDeadUnits,
    ReviveDead,
    RMSprop,
    Scheduled,
    SparseCoding,
    SparseDream,
    TopK,
    Trainer,
    TwoStepEncoder,
    check_gradients,
    evaluate,
    mse,
    prune,
    pursuit,
    quantise_weights,
    refit,
    save_model,
    top_k_mask,
)
from ksae_lab.evaluation import code_length, metrics, probe, statistics
from ksae_lab.inference import iterative
from ksae_lab.models.foldiak import bar_patterns, bars
from ksae_lab.models.sparse_dream_2020 import gradients_2020, update_2020
from ksae_lab.nn import activations, penalties, relaxations
from ksae_lab.nn.losses import mse_gradient
from ksae_lab.nn.module import ForwardPass
from ksae_lab.training import schedules
from ksae_lab.training.dead_units import restart_dead

D, N, K = 6, 4, 2
HERE = str(Path(ksae_lab.__file__).parent)


def images(rows=8, d=D):
    return np.random.default_rng(0).uniform(size=(rows, d)).astype(np.float32)


X, Z, BIG = images(), images(d=N), images(d=121)
W = images(N)


def sparse(**options):
    return KSparseAutoencoder(D, N, K, **{"rng": 0} | options)


def dream(**options):
    return SparseDream(D, N, **{"init": "as_found", "rng": 0} | options)


def coding(**options):
    return SparseCoding(D, N, **{"sparsity": 0.1, "rng": 0} | options)


def foldiak(**options):
    return Foldiak(D, N, **{"p": 0.1, "rng": 0} | options)


def krotov(**options):
    return KrotovHopfield(D, N, **{"rng": 0} | options)


def layer(**options):
    return Dense(D, N, **{"rng": 0} | options)


def network():
    return Network([KSparse(D, N, K, rng=0), Dense(N, D, rng=0)])


def fit(x=X, target=None, **options):
    return sparse().fit(x, target, **{"optimizer": Adam(), "epochs": 2, "quiet": True} | options)


def partial_fit(x=X, **options):
    return sparse().partial_fit(x, **options)


def step(learning_rate=0.1, **parameters):
    optimizer = Adam()
    optimizer.learning_rate = learning_rate
    return optimizer.step(parameters, {"w": np.ones(3)})


class Empty:
    """Starts again for each epoch, and has nothing in it."""

    def __iter__(self):
        return iter(())


def holding(value):
    """Images of which one number, in row 3, is `value`."""
    x = X.copy()
    x[3, 1] = value
    return x


def nothing(x):
    return ForwardPass(x, x, x, x, x)


# What is no array of real numbers, wherever one is expected.
NO_NUMBERS = {
    "None": (None, TypeError, "None; give real numbers"),
    "text": ("images.npy", TypeError, "give real numbers"),
    "a list of texts": ([["a", "b"]], TypeError, "give real numbers"),
    "numbers as texts": ([["0.1", "0.2"]], TypeError, "give real numbers"),
    "bytes": (b"\x00\x01", TypeError, "give real numbers"),
    "a dictionary": ({"x": [0.1]}, TypeError, "give real numbers"),
    "a function": (len, TypeError, "give real numbers"),
    "complex numbers": (X * 1j, TypeError, "complex64; give real numbers"),
    "dates": (np.array([["2026-01-01"]], "M8[D]"), TypeError, "give real numbers"),
    "a structure": (np.zeros(3, [("a", float)]), TypeError, "give real numbers"),
    "objects": (np.array([[1.0, None]], object), TypeError, "is None; give real numbers"),
    "more objects": (np.array([[datetime.date(2026, 1, 1)]]), TypeError, "give real numbers"),
    "enormous integers": ([[10**400, 1]], ValueError, "too large for a float"),
    "a data frame of texts": (pd.DataFrame({"a": ["x"]}), TypeError, "give real numbers"),
    "a missing value": (pd.DataFrame({"a": [1, pd.NA]}), TypeError, "NA.*give real numbers"),
    "ragged rows": ([[0.1, 0.2], [0.3]], ValueError, "No array can be made of"),
    "a sparse matrix": (scipy.sparse.csr_matrix(X), TypeError, "sparse matrix; give a dense"),
    "masked numbers": (np.ma.masked_less(X, 0.5), ValueError, "are masked; fill them first"),
    "NaN": (holding(np.nan), ValueError, "hold NaN or infinity, first in row 3; mend"),
    "infinity": (holding(np.inf), ValueError, "hold NaN or infinity, first in row 3; mend"),
    "NaN in half precision": (holding(np.nan).astype(np.float16), ValueError, "first in row 3"),
}

# Whatever takes arrays, with one of them left open.
TAKE_ARRAYS = {
    "squared_errors": lambda x: metrics.squared_errors(x, x),
    "psnr": metrics.psnr,
    "fvu": lambda x: metrics.fvu(x, X),
    "ssim": lambda x: metrics.ssim(x, BIG),
    "ssim's second": lambda x: metrics.ssim(BIG, x),
    "active_units": metrics.active_units,
    "selection_counts": metrics.selection_counts,
    "dead_units": metrics.dead_units,
    "feature_density": metrics.feature_density,
    "selection_entropy": metrics.selection_entropy,
    "evaluate": lambda x: evaluate(sparse(), x),
    "quantise": lambda x: code_length.quantise(x, 0.1),
    "support_bits": lambda x: code_length.support_bits(x, Z),
    "value_bits": lambda x: code_length.value_bits(x, Z),
    "interval_half_width": statistics.interval_half_width,
    "holm": statistics.holm,
    "a probe's codes": lambda x: probe.fitted((x, np.arange(8) % 2), C=1),
    "objective": lambda x: iterative.objective(x, Z, W, 0.1),
    "ista": lambda x: next(iterative.ista(x, W, 0.1)),
    "fista's dictionary": lambda x: next(iterative.fista(X, x, 0.1)),
    "lca": lambda x: next(iterative.lca(x, W, 0.1)),
    "gradient_descent": lambda x: next(iterative.gradient_descent(x, W, 0.1)),
    "pursuit": lambda x: next(pursuit(x, W, K)),
    "pursuit's start": lambda x: next(pursuit(X, W, K, start=x)),
    "refit": lambda x: refit(x, W, Z > 0.5),
    "KSparseAutoencoder.encode": lambda x: sparse().encode(x),
    "KSparseAutoencoder.loss": lambda x: sparse().loss(x),
    "KSparseAutoencoder.init_from_data": lambda x: sparse().init_from_data(x, 0),
    "JumpReLU": lambda x: KSparseAutoencoder(D, N, JumpReLU(), rng=0).reconstruct(x),
    "Network.predict": lambda x: network().predict(x),
    "Network.loss": lambda x: network().loss(x),
    "TwoStepEncoder": lambda x: TwoStepEncoder(sparse()).encode(x),
    "SparseDream.encode": lambda x: dream().encode(x),
    "SparseDream's images": lambda x: dream(init="repaired", images=x),
    "SparseDream in 2020": lambda x: gradients_2020(dream(), x),
    "SparseCoding.encode": lambda x: coding().encode(x),
    "SparseCoding.init_from_data": lambda x: coding().init_from_data(x, 0),
    "Foldiak.learn": lambda x: foldiak().learn(x),
    "KrotovHopfield.learn": lambda x: krotov().learn(x, 0.1),
    "fit": lambda x: fit(x),
    "fit's validation": lambda x: fit(validation=(x,)),
    "a batch of fit": lambda x: fit(iter([x]), epochs=1),
    "partial_fit": lambda x: partial_fit(x, optimizer=Adam()),
    "restart_dead": lambda x: restart_dead(np.ones(N, bool), x, X.T, X, np.zeros(N), 0),
}
NONE_MEANS_NONE = ("pursuit's start", "SparseDream's images")

# These let NaN through: it is what a loss shows of a step that was too large.
LET_NAN_THROUGH = {
    "mse": lambda x: mse(x, x),
    "mse_gradient": lambda x: mse_gradient(x, X),
    "decode": lambda x: sparse().decode(x),
    "an activation": activations.get("gelu"),
    "an activation's slope": activations.get("gelu").derivative,
    "a penalty": penalties.get("log"),
    "soft_threshold": lambda x: iterative.soft_threshold(x, 0.1),
    "Dense": lambda x: layer().encode(x),
}

SETTINGS = [
    # models
    (lambda: sparse(tied="no"), TypeError, "tied is 'no'; give True or False"),
    (lambda: sparse(unit_norm=1), TypeError, "unit_norm is 1; give True or False"),
    (lambda: sparse(dtype=int), ValueError, "dtype is int64; choose float16, float32 or float64"),
    (lambda: sparse(dtype=complex), ValueError, "dtype is complex128"),
    (lambda: sparse(dtype="floaty"), ValueError, "dtype is 'floaty'"),
    (lambda: sparse(dtype=None), ValueError, "choose float16"),
    (lambda: sparse(rng="zero"), TypeError, "rng is 'zero'; give a seed"),
    (lambda: sparse(rng=-1), TypeError, "rng is -1; give a seed"),
    (lambda: sparse(rng=1.5), TypeError, "rng is 1.5; give a seed"),
    (lambda: sparse(rng=True), TypeError, "rng is True; give a seed"),
    (lambda: sparse(rng=np.random), TypeError, "give a seed"),
    (lambda: sparse(activation="rleu"), ValueError, "choose from linear"),
    (lambda: sparse(auxiliary_losses=0.1), TypeError, "Among the auxiliary_losses is 0.1"),
    (lambda: KSparseAutoencoder(0, N, 0, rng=0), ValueError, "n_pixels is 0; give an integer of 1"),
    (lambda: KSparseAutoencoder(D, 0, 0, rng=0), ValueError, "n_units is 0"),
    (lambda: KSparseAutoencoder(D, -3, K, rng=0), ValueError, "n_units is -3"),
    (lambda: KSparseAutoencoder(D, 4.0, K, rng=0), TypeError, "n_units is 4.0, not an integer"),
    (lambda: KSparseAutoencoder("6", N, K, rng=0), TypeError, "n_pixels is '6', not an integer"),
    (lambda: KSparseAutoencoder(D, N, 5, rng=0), ValueError, "k = 5, but a row has 4"),
    (lambda: KSparseAutoencoder(D, N, 1.5, rng=0), TypeError, "k is 1.5, not an integer"),
    (lambda: KSparseAutoencoder(D, N, True, rng=0), TypeError, "k is True, not an integer"),
    (lambda: KSparseAutoencoder(D, N, None, rng=0), TypeError, "k is None, not an integer"),
    (lambda: KSparseAutoencoder(D, N, TopK(K, by="size"), rng=0), ValueError, "by is 'size'"),
    (lambda: sparse().init_from_data(X[:0], 0), ValueError, "There are 0 images; give 1 or more"),
    (lambda: sparse().init_from_data(X, 0, noise=-1), ValueError, "noise is -1"),
    (lambda: sparse().init_from_data(X, "a"), TypeError, "rng is 'a'"),
    (lambda: sparse().encode(X[:, :-1]), ValueError, r"shape \(8, 5\); expected \(batch, 6\)"),
    (lambda: sparse().encode(X[0]), ValueError, r"shape \(6,\); expected \(batch, 6\)"),
    (lambda: sparse().encode(X[:, 0]), ValueError, r"shape \(8,\); expected \(batch, 6\)"),
    (lambda: sparse().encode(X[None]), ValueError, r"\(1, 8, 6\); expected \(batch, 6\)"),
    (lambda: sparse().encode(0.5), ValueError, r"shape \(\); expected"),
    (lambda: sparse().decode(Z[:, :-1]), ValueError, r"The codes have shape \(8, 3\)"),
    (lambda: sparse().loss(X, X[:-1]), ValueError, r"outputs have shape \(8, 6\), the targets \(7"),
    (lambda: sparse().loss(X[:0]), ValueError, "nothing to compare"),
    (lambda: layer(dtype=bool), ValueError, "dtype is bool"),
    (lambda: Dense(0, N, rng=0), ValueError, "n_in is 0"),
    (lambda: Dense(D, 2.5, rng=0), TypeError, "n_out is 2.5"),
    (lambda: Network([]), ValueError, "without layers"),
    (lambda: Network([Dense]), TypeError, "Among the layers is .*; give one Dense"),
    (lambda: Network([layer(), layer()]), ValueError, "Make the two sizes equal"),
    (lambda: network().decode(X), ValueError, r"The codes have shape \(8, 6\)"),
    (lambda: TwoStepEncoder(network()), TypeError, "A Network is given"),
    (lambda: TwoStepEncoder(sparse()).encode(X[:, :1]), ValueError, r"\(8, 1\); expected"),
    (lambda: dream(sparsity=-1), ValueError, "sparsity is -1; give a finite number of 0 or more"),
    (lambda: dream(sparsity=np.nan), ValueError, "sparsity is nan"),
    (lambda: dream(norm_weight="1"), TypeError, "norm_weight is '1', not a number"),
    (lambda: dream(inhibition=np.inf), ValueError, "inhibition is inf"),
    (lambda: dream(init="repaired"), ValueError, "was given none; pass the training images"),
    (lambda: dream(init="random"), ValueError, "no init 'random'"),
    (lambda: dream(penalty="l0"), ValueError, "no penalty 'l0'"),
    (lambda: dream(dtype=int), ValueError, "dtype is int64"),
    (lambda: dream().loss(X, X[:, :1]), ValueError, r"the targets \(8, 1\); expected the same"),
    (lambda: update_2020(dream(), X[0]), ValueError, r"shape \(6,\); expected"),
    (lambda: coding(sparsity=-0.1), ValueError, "sparsity is -0.1"),
    (lambda: coding(steps=0), ValueError, "steps is 0"),
    (lambda: coding(steps=1.5), TypeError, "steps is 1.5"),
    (lambda: coding(nonnegative="yes"), TypeError, "nonnegative is 'yes'"),
    (lambda: foldiak(p=0), ValueError, "p is 0"),
    (lambda: foldiak(p="often"), TypeError, "p is 'often', not a number"),
    (lambda: foldiak(alpha=-0.1), ValueError, "alpha is -0.1"),
    (lambda: foldiak(slope=0), ValueError, "slope is 0"),
    (lambda: bar_patterns(0), ValueError, "size is 0"),
    (lambda: bars(-1, 4, 0.1, 0), ValueError, "n_images is -1"),
    (lambda: bars(2, 4, 1.5, 0), ValueError, "p is 1.5"),
    (lambda: krotov(winners=0), ValueError, "winners is 0"),
    (lambda: krotov(winners=4), ValueError, "place 5 punished, of 4"),
    (lambda: krotov(delta=-1), ValueError, "delta is -1"),
    (lambda: krotov(p=1), ValueError, "p is 1; give more than 1"),
    (lambda: krotov().learn(X, -0.1), ValueError, "learning_rate is -0.1"),
    (lambda: krotov().learn(X, 0.1, rounds=0), ValueError, "rounds is 0"),
    (lambda: krotov().encode(X, 9), ValueError, "k = 9"),
    (lambda: prune(sparse(), 1.5), ValueError, "share is 1.5; give a number from 0 to 1"),
    (lambda: prune(sparse(), "half"), TypeError, "share is 'half', not a number"),
    (lambda: prune(dream(), 0.5), TypeError, "A SparseDream is given"),
    (lambda: quantise_weights(sparse(), 1), ValueError, "bits is 1; give an integer from 2 to 16"),
    # selectors and relaxations
    (lambda: top_k_mask(X, 2.0), TypeError, "k is 2.0, not an integer"),
    (lambda: top_k_mask(np.ma.masked_less(X, 0.5), 2), ValueError, "are masked"),
    (lambda: top_k_mask([[1.0, np.nan]], 1), ValueError, "h holds NaN"),
    (lambda: top_k_mask(X > 0.5, 1), TypeError, "bool, which has no order"),
    (lambda: sparse().selector.mask(holding(np.nan)), ValueError, "h holds NaN"),
    (lambda: JumpReLU().for_units(D).mask(holding(np.nan)), ValueError, "h holds NaN"),
    (lambda: BatchTopK(K).for_units(D).mask(holding(np.nan)), ValueError, "h holds NaN"),
    (lambda: PrefixTopK(K, 9).for_units(N), ValueError, "prefix is 9; give an integer from 1 to 4"),
    (lambda: PrefixTopK(K, 2.5).for_units(N), TypeError, "prefix is 2.5"),
    (lambda: JumpReLU(threshold=0), ValueError, "threshold is 0"),
    (lambda: JumpReLU(bandwidth=-1), ValueError, "bandwidth is -1"),
    (lambda: JumpReLU(threshold=np.nan), ValueError, "threshold is nan"),
    (lambda: Relaxation("soft", K, 1.0), ValueError, "No relaxation is called 'soft'"),
    (lambda: Relaxation("sparsemax", K, -1.0), ValueError, "temperature is -1.0"),
    (lambda: Relaxation("sparsemax", K, "hot"), TypeError, "temperature is 'hot', not a number"),
    (lambda: Relaxation("perturbed", K, 1.0, samples=1), ValueError, "samples is 1"),
    (lambda: Relaxation("perturbed", K, 1.0, rng="a"), TypeError, "rng is 'a'"),
    (lambda: relaxations.sparsemax([[1.0, 2.0]], 1, temperature=1.0), ValueError, "h is list"),
    (lambda: relaxations.entmax15(X, K, temperature=0), ValueError, "temperature is 0"),
    (lambda: activations.get("rleu"), ValueError, "choose from"),
    # auxiliary losses and dead units
    (lambda: AuxK(DeadUnitMonitor(N, 1), 1.5), TypeError, "k_aux is 1.5, not an integer"),
    (lambda: AuxK(1.5, 2), TypeError, "A float knows no dead units"),
    (lambda: AuxK(DeadUnitMonitor(N, 1), 2, weight=-1), ValueError, "weight is -1"),
    (lambda: DeCov(-1), ValueError, "weight is -1; give a finite number of 0 or more"),
    (lambda: DeCov(None), TypeError, "weight is None, not a number"),
    (lambda: DeCov(True), TypeError, "weight is True, not a number"),
    (lambda: L1(-1), ValueError, "weight is -1; give a finite number of 0 or more"),
    (lambda: L0(TopK(2), 0.1), TypeError, "no thresholds to learn"),
    (lambda: L0(JumpReLU(), -0.1), ValueError, "weight is -0.1"),
    (lambda: DeadUnitMonitor(0, 1), ValueError, "n_units is 0"),
    (lambda: DeadUnitMonitor(N, 0), ValueError, "after is 0"),
    (lambda: DeadUnitMonitor(N, 1.5), TypeError, "after is 1.5"),
    (lambda: fit(callbacks=DeadUnitMonitor(9, 1)), ValueError, "is for 9 units, the model has 4"),
    (lambda: ResetDeadUnits(3, every=1), TypeError, "The monitor is 3"),
    (lambda: ResetDeadUnits(DeadUnitMonitor(N, 1), 0), ValueError, "every is 0"),
    (lambda: ResetDeadUnits(DeadUnitMonitor(N, 1), 1, 2), ValueError, "until is 2"),
    (lambda: ReviveDead(DeadUnitMonitor(N, 1), 0), ValueError, "rate is 0"),
    (lambda: fit(callbacks=ReviveDead(DeadUnitMonitor(N, 1))), TypeError, "no lateral weights"),
    # optimizers, schedules, callbacks
    (lambda: Adam(0), ValueError, "learning_rate is 0; give a finite number above 0"),
    (lambda: Adam(-0.01), ValueError, "learning_rate is -0.01"),
    (lambda: Adam(np.nan), ValueError, "learning_rate is nan"),
    (lambda: Adam("fast"), TypeError, "learning_rate is 'fast', not a number"),
    (lambda: Adam(schedules.linear(1, 0)), TypeError, "is a function; .*Scheduled"),
    (lambda: Adam(np.ones(3)), TypeError, "not a number"),
    (lambda: Adam(beta_1=1), ValueError, "beta_1 is 1; give a number from 0 to below 1"),
    (lambda: Adam(beta_2=2), ValueError, "beta_2 is 2"),
    (lambda: Adam(epsilon=-1), ValueError, "epsilon is -1"),
    (lambda: Adam(epsilon=0), ValueError, "epsilon is 0"),
    (lambda: Adam(lazy="no"), TypeError, "lazy is 'no'"),
    (lambda: SGD(0.1, momentum=1.5), ValueError, "momentum is 1.5; give a number from 0 to 1"),
    (lambda: RMSprop(rho=-0.1), ValueError, "rho is -0.1"),
    (lambda: AdaGrad(initial_accumulator_value=-1), ValueError, "initial_accumulator_value is -1"),
    (
        lambda: step(w=np.ones(3, np.float16)),
        TypeError,
        "w is float16, in which small steps vanish",
    ),
    (lambda: step(w=np.ones(3, int)), TypeError, "w is int64"),
    (lambda: step(-0.1, w=np.ones(3)), ValueError, "learning_rate is -0.1"),
    (lambda: step(np.nan, w=np.ones(3)), ValueError, "learning_rate is nan"),
    (lambda: step(w=np.ones(2)), ValueError, "gradients do not fit"),
    (lambda: schedules.k_curriculum(5, -3), ValueError, "k is -3; give an integer of 0 or more"),
    (lambda: schedules.k_curriculum(5.5, 3), TypeError, "k_start is 5.5"),
    (lambda: schedules.k_curriculum(3, 5), ValueError, "would go up"),
    (lambda: schedules.linear(1, np.nan), ValueError, "end is nan"),
    (lambda: schedules.linear("1", 0), TypeError, "start is '1'"),
    (lambda: schedules.geometric(1, 0), ValueError, "end is 0"),
    (lambda: Scheduled(Adam(), "learning_rate", 0.1), TypeError, "schedule is 0.1"),
    (lambda: InputNoise(-0.1), ValueError, "scale is -0.1"),
    (lambda: InputNoise("much"), TypeError, "scale is 'much'"),
    (lambda: fit(X, X, callbacks=InputNoise(0.1)), ValueError, "train without a target"),
    (lambda: PixelShifts((784,)), ValueError, "give .height, width."),
    (lambda: PixelShifts((28, 0)), ValueError, "side of the image is 0"),
    (lambda: PixelShifts((28, 28), 2), ValueError, "share_moved is 2"),
    (lambda: fit(X, X, callbacks=PixelShifts((2, 3))), ValueError, "train without a target"),
    (lambda: Freeze(sparse(), "V"), ValueError, "There is no V"),
    # fit
    (lambda: fit(optimizer="adem"), ValueError, "No optimizer is called 'adem'; choose from sgd"),
    (lambda: fit(optimizer=0.1), TypeError, "The optimizer is 0.1; give one such as Adam"),
    (lambda: fit(optimizer=Adam), TypeError, "The optimizer is .*; give one such as Adam"),
    (lambda: fit(optimizer=None), TypeError, "The optimizer is None"),
    (lambda: fit(epochs=1.5), TypeError, "epochs is 1.5, not an integer"),
    (lambda: fit(epochs=-1), ValueError, "epochs is -1"),
    (lambda: fit(epochs="ten"), TypeError, "epochs is 'ten'"),
    (lambda: fit(batch_size=0), ValueError, "batch_size is 0"),
    (lambda: fit(batch_size=2.5), TypeError, "batch_size is 2.5"),
    (lambda: fit(rng="a"), TypeError, "rng is 'a'"),
    (lambda: fit(quiet="yes"), TypeError, "quiet is 'yes'"),
    (lambda: fit(verbose=0), TypeError, "no option verbose; choose from .* quiet"),
    (lambda: fit(epoch=3), TypeError, "no option epoch; choose from optimizer, epochs"),
    (lambda: sparse().fit(X), TypeError, "The option optimizer is missing; give optimizer and"),
    (lambda: sparse().fit(X, optimizer="adam"), TypeError, "The option epochs is missing"),
    (lambda: sparse().partial_fit(X), TypeError, "The option optimizer is missing"),
    (lambda: fit(callbacks=[print]), TypeError, "Among the callbacks is .*; give one Callback"),
    (lambda: fit(callbacks=DeadUnitMonitor), TypeError, "give one Callback or several"),
    (lambda: fit(X, np.arange(8)), ValueError, "as labels have; .* leave them out"),
    (lambda: fit(X, np.eye(8)), ValueError, r"the targets \(1, 8\); expected the same"),
    (lambda: fit(X, X[:-1]), ValueError, r"\[8, 7\] samples"),
    (lambda: fit(X[:0]), ValueError, "at least one"),
    (lambda: fit(X[:, :-1]), ValueError, r"expected \(batch, 6\)"),
    (lambda: fit(X[0]), ValueError, r"expected \(batch, 6\)"),
    (lambda: fit(0.5), TypeError, "A float is no array of images"),
    (lambda: fit(X, holding(np.nan)), ValueError, "The targets hold NaN or infinity"),
    (lambda: fit(validation=X[:, :-1]), ValueError, r"expected \(batch, 6\)"),
    (lambda: fit(validation=(X, X, X)), ValueError, "There are 3 arrays"),
    (lambda: fit(validation=()), ValueError, "There are 0 arrays"),
    (lambda: fit(validation=(X, np.arange(8))), ValueError, "as labels have"),
    (lambda: fit(validation=3), TypeError, "A int is no array"),
    (lambda: fit(x for x in [X]), ValueError, "A generator is used up after one of 2 epochs"),
    (lambda: fit(Empty()), ValueError, "No batch came in this epoch"),
    (lambda: fit([X, X], batch_size=4), ValueError, "have their sizes; leave batch_size out"),
    (lambda: fit([X, holding(np.nan)]), ValueError, "Batch 1 of the epoch: .* first in row 3"),
    (lambda: fit([X, X[:, 1:]]), ValueError, r"expected \(batch, 6\)"),
    (lambda: fit([(X, np.arange(8))]), ValueError, "Batch 0 .* as labels have"),
    (lambda: fit([{"x": X}]), TypeError, "give real numbers"),
    (lambda: Trainer("model", X, Adam(), 1).fit(), TypeError, "A str cannot be trained here"),
    (lambda: partial_fit(optimizer="adam"), TypeError, "needs an optimizer that you keep"),
    (lambda: partial_fit(optimizer=Adam(), epochs=2), TypeError, "no option epochs"),
    (lambda: sparse(dtype="float16").fit(X, optimizer="adam", epochs=1), TypeError, "is float16"),
    (lambda: check_gradients(sparse(), X), TypeError, "build the model with dtype=np.float64"),
    (lambda: check_gradients(sparse(dtype=float), X, epsilon=0), ValueError, "epsilon is 0"),
    # evaluation
    (lambda: mse(X, X[:, :1]), ValueError, r"the targets \(8, 1\); expected the same"),
    (lambda: mse([], []), ValueError, "nothing to compare"),
    (lambda: mse_gradient(X, 0.5), ValueError, r"the targets \(\); expected the same"),
    (lambda: metrics.squared_errors(X, X[0]), ValueError, "expected the same"),
    (lambda: metrics.psnr(-1), ValueError, "cannot be negative"),
    (lambda: metrics.fvu(X[:1], X[:1]), ValueError, "No two images differ"),
    (lambda: metrics.ssim(255 * BIG, BIG), ValueError, "give grey levels from 0 to 1"),
    (lambda: metrics.ssim(BIG - 1, BIG), ValueError, "hold numbers from -"),
    (lambda: metrics.ssim(X, X), ValueError, "d the square of 11"),
    (lambda: metrics.ssim(0.5, 0.5), ValueError, "d the square of 11"),
    (lambda: metrics.active_units(3), ValueError, r"have shape \(\)"),
    (lambda: metrics.dead_units(Z[0]), ValueError, r"shape \(4,\); expected \(batch, n\)"),
    (lambda: metrics.feature_density(Z[:0]), ValueError, r"shape \(0, 4\); expected"),
    (lambda: metrics.selection_entropy(0 * Z), ValueError, "No unit is active"),
    (lambda: evaluate(sparse(), X[:0]), ValueError, "no images to evaluate"),
    (lambda: evaluate(foldiak(), X), ValueError, "does not reconstruct"),
    (lambda: code_length.index_bits(5, 2.5), TypeError, "are float64, not integers"),
    (lambda: code_length.index_bits(5, 6), ValueError, "choose k from 0 to 5"),
    (lambda: code_length.index_bits(5.5, 2), TypeError, "n is 5.5"),
    (lambda: code_length.quantise(Z, 0), ValueError, "step is 0"),
    (lambda: code_length.quantise(Z, 1e-30), ValueError, "too small for int64"),
    (lambda: code_length.code_bits(Z, Z), TypeError, "quantise first"),
    (lambda: code_length.support_bits(Z, Z[:0]), ValueError, "one sample or more"),
    (lambda: code_length.value_bits(np.uint64([[2**63]]), [[1]]), ValueError, "too large for int"),
    (lambda: statistics.interval_half_width([0.5]), ValueError, "expected .seeds,., 2 or more"),
    (lambda: statistics.holm([0.1, 2]), ValueError, "from 0 to 1"),
    (lambda: probe.fitted(X, C=1), TypeError, r"A ndarray is given; give a pair \(codes, labels\)"),
    (lambda: probe.fitted((X, None), C=1), ValueError, "no labels to learn from"),
    (lambda: probe.fitted((X, np.arange(7)), C=1), ValueError, r"the labels \(7,\); expected"),
    (lambda: probe.fitted((X, np.ones(8)), C=1), ValueError, "labels are all the same"),
    (lambda: probe.fitted((X, np.full(8, np.nan)), C=1), ValueError, "The labels hold NaN"),
    (lambda: probe.fitted((X, np.arange(8) % 2), C=-1), ValueError, "C is -1"),
    (lambda: probe.fitted((X, np.arange(8) % 2), 1, np.ones(3)), ValueError, "scales have shape"),
    # inference
    (lambda: next(iterative.ista(X, W, -1)), ValueError, "sparsity is -1"),
    (lambda: next(iterative.ista(X, W, "l1")), TypeError, "sparsity is 'l1'"),
    (lambda: next(iterative.ista(X, W, 0.1, "yes")), TypeError, "nonnegative is 'yes'"),
    (lambda: next(iterative.ista(X, W[:, :-1], 0.1)), ValueError, r"the dictionary \(4, 5\)"),
    (lambda: next(iterative.fista(X, W[:0], 0.1)), ValueError, r"the dictionary \(0, 6\)"),
    (lambda: next(iterative.lca(X, W, 0.1, rate=0)), ValueError, "rate is 0"),
    (lambda: next(iterative.ista(X, 0 * W, 0.1)), ValueError, "Every atom"),
    (lambda: iterative.objective(X, Z[:1], W, 0.1), ValueError, "1 codes of 8 images"),
    (lambda: iterative.objective(X, Z, W, -0.1), ValueError, "sparsity is -0.1"),
    (lambda: iterative.after(1.5, iter([])), TypeError, "steps is 1.5"),
    (lambda: iterative.soft_threshold(Z, -1), ValueError, "threshold is -1"),
    (lambda: refit(X, W, np.ones((8, N), int)), TypeError, "give a mask, of True and False"),
    (lambda: refit(X, W, np.ones((8, 3), bool)), ValueError, r"expected \(8, 4\)"),
    (lambda: next(pursuit(X, W, 9)), ValueError, "k = 9"),
    (lambda: next(pursuit(X, W, K, start=Z[:1])), ValueError, "1 codes to start at for 8 images"),
]


def mistake(call, error, message):
    """What is wrong with the answer to a call; nothing if it is the right error, in our words."""
    try:
        answer = call()
    except Exception as caught:
        if type(caught) is not error or not re.search(message, str(caught)):
            return f"{type(caught).__name__}: {caught}"
        file = traceback.extract_tb(caught.__traceback__)[-1].filename
        return "" if file.startswith(HERE) else f"raised in {file}: {caught}"
    return f"no error, but {answer!r}"


def mistakes(call, cases):
    """What is wrong with the answers to arrays, each with the error it should raise; by name."""
    found = {
        name: mistake(lambda x=x: call(x), error, message)
        for name, (x, error, message) in cases.items()
    }
    return {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.parametrize("taker", TAKE_ARRAYS)
def test_what_is_no_array_of_real_numbers_is_refused(taker):
    cases = {
        name: case
        for name, case in NO_NUMBERS.items()
        if not (case[0] is None and taker in NONE_MEANS_NONE)
    }
    assert mistakes(TAKE_ARRAYS[taker], cases) == {}


@pytest.mark.parametrize("taker", LET_NAN_THROUGH)
def test_so_it_is_where_nan_may_pass(taker):
    cases = {name: case for name, case in NO_NUMBERS.items() if "row 3" not in case[2]}
    assert mistakes(LET_NAN_THROUGH[taker], cases) == {}
    square = np.full((N, N), np.nan, np.float32)
    assert (
        taker in ("decode", "mse_gradient", "Dense")
        or np.isnan(LET_NAN_THROUGH[taker](square)).any()
    )


def test_settings_that_cannot_work_are_refused():
    found = {i: mistake(*case) for i, case in enumerate(SETTINGS)}
    assert {i: wrong for i, wrong in found.items() if wrong} == {}


def test_there_are_enough_cases():
    assert len(SETTINGS) > 150 and len(TAKE_ARRAYS) * len(NO_NUMBERS) > 500


def test_weights_without_numbers_are_not_saved(tmp_path):
    model = sparse()
    model.W_dec[1, 2] = np.nan
    call = lambda: save_model(model, tmp_path / "model.json")  # noqa: E731
    assert mistake(call, ValueError, "W_dec hold NaN or infinity, first in row 1") == ""
    assert not list(tmp_path.iterdir())


# The other half of the contract: real numbers of any kind give what they give as float64.
LEVELS = np.random.default_rng(1).integers(0, 2, size=(2, 12, 121))
KINDS = {
    "uint8": lambda x: (200 * x).astype(np.uint8),
    "int8": lambda x: (100 * x).astype(np.int8),
    "uint64": lambda x: (200 * x).astype(np.uint64),
    "int64": lambda x: 70_000 * x,
    "bool": lambda x: x.astype(bool),
    "float16": lambda x: (200 * x).astype(np.float16),
    "longdouble": lambda x: x.astype(np.longdouble) / 3,
    "big-endian": lambda x: (x / 3).astype(">f8"),
    "a list": lambda x: (x / 3).tolist(),
    "a data frame": lambda x: pd.DataFrame(x / 3),
    "integers that may be missing": lambda x: pd.DataFrame(x, dtype="Int64"),
    "objects": lambda x: np.array([[Fraction(int(v), 3) for v in row] for row in x], object),
    "a masked array without a mask": lambda x: np.ma.array(x / 3),
    "read-only": lambda x: np.frombuffer((x / 3).tobytes()).reshape(x.shape),
}
MEASURES = {
    "mse": lambda x, y: mse(x, y),
    "mse_gradient": mse_gradient,
    "squared_errors": metrics.squared_errors,
    "psnr": lambda x, y: metrics.psnr(x),
    "fvu": metrics.fvu,
    "active_units": lambda x, y: metrics.active_units(x),
    "feature_density": lambda x, y: metrics.feature_density(x),
    "quantise": lambda x, y: code_length.quantise(x, 0.5),
    "support_bits": code_length.support_bits,
    "objective": lambda x, y: iterative.objective(x, [[1.0] * 12] * 12, y, 0.1),
    "ista": lambda x, y: next(iterative.ista(x, y, 0.1)),
    "fista": lambda x, y: next(iterative.fista(x, y, 0.1)),
    "lca": lambda x, y: next(iterative.lca(x, y, 0.1)),
    "pursuit": lambda x, y: next(pursuit(x, y, 3)),
    "refit": lambda x, y: refit(x, y, np.eye(12, dtype=bool)),
    "sigmoid": lambda x, y: activations.get("sigmoid")(x),
    "the slope of tanh": lambda x, y: activations.get("tanh").derivative(x),
    "the penalty log": lambda x, y: penalties.get("log")(x),
    "a probe": lambda x, y: probe.fitted((x, np.arange(12) % 2), C=0.1).coef_,
    "encode": lambda x, y: KSparseAutoencoder(121, 9, 3, rng=0, dtype=float).encode(x),
    "loss": lambda x, y: KSparseAutoencoder(121, 9, 3, rng=0, dtype=float).loss(x, y),
    "two steps": lambda x, y: TwoStepEncoder(
        KSparseAutoencoder(121, 9, 3, rng=0, dtype=float)
    ).loss_and_gradients(x, y)[1]["W1"],
    "a network": lambda x, y: Network([Dense(121, 121, rng=0, dtype=float)]).loss(x, y),
    "sparse coding": lambda x, y: SparseCoding(121, 9, 0.1, rng=0, dtype=float).loss(x),
    "the dream": lambda x, y: SparseDream(121, 9, rng=0, images=x, dtype=float).loss(x, y),
    "fit": lambda x, y: (
        KSparseAutoencoder(121, 9, 3, rng=0, dtype=float)
        .fit(x, optimizer="sgd", epochs=1, batch_size=5, rng=0, validation=y)
        .validation
    ),
    "noise": lambda x, y: (
        KSparseAutoencoder(121, 9, 3, rng=0, dtype=float)
        .fit(x, optimizer="adam", epochs=2, rng=0, callbacks=InputNoise(0.1))
        .training
    ),
}


@pytest.mark.filterwarnings("ignore:All units are dead")  # of steps for numbers as large as 200
@pytest.mark.parametrize("kind", KINDS)
def test_real_numbers_of_every_kind_give_what_float64_gives(kind):
    x, y = map(KINDS[kind], LEVELS)
    as_floats = [np.asarray(a, dtype=np.float64) for a in (x, y)]
    for name, measure in MEASURES.items():
        expected = measure(*as_floats)
        np.testing.assert_allclose(measure(x, y), expected, rtol=1e-6, atol=1e-9, err_msg=name)


def test_float32_stays_float32_to_the_last_bit():
    x, y = images(d=121), BIG[::-1].copy()
    plain = {
        "mse": float(np.mean((x - y) ** 2)),
        "mse_gradient": 2 * (x - y) / x.size,
        "squared_errors": np.mean((y - x) ** 2, axis=-1),
        "fvu": float(((x - y) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum()),
        "the penalty log": np.log1p(x**2),
    }
    for name, expected in plain.items():
        found = MEASURES[name](x, y)
        assert np.asarray(found).dtype == np.asarray(expected).dtype, name
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_weights_in_half_precision_meet_floats_that_do_not_overflow():
    half = KSparseAutoencoder(121, 9, 3, rng=0, dtype=np.float16)
    single = KSparseAutoencoder(121, 9, 3, rng=0, dtype=np.float32)
    half.W_enc = half.W_enc * np.float16(100)
    single.W_enc = half.W_enc.astype(np.float32)
    x = 60_000 * LEVELS[0]
    for images in (x.astype(np.uint16), x.astype(np.float16)):
        np.testing.assert_allclose(half.encode(images), single.encode(images), rtol=1e-3)


def test_numbers_that_used_to_be_wrong():
    assert mse(np.uint8([[0]]), np.uint8([[200]])) == 40_000
    many = np.ones((1, 70_000), np.float16)
    np.testing.assert_allclose(mse_gradient(many, 0 * many), 2 / 70_000)
    q = np.random.default_rng(0).integers(0, 250, size=(9, 5))
    for kind in (np.uint8, np.uint64):
        expected = code_length.code_bits(q, q[::-1])
        np.testing.assert_array_equal(code_length.code_bits(kind(q), kind(q[::-1])), expected)
    x = np.random.default_rng(0).uniform(size=(400, 784)).astype(np.float16)
    assert metrics.fvu(x, 1 - x) == pytest.approx(4, rel=0.02)  # 1 − x is twice as far as the mean
