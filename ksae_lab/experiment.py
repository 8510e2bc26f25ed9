"""An experiment from its settings to its files, so that it can be stopped and gone on with.

While it runs, its folder holds `experiment.yaml` and a checkpoint of an epoch's end just passed;
when it is done, `model.json` with its weights, `history.csv` and `cost.json` take the checkpoint's
place. All but the cost are the same to the last byte whenever the same experiment is run: that has
the processor's seconds, of all sittings, and the bytes that the passes of one step need at most.
"""

import csv
import io
import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from ksae_lab import cards, config, metrics, storage
from ksae_lab.autoencoder import KSparseAutoencoder
from ksae_lab.data import NAMES, Dataset, load_dataset
from ksae_lab.evaluation import evaluate
from ksae_lab.losses import AuxK, Diversity
from ksae_lab.optimizers import SGD, AdaGrad, Adam, RMSprop
from ksae_lab.relaxed import Relaxation
from ksae_lab.schedules import geometric, k_curriculum, linear
from ksae_lab.settings import Experiment, flat
from ksae_lab.sparse_dream import SparseDream
from ksae_lab.training import Callback, Follow, Freeze, History, InputNoise, Run
from ksae_lab.upkeep import DeadUnits, ResetDead, WakeSilent

MODEL, CHECKPOINT = "model.json", "checkpoint.json"
HISTORY, SETTINGS, COST = "history.csv", "experiment.yaml", "cost.json"

PAUSE = 5.0  # seconds from one checkpoint to the next: writing one takes as long as some steps


def build(experiment: Experiment, dataset: Dataset) -> Run:
    """The training that an experiment describes, ready to go: the one place that reads it.

    Lab 2.
    """
    rng = np.random.default_rng(experiment.seed)
    x, validation = dataset.x_train, (dataset.x_val,)
    if experiment.fit_on == "train+validation":
        x, validation = np.concatenate([x, dataset.x_val]), None

    rule, length = experiment.optimizer, experiment.training
    rules = {"rmsprop": RMSprop, "adagrad": AdaGrad, "adam": Adam}
    if rule.name == "sgd":
        optimizer = SGD(rule.learning_rate, rule.momentum, lazy=rule.lazy)
    else:
        optimizer = rules[rule.name](rule.learning_rate, lazy=rule.lazy)

    n_units = (experiment.dream or experiment.model).n_units
    monitor = DeadUnits(n_units, after=length.dead_after or len(x))
    callbacks: list[Callback] = [monitor]
    if length.noise:
        callbacks.append(InputNoise(length.noise))
    if rule.decay_from is not None:
        falling = linear(rule.learning_rate, 0.0, begin=rule.decay_from)
        callbacks.append(Follow(optimizer, "learning_rate", falling))
    network = _dream if experiment.dream else _k_sparse
    model, own = network(experiment, x, rng, monitor)
    return Run(
        model,
        (x,),
        optimizer,
        length.epochs,
        length.batch_size,
        rng,
        validation=validation,
        callbacks=[*callbacks, *own],
    )


def _k_sparse(
    experiment: Experiment, x: np.ndarray, rng: np.random.Generator, monitor: DeadUnits
) -> tuple[KSparseAutoencoder, list[Callback]]:
    wanted = experiment.model
    model = KSparseAutoencoder(
        x.shape[1],
        wanted.n_units,
        wanted.k,
        wanted.activation,
        by=wanted.by,
        tied=wanted.tied,
        rng=rng,
    )
    if wanted.start == "data":
        model.start_from(x, rng)
    elif wanted.start == "mean":
        model.b_dec[:] = x.mean(axis=0)
    callbacks: list[Callback] = []
    if plan := experiment.curriculum:
        fewer = k_curriculum(plan.k_start, wanted.k, finish=plan.finish)
        callbacks.append(Follow(model, "k", fewer))
    if plan := experiment.resets:
        callbacks.append(ResetDead(monitor, plan.every, plan.until))
    if plan := experiment.selection:
        options = {"rng": rng} if plan.name in ("perturbed", "gumbel_subset") else {}
        if plan.name == "perturbed":
            options["samples"] = plan.samples
        model.select = Relaxation(plan.name, plan.temperature, **options)
        if plan.end is not None:
            cooling = geometric(plan.temperature, plan.end)
            callbacks.append(Follow(model.select, "temperature", cooling))
    if term := experiment.auxk:
        model.terms.append(AuxK(monitor, term.k_aux, term.weight))
    if term := experiment.diversity:
        model.terms.append(Diversity(term.weight))
    return model, callbacks


