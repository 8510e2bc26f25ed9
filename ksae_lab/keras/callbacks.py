"""What happens to k and to dead units while Keras trains: the recipes of chapter 8 as callbacks."""

from typing import Any

import keras
import numpy as np
from keras import ops

from ksae_lab.keras.arrays import as_numpy
from ksae_lab.keras.models import KSparseAutoencoder
from ksae_lab.keras.selector import selectors_of
from ksae_lab.training.dead_units import ResetPlan, restart_dead
from ksae_lab.training.schedules import k_curriculum

Logs = dict[str, Any] | None

# What a reset writes, by whether the weights are tied.
RESET = {False: ("W_enc", "W_dec", "b_enc"), True: ("W_dec", "b_enc")}


class KCurriculum(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """From many active units to few: k falls from `k_start` to `k` by `finish`, then stays.

    `finish` is a share of all steps, or of all epochs where Keras does not know the steps.
    Every layer of the model that selects follows; each epoch's last k stands in the logs as "k".

    Between epochs the model has its final k: from validation on, or from this callback's turn at
    the epoch's end, until the next epoch begins. So each `val_loss` is that of the model as it will
    be used, and what `EarlyStopping` restores or `ModelCheckpoint` saves selects k units, whenever
    it was the best. The training loss is that of the k in the logs and no measure of the best.
    Without validation list this callback before those.

    Raises `ValueError` if k_start is below k and, as training begins, if a k does not fit a layer,
    if a selector has no k that may change, or if no layer selects.

    Source: Makhzani & Frey (2013), section 4.2.1.
    Chapter 8.
    """

    def __init__(self, k_start: int, k: int, finish: float = 0.5):
        super().__init__()
        self.schedule = k_curriculum(k_start, k, finish=finish)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Let a k that does not fit show now, not in the middle of training."""
        for progress in (1.0, 0.0):
            self._set(self.schedule(progress))

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Follow by epochs."""
        self.epoch = epoch
        self._follow(epoch)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Follow by steps, where their number is known."""
        if self.params["steps"]:
            self._follow(self.epoch + batch / self.params["steps"])

    def on_test_begin(self, logs: Logs = None) -> None:
        """Validate with the final k."""
        self._finish()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Note the epoch's last k, and show others the final one."""
        if logs is not None:
            logs["k"] = self.used
        self._finish()

    def on_train_end(self, logs: Logs = None) -> None:
        """End with the final k, whatever was restored."""
        self._finish()

    def _follow(self, epochs_done: float) -> None:
        self.used = int(self.schedule(epochs_done / self.params["epochs"]))
        if self.used != self.k:
            self._set(self.used)

    def _finish(self) -> None:
        self._set(self.schedule(1.0))

    def _set(self, k: float) -> None:
        # Within an epoch JAX keeps the weights elsewhere; asking for the model brings them back.
        for selector in selectors_of(self.model):
            if not selector.k_may_change:
                raise ValueError(
                    f"The k of a {type(selector).__name__} cannot follow a schedule: it has none, "
                    "or its graph keeps the first one; select by TopK, or leave KCurriculum out."
                )
            selector.k = int(k)
        self.k = int(k)


class DeadUnitMonitor(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Puts the number of dead units at each epoch's end into the logs, as "dead".

    `History` and every callback that is listed after this one see it. When a unit counts as dead
    is set where the layer or the model is made, by `dead_after`.

    Raises `ValueError`, as training begins, if no layer of the model selects.

    Chapter 8.
    """

    def on_train_begin(self, logs: Logs = None) -> None:
        """Let a model without a layer that selects show now."""
        selectors_of(self.model)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Count."""
        dead = [ops.convert_to_numpy(selector.dead()) for selector in selectors_of(self.model)]
        if logs is not None:
            logs["dead"] = int(sum(units.sum() for units in dead))


class ResetDeadUnits(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Every `every` epochs, until progress `until`, each dead unit starts again at a residual.

    x (samples, d) are the training images; `seed` decides which of them the units start at.
    `ksae_lab.training.dead_units.restart_dead` says how.
    The optimizer, any of Keras', forgets what it remembers of these weights: each slot goes back
    to where it began, Adagrad's accumulator to its initial value and an average of weights to the
    new weights. Adafactor's means over rows and columns stay.

    Raises `ValueError` for an `every` or `until` that makes no plan and, as training begins, if the
    model is no `KSparseAutoencoder` or x does not fit it.

    Source: Bricken et al. (2023), who take the image itself and not its residual.
    Chapter 8.
    """

    def __init__(self, x: np.ndarray, every: int, until: float = 0.5, seed: int = 0):
        super().__init__()
        self.x = x
        self.plan = ResetPlan(every, until)
        self.rng = np.random.default_rng(seed)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Let a model or images that do not fit show now."""
        if not isinstance(self.model, KSparseAutoencoder):
            raise ValueError(
                f"{self.model.name!r} is a {type(self.model).__name__}; only a KSparseAutoencoder "
                "has the W_enc, W_dec and b_enc that a reset writes."
            )
        self.model.pre_activations(self.x[:1])

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Reset what is dead now, if it is time."""
        model, dead = self.model, self.model.dead
        if not self.plan.is_due(epoch + 1, self.params["epochs"]) or not dead.any():
            return
        new = {name: as_numpy(getattr(model, name)) for name in RESET[model.tied]}
        W_enc = new["W_dec"].T if model.tied else new["W_enc"]
        residual = self.x - _reconstruct(model, self.x)
        units = restart_dead(dead, residual, W_enc, new["W_dec"], new["b_enc"], self.rng)
        if not len(units):
            return
        for name, array in new.items():
            variable = getattr(model, name)
            variable.assign(array)
            _forget(model.optimizer, variable, np.s_[:, units] if name == "W_enc" else units)
        silent = as_numpy(model.selector.silent)
        silent[units] = 0
        model.selector.silent.assign(silent)


def _reconstruct(model: KSparseAutoencoder, x: np.ndarray) -> np.ndarray:
    """x̂ for x, both (samples, d), a thousand at a time; no graph is made for so rare an event."""
    starts = range(0, len(x), 1000)
    return np.concatenate([as_numpy(model(x[i : i + 1000])) for i in starts])


def _forget(optimizer: keras.Optimizer, variable: keras.Variable, where: Any) -> None:
    """Let the optimizer remember of variable[where] what it would if it met it now."""
    # A new optimizer of the same kind, for these numbers alone, knows the slots and their start.
    part = keras.Variable(as_numpy(variable)[where], name=variable.path.replace("/", "_"))
    new = type(optimizer).from_config(optimizer.get_config())
    new.build([part])
    slots = {slot.name: slot for slot in optimizer.variables}
    for start in new.variables:
        slot = slots.get(start.name)
        if slot is None or slot.shape != variable.shape:
            continue  # the count of steps, the learning rate, means over rows
        average = start.name == f"{part.name}_average"  # of weights; it begins at the weights
        memory = as_numpy(slot)
        memory[where] = as_numpy(part if average else start)
        slot.assign(memory)
