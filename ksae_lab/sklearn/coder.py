"""A transformer that learns sparse codes: at most k numbers of a row are not zero."""

import math
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, vstack
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from ksae_lab.engine.choose import step_of
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.selectors import TopK
from ksae_lab.sklearn.contributions import contributions
from ksae_lab.sklearn.rows import Matrix, ScaledRows, chunks, dense
from ksae_lab.training.callbacks import InputNoise, Scheduled
from ksae_lab.training.loop import Callback, History, Trainer
from ksae_lab.training.optimizers import Adam
from ksae_lab.training.schedules import Schedule, linear

FLOATS = [np.float64, np.float32]  # other numbers become the first
INIT_NOISE = 0.2  # of the rows that units start at; the book's, in deviations of its digits
SLOWEST = 0.02  # the share of the learning rate that is left at the end


class KSparseCoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Codes of `n_units` numbers, at most `k` of them not zero, and atoms to draw rows from codes.

    X (samples, d), dense or CSR, is reconstructed as X̂ = Z W + b from codes Z (samples, n), which
    one pass of an encoder finds, and atoms W (n, d); the network is a `KSparseAutoencoder`.
    The data as a whole may have any mean and any scale: training sees them divided by one number,
    which the weights then make good. But a feature counts by its variance, so put a
    `StandardScaler` in front of features with different units.

    `n_units` is the number of atoms, which may exceed that of features or samples, `k` how many of
    them a row may use. With `positive_code` numbers of a code are not below zero, and the k largest
    stay; without, they have signs, and the k of largest magnitude stay.
    `learning_rate` is how far a step of Adam may move an atom, of length 1, whatever d is; in the
    second half of training it falls to a fiftieth. `n_steps` is how many
    steps of `batch_size` rows `fit` takes, rounded up to whole passes through the data; to
    `partial_fit` it says when the learning rate shall have fallen. `noise` is the standard
    deviation of normal numbers that are added to what the encoder sees in training, a share of that
    of the data: it makes codes of new rows better, most of all with small k. `sparse_output` makes
    codes CSR arrays. With a `random_state` the same data give the same numbers; the global one is
    not touched. `verbose` shows a bar. From 500 units on, steps are those of `ksae_lab.engine`,
    where numba is installed.

    `model_` is the trained network, which takes rows of X as they are, `components_` (n, d) its
    atoms. `explained_variance_ratio_` (n,) is the share of the variance that each unit explains of
    the data last learned from, see `contributions`. `history_` holds the mean squared error of each
    pass as training saw it, noise included; `n_iter_` counts passes, `n_steps_` steps; `mean_` (d,)
    is the mean of all rows so far. `n_features_in_` and `feature_names_in_` are as ever.

    Methods raise `ValueError` for a k above n_units, and for the rest what scikit-learn's raise.
    `fit` warns, with a `ConvergenceWarning`, where training went nowhere.

    Source: Makhzani & Frey (2013).
    Chapter 5; Lab 2 for the defaults.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "k": [Interval(Integral, 1, None, closed="left")],
        "positive_code": ["boolean"],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "sparse_output": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_units: int = 100,
        k: int = 10,
        *,
        positive_code: bool = True,
        learning_rate: float = 0.1,
        n_steps: int = 3000,
        batch_size: int = 128,
        noise: float = 0.5,
        sparse_output: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ):
        self.n_units = n_units
        self.k = k
        self.positive_code = positive_code
        self.learning_rate = learning_rate
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.noise = noise
        self.sparse_output = sparse_output
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from X (samples, d), from the beginning; y is ignored.

        Interrupted with Ctrl-C it warns, and leaves a coder that has learned until then.
        """
        data = self._start(X)
        passes = math.ceil(self.n_steps / self._batches(data))
        schedule = Scheduled(self._adam, "learning_rate", self._schedule())
        self._train(data, passes, [schedule])
        if not self.history_.interrupted and self.history_.training[-1] > self._spread**2 > 0:
            warnings.warn(
                "Training has not come below the error of the mean of X; "
                "lower learning_rate, or raise n_steps or k.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Go on learning from X (samples, d), in one pass through it; y is ignored.

        The first X is where units start, so give it a few hundred rows, or as many as there are.
        k and what concerns learning may change on the way; `n_units` and `positive_code` may not.
        """
        if hasattr(self, "model_"):
            self._check_settings()
            self._check_unchanged()
            data = self._checked(X, self.model_.b_dec.dtype)
            self.model_.k = self.k
            self._statistics.partial_fit(data)
        else:
            data = self._start(X)
        self._adam.learning_rate = self._schedule()(self._adam.steps / self.n_steps)
        self._train(data, 1, [])
        return self

    def transform(self, X: ArrayLike) -> np.ndarray | csr_array:
        """The codes (samples, n) of X (samples, d), CSR if `sparse_output`."""
        check_is_fitted(self)
        rows = chunks(self._checked(X))
        if self.sparse_output:
            return vstack([self.model_.encode_sparse(x).to_csr() for x in rows], "csr")
        return np.vstack([self.model_.encode(x) for x in rows])

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """The rows (samples, d) that codes (samples, n), dense or CSR, stand for.

        Raises `ValueError` for another number of units.
        """
        check_is_fitted(self)
        Z = check_array(X, accept_sparse="csr", dtype=FLOATS, estimator=self)
        n = len(self.components_)
        if Z.shape[1] != n:
            raise ValueError(
                f"The codes have {Z.shape[1]} columns; expected {n}, one for each unit."
            )
        return np.vstack([self.model_.decode(z) for z in chunks(Z)])

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The share of the variance of X (samples, d) that the reconstruction explains: R².

        1 − Σ ‖x − x̂‖² / Σ ‖x − `mean_`‖², a scalar: 1 is perfect, 0 no better than the mean of what
        was learned from, so that a single row has a score as well. Higher is better, as
        `GridSearchCV` expects. Where no x differs from the mean it is 1 or, if x̂ does, 0.
        """
        check_is_fitted(self)
        unexplained = total = 0.0
        for x in chunks(self._checked(X)):
            unexplained += float(((x - self.model_.reconstruct(x)) ** 2).sum())
            total += float(((x - self.mean_) ** 2).sum())
        return 1 - unexplained / total if total else float(unexplained == 0)

    @property
    def components_(self) -> np.ndarray:
        """The atoms (n, d), rows of length 1: W_dec of `model_`, live."""
        return self.model_.W_dec

    @property
    def mean_(self) -> np.ndarray:
        """The mean (d,) of all rows seen in training."""
        return self._statistics.mean_

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_settings(self) -> None:
        self._validate_params()
        if self.k > self.n_units:
            raise ValueError(
                f"k is {self.k}, but there are {self.n_units} units; choose k up to n_units."
            )

    def _check_unchanged(self) -> None:
        """See that the settings are those of the network that is there."""
        has = {"n_units": len(self.components_), "positive_code": self.model_.phi.name == "relu"}
        for name, value in has.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, and the coder has learned with {value}; "
                    "call fit to begin anew."
                )

    def _checked(self, X: ArrayLike, dtype: Any = FLOATS, reset: bool = False) -> Matrix:
        """X as a matrix of floats; of as many features as before, unless `reset`."""
        return validate_data(self, X, accept_sparse="csr", dtype=dtype, reset=reset)

    def _start(self, X: ArrayLike) -> Matrix:
        """Check settings and X, make a network that starts at rows of it, and return X, checked."""
        self._check_settings()
        data = self._checked(X, reset=True)
        n, d = data.shape
        seed = None
        if self.random_state is not None:
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        rng = self._rng = np.random.default_rng(seed)
        selector = TopK(self.k, by="value" if self.positive_code else "magnitude")
        activation = "relu" if self.positive_code else "linear"
        model = KSparseAutoencoder(d, self.n_units, selector, activation, rng=rng, dtype=data.dtype)
        self._statistics = StandardScaler(with_mean=False).fit(data)
        some = rng.choice(n, min(n, 10 * self.n_units), replace=False)
        model.init_from_data(dense(data[some]), rng, noise=INIT_NOISE * self._spread or 1.0)
        self._adam = Adam()  # `_schedule` says its rate
        self.model_, self.history_, self.n_iter_ = model, History(), 0
        return data

    @property
    def _spread(self) -> float:
        """The standard deviation of all rows seen, as one scalar for all features."""
        spread = float(np.sqrt(self._statistics.var_.mean()))
        if not math.isfinite(spread):
            raise ValueError("The numbers of X are too large to be squared; divide X by a scalar.")
        return spread

    def _train(self, X: Matrix, passes: int, callbacks: list[Callback]) -> None:
        """Let the network learn from X, in numbers of size 1 around 0, and note how that went."""
        model, spread = self.model_, self._spread
        # A power of two, so that no digit is lost on the way there and back.
        scale = 2.0 ** round(math.log2(spread)) if spread else 1.0
        offset = model.b_dec.copy()
        if self.noise:
            callbacks = [*callbacks, InputNoise(self.noise * spread / scale)]
        history = History()
        trainer = Trainer(
            model,
            (cast(np.ndarray, ScaledRows(X, offset, scale)),),
            self._adam,
            passes,
            math.ceil(X.shape[0] / self._batches(X)),
            self._rng,
            callbacks=callbacks,
            history=history,
            quiet=not self.verbose,
            make_step=step_of("auto"),
        )
        model.b_dec[:] = 0
        model.b_enc /= scale
        try:
            trainer.fit()
        finally:
            # With relu, or without, the network does in X's units what it did in these.
            model.b_dec[:] = offset + scale * model.b_dec
            model.b_enc *= scale
        self.history_.training += [scale**2 * loss for loss in history.training]
        self.history_.interrupted = history.interrupted
        self.n_iter_ += trainer.epoch
        self.n_steps_ = self._adam.steps
        if history.interrupted:
            warnings.warn(
                f"Training was interrupted after {self.n_steps_} steps; what the coder has learned "
                "until then can be used, and partial_fit goes on from there.",
                RuntimeWarning,
                stacklevel=3,
            )
        self.explained_variance_ratio_ = contributions(model, chunks(X))

    def _batches(self, X: Matrix) -> int:
        """How many batches make a pass through X."""
        return math.ceil(X.shape[0] / self.batch_size)

    def _schedule(self) -> Schedule:
        """The learning rate of a single weight, for progress from 0 to 1."""
        rate = self.learning_rate / math.sqrt(self.n_features_in_)
        return linear(rate, SLOWEST * rate, begin=0.5)