def _dream(
    experiment: Experiment, x: np.ndarray, rng: np.random.Generator, monitor: DeadUnits
) -> tuple[SparseDream, list[Callback]]:
    wanted = experiment.dream
    model = SparseDream(
        x.shape[1],
        wanted.n_units,
        wanted.penalty,
        wanted.sparsity,
        wanted.norm_weight,
        wanted.init,
        images=x,
        inhibition=wanted.inhibition,
        rng=rng,
    )
    callbacks: list[Callback] = []
    if wanted.sparsity_start is not None:
        rising = linear(wanted.sparsity_start, wanted.sparsity, finish=0.5)
        callbacks.append(Follow(model, "sparsity", rising))
    if wanted.wake_rate is not None:
        callbacks.append(WakeSilent(monitor, wanted.wake_rate))
    if wanted.frozen:
        callbacks.append(Freeze(model, *wanted.frozen))
    return model, callbacks


def train(
    experiment: Experiment, out: str | Path, *, resume: bool = False, quiet: bool = False
) -> dict:
    """Train, and leave the model and its history in the folder `out`; returns its test metrics.

    `quiet` shows no bar, for one training among many.

    `resume` goes on with what `out` holds: from the checkpoint, bit for bit to where it would have
    come without an interruption; from the start if there is none; and what is finished is left as
    it is. Ctrl-C raises `KeyboardInterrupt`, and leaves the checkpoint.

    Raises, before training starts, `ValueError` if `out` holds another training, or one that is to
    be resumed or is finished without `resume`; `OSError` if `out` cannot be written; and what
    `load_dataset` raises. `FloatingPointError` says that the loss has run away.

    Lab 2.
    """
    out = Path(out).expanduser()
    found = {name: (out / name).exists() for name in (MODEL, CHECKPOINT)}
    if any(found.values()) and not resume:
        state = "finished" if found[MODEL] else "unfinished"
        raise ValueError(f"{out} holds a training, {state}; resume it or choose another folder.")
    if any(found.values()):
        arrays, card = cards.read(out / (MODEL if found[MODEL] else CHECKPOINT))
        _check_settings(card, experiment, out)
    if found[MODEL]:
        cards.remove(out / CHECKPOINT)  # if the end came just before
        return card["facts"]["metrics"]

    dataset = load_dataset(experiment.data)
    facts = {
        "data": {"name": dataset.name, "sha256": _fingerprint(dataset)},
        "experiment": experiment.hash,
        "config": experiment.model_dump(mode="json"),
    }
    run = build(experiment, dataset)
    run.quiet = quiet
    checkpoint = _Checkpoint(out / CHECKPOINT, facts, card["seconds"] if found[CHECKPOINT] else 0.0)
    if found[CHECKPOINT]:
        _check_images(card, dataset, out)
        _restore(run, arrays, card)
    else:
        _put_settings(out / SETTINGS, experiment)
        checkpoint.write(run)  # whatever is wrong with the folder shows now
    run.callbacks = [*run.callbacks, checkpoint]  # the last, so that it sees what the others did
    history = run.go()
    if history.interrupted:
        raise KeyboardInterrupt
    if experiment.selection:
        run.model.select = None  # a relaxation is for training; from here on, exactly k
    measured = evaluate(run.model, dataset.x_test)
    cards.put(out / HISTORY, _csv(history).encode())
    batch = [array[: run.batch_size] for array in run.data]
    step = partial(run.model.loss_and_gradients, *batch)
    cost = {"seconds": checkpoint.seconds, "memory": metrics.peak_memory(step)}
    cards.put(out / COST, json.dumps(cost).encode() + b"\n")
    storage.save(run.model, out / MODEL, **facts, metrics=measured, training=_last(history))
    cards.remove(out / CHECKPOINT)
    return measured


