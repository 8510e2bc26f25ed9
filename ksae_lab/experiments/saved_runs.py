"""What a training left, found again by its folder or by the card of its model."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ksae_lab.data.datasets import NAMES, load_dataset, load_in_order
from ksae_lab.data.files import MNIST, Samples
from ksae_lab.data.paths import user_path
from ksae_lab.data.rows import Rows
from ksae_lab.data.scaling import Scaling
from ksae_lab.evaluation.report import evaluate
from ksae_lab.experiments import archive, saved_models
from ksae_lab.experiments.train import CHECKPOINT, MODEL, check_images
from ksae_lab.models.base import Coder
from ksae_lab.models.scaled import Scaled
from ksae_lab.nn.module import Module


@dataclass(frozen=True)
class SavedRun:
    """A stored model and its card; x has shape (samples, d), scaled as the model learned it.

    Lab 2.
    """

    path: Path
    model: Module
    card: archive.Card

    @property
    def coder(self) -> Module:
        """The model as it was trained, without the scaling of its data."""
        return self.model.coder if isinstance(self.model, Scaled) else self.model

    @property
    def scaling(self) -> Scaling | None:
        """What leads from the reader's numbers to those of training; None if they are the same."""
        return self.model.scaling if isinstance(self.model, Scaled) else None

    @property
    def data(self) -> str:
        """The data that it was trained on, by name or path; `ValueError` if that is not known."""
        with archive.understood(self.path):
            known = {"config", "data", "experiment"} <= self.card["facts"].keys()
            data = str(self.card["facts"]["config"]["data"]) if known else ""
        if not data:
            raise ValueError(f"{self.path} does not say what it was trained on; name data to use.")
        return data

    @property
    def image(self) -> tuple[int, ...] | None:
        """The shape of one sample, if it is an image; 784 numbers are taken for MNIST's."""
        with archive.understood(self.path):
            image = (self.card["facts"].get("data") or {}).get("image")
            shape = tuple(map(int, image)) if image else None
        if shape is None and isinstance(self.model, Coder):
            return MNIST if self.model.stages[0].size == math.prod(MNIST) else None
        return shape

    def samples(self, data: str | None = None) -> tuple[Rows, Samples]:
        """All samples of the data with this name or path, in their order, as (n, d), and labels.

        Without a name, of the data that it was trained on.

        Raises what `load_dataset` raises.
        """
        return load_in_order(self.data if data is None else data, self.scaling)

    def evaluate(self, data: str | None = None) -> dict[str, Any]:
        """What `evaluate` says of it, on the test images of the data that it was trained on.

        Or on those of the data set of that name, or on all samples of the file at that path.

        Raises what `load_dataset` raises, and `ValueError` if the data that it was trained on are
        not known or have changed, and for samples of another size.
        """
        dataset = load_dataset(self.data if data is None else data, self.scaling)
        if data is None:
            check_images(self.card, dataset, self.path)
        whole = data is not None and data not in NAMES
        x = dataset.joined("train", "val", "test") if whole else dataset.x_test
        return evaluate(self.coder, x, dataset.image)


def find(path: str | Path) -> SavedRun:
    """The model of a training, by the folder of the training or by the card of the model.

    Raises what `load_model` raises, and `ValueError` if the training is not finished.

    Lab 2.
    """
    path = user_path(path)
    if (path / CHECKPOINT).exists() and not (path / MODEL).exists():
        raise ValueError(f"The training in {path} is not finished; resume it first.")
    path = path if path.suffix == ".json" else path / MODEL
    model = saved_models.load_model(path)
    return SavedRun(path, model, archive.read(path)[1])
