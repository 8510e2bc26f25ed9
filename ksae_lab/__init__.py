"""The lab of the K-Sparse book: small modules, each derived in a chapter and checked in the tests.

Import what you need by its module, ``from ksae_lab.topk import top_k_mask``.
Importing the package itself loads nothing but this docstring.
"""

__version__ = "0.1.0"
