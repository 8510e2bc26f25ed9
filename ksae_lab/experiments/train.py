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
from typing import Any, cast

from ksae_lab.data.datasets import NAMES, Dataset, load_dataset
from ksae_lab.data.paths import user_path
from ksae_lab.evaluation import metrics
from ksae_lab.evaluation.report import evaluate
from ksae_lab.experiments import archive, config, saved_models
from ksae_lab.experiments.build import build
from ksae_lab.experiments.checkpoints import Checkpoint, restore
from ksae_lab.experiments.settings import Experiment, flat
from ksae_lab.models.base import Coder
from ksae_lab.models.scaled import Scaled
from ksae_lab.nn.selectors import HasSelector, TopK
from ksae_lab.training.loop import History

MODEL, CHECKPOINT = "model.json", "checkpoint.json"
HISTORY, SETTINGS, COST = "history.csv", "experiment.yaml", "cost.json"


def train(
    experiment: Experiment,
    out: str | Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    base: Path | None = None,
) -> dict[str, Any]:
    """Train, and leave the model and its history in the folder `out`; returns its test metrics.

    `quiet` shows no bar, for one training among many. A relative path of data begins at the folder
    `base`, where one is given, else where we stand.

    `resume` goes on with what `out` holds: from the checkpoint, bit for bit to where it would have
    come without an interruption; from the start if there is none; and what is finished is left as
    it is. Ctrl-C raises `KeyboardInterrupt`, and leaves the checkpoint.

    Raises, before training starts, `ValueError` if `out` holds another training, or one that is to
    be resumed or is finished without `resume`; `OSError` if `out` cannot be written; and what
    `load_dataset` raises. `FloatingPointError` says that the loss has run away.

    Lab 2.
    """
    out = user_path(out, "folder")
    result = {name: (out / name).exists() for name in (MODEL, CHECKPOINT)}
    if any(result.values()) and not resume:
        state = "finished" if result[MODEL] else "unfinished"
        raise ValueError(f"{out} holds a training, {state}; resume it or choose another folder.")
    if any(result.values()):
        arrays, card = archive.read(out / (MODEL if result[MODEL] else CHECKPOINT))
        with archive.understood(out):
            changed = _changes(card, experiment)
        if changed:
            raise ValueError(
                f"{out} holds the training of another experiment: {', '.join(changed[:3])}; "
                "put the settings back or choose another folder."
            )
    foreign = [name for name in (HISTORY, COST) if (out / name).exists()]
    if foreign and not any(result.values()):
        raise ValueError(
            f"{out} holds a {foreign[0]} and no training that it could be of; "
            "choose another folder, or move it away."
        )
    if result[MODEL]:
        archive.remove(out / CHECKPOINT)  # if the end came just before
        with archive.understood(out / MODEL):
            return _metrics(card)
    if result[CHECKPOINT] and card["version"] != archive.VERSION:
        raise ValueError(
            f"The checkpoint in {out} is of an older version of ksae_lab, which named its parts "
            "otherwise; go on with that version, or start again in another folder."
        )

    data = experiment.data
    if base is not None and data not in NAMES and (base / data).exists():
        data = str(base / data)
    dataset = load_dataset(data, experiment.scaling)
    facts = {
        "data": {
            "name": dataset.name,
            "sha256": _fingerprint(dataset),
            "image": list(dataset.image) if dataset.image else None,
        },
        "experiment": experiment.hash,
        "config": experiment.model_dump(mode="json"),
    }
    run = build(experiment, dataset)
    run.quiet = quiet
    checkpoint = Checkpoint(out / CHECKPOINT, facts)
    if result[CHECKPOINT]:
        check_images(card, dataset, out)
        with archive.understood(out / CHECKPOINT):
            restore(run, arrays, card)
            checkpoint.earlier = float(card["seconds"])
    else:
        _put_settings(out / SETTINGS, experiment)
        checkpoint.write(run)  # whatever is wrong with the folder shows now
    run.callbacks = [*run.callbacks, checkpoint]  # the last, so that it sees what the others did
    history = run.fit()
    if history.interrupted:
        raise KeyboardInterrupt
    if isinstance(run.model, HasSelector) and experiment.selection:
        run.model.selector = TopK(run.model.k)  # a relaxation is for training
    measured = evaluate(run.model, dataset.x_test, dataset.image)
    archive.put(out / HISTORY, _csv(history).encode())
    batch = [array[: run.batch_size] for array in run.data]
    step = partial(run.model.loss_and_gradients, *batch)
    cost = {"seconds": checkpoint.seconds, "memory": metrics.peak_memory(step)}
    archive.put(out / COST, json.dumps(cost).encode() + b"\n")
    # What is stored takes the reader's own numbers.
    model = (
        run.model if dataset.scaling is None else Scaled(cast(Coder, run.model), dataset.scaling)
    )
    told = {"metrics": measured, "training": _last(history), "steps": run.step.facts}
    saved_models.save_model(model, out / MODEL, **facts, **told)
    archive.remove(out / CHECKPOINT)
    return measured


def _changes(card: archive.Card, experiment: Experiment) -> list[str]:
    """What is another in the experiment than in the card of a training; nothing if it is the same.

    Only what differs counts: a setting that came later is null in one, and missing in the other.
    """
    facts = card["facts"]
    if facts["experiment"] == experiment.hash:
        return []
    was, now = flat(facts["config"]), flat(experiment.model_dump(mode="json"))
    changes = [
        f"`{key}` was {was.get(key)} and is {now.get(key)}"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key)
    ]
    return changes or ["its hash is another"]


def _metrics(card: archive.Card) -> dict[str, Any]:
    """What `evaluate` said when the training was finished."""
    metrics = card["facts"]["metrics"]
    if not isinstance(metrics, dict) or not {"images", "mse", "units"} <= metrics.keys():
        raise TypeError(f"its metrics are {metrics!r}")
    return metrics


def check_images(card: archive.Card, dataset: Dataset, path: Path) -> None:
    """Let it be known if the images are not those that the card of a training speaks of.

    Raises `ValueError` then, and for a card that speaks of none.

    Lab 2.
    """
    with archive.understood(path):
        known = card["facts"]["data"]["sha256"]
    if known != _fingerprint(dataset):
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
