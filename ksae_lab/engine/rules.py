"""Which optimizers the engine knows, and what its kernels need of them."""

import math

import numpy as np

from ksae_lab.training.optimizers import SGD, AdaGrad, Adam, BaseOptimizer, RMSprop

# The numbers by which the kernels know them; only these very classes, whose steps they repeat.
NUMBERS: dict[type[BaseOptimizer], int] = {SGD: 0, RMSprop: 1, AdaGrad: 2, Adam: 3}


def rate(optimizer: BaseOptimizer) -> float:
    """The rate of the step that has begun, a scalar; Adam's has its means' beginning in it.

    Lab 1.
    """
    if not isinstance(optimizer, Adam):
        return optimizer.learning_rate
    seen_1 = 1 - optimizer.beta_1**optimizer.steps
    seen_2 = 1 - optimizer.beta_2**optimizer.steps
    return optimizer.learning_rate * math.sqrt(seen_2) / seen_1


def shares(optimizer: BaseOptimizer) -> tuple[float, float]:
    """What its first and its second memory keep of themselves in a step without gradient.

    Lab 1.
    """
    if isinstance(optimizer, Adam):
        return optimizer.beta_1, optimizer.beta_2
    if isinstance(optimizer, SGD):
        return optimizer.momentum, 1.0
    return getattr(optimizer, "rho", 1.0), 1.0


def settings(optimizer: BaseOptimizer, dtype: np.dtype) -> np.ndarray:
    """The rate, both shares of memory, and ε, where there is one: (4,).

    Lab 1.
    """
    epsilon = getattr(optimizer, "epsilon", 0.0)
    return np.array([rate(optimizer), *shares(optimizer), epsilon], dtype)
