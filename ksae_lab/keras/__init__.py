"""The same in Keras 3, for any backend, optimiser, callback and distribution strategy.

Importing it makes Keras know `KSparse`, `KSparseAutoencoder`, `SparseDream`, `ManyK`, `BatchTopK`
and `JumpReLU` by name, so that `keras.saving.load_model` finds them without `custom_objects`.
"""

from ksae_lab._quiet import import_keras

import_keras()  # here, before any module below imports it aloud

from ksae_lab.keras import callbacks, choices, dream, layers, losses, many_k, models  # noqa: E402

__all__ = ["callbacks", "choices", "dream", "layers", "losses", "many_k", "models"]
