"""An experiment from its settings to its files, so that it can be stopped and gone on with.

While it runs, its folder holds `experiment.yaml` and a checkpoint of an epoch's end just passed;
when it is done, `model.json` with its weights, `history.csv` and `cost.json` take the checkpoint's
place. All but the cost are the same to the last byte whenever the same experiment is run: that has
the processor's seconds, of all sittings, and the bytes that the passes of one step need at most.
"""

import csv
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ksae_lab.data.datasets import NAMES, Dataset, load_dataset
from ksae_lab.evaluation import metrics
from ksae_lab.evaluation.report import evaluate
from ksae_lab.experiments import archive, config, saved_models
from ksae_lab.experiments.build import build
from ksae_lab.experiments.checkpoints import Checkpoint, restore
from ksae_lab.experiments.settings import Experiment, flat
from ksae_lab.nn.selectors import HasSelector, TopK
from ksae_lab.training.loop import History

MODEL, CHECKPOINT = "model.json", "checkpoint.json"
HISTORY, SETTINGS, COST = "history.csv", "experiment.yaml", "cost.json"


def train(
    experiment: Experiment, out: str | Path, *, resume: bool = False, quiet: bool = False
) -> dict[str, Any]:
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
    result = {name: (out / name).exists() for name in (MODEL, CHECKPOINT)}
    if any(result.values()) and not resume:
        state = "finished" if result[MODEL] else "unfinished"
        raise ValueError(f"{out} holds a training, {state}; resume it or choose another folder.")
    if any(result.values()):
        arrays, card = archive.read(out / (MODEL if result[MODEL] else CHECKPOINT))
        _check_settings(card, experiment, out)
    if result[MODEL]:
        archive.remove(out / CHECKPOINT)  # if the end came just before
        return card["facts"]["metrics"]
    if result[CHECKPOINT] and card["version"] != archive.VERSION:
        raise ValueError(
            f"The checkpoint in {out} is of an older version of ksae_lab, which named its parts "
            "otherwise; go on with that version, or start again in another folder."
        )

    dataset = load_dataset(experiment.data)
    facts = {
        "data": {"name": dataset.name, "sha256": _fingerprint(dataset)},
        "experiment": experiment.hash,
        "config": experiment.model_dump(mode="json"),
    }
    run = build(experiment, dataset)
    run.quiet = quiet
    checkpoint = Checkpoint(out / CHECKPOINT, facts, card["seconds"] if result[CHECKPOINT] else 0.0)
    if result[CHECKPOINT]:
        _check_images(card, dataset, out)
        restore(run, arrays, card)
    else:
        _put_settings(out / SETTINGS, experiment)
        checkpoint.write(run)  # whatever is wrong with the folder shows now
    run.callbacks = [*run.callbacks, checkpoint]  # the last, so that it sees what the others did
    history = run.fit()
    if history.interrupted:
        raise KeyboardInterrupt
    if isinstance(run.model, HasSelector) and experiment.selection:
        run.model.selector = TopK(run.model.k)  # a relaxation is for training
    measured = evaluate(run.model, dataset.x_test)
    archive.put(out / HISTORY, _csv(history).encode())
    batch = [array[: run.batch_size] for array in run.data]
    step = partial(run.model.loss_and_gradients, *batch)
    cost = {"seconds": checkpoint.seconds, "memory": metrics.peak_memory(step)}
    archive.put(out / COST, json.dumps(cost).encode() + b"\n")
    saved_models.save_model(
        run.model, out / MODEL, **facts, metrics=measured, training=_last(history)
    )
    archive.remove(out / CHECKPOINT)
    return measured


def evaluate_saved(path: str | Path, data: str | None = None) -> dict[str, Any]:
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
    model, (_, card) = saved_models.load_model(path), archive.read(path)
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


def _check_settings(card: archive.Card, experiment: Experiment, out: Path) -> None:
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


def _check_images(card: archive.Card, dataset: Dataset, path: Path) -> None:
    if card["facts"]["data"]["sha256"] != _fingerprint(dataset):
        raise ValueError(
            f"The images of {dataset.name} are not those that the model in {path} was trained on; "
            "bring them back."
        )


def _fingerprint(dataset: Dataset) -> str:
    return archive.fingerprint(dataset.x_train, dataset.x_val, dataset.x_test)


def _put_settings(path: Path, experiment: Experiment) -> None:
    """Leave the settings, unless they are there: the reader's own file has comments."""
    if not path.exists():
        archive.put(path, config.dump(experiment).encode())
    elif config.load(path) != experiment:
        raise ValueError(f"{path} is that of another experiment; choose another folder.")


def _last(history: History) -> dict[str, float | None]:
    """Where the curves that every training has came to."""
    return {
        "training_loss": history.training[-1],
        "validation_mse": history.validation[-1] if history.validation else None,
        "dead_in_training": history.logs["dead"][-1],
    }


def _csv(history: History) -> str:
    columns = {"training": history.training, "validation": history.validation, **history.logs}
    columns = {name: values for name, values in columns.items() if values}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *columns])
    rows = zip(*columns.values(), strict=True)
    writer.writerows([epoch, *row] for epoch, row in enumerate(rows, start=1))
    return text.getvalue()
