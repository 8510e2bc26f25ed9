"""Chapter 16's table: models that serve many k, against one network for each k.

One row is one model, of one seed, used in one way: with k units, or at the price that it learnt at.
What stands below was chosen by the validation digits, for one more seed and half the epochs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import active_units
from ksae_lab.experiments.tables import Job, hash_of
from ksae_lab.nn.losses import mse
from ksae_lab.training.schedules import linear

KS = (2, 5, 10, 20, 30, 50)
BETWEEN = (7, 14, 40)  # which no model was trained for
PRICES = (4e-3, 1e-3, 3e-4, 1e-4, 3e-5)
# One recipe for all, so that models differ in what they are asked for and in nothing else.
EPOCHS, SHORT, BATCH, RATE, NOISE = 40, 3, 128, 0.008, 0.1
SEEDS = (0, 1, 2)
N_UNITS = 100
# What an error weighs, about as it falls with k: else a few units would be all that counts.
WEIGHTS = {2: 0.3, 5: 0.4, 10: 0.5, 20: 0.65, 30: 0.75}  # and 1 for 50


@dataclass(frozen=True)
class Training:
    """One model to train: its kind, the k, k and units, or price that it is trained for."""

    kind: str
    setting: float | tuple[int, int] | None = None
    epochs: int = EPOCHS


@dataclass(frozen=True)
class Use:
    """One way to use a model, which makes one row: the variant's name, k, or else its price."""

    variant: str
    training: Training
    k: int | None = None

    @property
    def name(self) -> str:
        """What tells the row from others of its seed."""
        at = f"price {self.training.setting:g}" if self.k is None else f"k = {self.k}"
        return f"{self.variant}, {at}"

    @property
    def settings(self) -> str:
        """A hash of what the row depends on, the seed apart."""
        return hash_of(f"{self} {BATCH} {RATE} {NOISE} {N_UNITS} {WEIGHTS}")


def uses() -> list[Use]:
    """All rows of one seed; those of the same model stand together."""
    rows = []
    for k in KS:
        alone = Training("one k", (k, N_UNITS))
        rows.append(Use("alone", alone, k))
        if k == 10:
            rows += [Use("trained at 10", alone, other) for other in KS]
        if 2 * k < N_UNITS:
            rows.append(Use("alone, 2k units", Training("one k", (k, 2 * k)), k))
    rows += [Use("multi-k, short", Training("multi-k", epochs=SHORT), k) for k in KS]
    rows += [Use("multi-k, 10 and 40", Training("10 and 40"), k) for k in KS]
    rows += [Use("multi-k", Training("multi-k"), k) for k in (*KS, *BETWEEN)]
    # The first to use it: those below set θ anew.
    rows.append(Use("batch top-k, θ as learnt", Training("batch top-k"), 10))
    rows += [Use("batch top-k", Training("batch top-k"), k) for k in KS]
    rows += [Use("nested", Training("nested"), k) for k in KS]
    rows += [Use("nested, all units", Training("nested"), k) for k in KS]
    rows += [Use("JumpReLU", Training("JumpReLU", price)) for price in PRICES]
    return rows


def train(training: Training, dataset: Dataset, seed: int):
    """The trained model, of Keras whatever its kind: so the recipe is the same to the last step."""
    from ksae_lab.keras import (  # and so quietly, before Keras
        L0,
        BatchTopK,
        JumpReLU,
        KSparseAutoencoder,
        MultiTopK,
        PrefixTopK,
    )

    import keras  # isort: skip

    options = {"noise": NOISE}
    x = dataset.x_train
    d, n = x.shape[1], N_UNITS
    keras.utils.set_random_seed(seed)
    match training.kind:
        case "one k":
            k, n_units = training.setting
            model = KSparseAutoencoder(d, n_units, k, **options)
        case "10 and 40":
            extra = MultiTopK([(40, n, 1 / 8)])
            model = KSparseAutoencoder(d, n, 10, auxiliary_losses=[extra], **options)
        case "multi-k":
            extra = MultiTopK([(k, n, weight) for k, weight in WEIGHTS.items()])
            model = KSparseAutoencoder(d, n, 50, auxiliary_losses=[extra], **options)
        case "nested":
            extra = MultiTopK([(k, 2 * k, weight) for k, weight in WEIGHTS.items()])
            model = KSparseAutoencoder(d, n, PrefixTopK(50, n), auxiliary_losses=[extra], **options)
        case "batch top-k":
            model = KSparseAutoencoder(d, n, BatchTopK(10), **options)
        case "JumpReLU":
            extra = L0(training.setting)
            model = KSparseAutoencoder(d, n, JumpReLU(0.5), auxiliary_losses=[extra], **options)
    model.init_from_data(x, np.random.default_rng(seed))
    model.compile(keras.optimizers.Adam(RATE), loss="mse", jit_compile=False)
    falling = linear(RATE, 0, begin=0.5)
    model.fit(
        x,
        x,
        batch_size=BATCH,
        epochs=training.epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch: falling(epoch / training.epochs))
        ],
    )
    return model


def measure(model, use: Use, x_train: np.ndarray, x: np.ndarray) -> dict:
    """One row: how the model is used, its error for the images x (images, d), its active units."""
    if use.k is not None:
        model.k = use.k
    if use.variant.startswith("nested"):
        model.selector.prefix = 2 * use.k if use.variant == "nested" else N_UNITS
    if use.variant == "batch top-k":
        model.selector.calibrate(model.pre_activations(x_train))
    z = np.asarray(model.encode(x))
    price = use.training.setting if use.training.kind == "JumpReLU" else None
    return {
        "model": use.variant,
        "k": use.k,
        "price": price,
        "test": mse(np.asarray(model.decode(z)), x),
        "active": active_units(z).mean(),
    }


def jobs() -> Iterator[Job]:
    """Every use of every model, for every seed; a model is trained once for all its uses."""
    dataset = load_dataset("mnist5k")
    trained = lru_cache(maxsize=1)(lambda training, seed: train(training, dataset, seed))

    def row(use: Use, seed: int) -> dict:
        model = trained(use.training, seed)
        return measure(model, use, dataset.x_train, dataset.x_test)

    for seed in SEEDS:
        for use in uses():
            yield Job(use.name, seed, use.settings, partial(row, use, seed))


TABLES = {"table.csv": jobs}
