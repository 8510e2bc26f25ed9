"""Chapter 16's tables: models that serve many k or many sizes, against one network for each.

`choice.csv`, made first, has two starts and five learning rates for each kind of model, of which
validation digits choose, after an eighth of the epochs and with a seed that is used nowhere else.
`table.csv` has a row for each use of each model and seed, `half.csv` some of the same for one seed
and half the epochs.
`verdicts.csv` compares, over seeds and test digits; the errors of each digit, which it needs, are
kept in `runs/many_k`.
"""

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from ksae_lab.data.datasets import load_dataset
from ksae_lab.engine.choose import Engine
from ksae_lab.evaluation.metrics import active_units, squared_errors
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.auxiliary_losses import L0
from ksae_lab.nn.parts_of_codes import HierarchicalTopK, Matryoshka
from ksae_lab.nn.selectors import BatchTopK, JumpReLU, PrefixTopK, Selector, TopK
from ksae_lab.training.callbacks import InputNoise, PixelShifts, Scheduled
from ksae_lab.training.optimizers import Adam
from ksae_lab.training.schedules import Schedule, linear

KS, BETWEEN = (5, 10, 25, 50), (7, 15, 35)
UNITS, PREFIXES = 1000, (62, 125, 250, 500)
EPOCHS, BATCH, NOISE, SHORT, TRIAL = 320, 128, 0.05, 3, 40
SEEDS, TRIAL_SEED = (0, 1, 2), 100
RATES = (0.001, 0.002, 0.004, 0.008, 0.016)
STARTS = ("data", "mean")  # rows are training digits, or random around their mean image
PRICES, START = (3e-4, 1e-4), 20

ASKED = {  # the uses that a model is trained for, where that is not its k alone
    "multi-TopK": ["k = 10", "k = 25", "k = 50"],
    "HierarchicalTopK": [f"k = {k}" for k in KS],
    "Matryoshka": ["k = 10", *(f"cut to {r}" for r in PREFIXES)],
    "Matryoshka, BatchTopK": ["k = 10", *(f"cut to {r}" for r in PREFIXES)],
}

memory = joblib.Memory(Path(__file__).parents[3] / "runs" / "many_k", verbose=0)
digits = cache(load_dataset)
Found = dict[str, dict[str, Any]]  # by use: errors of each test digit, and means


@dataclass(frozen=True)
class Training:
    """One model to train: its kind, its k or its price, and its units."""

    kind: str
    k: int = 10
    units: int = UNITS
    price: float = 0.0
    epochs: int = EPOCHS
    start: str = "data"

    @property
    def name(self) -> str:
        """What tells it from others of its seed."""
        which = f"price {self.price:g}" if self.price else f"k {self.k}"
        return f"{self.kind}, {which}, n {self.units}"


@dataclass(frozen=True)
class Use:
    """One way to use a model: with k units (0: as it is), of all or of the first few.

    With `kept` they are selected of all n, and those beyond are dropped; with `chosen_from` they
    are selected of the first.
    """

    name: str
    k: int = 0
    kept: int = 0
    chosen_from: int = 0


ALONE = {k: Training("alone", k) for k in KS}
SMALL = {r: Training("alone", 10, r) for r in PREFIXES}
MULTI, HIERARCHICAL = Training("multi-TopK", 40), Training("HierarchicalTopK", 50)
NESTED, BATCHED = Training("Matryoshka"), Training("BatchTopK")
BATCH_NESTED = Training("Matryoshka, BatchTopK")
PRICED = {price: Training("JumpReLU", price=price) for price in PRICES}
BY_COUNT = (*ALONE.values(), MULTI, HIERARCHICAL, *SMALL.values(), NESTED, BATCHED, BATCH_NESTED)
ALL = (*BY_COUNT, *PRICED.values())
HALVED = (*ALONE.values(), MULTI, HIERARCHICAL, *SMALL.values(), NESTED, *PRICED.values())


