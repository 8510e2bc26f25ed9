"""Chapter 19's denoising: what each way makes of photographs that nobody learned from.

Networks see patches with noise, and are asked for them without it. One photograph, from which
nothing is learned either, says how many of their units may be active, and which settings the rivals
get (`tuning.csv`); the noise's strength is known to all. `denoised.csv` has the two photographs
that are held out, `crops.npz` a piece of one.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import cycle_spin, denoise_nl_means, denoise_wavelet
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d

from ksae_lab.data.datasets import load_dataset
from ksae_lab.data.photographs import HELD_OUT, LEARNT, SIDE, grey, photograph
from ksae_lab.experiments import archive
from ksae_lab.experiments.build import build, trained
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.models.k_sparse import KSparseAutoencoder

CHOSEN_ON, NOISES, SEEDS = "coffee", (0.05, 0.1, 0.2), (0, 1, 2)  # of greys from 0 to 1
EACH, UNITS, EPOCHS, RATE = 6000, 576, 24, 0.004  # patches of a photograph
KS = (2, 4, 8, 16, 32, 64, 128)  # the last two for units that are not signed
NETWORK, NOISY = "k-sparse network", "as it is"
CROP = ("china", 0.1, np.s_[80:240, 140:300])  # what is shown: photograph, noise, place


@cache
def pictures(name: str, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """A photograph (height, width), and the same with noise, which is drawn once for all."""
    clean = grey(photograph(name))
    return clean, clean + noise * np.random.default_rng(1).normal(size=clean.shape)


def windows(image: np.ndarray, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Patches (windows, d) of an image less their means (windows, 1): all, or some of them."""
    x = extract_patches_2d(
        image.astype(np.float32), (SIDE, SIDE), max_patches=count, random_state=0
    )
    x = x.reshape(len(x), -1)
    mean = x.mean(axis=1, keepdims=True)
    return x - mean, mean


@cache
def denoiser(noise: float, signed: bool, k: int, seed: int) -> KSparseAutoencoder:
    """A network that has seen patches with this noise, each less its mean."""
    names = [name for name in LEARNT if name != CHOSEN_ON]
    x = np.concatenate([windows(grey(photograph(name)), EACH)[0] for name in names])
    kind = {"activation": "linear", "by": "magnitude"} if signed else {}
    settings = {
        "seed": seed,
        "model": {"n_units": UNITS, "k": k, "start": "data", **kind},
        "optimizer": {"learning_rate": RATE},
        "training": {"epochs": EPOCHS, "batch_size": 128, "noise": noise, "engine": "auto"},
    }
    return trained(build(Experiment.model_validate(settings), load_dataset(x, "none")))


def by_network(image: np.ndarray, noise: float, signed: bool, k: int, seed: int = 0) -> np.ndarray:
    """Every patch by one pass, and where patches overlap the mean of them."""
    x, mean = windows(image)
    drawn = denoiser(noise, signed, k, seed).reconstruct(x) + mean
    return reconstruct_from_patches_2d(drawn.reshape(-1, SIDE, SIDE), image.shape)


def by_wavelets(image: np.ndarray, noise: float, method: str, spins: int) -> np.ndarray:
    """scikit-image's wavelets, also as the mean over pictures that are moved."""
    how = {"sigma": noise, "method": method, "mode": "soft"}
    if not spins:
        return denoise_wavelet(image, **how)
    return cycle_spin(image, denoise_wavelet, spins, func_kw=how, workers=1)


def by_means(image: np.ndarray, noise: float, patch: int, far: int, h: float) -> np.ndarray:
    """scikit-image's non-local means: patches as they are, weighed by their likeness."""
    how = {"patch_size": patch, "patch_distance": far, "h": h * noise, "sigma": noise}
    return denoise_nl_means(image, fast_mode=True, **how)


WAYS: dict[str, tuple[Callable[..., np.ndarray], tuple[tuple, ...]]] = {
    NETWORK: (by_network, (*product((False,), KS), *product((True,), KS[:5]))),
    "wavelets": (by_wavelets, tuple(product(("BayesShrink", "VisuShrink"), (0, 3, 7)))),
    "non-local means": (by_means, tuple(product((5, 7), (6, 11), (0.4, 0.6, 0.8, 1.0)))),
}


def quality(name: str, noise: float, make: Callable[[np.ndarray], np.ndarray]) -> Row:
    """Decibels and structural similarity of what is made of a noisy photograph."""
    clean, noisy = pictures(name, noise)
    made = make(noisy)
    return {
        "psnr": peak_signal_noise_ratio(clean, made, data_range=1),
        "ssim": structural_similarity(clean, made, data_range=1),
    }


def known(*what: object) -> str:
    """A hash of what a picture without noise depends on."""
    return hash_of(f"{EACH} {UNITS} {EPOCHS} {RATE} {CHOSEN_ON} {what}")


def tuning_jobs() -> Iterator[Job]:
    """Each way with each setting, on the photograph that is for choosing."""

    def row(way: str, noise: float, setting: tuple) -> Row:
        make, _ = WAYS[way]
        return quality(CHOSEN_ON, noise, lambda image: make(image, noise, *setting))

    for noise, (way, (_, settings)) in product(NOISES, WAYS.items()):
        for setting in settings:
            name = trial(way, noise, setting)
            yield Job(name, 0, known(name), partial(row, way, noise, setting))


def trial(way: str, noise: float, setting: tuple) -> str:
    """What a row of tuning.csv is called."""
    return f"{way}, noise {noise}: {setting}"


@cache
def tuned(way: str, noise: float) -> tuple:
    """The setting of a way that is best on the photograph that is for choosing.

    Raises `FileNotFoundError` before tuning.csv is made.
    """
    tried = pd.read_csv(Path(__file__).with_name("tuning.csv"), comment="#", index_col="variant")
    return max(WAYS[way][1], key=lambda setting: tried.psnr[trial(way, noise, setting)])


def denoised(way: str, image: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """A noisy image (height, width) by a way as it was tuned; a network has a seed."""
    if way == NOISY:
        return image
    more = (seed,) if way == NETWORK else ()
    return WAYS[way][0](image, noise, *tuned(way, noise), *more)


def denoised_jobs() -> Iterator[Job]:
    """The photographs that nobody learned from: as they are, and by each way."""

    def row(name: str, noise: float, way: str, seed: int) -> Row:
        found = quality(name, noise, lambda image: denoised(way, image, noise, seed))
        return {"photograph": name, "noise": noise, "way": way} | found

    for seed, noise, name in product(SEEDS, NOISES, HELD_OUT):
        for way in [NOISY, *WAYS] if not seed else [NETWORK]:
            how = known(name, "" if way == NOISY else tuned(way, noise))
            job = partial(row, name, noise, way, seed)
            yield Job(f"{name}, noise {noise}, {way}", seed, how, job)


def crops(path: Path) -> None:
    """Write a piece (height, width) of a photograph as bytes: clean, noisy, and by each way."""
    name, noise, place = CROP
    clean, noisy = pictures(name, noise)
    made = {"clean": clean} | {way: denoised(way, noisy, noise, SEEDS[0]) for way in (NOISY, *WAYS)}
    shown = {key: np.clip(255 * of[place], 0, 255).astype(np.uint8) for key, of in made.items()}
    archive.put_arrays(path, shown)


TABLES = {"tuning.csv": tuning_jobs, "denoised.csv": denoised_jobs}
FILES = {"crops.npz": crops}
