"""The same in Keras 3, for any backend, optimiser, callback and distribution strategy.

Importing it makes Keras know `KSparse`, `KSparseAutoencoder`, `SparseDream`, `MultiTopK`,
`BatchTopK` and `JumpReLU` by name, so that `keras.saving.load_model` finds them without
`custom_objects`.
"""

from ksae_lab._keras_import import import_keras

import_keras()  # here, before any module below imports it aloud

# isort: split
from ksae_lab.keras.callbacks import DeadUnitMonitor, KCurriculum, ResetDeadUnits
from ksae_lab.keras.layers import KSparse
from ksae_lab.keras.many_k import BatchTopK, JumpReLU, MultiTopK
from ksae_lab.keras.models import KSparseAutoencoder
from ksae_lab.keras.sparse_dream import SparseDream

__all__ = [
    "BatchTopK",
    "DeadUnitMonitor",
    "JumpReLU",
    "KCurriculum",
    "KSparse",
    "KSparseAutoencoder",
    "MultiTopK",
    "ResetDeadUnits",
    "SparseDream",
]
