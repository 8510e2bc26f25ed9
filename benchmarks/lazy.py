"""One step of Adam, lazy or not: how much faster is it where few units are active?

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/lazy.py

A k-sparse autoencoder on real digits, forward and backward in NumPy. Lazy and eager steps take
turns on the same batches, with gradients of weights that are held still, so that both do the same
work; the table gives medians, in processor time, which other programs disturb less. "By columns"
keeps each unit's encoder weights together in memory.
"""

from time import process_time

import numpy as np

from ksae_lab.data.datasets import load_dataset
from ksae_lab.nn.losses import mse_gradient
from ksae_lab.nn.topk import top_k_mask
from ksae_lab.training.optimizers import Adam

N_UNITS, K, BATCH, REPETITIONS = 4096, 10, 64, 31

Arrays = dict[str, np.ndarray]


def gradients(p: Arrays, x: np.ndarray) -> Arrays:
    """Forward and backward for x (batch, d): the gradient of the mean squared error."""
    centred = x - p["b_dec"]
    h = centred @ p["W_enc"] + p["b_enc"]
    mask = top_k_mask(h, K) & (h > 0)
    z = np.where(mask, h, 0)
    d_x_hat = mse_gradient(z @ p["W_dec"] + p["b_dec"], x)
    dh = np.where(mask, d_x_hat @ p["W_dec"].T, 0)
    by_columns = p["W_enc"].flags.f_contiguous
    return {
        "W_enc": (dh.T @ centred).T if by_columns else centred.T @ dh,
        "b_enc": dh.sum(axis=0),
        "W_dec": z.T @ d_x_hat,
        "b_dec": d_x_hat.sum(axis=0) - p["W_enc"] @ dh.sum(axis=0),
    }


def random_weights(images: np.ndarray, rng: np.random.Generator) -> Arrays:
    """Glorot's uniform values; no mean image."""
    d = images.shape[1]
    limit = np.sqrt(6 / (d + N_UNITS))
    return {
        "W_enc": rng.uniform(-limit, limit, (d, N_UNITS)).astype(np.float32),
        "b_enc": np.zeros(N_UNITS, np.float32),
        "W_dec": rng.uniform(-limit, limit, (N_UNITS, d)).astype(np.float32),
        "b_dec": np.zeros(d, np.float32),
    }


def weights_after_an_epoch(images: np.ndarray, rng: np.random.Generator) -> Arrays:
    """Each unit starts at an image, b_dec at their mean, and all have learned for an epoch."""
    p = random_weights(images, rng)
    p["b_dec"][:] = images.mean(axis=0)
    drawn = images[rng.choice(len(images), N_UNITS)] - p["b_dec"]
    p["W_dec"][:] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    p["W_enc"][:] = p["W_dec"].T
    optimizer = Adam()
    for batch in np.array_split(rng.permutation(len(images)), len(images) // BATCH):
        optimizer.step(p, gradients(p, images[batch]))
    return p


def compare(p: Arrays, batches: list[np.ndarray]) -> str:
    """A line of the table: units reached, then milliseconds and how many times faster."""
    optimizers = {"eager": Adam(), "lazy": Adam(lazy=True)}
    moving = {how: {name: w.copy(order="K") for name, w in p.items()} for how in optimizers}
    alone, whole = ({how: [] for how in optimizers} for _ in range(2))
    reached = []
    for x in batches:
        for how, optimizer in optimizers.items():
            start = process_time()
            g = gradients(p, x)
            middle = process_time()
            optimizer.step(moving[how], g)
            end = process_time()
            alone[how].append(end - middle)
            whole[how].append(end - start)
        reached.append(np.count_nonzero(g["W_dec"].any(axis=1)))
    cells = [f"{np.median(reached):6.0f}"]
    for times in (alone, whole):
        eager, lazy = (1e3 * np.median(times[how]) for how in ("eager", "lazy"))
        cells.append(f"{eager:6.1f} {lazy:6.1f} {eager / lazy:5.2f}")
    return " | ".join(cells)


def main() -> None:
    rng = np.random.default_rng(0)
    images = load_dataset("mnist5k").x_train
    batches = [images[rng.choice(len(images), BATCH, replace=False)] for _ in range(REPETITIONS)]
    print(
        f"n = {N_UNITS}, d = {images.shape[1]}, k = {K}, batches of {BATCH}; processor milliseconds"
    )
    print(f"{'':27} |        | {'Adam alone':^19} | {'whole step':^19}")
    times = f"{'eager':>6} {'lazy':>6} {'ratio':>5}"
    print(f"{'weights':15} {'W_enc':11} | active | {times} | {times}")
    for name, make in (("random", random_weights), ("after an epoch", weights_after_an_epoch)):
        p = make(images, rng)
        for layout, order in (("by rows", "C"), ("by columns", "F")):
            line = compare(p | {"W_enc": np.array(p["W_enc"], order=order)}, batches)
            print(f"{name:15} {layout:11} | {line}", flush=True)


if __name__ == "__main__":
    main()
