"""The commands around a training: which data and examples there are, and other programs."""

import argparse
import json

import numpy as np

from ksae_lab.commands.output import free, lines
from ksae_lab.data.datasets import NAMES, SCALE_BY, load_dataset
from ksae_lab.data.published import PUBLISHED
from ksae_lab.data.rows import Rows
from ksae_lab.data.scaling import Extent
from ksae_lab.experiments import archive, examples, saved_runs
from ksae_lab.experiments.saved_models import save_model
from ksae_lab.experiments.saved_runs import SavedRun
from ksae_lab.models.base import Coder
from ksae_lab.models.scaled import Scaled
from ksae_lab.nn.module import Model


def data_(arguments: argparse.Namespace) -> None:
    """List the published data sets, or describe one, or the reader's own.

    Chapter 1.
    """
    if arguments.data is None:
        about = {name: PUBLISHED[name].about for name in NAMES}
        print(json.dumps(about) if arguments.json else lines(about))
        if not arguments.json:
            print(f"Your own data go by their path; how they are scaled: {SCALE_BY}.")
        return
    dataset = load_dataset(arguments.data)
    parts = {part: len(getattr(dataset, f"x_{part}")) for part in ("train", "val", "test")}
    x = dataset.x_train
    extent = Extent(x.blocks() if isinstance(x, Rows) else [x])
    told = {
        "name": dataset.name,
        "samples": parts,
        "features": dataset.x_train.shape[1],
        "image": list(dataset.image) if dataset.image else None,
        "classes": None if dataset.y_train is None else len(np.unique(dataset.y_train)),
        "scaling": dataset.scaling.kind if dataset.scaling else None,
        "least": float(extent.least.min()),
        "most": float(extent.most.max()),
        "deviation": extent.spread,
    }
    if arguments.json:
        print(json.dumps(told))
        return
    print(repr(dataset))
    shape = " x ".join(map(str, dataset.image)) if dataset.image else "no images"
    print(
        lines(
            {
                "shape": shape,
                "scaling": str(told["scaling"]),
                "range": f"{told['least']:.4g} to {told['most']:.4g}, training samples, scaled",
                "deviation": f"{told['deviation']:.4g}, of a feature around its mean",
            }
        )
    )


def example_(arguments: argparse.Namespace) -> None:
    """List the example experiments, or write one.

    Lab 2.
    """
    if arguments.example is None:
        print(lines(examples.listed()))
        print("To write one: ksae example NAME --out FILE.yaml")
        return
    text = examples.read(arguments.example)
    if arguments.out is None:
        print(text, end="")
        return
    path = free(arguments.out, (".yaml", ".yml"), force=False)
    archive.put(path, text.encode())
    print(f"{path}: change what you like, then `ksae train {path} --out FOLDER`.")


def export_(arguments: argparse.Namespace) -> None:
    """Write a model for SAELens, ONNX or Keras; the scaling of its data goes into its weights.

    Chapter 6.
    """
    run = saved_runs.find(arguments.model)
    model = run.model.folded() if isinstance(run.model, Scaled) else run.model
    if not isinstance(model, Model):
        raise ValueError(f"{arguments.model} holds a {type(model).__name__}; give a model.")
    if arguments.to == "saelens":
        from ksae_lab.export import saelens

        saelens.write(model, arguments.out, sparsity=_densities(run))
    elif arguments.to == "onnx":
        from ksae_lab.export import onnx

        onnx.write(model, arguments.out)
    else:
        from ksae_lab.export import keras

        keras.write(model, arguments.out)
    print(f"Written: {arguments.out}")


def import_(arguments: argparse.Namespace) -> None:
    """Take a model from a folder of SAELens, and store it as one of ours.

    Chapter 6.
    """
    from ksae_lab.export import saelens

    path = free(arguments.out, (".json",), force=False)
    save_model(saelens.read(arguments.folder), path)
    print(f"Written: {path}")


def _densities(run: SavedRun) -> np.ndarray | None:
    """The share of the data that it was trained on for which each unit is active, (n,).

    None where these are not at hand.
    """
    try:
        x, _ = run.samples()
    except (ValueError, OSError, ImportError):
        return None
    if not isinstance(run.coder, Coder):
        return None
    counts = sum(np.count_nonzero(run.coder.encode(block), axis=0) for block in x.blocks())
    return np.asarray(counts / len(x))
