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


def settings(optimizer: BaseOptimizer, dtype: np.dtype) -> np.ndarray:
    """The rate, the first memory's share, the second's, and ε, where there are such: (4,).

    Lab 1.
    """
    if isinstance(optimizer, Adam):
        rest = (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon)
    elif isinstance(optimizer, SGD):
        rest = (optimizer.momentum, 0.0, 0.0)
    elif isinstance(optimizer, RMSprop):
        rest = (optimizer.rho, 0.0, optimizer.epsilon)
    else:
        assert isinstance(optimizer, AdaGrad)
        rest = (0.0, 0.0, optimizer.epsilon)
    return np.array([rate(optimizer), *rest], dtype)
