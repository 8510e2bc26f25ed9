"""Models in the folders of SAELens, to and fro.

Such a folder holds `cfg.json` and `sae_weights.safetensors`, and `sparsity.safetensors` if it is
known how often units are active. `sae_lens.SAE.load_from_disk(folder)` makes a model of it.

Checked by hand with SAELens 6.54.12 and PyTorch 2.13, both ways, each architecture: for 200 faces
the same units were active, and codes as large as 8 differed by 3e-6 in float32 and by 2e-14 in
float64, since the two multiply matrices in another order. In float16, where many numbers are a
rounding apart, PyTorch may select another unit than NumPy.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

import ksae_lab
from ksae_lab.data.paths import user_path
from ksae_lab.export.places import free_place, put_folder
from ksae_lab.export.saelens_files import (
    CFG,
    OURS,
    SPARSITY,
    WEIGHTS,
    is_ours,
    pack,
    settings,
    unpack,
)
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn import activations
from ksae_lab.nn.module import Arrays, Model
from ksae_lab.nn.selectors import BatchTopK, JumpReLU, Relaxation, Selector, TopK

FORMAT = "6.54.12"  # of SAELens: folders that name none before 6 are read by older rules

LINEAR, RELU = activations.get("linear"), activations.get("relu")
# Above zero, where a threshold leaves nothing else, these are one function.
IDENTITY_ABOVE_ZERO = (RELU, LINEAR, activations.get("leaky_relu"), activations.get("elu"))


def write(
    model: Model,
    folder: str | Path,
    sparsity: np.ndarray | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Write a trained `KSparseAutoencoder` as a folder that SAELens loads: whole, or not at all.

    Its architecture there is "topk" for relu and `TopK` by value, or a `Relaxation` of it,
    "abstopk" (which came after SAELens 6.49) for the linear activation and `TopK` by magnitude, and
    "jumprelu" for `JumpReLU` and for `BatchTopK` by value, whose θ is then the threshold of every
    unit. With tied weights both matrices are written. Where units tie for the last place, PyTorch
    may select another one.

    `sparsity` (n,) is the share of inputs for which each unit is active, 0 to 1; SAELens keeps its
    logarithm. `metadata`, a dictionary that JSON can hold, goes into `cfg.json`. An earlier folder
    of this function's is overwritten.

    Nothing else can be exported, since SAELens has no such function: no `PrefixTopK`, no selection
    by magnitude before relu, no values below zero that were selected by value, no activation that
    bends above zero, no `SparseDream` and no other network.

    Raises `ValueError` for these and for anything else that is wrong, with nothing written, and
    `OSError` if the disk refuses.

    Source: Bloom et al. (2024), SAELens.
    Chapter 16.
    """
    folder = free_place(folder, is_ours)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict):
        raise ValueError(f"The metadata are {metadata!r}; give a dictionary.")
    if type(model) is not KSparseAutoencoder:
        raise _impossible(f"{type(model).__name__} is no KSparseAutoencoder")
    n, d = model.W_dec.shape
    dtype = model.W_dec.dtype.name
    selection, thresholds = _selection(model)
    arrays = {name: getattr(model, name) for name in ("W_enc", "W_dec", "b_enc", "b_dec")}
    cfg = {
        **selection,
        "d_in": d,
        "d_sae": n,
        "dtype": dtype,
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": metadata | {"sae_lens_version": FORMAT, OURS: ksae_lab.__version__},
    }
    files = {WEIGHTS: pack(arrays | thresholds)}
    if sparsity is not None:
        files[SPARSITY] = pack({"sparsity": _logarithm(sparsity, n)})
    try:
        files[CFG] = json.dumps(cfg, allow_nan=False, indent=1).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"JSON cannot hold the metadata: {error}.") from None
    put_folder(folder, files)


