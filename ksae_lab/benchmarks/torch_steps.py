"""The rivals: the step of a k-sparse autoencoder in PyTorch, as fast as we could make it.

PyTorch is no dependency: these run in an environment that has both, say one of PyTorch's in which
this package is installed. All start at a NumPy model and at its optimizer's memory, with the same
settings in PyTorch's fused Adam, keep the rows of W_dec at length 1, and use one thread. What they
learn is the same but for ε, which PyTorch adds after the correction of v, and for bfloat16.

What made them fast: gradients by hand, written into buffers that stay, where autograd would
allocate (n, d) arrays anew in each step and let the system clear their pages; b_dec's gradient
through the encoder from the bias's, which saves a product; W_enc as (n, d), unit by unit.
"""

import warnings
from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any

import numpy as np

from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.training.optimizers import Adam


class TorchStep(ABC):
    """What the rivals share: parameters, the fused Adam, the constraint.

    A subclass says how gradients are made for x (batch, d).
    Weights come back to the NumPy model when `flush` is called.

    Chapter 17.
    """

    def __init__(self, model: KSparseAutoencoder, optimizer: Adam):
        self.torch: Any = import_module("torch")
        self.torch.set_num_threads(1)
        self.model, self.k = model, model.k

        def tensor(a: Any) -> Any:
            """A copy that lies row by row: the fused Adam is wrong where two layouts meet."""
            return self.torch.tensor(np.ascontiguousarray(a))

        self.W_enc, self.W_dec = tensor(model.W_enc.T), tensor(model.W_dec)  # (n, d) both
        self.b_enc, self.b_dec = tensor(model.b_enc), tensor(model.b_dec)
        parts = {name: getattr(self, name) for name in ("W_enc", "W_dec", "b_enc", "b_dec")}
        for w in parts.values():
            w.grad = self.torch.zeros_like(w)
        self.adam = self.torch.optim.Adam(
            parts.values(),
            lr=optimizer.learning_rate,
            betas=(optimizer.beta_1, optimizer.beta_2),
            eps=optimizer.epsilon,
            fused=True,
        )
        if optimizer.steps:
            for name, w in parts.items():
                m, v = (optimizer.memory[f"{slot}/{name}"] for slot in optimizer.slots)
                self.adam.state[w] = {
                    "step": self.torch.tensor(float(optimizer.steps)),
                    "exp_avg": tensor(m.T if name == "W_enc" else m),
                    "exp_avg_sq": tensor(v.T if name == "W_enc" else v),
                }

    def __call__(self, batch: tuple[np.ndarray, ...]) -> tuple[float, None]:
        """Learn from x (batch, d), and say the loss before; there is no forward pass to show."""
        with self.torch.no_grad():
            loss = self.gradients(self.torch.from_numpy(batch[0]))
            self.adam.step()
            self.W_dec.div_(self.torch.linalg.vector_norm(self.W_dec, dim=1, keepdim=True))
        return loss, None

    @abstractmethod
    def gradients(self, x: Any) -> float:
        """Put the gradients for x (batch, d) where Adam finds them, and give the loss, a scalar."""

    def flush(self) -> None:
        """Copy the weights back into the NumPy model."""
        model = self.model
        model.W_enc = self.W_enc.numpy().T.copy(order="F")
        for name in ("W_dec", "b_enc", "b_dec"):
            getattr(model, name)[:] = getattr(self, name).numpy()

    def _error(self, x_hat: Any, x: Any) -> tuple[float, Any]:
        """The loss and its gradient (batch, d), in the place of x̂."""
        error = x_hat.sub_(x)
        loss = float(error.square().mean())
        return loss, error.mul_(2 / error.numel())

    def _biases(self, error: Any) -> None:
        """b_dec's gradient by both of its ways, once b_enc's is there."""
        self.torch.sub(error.sum(0), self.b_enc.grad @ self.W_enc, out=self.b_dec.grad)


