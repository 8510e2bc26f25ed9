"""From a gradient to a step. Both rules change the arrays in place and keep their own memory.

Lab 1 writes such a rule by hand; these two are the usual ones.
"""

import math

import numpy as np

Arrays = dict[str, np.ndarray]


class SGD:
    """w ← w + v with v ← momentum · v − learning_rate · gradient; momentum 0 is plain descent.

    Lab 1.
    """

    def __init__(self, learning_rate: float, momentum: float = 0.0):
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.velocity: Arrays = {}

    def step(self, parameters: Arrays, gradients: Arrays) -> None:
        """Change `parameters` in place by `gradients`, which has the same names and shapes."""
        for name, w in parameters.items():
            v = self.velocity.setdefault(name, np.zeros_like(w))
            v *= self.momentum
            v -= self.learning_rate * gradients[name]
            w += v


class Adam:
    """Steps of about `learning_rate` a weight, whatever the gradient's scale.

    m and v are running means of the gradient and of its square;
    both start at zero and are divided by how much of their weight they have seen.

    Source: Kingma & Ba (2015); ε is added to the root before v's correction, as in Keras.
    Lab 1.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ):
        self.learning_rate = learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.steps = 0
        self.m: Arrays = {}
        self.v: Arrays = {}

    def step(self, parameters: Arrays, gradients: Arrays) -> None:
        """Change `parameters` in place by `gradients`, which has the same names and shapes."""
        self.steps += 1
        seen_1 = 1 - self.beta_1**self.steps
        seen_2 = 1 - self.beta_2**self.steps
        rate = self.learning_rate * math.sqrt(seen_2) / seen_1
        for name, w in parameters.items():
            g = gradients[name]
            m = self.m.setdefault(name, np.zeros_like(w))
            v = self.v.setdefault(name, np.zeros_like(w))
            m += (1 - self.beta_1) * (g - m)
            v += (1 - self.beta_2) * (g * g - v)
            w -= rate * m / (np.sqrt(v) + self.epsilon)
