"""The lab of the K-Sparse book: small modules, each derived in a chapter and checked in the tests.

What is used most is here by its name, ``from ksae_lab import KSparseAutoencoder, load_dataset``,
and is loaded when somebody asks for it; `__init__.pyi` lists these names and where they live.
"""

import lazy_loader

__version__ = "0.1.0"  # the one place; pyproject.toml reads it here

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
