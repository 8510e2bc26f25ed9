"""The same in Keras 3, for any backend, optimizer, callback and distribution strategy.

Importing it makes Keras know its classes by name, so that `keras.saving.load_model` finds them
without `custom_objects`.
"""

from ksae_lab._keras_import import import_keras

import_keras()  # here, before any module below imports it aloud

from ksae_lab.keras.auxiliary_losses import (
    L0,
    AuxK,
    DeCov,
    HierarchicalTopK,
    Matryoshka,
    MultiTopK,
)
from ksae_lab.keras.callbacks import DeadUnitMonitor, KCurriculum, ResetDeadUnits
from ksae_lab.keras.jump_relu import JumpReLU
from ksae_lab.keras.layers import KSparse
from ksae_lab.keras.models import KSparseAutoencoder
from ksae_lab.keras.selectors import BatchTopK, PrefixTopK, TopK
from ksae_lab.keras.soft_selection import Relaxation
from ksae_lab.keras.sparse_dream import SparseDream
from ksae_lab.keras.topk import top_k_mask
from ksae_lab.keras.workers import fit_on_workers

__all__ = [
    "L0",
    "AuxK",
    "BatchTopK",
    "DeCov",
    "DeadUnitMonitor",
    "HierarchicalTopK",
    "JumpReLU",
    "KCurriculum",
    "KSparse",
    "KSparseAutoencoder",
    "Matryoshka",
    "MultiTopK",
    "PrefixTopK",
    "Relaxation",
    "ResetDeadUnits",
    "SparseDream",
    "TopK",
    "fit_on_workers",
    "top_k_mask",
]
