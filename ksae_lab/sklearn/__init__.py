"""The k-sparse autoencoder as a scikit-learn estimator, for pipelines, grids and data frames."""

from ksae_lab.sklearn.coder import KSparseCoder

__all__ = ["KSparseCoder"]