def parts(kind: str, k: int) -> tuple[Selector, list[Any]]:
    """How a kind selects, and what it adds to its own error."""
    nested = [(prefix, 1.0) for prefix in PREFIXES]
    selector = BatchTopK(k) if "BatchTopK" in kind else TopK(k)
    match kind:
        case "multi-TopK":  # L(k) + L(4k) / 8, times 8
            return selector, [HierarchicalTopK([(k // 4, 8.0)])]
        case "HierarchicalTopK":  # the mean over k, times their number
            return selector, [HierarchicalTopK((each, 1.0) for each in range(1, k))]
        case "Matryoshka" | "Matryoshka, BatchTopK":
            return selector, [Matryoshka(nested)]
        case "JumpReLU":
            return BatchTopK(START), []  # for the first half, see `priced`
    return selector, []


def train(training: Training, rate: float, seed: int) -> KSparseAutoencoder:
    """The trained model: one recipe for all, so that they differ in what they are asked for."""
    x, rng = digits().x_train, np.random.default_rng(seed)
    selector, losses = parts(training.kind, training.k)
    n_units, falls = training.units, linear(rate, 0, begin=0.5)
    model = KSparseAutoencoder(x.shape[1], n_units, selector, rng=rng, auxiliary_losses=losses)
    if training.start == "data":
        model.init_from_data(x, rng)
    else:
        model.b_dec[:] = x.mean(axis=0)
    if not training.price:
        fit(model, falls, training.epochs, rng, engine="sparse")
        return model
    half = training.epochs // 2
    fit(model, linear(rate, rate), half, rng, engine="sparse")
    priced(model, training.price)
    fit(model, linear(rate, 0), half, rng, engine="plain")
    return model


def fit(
    model: KSparseAutoencoder,
    rate: Schedule,
    epochs: int,
    rng: np.random.Generator,
    engine: Engine,
) -> None:
    """Some epochs of the recipe: digits that move, noise, Adam with a rate that follows `rate`."""
    adam = Adam(rate(0))
    around = [PixelShifts(digits().image or ()), InputNoise(NOISE)]
    around = [*around, Scheduled(adam, "learning_rate", rate)]
    how = {"epochs": epochs, "batch_size": BATCH, "rng": rng, "quiet": True}
    model.fit(digits().x_train, optimizer=adam, engine=engine, callbacks=around, **how)


def priced(model: KSparseAutoencoder, price: float) -> None:
    """Put a threshold for each unit, and a price, in the place of the batch's threshold.

    From the start they would meet hundreds of active units: then nearly all are driven below their
    thresholds, whatever the price, and do not come back.
    """
    assert isinstance(model.selector, BatchTopK)
    model.selector.calibrate(model.pre_activations(digits().x_train))
    theta = float(model.selector.threshold)
    jump = JumpReLU(theta, bandwidth=theta / 2)
    model.selector = jump.for_units(len(model.W_dec), model.W_dec.dtype)
    model.auxiliary_losses.append(L0(model.selector, price))


def uses(training: Training) -> list[Use]:
    """The ways to use a model of this kind."""
    kind, k, n = training.kind, training.k, training.units
    if kind == "JumpReLU":
        return [Use("as trained")]
    if n < UNITS:
        return [Use(f"k = {k}", k)]
    cut = [Use(f"cut to {r}", k, kept=r) for r in PREFIXES if "Matryoshka" in kind]
    if "BatchTopK" in kind:
        return [Use("θ as learnt"), *(Use(f"k = {k}", k) for k in KS), *cut]
    chosen = [Use(f"chosen from {r}", k, chosen_from=r) for r in PREFIXES if cut]
    return [*(Use(f"k = {each}", each) for each in (*KS, *BETWEEN)), *cut, *chosen]


def used(model: KSparseAutoencoder, use: Use, x: np.ndarray) -> np.ndarray:
    """The codes (images, n) of x (images, d), with the model set to a use."""
    if isinstance(model.selector, BatchTopK) and use.k:
        model.k = use.k
        model.selector.calibrate(model.pre_activations(digits().x_train))
    elif use.k:
        model.selector = PrefixTopK(use.k, use.chosen_from or len(model.W_dec))
    z = model.encode(x)
    if use.kept:
        z[:, use.kept :] = 0
    return z


def measured(training: Training, rate: float, seed: int) -> Found:
    """The errors of a trained model in each of its uses; trained once, and kept."""
    return kept(astuple(training), rate, seed)


@memory.cache
def kept(fields: tuple[Any, ...], rate: float, seed: int) -> Found:
    """What `measured` gives for a training of these fields."""
    training, data, found = Training(*fields), digits(), {}
    model = train(training, rate, seed)
    for use in uses(training):
        validation, test = (used(model, use, x) for x in (data.x_val, data.x_test))
        found[use.name] = {
            "validation": squared_errors(data.x_val, model.decode(validation)).mean(),
            "errors": squared_errors(data.x_test.astype(float), model.decode(test)),
            "active": active_units(test).mean(),
        }
    return found


def row(training: Training, rate: float, seed: int, use: str) -> Row:
    """One row: a model in one of its uses."""
    found = measured(training, rate, seed)[use]
    of_model = {"model": training.kind, "trained": training.k, "units": training.units}
    return of_model | {
        "price": training.price,
        "use": use,
        "validation": found["validation"],
        "test": found["errors"].mean(),
        "active": found["active"],
    }


def known(training: Training, rate: float) -> str:
    """A hash of what a row depends on, the seed apart."""
    settings = f"{training} {rate} {BATCH} {NOISE} {PREFIXES}"
    return hash_of(f"{settings} {START}" if training.price else settings)


def choice_jobs() -> Iterator[Job]:
    """Each kind with each start and rate, an eighth as long: how it does on validation digits."""
    for one, start, rate in product(trials(), STARTS, RATES):
        training = replace(one, epochs=TRIAL, start=start)
        name = f"{training.name}: {start}, {rate:g}"
        yield Job(name, TRIAL_SEED, known(training, rate), partial(trial, training, rate))


def trials() -> list[Training]:
    """What is tried; a small network has the start and the rate of the large one."""
    return [t for t in ALL if t.units == UNITS and t.price in (0, PRICES[0])]


def trial(training: Training, rate: float) -> Row:
    """One row: what validation digits say, by whatever the kind is trained for.

    It is the mean logarithm of the errors in its uses, or the error with what the units cost.
    """
    if training.price:
        model, x = train(training, rate, TRIAL_SEED), digits().x_val
        active = active_units(model.encode(x)).mean()
        error = model.error(x) + training.price * active
    else:
        found = measured(training, rate, TRIAL_SEED)
        wanted = ASKED.get(training.kind, [f"k = {training.k}"])
        error = np.exp(np.mean([np.log(found[use]["validation"]) for use in wanted]))
    asked = {"kind": training.kind, "k": training.k, "start": training.start, "rate": rate}
    return asked | {"validation": error}


@cache
def chosen() -> dict[tuple[str, int], tuple[str, float]]:
    """The start and the rate that validation digits chose, by kind and k.

    Raises `FileNotFoundError` before choice.csv is made.
    """
    tried = pd.read_csv(Path(__file__).with_name("choice.csv"), comment="#")
    best = tried.sort_values("validation").groupby(["kind", "k"]).first()
    return dict(zip(best.index, zip(best["start"], best["rate"], strict=True), strict=True))


def at_best(training: Training) -> tuple[Training, float]:
    """A model with its start, and its rate; one of another size has those of its kind and k."""
    start, rate = chosen()[training.kind, training.k]
    return replace(training, start=start), rate


def use_jobs(trainings: tuple[Training, ...], seeds: tuple[int, ...]) -> Iterator[Job]:
    """Every use of every model, for every seed; a model is trained once for all its uses."""
    for seed in seeds:
        for training, rate in map(at_best, trainings):
            for use in uses(training):
                job = partial(row, training, rate, seed, use.name)
                yield Job(f"{training.name}: {use.name}", seed, known(training, rate), job)


def table_jobs() -> Iterator[Job]:
    """All models with all seeds; last a short training of one seed, which the chapter repeats."""
    yield from use_jobs(BY_COUNT, SEEDS)
    yield from use_jobs(tuple(PRICED.values()), SEEDS)
    short, rate = at_best(replace(HIERARCHICAL, epochs=SHORT))
    for use in ("k = 5", "k = 25"):
        job = partial(row, short, rate, 0, use)
        yield Job(f"short {short.name}: {use}", 0, known(short, rate), job)


def half_jobs() -> Iterator[Job]:
    """What the last doubling of the epochs changed, for one seed: here it is taken back."""
    yield from use_jobs(tuple(replace(t, epochs=EPOCHS // 2) for t in HALVED), SEEDS[:1])


def errors(training: Training, use: str) -> np.ndarray:
    """The errors (seeds, images) of a model in one use."""
    best = at_best(training)
    return np.stack([measured(*best, seed)[use]["errors"] for seed in SEEDS])


def alone_at(active: float) -> np.ndarray:
    """The errors (seeds, images) of networks trained for so many active units on average.

    Those of the nearest k, all multiplied by what the mean error's power law between the two k
    around it says of the rest of the way.
    """
    found = {k: errors(ALONE[k], f"k = {k}") for k in KS}
    upper = int(np.clip(np.searchsorted(KS, active), 1, len(KS) - 1))
    below, above = KS[upper - 1], KS[upper]
    nearest = min((below, above), key=lambda k: abs(np.log(k / active)))
    power = np.log(found[above].mean() / found[below].mean()) / np.log(above / below)
    return found[nearest] * (active / nearest) ** power


Side = Callable[[], np.ndarray]


def contests() -> Iterator[tuple[str, str, Side, Side]]:
    """Each comparison: its family and name, and the errors of both sides."""

    def of(training: Training, use: str) -> Side:
        return partial(errors, training, use)

    for name, model in (("trained at 10", ALONE[10]), ("multi", MULTI), ("all k", HIERARCHICAL)):
        for k in KS:
            if model is not ALONE[k]:
                use = f"k = {k}"
                yield "many k", f"{name}, k = {k}", of(model, use), of(ALONE[k], use)
    yield "prefixes", "nested, whole", of(NESTED, "k = 10"), of(ALONE[10], "k = 10")
    for r in PREFIXES:
        for how in ("cut to", "chosen from"):
            use = f"{how} {r}"
            yield "prefixes", f"nested, {use}", of(NESTED, use), of(SMALL[r], "k = 10")
    priced = [(f"JumpReLU at {price:g}", PRICED[price], "as trained") for price in PRICES]
    batched = [
        ("batch top-k, as learnt", BATCHED, "θ as learnt"),
        ("batch top-k, calibrated", BATCHED, "k = 10"),
        ("nested by batch, as learnt", BATCH_NESTED, "θ as learnt"),
    ]
    for name, model, use in (*batched, *priced):
        active = partial(mean_active, model, use)
        yield "thresholds", name, of(model, use), lambda active=active: alone_at(active())
    for r in PREFIXES:
        name, use = f"nested by batch, cut to {r}", f"cut to {r}"
        yield "thresholds", name, of(BATCH_NESTED, use), of(NESTED, use)


def mean_active(training: Training, use: str) -> float:
    """How many units of a model are active, a mean over seeds and test digits."""
    best = at_best(training)
    return float(np.mean([measured(*best, seed)[use]["active"] for seed in SEEDS]))


def verdict(family: str, ours: Side, theirs: Side) -> Row:
    """One row: how far a model lies above its rival, for seeds and digits that are drawn."""
    a, b = ours(), theirs()
    apart = difference(a, b)
    means = {"family": family, "model": a.mean(), "rival": b.mean()}
    return means | apart.row()


def verdict_jobs() -> Iterator[Job]:
    """Every comparison; those of a family are corrected together."""
    settings = hash_of(f"{[known(*at_best(training)) for training in ALL]} {SEEDS}")
    for family, name, ours, theirs in contests():
        yield Job(name, 0, settings, partial(verdict, family, ours, theirs))


TABLES = {
    "choice.csv": choice_jobs,
    "table.csv": table_jobs,
    "half.csv": half_jobs,
    "verdicts.csv": verdict_jobs,
}
