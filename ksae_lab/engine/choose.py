"""Which engine takes the steps of a training."""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

from ksae_lab.engine.sparse_step import SparseStep, impossible
from ksae_lab.training.steps import PlainStep, Step

Engine = Literal["plain", "sparse", "auto"]
ENGINES = ("plain", "sparse", "auto")
MANY = 500  # units from which on the sparse engine is worth its start


def step_of(engine: Engine) -> Callable[[Any, Any], Step]:
    """What makes the steps of a model and an optimizer.

    "plain" changes every weight in every step, as the chapters derive it. "sparse" is `SparseStep`,
    which gives idle units their momentum late, though never more than about a tenth of it. "auto"
    is "sparse" wherever that can be used and is worth it: for 500 units or more; where numba is
    missing, it is "plain", and says so once. A machine's first sparse step is compiled, which takes
    some fifteen seconds for each kind of float; the result is kept.

    Raises `ValueError` for another name; what is returned raises what `SparseStep` raises.

    Chapter 5.
    """
    if engine not in ENGINES:
        raise ValueError(f"There is no engine {engine!r}; choose from {', '.join(ENGINES)}.")
    makers: dict[str, Callable[[Any, Any], Step]] = {
        "plain": PlainStep,
        "sparse": SparseStep,
        "auto": _automatic,
    }
    return makers[engine]


def _automatic(model: Any, optimizer: Any) -> Step:
    if impossible(model, optimizer) or len(model.W_dec) < MANY:
        return PlainStep(model, optimizer)
    if find_spec("numba") is None:
        warnings.warn(
            "Training takes plain steps: the faster ones need numba; install ksae-lab[fast].",
            RuntimeWarning,
            stacklevel=2,
        )
        return PlainStep(model, optimizer)
    return SparseStep(model, optimizer)
