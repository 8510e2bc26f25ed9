"""Models as files of Keras; who loads one imports `ksae_lab.keras` first."""

import json
import tempfile
import zipfile
from pathlib import Path

from ksae_lab.experiments import archive
from ksae_lab.export.parts import known_activation, known_selector
from ksae_lab.export.places import free_place
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.nn.module import Model

NAME = "exported"  # of the twin; tells our files from those of others


def write(model: Model, path: str | Path) -> None:
    """Write a model's twin in Keras to `path`, which ends in .keras: whole, or not at all.

    `KSparseAutoencoder` and `SparseDream` have one, with weights of the same names, shapes and
    dtype. After `import ksae_lab.keras`, `keras.saving.load_model(path)` is a model to go on with;
    it has yet to be compiled. Auxiliary losses are left out. An earlier file of this function's is
    overwritten.

    Raises `ValueError` for another model, for parts that are not of this package and for a path
    that is taken, with nothing written; `OSError` if the disk refuses.

    Chapter 6.
    """
    path = free_place(path, _is_ours, ".keras")
    if type(model) not in (KSparseAutoencoder, SparseDream):
        raise ValueError(
            f"A {type(model).__name__} has no twin in Keras; "
            "give a KSparseAutoencoder or a SparseDream."
        )
    if isinstance(model, KSparseAutoencoder):
        known_activation(model.phi)
        known_selector(model.selector)
    import ksae_lab.keras as twins  # here, as it starts TensorFlow

    twin = getattr(twins, type(model).__name__).from_numpy(model, name=NAME)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, path.name)
        twin.save(made)
        archive.put(path, made.read_bytes())


def _is_ours(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            config = json.loads(file.read("config.json"))
        return bool(config["config"]["name"] == NAME)
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return False
