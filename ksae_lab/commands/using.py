"""The commands that use a trained model: measure, encode, reconstruct, draw, tell."""

import argparse
import json
import math
from typing import Any

import numpy as np

from ksae_lab.commands import pictures
from ksae_lab.commands.output import free, lines, say, table, write_rows
from ksae_lab.data.rows import Rows
from ksae_lab.experiments import archive, saved_runs
from ksae_lab.experiments.saved_runs import SavedRun
from ksae_lab.models.base import Coder


def evaluate_(arguments: argparse.Namespace) -> None:
    """Print what a model is worth.

    Lab 2.
    """
    say(saved_runs.find(arguments.model).evaluate(arguments.data), arguments)


def encode_(arguments: argparse.Namespace) -> None:
    """Write the codes of data, in their order.

    Lab 2.
    """
    path = free(arguments.out, (".npz", ".csv", ".parquet"), arguments.force)
    run = saved_runs.find(arguments.model)
    coder = _coder(run)
    x, found = run.samples(arguments.data)
    codes = np.concatenate([coder.encode(block) for block in x.blocks()])
    write_rows(path, "z", codes, [f"unit_{i}" for i in range(codes.shape[1])], found.y)
    active = np.count_nonzero(codes, axis=1).mean()
    print(f"{len(codes):,} codes of {codes.shape[1]} units, {active:.1f} active: {path}")


def reconstruct_(arguments: argparse.Namespace) -> None:
    """Write the reconstructions of data in their own units, or a picture of some.

    Lab 2.
    """
    path = free(arguments.out, (".png", ".npz", ".csv", ".parquet"), arguments.force)
    if arguments.count < 1:
        raise ValueError(f"--count is {arguments.count}; give 1 or more.")
    run = saved_runs.find(arguments.model)
    coder = _coder(run)
    x, found = run.samples(arguments.data)
    if path.suffix != ".png":
        # In the reader's own numbers, which a model with a scaling takes and gives.
        own = x if run.scaling is None else Rows(found.x, x.index)
        back = np.concatenate([_whole(run).reconstruct(block) for block in own.blocks()])
        names = found.names or [f"feature_{i}" for i in range(back.shape[1])]
        write_rows(path, "x_hat", back, names, found.y)
        print(f"{len(back):,} reconstructions of {back.shape[1]} numbers: {path}")
        return
    shape = found.image or run.image
    if shape is None:
        raise ValueError(
            f"These samples are no images and cannot be drawn; give an --out such as "
            f"{path.with_suffix('.csv')}."
        )
    some = x[: arguments.count]
    both = np.concatenate([some, coder.reconstruct(some)])
    if some.min() < 0 or some.max() > 1:  # a scaling that leaves [0, 1]: one range for all
        both = (both - some.min()) / (some.max() - some.min() or 1)
    picture = pictures.grid(pictures.coloured(both.reshape(-1, *shape)), len(some))
    pictures.write_png(path, picture)
    print(f"{len(some)} images above their reconstructions: {path}")


def atoms_(arguments: argparse.Namespace) -> None:
    """Draw what each unit adds to an image.

    Lab 2.
    """
    path = free(arguments.out, (".png",), arguments.force)
    run = saved_runs.find(arguments.model)
    coder = _coder(run)
    stages = coder.stages
    n, d = next(s.size for s in stages[1:]), stages[0].size
    shape = run.image if arguments.shape is None else _shape(arguments.shape)
    if shape is None or math.prod(shape) != d:
        raise ValueError(
            f"The model is of {d} numbers, and nobody has said what image they are; "
            "say its height and width, such as --shape 28,28."
        )
    none = np.zeros((1, n), np.float32)
    atoms = coder.decode(np.eye(n, dtype=np.float32)) - coder.decode(none)
    drawn = pictures.diverging(atoms.reshape(n, *shape))
    pictures.write_png(path, pictures.grid(drawn, math.ceil(math.sqrt(n))))
    print(f"{n} atoms of {' x '.join(map(str, shape))}: {path}")


def show_(arguments: argparse.Namespace) -> None:
    """Print what a model is, what it was trained on and how well it does.

    Lab 2.
    """
    run = saved_runs.find(arguments.model)
    with archive.understood(run.path):
        facts, libraries = run.card["facts"], run.card["libraries"]
        told = {
            "model": repr(run.model),
            "card": str(run.path),
            "parameters": sum(w.size for w in run.model.state.values()),
            "data": (facts.get("data") or {}).get("name"),
            "settings": facts.get("config"),
            "steps": facts.get("steps"),
            "metrics": facts.get("metrics"),
            "libraries": libraries,
        }
        said = _in_words(told)
    print(json.dumps(told) if arguments.json else said)


def _in_words(told: dict[str, Any]) -> str:
    rows = {"model": told["model"], "numbers": f"{told['parameters']:,}"}
    if settings := told["settings"]:
        rows["trained on"] = str(told["data"])
        rows["for"] = f"{settings['training']['epochs']} epochs, seed {settings['seed']}"
    if steps := told["steps"]:
        rows["steps"] = ", ".join(f"{name} {value}" for name, value in steps.items())
    rows["made with"] = ", ".join(f"{name} {of}" for name, of in told["libraries"].items())
    worth = [table(told["metrics"])] if told["metrics"] else []
    return "\n".join([lines(rows), *worth])


def _coder(run: SavedRun) -> Coder:
    """The coder of a run, in the units of training."""
    if not isinstance(run.coder, Coder):
        raise ValueError(
            f"A {type(run.coder).__name__} neither encodes nor reconstructs; give a model that "
            "does, such as a KSparseAutoencoder."
        )
    return run.coder


def _whole(run: SavedRun) -> Coder:
    return run.model if isinstance(run.model, Coder) else _coder(run)


def _shape(given: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(side) for side in given.split(","))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(f"--shape is {given!r}; give height and width, such as 28,28.")
    return shape
