"""What a trained dream's laterals are good for: by what is lost without them, not by their looks.

Laterals are what S holds beside its diagonal. They are taken away, shuffled among all pairs of
units, or calculated from the prototypes; then nothing else learns, or the biases do, or all but S.
The dream as it is gets the same time to learn on.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial

import numpy as np
from scipy.stats import spearmanr

from ksae_lab.evaluation.metrics import active_units
from ksae_lab.experiments import saved_models
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.nn.losses import mse
from ksae_lab.nn.module import Arrays, Passes
from ksae_lab.training.callbacks import Freeze, Scheduled
from ksae_lab.training.optimizers import Adam
from ksae_lab.training.schedules import linear

EPOCHS, BATCH = 40, 256  # of what learns on
HELD: dict[str, tuple[str, ...]] = {
    "b learns": ("W", "S"),
    "W and b learn": ("S",),
    "α and β learn": ("b",),
    "α, β and b learn": (),
}
RATES = dict.fromkeys(HELD, 0.01) | {"W and b learn": 0.003}
PRICE = "λ=0.3"  # of the dreams that are asked
SHARES = (0, 10, 50, 90, 100)  # percentiles over the units


def removed(dream: SparseDream) -> SparseDream:
    """A copy without laterals; each unit's weight to itself stays."""
    model = deepcopy(dream)
    model.S *= np.eye(len(model.S), dtype=model.S.dtype)
    return model


def shuffled(dream: SparseDream) -> SparseDream:
    """A copy with the same laterals, each between two other units, drawn at random."""
    model = deepcopy(dream)
    pairs = ~np.eye(len(model.S), dtype=bool)
    model.S[pairs] = np.random.default_rng(0).permutation(model.S[pairs])
    return model


class Calculated(SparseDream):
    """A dream of which S is α I − β O, where O is W Wᵀ without its diagonal.

    `scales` (2,) holds α and β; they learn, and b does. W stays.
    """

    scales: np.ndarray
    overlaps: np.ndarray

    @classmethod
    def of(cls, dream: SparseDream) -> "Calculated":
        """With prototypes and biases of a dream, and the α and β that come closest to its S."""
        model = cls.from_config(dream.get_config())
        model.W[:], model.b[:] = dream.W, dream.b
        model.overlaps = model.W @ model.W.T * ~np.eye(len(model.W), dtype=bool)
        beta = -(dream.S * model.overlaps).sum() / (model.overlaps**2).sum()
        model.scales = np.array([np.diag(dream.S).mean(), beta], model.W.dtype)
        model.calculate()
        return model

    def calculate(self) -> None:
        """Set S (n, n)."""
        self.S[:] = self.scales[0] * np.eye(len(self.S)) - self.scales[1] * self.overlaps

    @property
    def parameters(self) -> Arrays:
        """The live arrays: scales (2,), b (n,)."""
        return {"scales": self.scales, "b": self.b}

    def forward_backward(self, x: np.ndarray, target: np.ndarray | None = None) -> Passes:
        """Those of a dream with that S, whose gradient is handed on to α and β."""
        self.calculate()
        loss, gradients, forward = super().forward_backward(x, target)
        d_S = gradients["S"]
        d_scales = np.array([np.trace(d_S), -(d_S * self.overlaps).sum()], self.scales.dtype)
        return Passes(loss, {"scales": d_scales, "b": gradients["b"]}, forward)


def learned_on(model: SparseDream, x: np.ndarray, held: tuple[str, ...], rate: float) -> None:
    """Train the model on, on x (samples, d): all learns but what is `held`.

    Raises what `Freeze` raises.
    """
    adam = Adam(rate)
    falling = Scheduled(adam, "learning_rate", linear(rate, 0.0))
    callbacks = [falling, Freeze(model, *held)]
    model.fit(x, optimizer=adam, epochs=EPOCHS, batch_size=BATCH, rng=0, callbacks=callbacks)
    if isinstance(model, Calculated):
        model.calculate()


