"""Chapter 15's tables but the first: what the networks of a sweep over k and seeds are good for."""

import hashlib

from tools.probe import Stored

Networks = dict[tuple[int, int], Stored]  # by k and seed


def by_seed(networks: Networks) -> dict[int, list[str]]:
    """The hashes of the networks of each seed."""
    found = {}
    for (_, seed), network in networks.items():
        found.setdefault(seed, []).append(network.settings)
    return found


def settings(*what: object) -> str:
    """A hash of what a row depends on, the seed apart."""
    return hashlib.sha256(repr(what).encode()).hexdigest()
