"""From a gradient to a step. Every rule changes the arrays in place and keeps its own memory.

Lab 1 writes such a rule by hand; these are the usual ones, as Keras has them.
"""

import math
import reprlib
from abc import ABC, abstractmethod
from typing import Any, Literal, Protocol

import numpy as np

from ksae_lab.nn.checks import decay, flag, not_negative, positive, share
from ksae_lab.nn.module import Arrays

Shapes = dict[str, tuple[int, ...]]

SLAB = 2**17  # numbers changed at a time, so that intermediate results stay in the cache


class Optimizer(Protocol):
    """Anything that can take a step in place; what can be resumed also has a state.

    Lab 1.
    """

    def step(self, parameters: Arrays, gradients: Arrays) -> None:
        """Change `parameters` in place by `gradients`, of the same names and shapes."""


class BaseOptimizer(ABC):
    """What all rules share: what they remember, and which numbers a step reaches.

    `slots` names the arrays that a rule remembers for each parameter, all of its shape; they begin
    at `start`, a scalar. `learning_rate` may be set before any step, and is no part of `state`.

    `lazy=True` leaves alone what the batch did not reach, memory included: rows and columns of a
    matrix whose gradient is zero throughout, and entries of a vector whose gradient is zero.
    Nothing there fades or drifts on old momentum; steps are counted for all together.
    AdaGrad, and SGD without momentum, arrive at the same numbers either way; the others do not.
    It is faster where few units are active, most of all where a unit's weights lie together in
    memory: W_dec (n, d) by rows, W_enc (d, n) and its gradient by columns (`order="F"`).
    Where most is reached, copying costs more than it saves.

    Raises `ValueError` for a learning rate that is not above 0, and for shares of memory and
    constants that are out of their ranges, and `TypeError` for settings that are no numbers.

    Source: LazyAdam in TensorFlow Addons, which skips rows.
    Chapter 5.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, learning_rate: float, lazy: bool, start: float = 0.0):
        if callable(learning_rate):
            raise TypeError(
                "The learning rate is a function; give a number, and for one that changes the "
                'callback Scheduled(optimizer, "learning_rate", …).'
            )
        self.learning_rate = positive(learning_rate, "learning_rate")
        self.lazy = flag(lazy, "lazy")
        self.start = start
        self.steps = 0
        self.memory: Arrays = {}  # "slot/parameter" → array; empty before the first step

    def step(self, parameters: Arrays, gradients: Arrays) -> None:
        """Change `parameters` in place by `gradients`, which has the same names and shapes.

        Raises `ValueError`, with nothing changed, if a gradient is missing or of another shape
        than its parameter, or if a parameter was not there, or of another shape, in earlier steps,
        and `TypeError` for parameters that are neither float32 nor float64.
        """
        shapes = {name: w.shape for name, w in parameters.items()}
        given = {name: np.shape(g) for name, g in gradients.items() if name in shapes}
        _compare(given, shapes, "The gradients do not fit the parameters")
        self.begin(parameters)
        for name, w in parameters.items():
            self.apply(name, w, gradients[name])

    def begin(self, parameters: Arrays) -> None:
        """Begin a step: see that memory and parameters, of any shapes, fit, and count it.

        Memory is laid out as the parameters are; this copies only at the first step and after
        `load_state`.

        Raises what `step` raises of parameters.
        """
        not_negative(self.learning_rate, "learning_rate")  # a schedule may have set it, also to 0
        self._meet(parameters)
        self.steps += 1
        for name, w in parameters.items():
            order: Literal["C", "F"] = "F" if w.flags.f_contiguous else "C"
            for key in self._keys(name):
                self.memory[key] = np.asarray(self.memory[key], order=order)

    def apply(self, name: str, w: np.ndarray, gradient: np.ndarray) -> None:
        """The part of a step, which has begun, that changes one parameter w by its gradient."""
        arrays = [gradient, w, *(self.memory[key] for key in self._keys(name))]
        arrays = [np.atleast_2d(a) for a in arrays]
        if w.flags.f_contiguous:
            arrays = [a.T for a in arrays]  # now a row is what lies together
        if self.lazy and w.ndim <= 2:
            self._change_reached(arrays)
        else:
            self._change(arrays)

    @property
    def state(self) -> Arrays:
        """A copy of the memory: "slot/parameter" → array of the parameter's shape.

        "steps", a scalar int64 array, is the number of steps so far.
        """
        copies = {key: a.copy() for key, a in self.memory.items()}
        return copies | {"steps": np.array(self.steps, np.int64)}

    def load_state(self, state: Arrays) -> None:
        """Remember a copy of `state`; training goes on from there bit for bit.

        Raises `ValueError`, with nothing changed, if a name is missing or unknown or a shape is
        another than the memory's. Before the first step there is no memory to compare with: then
        each parameter must have all slots, in one shape, and the first step compares the rest.
        """
        given = {key: np.shape(a) for key, a in state.items()}
        expected = {key: a.shape for key, a in self.memory.items()}
        if not self.memory:
            for key, shape in given.items():
                if "/" in key:
                    expected |= dict.fromkeys(self._keys(key.partition("/")[2]), shape)
        _compare(given, expected | {"steps": ()}, "This is no state of this optimizer")
        self.steps = int(state["steps"])
        self.memory = {key: np.array(state[key]) for key in expected}

    def forget(self, name: str, index: Any) -> None:
        """Put the memory of `parameters[name][index]` back to its start, as for a new unit.

        `index` is whatever selects from the parameter's shape: `np.s_[:, dead]` for columns of
        W_enc (d, n), `dead` for rows of W_dec (n, d). The count of steps stays, so Adam no longer
        allows for a short memory: soon after, its steps there can be six times `learning_rate`.

        Raises `KeyError` for a name that was not in earlier steps.
        """
        for key in self._keys(name) if self.memory else []:
            self.memory[key][index] = self.start

    def _meet(self, parameters: Arrays) -> None:
        """Make a memory before the first step, and see that it fits the parameters."""
        for name, w in parameters.items():
            if w.dtype not in (np.float32, np.float64):
                raise TypeError(
                    f"{name} is {w.dtype}, in which small steps vanish; build a model that is to "
                    "learn with dtype float32 or float64."
                )
        shapes = {name: w.shape for name, w in parameters.items()}
        needed = {key: shape for name, shape in shapes.items() for key in self._keys(name)}
        if not self.memory:
            for name, w in parameters.items():
                for key in self._keys(name):
                    self.memory[key] = np.full(w.shape, self.start, w.dtype)
        kept = {key: a.shape for key, a in self.memory.items() if key in needed}
        _compare(kept, needed, "The optimizer has learned with other parameters; make a new one")

    def _keys(self, name: str) -> list[str]:
        """Where the slots of a parameter are in the memory, in the order that `_update` takes."""
        return [f"{slot}/{name}" for slot in self.slots]

    def _change(self, arrays: list[np.ndarray]) -> None:
        """Update gradient, parameter, *memory slab by slab; the gradient is only read."""
        w = arrays[1]
        rows = max(1, SLAB * len(w) // max(1, w.size))
        for start in range(0, len(w), rows):
            self._update(*(a[start : start + rows] for a in arrays))

    def _change_reached(self, arrays: list[np.ndarray]) -> None:
        """Gather the block that the gradient reaches, update it there, and put it back."""
        nonzero = arrays[0] != 0
        in_rows, in_columns = nonzero.any(axis=1), nonzero.any(axis=0)
        if in_rows.all() and in_columns.all():
            return self._change(arrays)
        rows, columns = np.flatnonzero(in_rows), np.flatnonzero(in_columns)
        narrow = 2 * len(columns) < len(in_columns) and all(a.flags.c_contiguous for a in arrays)
        if narrow:
            # One index into flat arrays takes half the time of one for each axis.
            index = rows[:, None] * len(in_columns) + columns
            arrays = [a.reshape(-1) for a in arrays]
        else:
            index = rows  # whole rows are cheap to copy, even if some of it is not needed
        block = [a[index] for a in arrays]
        self._change(block)
        for a, changed in zip(arrays[1:], block[1:], strict=True):
            spare = not narrow and not in_columns.all()
            a[index] = np.where(in_columns, changed, a[index]) if spare else changed

    @abstractmethod
    def _update(self, g: np.ndarray, w: np.ndarray, *memory: np.ndarray) -> None:
        """Change w and the memory in place, number by number."""


class SGD(BaseOptimizer):
    """w ← w + v with v ← momentum · v − learning_rate · gradient; momentum 0 is plain descent.

    Lab 1.
    """

    slots = ("velocity",)

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, *, lazy: bool = False):
        super().__init__(learning_rate, lazy)
        self.momentum = share(momentum, "momentum")

    def _update(self, g: np.ndarray, w: np.ndarray, *memory: np.ndarray) -> None:
        (velocity,) = memory
        velocity *= self.momentum
        velocity -= self.learning_rate * g
        w += velocity


class Adam(BaseOptimizer):
    """Steps of about `learning_rate` a weight, whatever the gradient's scale.

    m and v are running means of the gradient and of its square;
    both start at zero and are divided by how much of their weight they have seen.

    Source: Kingma & Ba (2015); ε is added to the root before v's correction, as in Keras.
    Lab 1.
    """

    slots = ("m", "v")

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        lazy: bool = False,
    ):
        super().__init__(learning_rate, lazy)
        self.beta_1 = decay(beta_1, "beta_1")
        self.beta_2 = decay(beta_2, "beta_2")
        self.epsilon = positive(epsilon, "epsilon")

    def _update(self, g: np.ndarray, w: np.ndarray, *memory: np.ndarray) -> None:
        m, v = memory
        seen_1 = 1 - self.beta_1**self.steps
        seen_2 = 1 - self.beta_2**self.steps
        rate = self.learning_rate * math.sqrt(seen_2) / seen_1
        m += (1 - self.beta_1) * (g - m)
        v += (1 - self.beta_2) * (g * g - v)
        w -= rate * m / (np.sqrt(v) + self.epsilon)


class RMSprop(BaseOptimizer):
    """Each gradient is divided by the root of v, the running mean of its square.

    v starts at zero and, unlike Adam's, is not corrected: the first steps are the longest.

    Source: Hinton (2012), lecture 6e; ε is added under the root, as in Keras.
    Chapter 5.
    """

    slots = ("v",)

    def __init__(
        self,
        learning_rate: float = 1e-3,
        rho: float = 0.9,
        epsilon: float = 1e-7,
        *,
        lazy: bool = False,
    ):
        super().__init__(learning_rate, lazy)
        self.rho = decay(rho, "rho")
        self.epsilon = positive(epsilon, "epsilon")

    def _update(self, g: np.ndarray, w: np.ndarray, *memory: np.ndarray) -> None:
        (v,) = memory
        v *= self.rho
        v += (1 - self.rho) * (g * g)
        w -= self.learning_rate * g / np.sqrt(v + self.epsilon)


class AdaGrad(BaseOptimizer):
    """Each gradient is divided by the root of the sum of its squares so far: steps only shrink.

    Source: Duchi, Hazan & Singer (2011); ε is added under the root and the sum starts at
    `initial_accumulator_value`, as in Keras.
    Chapter 5.
    """

    slots = ("accumulator",)

    def __init__(
        self,
        learning_rate: float = 1e-3,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        *,
        lazy: bool = False,
    ):
        start = not_negative(initial_accumulator_value, "initial_accumulator_value")
        super().__init__(learning_rate, lazy, start)
        self.epsilon = positive(epsilon, "epsilon")

    def _update(self, g: np.ndarray, w: np.ndarray, *memory: np.ndarray) -> None:
        (accumulator,) = memory
        accumulator += g * g
        w -= self.learning_rate * g / np.sqrt(accumulator + self.epsilon)


RULES: dict[str, Any] = {rule.__name__.lower(): rule for rule in (SGD, Adam, RMSprop, AdaGrad)}


def get(optimizer: Any) -> Any:
    """The rule of that name, "adam" or another of `RULES`, with its own rates; another as it is.

    Raises `ValueError` for a name that is not among them, and `TypeError` for what takes no step on
    parameters, of any shape, and for a class in place of its instance.

    Chapter 5.
    """
    if isinstance(optimizer, str):
        if optimizer not in RULES:
            raise ValueError(
                f"No optimizer is called {optimizer!r}; choose from {', '.join(RULES)}."
            )
        return RULES[optimizer]()
    if isinstance(optimizer, type) or not hasattr(optimizer, "step"):
        raise TypeError(
            f"The optimizer is {reprlib.repr(optimizer)}; give one such as Adam(0.001), "
            f"or a name: {', '.join(RULES)}."
        )
    return optimizer


def _compare(result: Shapes, expected: Shapes, complaint: str) -> None:
    if result != expected:
        wrong = [
            f"{key} is {result.get(key, 'missing')}, expected {expected.get(key, 'no such name')}"
            for key in sorted(result.keys() | expected.keys())
            if result.get(key) != expected.get(key)
        ]
        raise ValueError(f"{complaint}: {'; '.join(wrong)}.")
