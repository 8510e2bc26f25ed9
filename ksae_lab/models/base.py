"""What all models have in common that turn images into codes, and codes into images."""

from abc import abstractmethod
from typing import Any

import numpy as np

from ksae_lab.engine.choose import Engine, step_of
from ksae_lab.inference.sparse_codes import SparseCodes, slabs
from ksae_lab.nn import inputs
from ksae_lab.nn.inputs import LazyRows
from ksae_lab.nn.layers import Stage
from ksae_lab.nn.losses import mse
from ksae_lab.nn.module import Model
from ksae_lab.training import loop


class Coder(Model):
    """A model with an encoder and a decoder.

    A subclass says how it encodes and decodes, and what a `Model` has to say: its `parameters`, its
    `get_config` and its `forward_backward`. x, a target and x̂ have shape (batch, d), a code z
    (batch, n).

    Chapter 5.
    """

    @abstractmethod
    def encode(self, x: np.ndarray) -> np.ndarray:
        """The codes (batch, n) of x (batch, d)."""

    @abstractmethod
    def decode(self, z: np.ndarray) -> np.ndarray:
        """The images x̂ (batch, d) of the codes z (batch, n)."""

    @property
    @abstractmethod
    def stages(self) -> list[Stage]:
        """The image, the layers, the image again, for diagrams; sizes are scalars."""

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """x̂ (batch, d) for x (batch, d): what the codes of x decode to."""
        return self.decode(self.encode(x))

    def encode_sparse(self, x: Any) -> SparseCodes:
        """The codes of x (samples, d) without their zeros: what `encode` finds, (samples, k).

        x may also be rows that are made as they are asked for. A few megabytes of codes have their
        zeros at the same time, however many samples there are.

        Raises what `encode` raises.
        """
        if not isinstance(x, LazyRows):
            x = inputs.real(x, "images")
            if x.ndim != 2:
                self.encode(x)  # which says what is wrong
        widest = max(stage.size for stage in self.stages)
        return SparseCodes.joined([self._sparse(x[rows]) for rows in slabs(len(x), widest)])

    def decode_sparse(self, codes: SparseCodes) -> np.ndarray:
        """The images x̂ (samples, d) of codes without their zeros.

        Raises what `decode` raises.
        """
        pieces = slabs(len(codes), codes.n_units)
        return np.concatenate([self._of_sparse(codes[rows]) for rows in pieces])

    def _sparse(self, x: np.ndarray) -> SparseCodes:
        """The codes of a few x (rows, d)."""
        return SparseCodes.of_dense(self.encode(x))

    def _of_sparse(self, codes: SparseCodes) -> np.ndarray:
        """The images of a few codes."""
        return self.decode(codes.to_dense())

    def error(self, x: np.ndarray, target: np.ndarray | None = None) -> float:
        """The mean squared error of the reconstruction of x (batch, d), a scalar.

        It is compared with `target` (batch, d), if there is one, else with x itself. Whatever else
        training lowers, auxiliary losses and penalties, does not count.
        """
        return mse(self.reconstruct(x), x if target is None else target)

    def fit(
        self,
        x: Any,
        target: np.ndarray | None = None,
        *,
        engine: Engine = "plain",
        **options: Any,
    ) -> loop.History:
        """Train on x (samples, d), towards a target of as many rows if there is one, else x.

        In place of x there may be an iterable of batches, as `ksae_lab.training.batches` has it.
        `ksae_lab.engine.choose.step_of` says what `engine` may be, and `ksae_lab.training.loop.fit`
        what other `options` there are and what can go wrong.
        """
        data = x if target is None else (x, target)
        return loop.fit(self, data, make_step=step_of(engine), **options)

    def partial_fit(self, x: Any, target: np.ndarray | None = None, **options: Any) -> float:
        """One pass over x, of which there may be more: the mean loss on the way, a scalar.

        `model.partial_fit(x, optimizer=adam)`: `ksae_lab.training.loop.partial_fit` says what other
        `options` there are, x (samples, d) and a target are as for `fit`.
        """
        return loop.partial_fit(self, x if target is None else (x, target), **options)
