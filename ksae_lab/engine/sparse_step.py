"""A step of training that does not multiply zeros: the plain step's numbers, for what is active."""

from typing import Any, Protocol

import numpy as np

from ksae_lab._optional import optional
from ksae_lab.engine import rules
from ksae_lab.engine.catch_up import CatchUp
from ksae_lab.nn import checks, inputs
from ksae_lab.nn.activations import Activation
from ksae_lab.nn.module import ForwardPass
from ksae_lab.nn.selectors import Selector, TopK
from ksae_lab.nn.topk import ranked
from ksae_lab.training.optimizers import BaseOptimizer

Slots = tuple[np.ndarray, np.ndarray, np.ndarray]


class Autoencoder(Protocol):
    """What the engine needs of a k-sparse autoencoder; its class says the shapes (n, d).

    Chapter 5.
    """

    W_enc: np.ndarray
    W_dec: np.ndarray
    b_enc: np.ndarray
    b_dec: np.ndarray
    selector: Selector
    phi: Activation
    tied: bool
    unit_norm: bool
    auxiliary_losses: list[Any]


class SparseForward(ForwardPass):
    """A forward pass that knows a code by its selected units idx (batch, k) and their numbers.

    z (batch, n) is made when somebody asks for it.

    Chapter 5.
    """

    idx: np.ndarray
    values: np.ndarray

    def __init__(
        self,
        x: np.ndarray,
        h: np.ndarray,
        idx: np.ndarray,
        values: np.ndarray,
        x_hat: np.ndarray,
        W_dec: np.ndarray,
    ):
        own = {"x": x, "h": h, "x_hat": x_hat, "W_dec": W_dec, "idx": idx, "values": values}
        self.__dict__.update(own)  # the class is frozen, and z is no field here

    @property
    def z(self) -> np.ndarray:
        """The code (batch, n)."""
        z = np.zeros_like(self.h)
        np.put_along_axis(z, self.idx, self.values, axis=1)
        return z

    @property
    def active(self) -> np.ndarray:
        """True for each unit that is active for any row, (n,)."""
        active = np.zeros(self.h.shape[1], dtype=bool)
        active[self.idx[self.values != 0]] = True
        return active