def evaluate_saved(path: str | Path, data: str | None = None) -> dict:
    """What `evaluate` says of a saved model, given by its card or by the folder of its training.

    Without `data`, on the test images of the data that it was trained on; else on those of the data
    set of that name, or on all images of the file at that path.

    Raises what `storage.load` and `load_dataset` raise, and `ValueError` if the training is not
    finished, if its data are not known or have changed, and for images of another size.

    Lab 2.
    """
    path = Path(path).expanduser()
    if (path / CHECKPOINT).exists() and not (path / MODEL).exists():
        raise ValueError(f"The training in {path} is not finished; resume it first.")
    path = path if path.suffix == ".json" else path / MODEL
    model, (_, card) = storage.load(path), cards.read(path)
    if data is None:
        if not {"config", "data", "experiment"} <= card["facts"].keys():
            raise ValueError(f"{path} does not say what it was trained on; name data to use.")
        dataset = load_dataset(card["facts"]["config"]["data"])
        _check_images(card, dataset, path)
        return evaluate(model, dataset.x_test)
    dataset = load_dataset(data)
    if data in NAMES:
        return evaluate(model, dataset.x_test)
    return evaluate(model, np.concatenate([dataset.x_train, dataset.x_val, dataset.x_test]))


class _Checkpoint(Callback):
    """Writes down all that `_restore` needs to go on as if nothing had happened."""

    def __init__(self, path: Path, facts: dict, seconds: float):
        self.path = path
        self.facts = facts
        self.earlier = seconds  # of processor time, in sittings before this one
        self.started = time.process_time()
        self.written = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.earlier + time.process_time() - self.started

    def after_epoch(self, run: Run) -> None:
        if time.monotonic() - self.written >= PAUSE:
            self.write(run)

    def write(self, run: Run) -> None:
        arrays = {
            f"{owner}/{name}": array
            for owner, state in _states(run).items()
            for name, array in state.items()
        }
        card = {
            "facts": self.facts,
            "epoch": run.epoch,
            "rng": run.rng.bit_generator.state,
            "history": asdict(run.history),
            "seconds": self.seconds,
        }
        cards.write(self.path, arrays, card)
        self.written = time.monotonic()


def _states(run: Run) -> dict[str, dict[str, np.ndarray]]:
    callbacks = {f"callback{i}": callback.state for i, callback in enumerate(run.callbacks)}
    return {"model": run.model.parameters, "optimizer": run.optimizer.state} | callbacks


def _restore(run: Run, arrays: dict[str, np.ndarray], card: dict) -> None:
    """Bring a run that `build` just made to where the checkpoint stood."""
    states: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        owner, _, name = key.partition("/")
        states.setdefault(owner, {})[name] = array
    for name, w in run.model.parameters.items():
        w[...] = states["model"][name]
    run.optimizer.load_state(states["optimizer"])
    for i, callback in enumerate(run.callbacks):
        callback.load_state(states.get(f"callback{i}", {}))
    run.epoch = card["epoch"]
    run.rng.bit_generator.state = card["rng"]
    run.history = History(**card["history"])


def _check_settings(card: dict, experiment: Experiment, out: Path) -> None:
    facts = card.get("facts", {})
    if facts.get("experiment") != experiment.hash:
        was, now = flat(facts.get("config", {})), flat(experiment.model_dump(mode="json"))
        changes = [
            f"`{key}` was {was.get(key)} and is {now.get(key)}"
            for key in sorted(was.keys() | now.keys())
            if was.get(key) != now.get(key)
        ]
        raise ValueError(
            f"{out} holds the training of another experiment: {', '.join(changes[:3])}; "
            "put the settings back or choose another folder."
        )


def _check_images(card: dict, dataset: Dataset, path: Path) -> None:
    if card["facts"]["data"]["sha256"] != _fingerprint(dataset):
        raise ValueError(
            f"The images of {dataset.name} are not those that the model in {path} was trained on; "
            "bring them back."
        )


def _fingerprint(dataset: Dataset) -> str:
    return cards.fingerprint(dataset.x_train, dataset.x_val, dataset.x_test)


def _put_settings(path: Path, experiment: Experiment) -> None:
    """Leave the settings, unless they are there: the reader's own file has comments."""
    if not path.exists():
        cards.put(path, config.dump(experiment).encode())
    elif config.load(path) != experiment:
        raise ValueError(f"{path} is that of another experiment; choose another folder.")


def _last(history: History) -> dict:
    """Where the curves that every training has came to."""
    return {
        "training_loss": history.training[-1],
        "validation_mse": history.validation[-1] if history.validation else None,
        "dead_in_training": history.notes["dead"][-1],
    }


def _csv(history: History) -> str:
    columns = {"training": history.training, "validation": history.validation, **history.notes}
    columns = {name: values for name, values in columns.items() if values}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *columns])
    rows = zip(*columns.values(), strict=True)
    writer.writerows([epoch, *row] for epoch, row in enumerate(rows, start=1))
    return text.getvalue()
