"""A step of training that does not multiply zeros: the plain step's numbers, for what is active."""

from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_info

from ksae_lab._optional import optional
from ksae_lab.engine import elsewhere, rules
from ksae_lab.engine.catch_up import CatchUp, schedule
from ksae_lab.engine.threads import Threads
from ksae_lab.nn import auxiliary_losses, checks, inputs
from ksae_lab.nn.activations import Activation
from ksae_lab.nn.auxiliary_losses import Gradients
from ksae_lab.nn.module import ForwardPass
from ksae_lab.nn.selectors import BatchTopK, Selector, TopK
from ksae_lab.nn.topk import listed
from ksae_lab.training.optimizers import BaseOptimizer

Slots = tuple[np.ndarray, np.ndarray, np.ndarray]

DEBT = 0.1  # of the way that momentum carries an idle unit
PARTS = 16  # of the units, whose sums are taken apart, however many threads there are


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

    Where fewer than k units are above the activation's floor, idx has −1 in the last places.

    z (batch, n) is made when somebody asks for it. h (batch, n) was never there as a whole: until
    the weights change it is computed for whoever asks, and afterwards refused.

    Chapter 17.
    """

    idx: np.ndarray
    values: np.ndarray
    _model: Autoencoder
    _seen: np.ndarray | None

    def __init__(
        self,
        model: Autoencoder,
        x: np.ndarray,
        seen: np.ndarray,
        idx: np.ndarray,
        values: np.ndarray,
        x_hat: np.ndarray,
    ):
        # Compiled: whoever imports this module need not have numba.
        from ksae_lab.engine.passes import take_away

        own = {"x": x, "x_hat": x_hat, "W_dec": model.W_dec, "idx": idx, "values": values}
        own["take_away"] = take_away
        # The class is frozen, and z and h are no fields here.
        self.__dict__.update(own | {"_model": model, "_seen": seen})

    @property
    def z(self) -> np.ndarray:
        """The code (batch, n)."""
        z = np.zeros((len(self.idx), len(self.W_dec)), self.values.dtype)
        rows, places = np.nonzero(self.values)
        z[rows, self.idx[rows, places]] = self.values[rows, places]
        return z

    @property
    def h(self) -> np.ndarray:
        """The pre-activations (batch, n).

        Raises `RuntimeError` once the step has changed the weights.
        """
        return self.h_of(np.arange(len(self.W_dec)))

    def h_of(self, units: np.ndarray) -> np.ndarray:
        """h of some units (m,), (batch, m); raises what `h` raises."""
        if self._seen is None:
            raise RuntimeError(
                "The sparse engine does not keep the pre-activations of a step that is done; "
                'train with engine="plain" to look at them in a callback.'
            )
        model = self._model
        return self._seen @ model.W_enc[:, units] + model.b_enc[units]

    @property
    def active(self) -> np.ndarray:
        """True for each unit that is active for any row, (n,)."""
        active = np.zeros(len(self.W_dec), dtype=bool)
        active[self.idx[self.values != 0]] = True
        return active


class SparseStep:
    """Takes the steps of a k-sparse autoencoder, each for the price of what is active.

    Whom to look at is screened by a product, that of bytes where it can be had, and who is selected
    is decided by one sum in full, see `ksae_lab.engine.selection`: so the steps are the same bits
    with and without `screen`, which forces (True) or forbids (False) the product of bytes; None
    leaves it to what pays; `BatchTopK`, which compares units of all rows, has h as a whole. From
    there on only selected units are looked at: their rows of W_dec (n, d) make x̂, their gradients
    are summed unit by unit and used up at once by the optimizer's own rule. The others owe what
    dense momentum would have done to them, see `ksae_lab.engine.catch_up`. They pay when they are
    next selected; until then so often that none owes more than about `debt`, a share, of the way
    that momentum carries it, see `ksae_lab.engine.catch_up.schedule`; and when `flush` is called:
    before anybody else reads the weights, and after anybody has changed them. With 0 the steps are
    dense; with 1 a training may go astray whose units are seldom used.

    It works on as many `threads` as the products of matrices do, unless told otherwise; the bits
    are those of one thread. W_enc is laid out unit by unit from here on.

    Raises `ValueError` for what the engine does not know (see `impossible`), and `ImportError`
    where numba is missing.

    Source: Gao et al. (2024) for gathering; the rest is this book's.
    Chapter 17.
    """

    def __init__(
        self,
        model: Autoencoder,
        optimizer: BaseOptimizer,
        *,
        screen: bool | None = None,
        threads: int | None = None,
        debt: float = DEBT,
    ):
        if reason := impossible(model, optimizer):
            raise ValueError(f"The sparse engine cannot be used here: {reason}.")
        optional("numba", "The sparse engine")  # it takes a second to import
        from ksae_lab.engine import passes, update
        from ksae_lab.engine.screen import Screen

        self.passes, self.update = passes, update
        self.model, self.optimizer = model, optimizer
        if not model.tied:
            model.W_enc = np.asfortranarray(model.W_enc)
        n, dtype = len(model.W_dec), model.W_dec.dtype
        self.threads = Threads(_as_blas() if threads is None else checks.whole(threads, "threads"))
        self.screen = Screen(model.W_enc.T, screen, self.threads)
        self.owed = schedule(optimizer, checks.share(debt, "debt"))
        self.debt, self.idle = debt, np.zeros(n, np.int64)
        self.start = np.empty(n + 1, np.int64)
        self.catch_up = CatchUp(optimizer, dtype)

    def __call__(self, batch: tuple[np.ndarray, ...]) -> tuple[float, ForwardPass]:
        """Take one step on x (batch, d), or on x and a target, and return the loss before it.

        Raises what the plain step raises.
        """
        model, n = self.model, len(self.model.W_dec)
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
        checks.whole(selector.k, "k", 0, n)
        seen = x - model.b_dec
        phi, k, by = model.phi, selector.k, selector.by
        if isinstance(selector, BatchTopK):
            all_h = seen @ model.W_enc + model.b_enc
            idx, h = listed(selector.training_mask(all_h), all_h)
        else:
            idx, h = self.screen.select(seen, model.W_enc, model.b_enc, k, by, phi.floor)
        z, slope = phi(h), phi.derivative(h)
        x_hat, error, dz = np.empty_like(seen), np.empty_like(seen), np.zeros_like(z)
        losses = np.empty(len(x), dtype)
        through = (idx, z, slope, model.W_dec, model.b_dec, np.ascontiguousarray(target))
        self.threads(self.passes.decode, len(x), *through, x_hat, error, dz, losses)
        forward = SparseForward(model, target, seen, idx, z, x_hat)
        loss, extra = auxiliary_losses.add_up(model.auxiliary_losses, forward)
        loss += float(losses.sum(dtype=np.float64)) / target.size
        if np.isfinite(loss):
            dh = (dz + elsewhere.of_code(extra, idx, n)) * slope
            self._update(idx, z, dh.astype(dtype, copy=False), error, seen, extra)
            if isinstance(selector, BatchTopK):
                selector.observe(all_h)
        forward.__dict__["_seen"] = None
        return loss, forward

    def flush(self) -> None:
        """Let every unit catch up, so that anybody may read the weights and the optimizer.

        Whoever changes them does so after this.
        """
        if self.idle.any():
            late = (self.idle, self.owed, self.catch_up.tables())
            self.threads(self.update.flush, len(self.idle), *late, *self._rest())
        self.screen.stale = True

    @property
    def facts(self) -> dict[str, Any]:
        """How the steps are taken, in words and scalars."""
        how = {"screen": self.screen.fact, "debt": self.debt, "threads": self.threads.count}
        return {"engine": "sparse"} | how

    def _update(
        self,
        idx: np.ndarray,
        z: np.ndarray,
        dh: np.ndarray,
        error: np.ndarray,
        x: np.ndarray,
        extra: Gradients,
    ) -> None:
        pairs, n = np.empty(idx.size, np.int64), len(self.idle)
        self.passes.by_unit(idx, (z != 0) | (dh != 0), self.start, pairs)
        before = self.catch_up.tables()
        self.optimizer.begin(self.model_parameters)
        self.catch_up.note()
        late = (self.idle, self.owed, (before, self.catch_up.tables()))
        more = elsewhere.of_weights(extra, x, self.model.W_enc)
        work = (pairs, self.start, z.ravel(), dh.ravel(), error, x)
        size = -(-n // PARTS)
        db = np.zeros((PARTS, x.shape[1]), x.dtype)
        rest = self._rest()
        self.threads(self.update.update, PARTS, size, work, more[:4], *late, *rest, db)
        self.optimizer.apply(
            "b_dec", self.model.b_dec, error.sum(axis=0) + db.sum(axis=0) + more.b_dec
        )

    @property
    def model_parameters(self) -> dict[str, np.ndarray]:
        """The live arrays by their names, as the model has them."""
        names = ["W_dec", "b_enc", "b_dec"]
        names = names if self.model.tied else ["W_enc", *names]
        return {name: getattr(self.model, name) for name in names}

    def _rest(self) -> tuple[Any, ...]:
        """Weights with their memories, unit by unit, and how they are changed."""
        model, optimizer = self.model, self.optimizer
        dec = self._slots("W_dec", model.W_dec)
        enc = dec if model.tied else tuple(a.T for a in self._slots("W_enc", model.W_enc))
        bias = tuple(a.reshape(-1, 1) for a in self._slots("b_enc", model.b_enc))
        rule, settings = rules.NUMBERS[type(optimizer)], rules.settings(optimizer, dec[0].dtype)
        screen = (self.screen.known, self.screen.slack)
        return (enc, dec, bias, model.tied), rule, settings, model.unit_norm, screen

    def _slots(self, name: str, w: np.ndarray) -> Slots:
        """A parameter and its two memories; of a rule with one, that one twice."""
        memories = [self.optimizer.memory[f"{slot}/{name}"] for slot in self.optimizer.slots]
        return (w, memories[0], memories[-1])


def _as_blas() -> int:
    """How many threads the products of matrices may use."""
    libraries = threadpool_info()
    return max((each["num_threads"] for each in libraries if each["user_api"] == "blas"), default=1)


def impossible(model: Any, optimizer: Any) -> str:
    """Why the engine cannot take the steps of this model with this optimizer; empty if it can.

    Chapter 5.
    """
    if type(getattr(model, "selector", None)) not in (TopK, BatchTopK):
        return "it is for a k-sparse autoencoder with TopK or BatchTopK"
    if model.W_dec.dtype not in (np.float32, np.float64):
        return f"it is for float32 and float64, and the weights are {model.W_dec.dtype}"
    if type(optimizer) not in rules.NUMBERS:
        return f"it does not know the optimizer {type(optimizer).__name__}"
    if optimizer.lazy:
        return "a lazy optimizer leaves idle units alone, and the engine lets them catch up"
    return ""