def read(folder: str | Path) -> KSparseAutoencoder:
    """The model in a folder of SAELens, of architecture "topk", "abstopk" or "jumprelu".

    Its codes (batch, n) and its reconstructions (batch, d) are those of SAELens. What differs is
    folded into the weights: with `rescale_acts_by_decoder_norm` the lengths of W_dec's rows, and
    where SAELens does not take b_dec from the input, what that does to b_enc. What SAELens reshapes
    (`reshape_activations`) is expected as it is afterwards, (batch, d).
    In further training rows of W_dec are kept at length 1 if they have it now.

    Raises `FileNotFoundError` for a missing file, and `ValueError` for a folder that is damaged or
    whose model is another function, such as one that normalises each input.

    Source: Bloom et al. (2024), SAELens.
    Chapter 16.
    """
    folder = user_path(folder, "folder")
    cfg = settings(folder / CFG)
    n, d, dtype = cfg["d_sae"], cfg["d_in"], cfg["dtype"]
    shapes = {"W_enc": (d, n), "W_dec": (n, d), "b_enc": (n,), "b_dec": (d,)}
    selector: Selector
    if cfg["architecture"] == "jumprelu":
        selector, shapes["threshold"] = JumpReLU(), (n,)
    else:
        selector = TopK(cfg["k"], "magnitude" if cfg["architecture"] == "abstopk" else "value")
    arrays = unpack(folder / WEIGHTS, shapes)
    W_enc, W_dec, b_enc, b_dec = (arrays[name] for name in ("W_enc", "W_dec", "b_enc", "b_dec"))
    length = np.linalg.norm(W_dec, axis=1)
    if cfg["rescale_acts_by_decoder_norm"] and cfg["architecture"] != "jumprelu":
        length = np.maximum(length, 1e-8)  # as SAELens does when it folds
        W_enc, W_dec, b_enc = W_enc * length, W_dec / length[:, None], b_enc * length
    if not cfg["apply_b_dec_to_input"]:
        b_enc = b_enc + b_dec @ W_enc
    try:
        model = KSparseAutoencoder(
            d,
            n,
            selector,
            "linear" if cfg["architecture"] == "abstopk" else "relu",
            unit_norm=bool(np.allclose(np.linalg.norm(W_dec, axis=1), 1, atol=1e-3)),
            rng=np.random.default_rng(0),  # what it draws is overwritten
            dtype=dtype,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / CFG} describes no model: {error}") from None
    model.W_enc[:], model.W_dec[:], model.b_enc[:], model.b_dec[:] = W_enc, W_dec, b_enc, b_dec
    if isinstance(model.selector, JumpReLU):
        # relu makes one of all thresholds up to zero, and of the smallest number above it.
        least = np.finfo(dtype).tiny
        model.selector.log_threshold[:] = np.log(np.maximum(arrays["threshold"], least))
    return model


def _selection(model: KSparseAutoencoder) -> tuple[dict[str, Any], Arrays]:
    """What says in `cfg.json` which units are active, and the thresholds if there are any."""
    selector, phi = model.selector, model.phi
    kind, by = type(selector), getattr(selector, "by", "value")
    if kind in (TopK, Relaxation) and (by, phi) in (("value", RELU), ("magnitude", LINEAR)):
        architecture = "topk" if by == "value" else "abstopk"
        # With rows of length 1 it would make no difference; others are meant as they are.
        more = {"k": int(selector.k), "rescale_acts_by_decoder_norm": False}
        return {"architecture": architecture} | more, {}
    if phi in IDENTITY_ABOVE_ZERO and by == "value":
        if isinstance(selector, JumpReLU) and kind is JumpReLU:
            threshold = _rounded_down(selector.thresholds, model.b_enc)
            return {"architecture": "jumprelu"}, {"threshold": threshold}
        if isinstance(selector, BatchTopK) and kind is BatchTopK:
            # Here a unit at θ is active, if above zero; there it has to be above.
            below = np.nextafter(_rounded_up(selector.threshold, model.b_enc), -np.inf)
            return {"architecture": "jumprelu"}, {"threshold": np.maximum(below, 0)}
    raise _impossible(f"it has {selector!r} and the activation {phi.name}")


def _rounded_down(theta: np.ndarray, like: np.ndarray) -> np.ndarray:
    """θ of each unit in their dtype: numbers of that dtype are above one if above the other."""
    rounded = np.full_like(like, theta)
    return np.where(rounded > theta, np.nextafter(rounded, -np.inf), rounded)


def _rounded_up(theta: np.ndarray, like: np.ndarray) -> np.ndarray:
    return -_rounded_down(-theta, like)


def _impossible(reason: str) -> ValueError:
    return ValueError(
        f"The model cannot be exported, as {reason}; SAELens has the k largest values with relu, "
        "the k largest magnitudes as they are, and values above thresholds that are not negative."
    )


def _logarithm(sparsity: np.ndarray, n: int) -> np.ndarray:
    """What SAELens keeps of how often each of n units is active."""
    share = np.asarray(sparsity, np.float32)
    if share.shape != (n,) or not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"The sparsity is {sparsity!r}; give a share from 0 to 1 for {n} units.")
    return np.log10(share + np.float32(1e-10))