class Dense(TorchStep):
    """Dense top-k in float32: five products, zeros and all; x has shape (batch, d).

    Chapter 17.
    """

    def __init__(self, model: KSparseAutoencoder, optimizer: Adam):
        super().__init__(model, optimizer)
        self.h, self.z = (self.torch.empty(0) for _ in range(2))

    def gradients(self, x: Any) -> float:
        """Forward and backward in five products; (batch, n) arrays are used again."""
        torch, W_dec = self.torch, self.W_dec
        shape = (len(x), len(W_dec))
        if self.h.shape != shape:
            self.h, self.z = torch.empty(shape), torch.empty(shape)
        seen = x - self.b_dec
        torch.addmm(self.b_enc, seen, self.W_enc.t(), out=self.h)
        values, idx = self.h.topk(self.k, dim=1, sorted=False)
        self.z.zero_().scatter_(1, idx, values.relu_())
        loss, error = self._error(torch.addmm(self.b_dec, self.z, W_dec), x)
        dh = torch.mm(error, W_dec.t(), out=self.h)
        chosen = dh.gather(1, idx).mul_(values > 0)
        dh.zero_().scatter_(1, idx, chosen)
        torch.mm(self.z.t(), error, out=W_dec.grad)
        torch.mm(dh.t(), seen, out=self.W_enc.grad)
        torch.sum(dh, 0, out=self.b_enc.grad)
        self._biases(error)
        return loss


class Autocast(TorchStep):
    """The encoder in bfloat16 by autocast, `embedding_bag` as decoder, gradients by autograd.

    Selection is what bfloat16 makes of it, which is not exact. x has shape (batch, d).

    Source: Gao et al. (2024), whose kernels gather in the decoder.
    Chapter 17.
    """

    def gradients(self, x: Any) -> float:
        """Autograd, with what is known by hand kept out of its way."""
        torch = self.torch
        F = torch.nn.functional
        parts = [self.W_enc, self.W_dec, self.b_enc, self.b_dec]
        for w in parts:
            w.requires_grad_()
        with torch.enable_grad():
            seen = x - self.b_dec.detach()
            with torch.autocast("cpu", torch.bfloat16):
                h = F.linear(seen, self.W_enc, self.b_enc)
            values, idx = h.topk(self.k, dim=1, sorted=False)
            z = values.float().relu()
            x_hat = F.embedding_bag(idx, self.W_dec, per_sample_weights=z, mode="sum")
            loss = F.mse_loss(x_hat + self.b_dec, x)
            self.adam.zero_grad()
            loss.backward()
        for w in parts:
            w.requires_grad_(False)
        # Through the encoder, too: autograd would have made one more product of it.
        self.b_dec.grad.sub_(self.b_enc.grad @ self.W_enc)
        return float(loss)


class ByHand(TorchStep):
    """The encoder in bfloat16, and nothing else dense: the strongest that we could build.

    Decoding is `embedding_bag`; with pairs sorted by unit, both gradients are products with a
    sparse matrix (n, batch), written into Adam's buffers. x has shape (batch, d).

    Chapter 17.
    """

    def __init__(self, model: KSparseAutoencoder, optimizer: Adam):
        super().__init__(model, optimizer)
        half = self.torch.bfloat16
        self.W_half = self.torch.empty_like(self.W_enc, dtype=half)
        self.h = self.torch.empty(0, dtype=half)
        self.torch.sparse.check_sparse_tensor_invariants.disable()
        with warnings.catch_warnings():  # it says once that such matrices are in beta
            warnings.simplefilter("ignore")
            self.torch.eye(2).to_sparse_csr()

    def gradients(self, x: Any) -> float:
        """Forward and backward without a dense code."""
        torch, W_dec, k = self.torch, self.W_dec, self.k
        F, n, half = torch.nn.functional, len(W_dec), torch.bfloat16
        if self.h.shape != (len(x), n):
            self.h = torch.empty((len(x), n), dtype=half)
        seen = x - self.b_dec
        self.W_half.copy_(self.W_enc)
        torch.addmm(self.b_enc.to(half), seen.to(half), self.W_half.t(), out=self.h)
        values, idx = self.h.topk(k, dim=1, sorted=False)
        z = values.float().relu_()
        x_hat = F.embedding_bag(idx, W_dec, per_sample_weights=z, mode="sum")
        loss, error = self._error(x_hat.add_(self.b_dec), x)
        rows = torch.arange(0, idx.numel() + 1, k)
        pattern = torch.sparse_csr_tensor(rows, idx.flatten(), z.flatten(), (len(x), n))
        dz = torch.sparse.sampled_addmm(pattern, error, W_dec.t(), beta=0).values()
        dh = dz.mul_(values.flatten() > 0)
        units, order = idx.flatten().sort(stable=True)
        start = torch.zeros(n + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(units, minlength=n), 0, out=start[1:])
        for w, numbers, dense in ((W_dec, z.flatten(), error), (self.W_enc, dh, seen)):
            by_unit = torch.sparse_csr_tensor(start, order // k, numbers[order], (n, len(x)))
            torch.addmm(w.grad, by_unit, dense, beta=0, out=w.grad)
        self.b_enc.grad.zero_().index_add_(0, idx.flatten(), dh)
        self._biases(error)
        return loss
