"""Parts of models that mean the same elsewhere: those of this package, and none that look so."""

from ksae_lab.nn import selectors
from ksae_lab.nn.activations import ACTIVATIONS, Activation
from ksae_lab.nn.selectors import Selector


def known_activation(phi: Activation) -> str:
    """The name of an activation of this package.

    Raises `ValueError` for another function, whatever its name.

    Chapter 3.
    """
    if ACTIVATIONS.get(phi.name) != phi:
        raise ValueError(
            f"The activation {phi.name!r} is a function of your own and cannot be exported; "
            f"choose from {', '.join(ACTIVATIONS)}."
        )
    return phi.name


def known_selector(selector: Selector) -> str:
    """The name of a selector's class, one of this package.

    Raises `ValueError` for another class, whatever its name.

    Chapter 2.
    """
    name = type(selector).__name__
    if getattr(selectors, name, None) is not type(selector):
        raise ValueError(
            f"The selector {name} is a class of your own and cannot be exported; "
            "choose from those of ksae_lab.nn.selectors."
        )
    return name