class SparseStep:
    """Takes the steps of a k-sparse autoencoder, each for the price of what is active.

    The encoder's product and the selection are those of the plain step. From there on only selected
    units are looked at: their rows of W_dec (n, d) make x̂, their gradients are summed unit by
    unit and used up at once by the optimizer's own rule. The others owe what dense momentum would
    have done to them, and pay when they are next selected, see `ksae_lab.engine.catch_up`, or when
    `flush` is called: before anybody else reads the weights.

    W_enc is laid out unit by unit from here on.

    Raises `ValueError` for what the engine does not know (see `impossible`), and `ImportError`
    where numba is missing.

    Source: Gao et al. (2024) for gathering; the rest is this book's.
    Chapter 5.
    """

    def __init__(self, model: Autoencoder, optimizer: BaseOptimizer):
        if reason := impossible(model, optimizer):
            raise ValueError(f"The sparse engine cannot be used here: {reason}.")
        optional("numba", "The sparse engine")  # it takes a second to import
        from ksae_lab.engine import kernels

        self.kernels: Any = kernels
        self.model, self.optimizer = model, optimizer
        if not model.tied:
            model.W_enc = np.asfortranarray(model.W_enc)
        n = len(model.W_dec)
        self.missed = np.zeros(n, np.int64)
        self.start = np.empty(n + 1, np.int64)
        self.catch_up = CatchUp(optimizer)

    def __call__(self, batch: tuple[np.ndarray, ...]) -> tuple[float, ForwardPass]:
        """Take one step on x (batch, d), or on x and a target, and return the loss before it.

        Raises what the plain step raises.
        """
        model, kernels = self.model, self.kernels
        dtype = model.W_dec.dtype
        target = batch[1] if len(batch) > 1 else None
        x, target = inputs.with_target(batch[0], target, len(model.b_dec), dtype)
        x = inputs.rows(x, len(model.b_dec), dtype=dtype)
        if target.shape != x.shape:
            raise ValueError(
                f"The targets have shape {target.shape}; expected that of the images, {x.shape}."
            )
        selector = model.selector
        assert isinstance(selector, TopK)
        checks.whole(selector.k, "k", 0, len(model.W_dec))
        seen = x - model.b_dec
        h = seen @ model.W_enc + model.b_enc
        scores = ranked(h, selector.by)
        idx = np.empty((len(x), selector.k), np.int64)
        if selector.k:
            kernels.largest(scores, idx, np.empty(idx.shape, dtype))
        chosen = np.take_along_axis(h, idx, axis=1)
        z = model.phi(chosen)
        x_hat, error, dz = np.empty_like(target), np.empty_like(target), np.empty_like(z)
        loss = kernels.decode(
            idx, z, model.W_dec, model.b_dec, np.ascontiguousarray(target), x_hat, error, dz
        )
        dh = dz * model.phi.derivative(chosen)
        forward = SparseForward(target, h, idx, z, x_hat, model.W_dec)
        if np.isfinite(loss):
            self._update(idx, z, dh, error, seen)
        return float(loss), forward

    def flush(self) -> None:
        """Let every unit catch up, so that anybody may read the weights and the optimizer."""
        if self.missed.any():
            self.kernels.flush(self.missed, self._tables(), *self._rest())

    def _update(
        self, idx: np.ndarray, z: np.ndarray, dh: np.ndarray, error: np.ndarray, x: np.ndarray
    ) -> None:
        pairs = np.empty(idx.size, np.int64)
        self.kernels.by_unit(idx, self.start, pairs)
        tables = self._tables()  # of the steps before this one
        self.optimizer.begin(self.model_parameters)
        self.catch_up.note()
        db = error.sum(axis=0)
        where = (pairs, self.start, z, dh, error, x)
        self.kernels.update(*where, self.missed, tables, *self._rest(), db)
        self.optimizer.apply("b_dec", self.model.b_dec, db)

    @property
    def model_parameters(self) -> dict[str, np.ndarray]:
        """The live arrays by their names, as the model has them."""
        names = ["W_dec", "b_enc", "b_dec"]
        names = names if self.model.tied else ["W_enc", *names]
        return {name: getattr(self.model, name) for name in names}

    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        tables = self.catch_up.tables(self.model.W_dec.dtype)
        return tables.drift, tables.keep, tables.keep_v

    def _rest(self) -> tuple[Any, ...]:
        """Weights with their memories, unit by unit, and how they are changed."""
        model, optimizer = self.model, self.optimizer
        dec = self._slots("W_dec", model.W_dec)
        enc = dec if model.tied else tuple(a.T for a in self._slots("W_enc", model.W_enc))
        bias = tuple(a.reshape(-1, 1) for a in self._slots("b_enc", model.b_enc))
        rule, settings = rules.NUMBERS[type(optimizer)], rules.settings(optimizer, dec[0].dtype)
        return (enc, dec, bias, model.tied), rule, settings, model.unit_norm

    def _slots(self, name: str, w: np.ndarray) -> Slots:
        """A parameter and its two memories; of a rule with one, that one twice."""
        memories = [self.optimizer.memory[f"{slot}/{name}"] for slot in self.optimizer.slots]
        return (w, memories[0], memories[-1])


def impossible(model: Any, optimizer: Any) -> str:
    """Why the engine cannot take the steps of this model with this optimizer; empty if it can.

    Chapter 5.
    """
    if type(getattr(model, "selector", None)) is not TopK:
        return "it is for a k-sparse autoencoder with TopK"
    if model.auxiliary_losses:
        return "auxiliary losses look at whole gradients"
    if model.W_dec.dtype not in (np.float32, np.float64):
        return f"it is for float32 and float64, and the weights are {model.W_dec.dtype}"
    if type(optimizer) not in rules.NUMBERS:
        return f"it does not know the optimizer {type(optimizer).__name__}"
    if optimizer.lazy:
        return "a lazy optimizer leaves idle units alone, and the engine lets them catch up"
    return ""