def silenced(model: SparseDream, x: np.ndarray) -> dict[str, np.ndarray]:
    """By which share the error of x (samples, d) rises when a unit is silenced: (n,), in two ways.

    "tells": its laterals to others are zero, and it draws as before. "draws": its activity is zero,
    and the others are told as before.
    """
    a, before = model.encode(x), model.error(x)
    tells, draws = np.empty(len(model.S)), np.empty(len(model.S))
    for unit in range(len(model.S)):
        column = model.S[:, unit].copy()
        model.S[:, unit] = 0
        model.S[unit, unit] = column[unit]
        tells[unit] = model.error(x) / before - 1
        model.S[:, unit] = column
        without = a.copy()
        without[:, unit] = 0
        draws[unit] = mse(model.decode(without), x) / before - 1
    return {"tells": tells, "draws": draws}


def told(S: np.ndarray) -> np.ndarray:
    """The length of each column of S (n, n) without its diagonal: how much a unit tells, (n,)."""
    return np.linalg.norm(S * ~np.eye(len(S), dtype=bool), axis=0)


CHANGES: dict[str, Callable[[SparseDream], SparseDream]] = {
    "kept": deepcopy,
    "removed": removed,
    "shuffled": shuffled,
    "calculated": Calculated.of,
}
CASES = [
    ("kept", "as it is"),
    ("kept", "W and b learn"),
    ("removed", "as it is"),
    ("removed", "b learns"),
    ("removed", "W and b learn"),
    ("shuffled", "as it is"),
    ("shuffled", "b learns"),
    ("calculated", "as it is"),
    ("calculated", "α and β learn"),
    ("calculated", "α, β and b learn"),
]


def change(network: Network, sweep: Sweep, what: str, learns: str) -> Row:
    """One row: the test error and the active units after a change, and what then has learned."""
    model, digits = CHANGES[what](saved_models.load_model(network.card)), sweep.dataset
    if learns in HELD:
        learned_on(model, digits.x_train, HELD[learns], RATES[learns])
    row = {
        "test": model.error(digits.x_test),
        "active": active_units(model.encode(digits.x_test)).mean(),
    }
    if isinstance(model, Calculated):
        row |= {"alpha": model.scales[0], "beta": model.scales[1]}
    return row


def silence(network: Network, sweep: Sweep) -> Row:
    """One row: by how much test errors rise when one unit is silenced, over the units."""
    dream = saved_models.load_model(network.card)
    rises, lengths = silenced(dream, sweep.dataset.x_test), told(dream.S)
    row = {"loudest": rises["tells"][lengths.argmax()]}
    for name, rise in rises.items():
        row |= {f"{name}_{share}": np.percentile(rise, share) for share in SHARES}
    return row | {"rank": spearmanr(lengths, rises["tells"]).statistic}


def changes(dream_equal: Sweep) -> Iterator[Job]:
    """Each change of each dream, with what learns afterwards."""
    for side, network in _dreams(dream_equal):
        for what, learns in CASES:
            how = f"{HELD[learns]} {RATES[learns]} {EPOCHS} {BATCH}" if learns in HELD else ""
            settings = hash_of(f"{what} {how} {network.settings}")
            do = partial(change, network, dream_equal, what, learns)
            yield Job(f"{side}, {what}, {learns}", network.seed, settings, do)


def silences(dream_equal: Sweep) -> Iterator[Job]:
    """Each dream, its units silenced in turn."""
    for side, network in _dreams(dream_equal):
        settings = hash_of(f"{SHARES} {network.settings}")
        yield Job(side, network.seed, settings, partial(silence, network, dream_equal))


def _dreams(sweep: Sweep) -> Iterator[tuple[str, Network]]:
    for run, network in zip(sweep.runs, sweep.networks, strict=True):
        if run.levels["side"] == PRICE:
            yield run.levels["side"], network


TABLES = {"laterals.csv": changes, "silenced.csv": silences}
