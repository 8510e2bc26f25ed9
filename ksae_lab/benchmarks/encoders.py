"""Ways from images to codes that are compared, each made once of one trained network.

A way takes x (batch, d) and gives codes (batch, n) in a form of its own; `dense` makes arrays of
them. scikit-learn has no encoder: it looks for codes in the network's dictionary, W_dec, after the
network's mean image has been taken away.
"""

import contextlib
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ksae_lab.inference.sparse_codes import SparseCodes, select
from ksae_lab.models.int8_encoder import Int8Encoder
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.screened_encoder import ScreenedEncoder

Way = Callable[[np.ndarray], Any]

DENSE, NUMPY, COMPILED = "NumPy, dense", "NumPy, k places", "compiled, k places"
INT8, SCREENED = "int8", "engine, screened"
KERAS, ONNX, ONNX_INT8 = "Keras", "onnxruntime", "onnxruntime, int8"
OMP, CODER = "scikit-learn, OMP", "SparseCoder, {}"
LARGEST_GRAM = 4096  # units; a Gram matrix of 16,384 takes a gigabyte, and each call copies it
FITTED_TO = 16  # images for which a penalty is chosen


def encoders(model: KSparseAutoencoder) -> dict[str, Way]:
    """The ways of one pass: this package's, and of Keras and onnxruntime if they are installed.

    Raises `ImportError` where numba is missing.

    Chapter 17.
    """
    ways: dict[str, Way] = {
        DENSE: model.encode,
        NUMPY: lambda x: select(
            model.pre_activations(x), model.selector, model.phi, compiled=False
        ),
        COMPILED: model.encode_sparse,
        INT8: Int8Encoder(model).encode_sparse,
        SCREENED: ScreenedEncoder(model).encode_sparse,
    }
    if find_spec("tensorflow") and find_spec("keras"):
        ways[KERAS] = _keras(model)
    if find_spec("onnx") and find_spec("onnxruntime"):
        ways |= _onnx(model)
    return ways


def searches(model: KSparseAutoencoder, x: np.ndarray) -> dict[str, Way]:
    """scikit-learn's ways for a dictionary; with penalties that leave k units active for x.

    x has shape (images, d). `SparseCoder` makes the Gram matrix (n, n) anew in each call, and is
    left out where that is too large. OMP is given it, or the dictionary itself.

    Chapter 17.
    """
    from sklearn.decomposition import SparseCoder
    from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

    W, k, n = model.W_dec, model.k, len(model.W_dec)

    def omp(x: np.ndarray) -> np.ndarray:
        codes = orthogonal_mp(W.T, (x - model.b_dec).T, n_nonzero_coefs=k)
        return codes.reshape(n, -1).T

    def omp_gram(gram: np.ndarray, x: np.ndarray) -> np.ndarray:
        codes = orthogonal_mp_gram(gram, W @ (x - model.b_dec).T, n_nonzero_coefs=k)
        return codes.reshape(n, -1).T

    def coder(algorithm: str, x: np.ndarray, alpha: float | None = None) -> np.ndarray:
        way = SparseCoder(
            W,
            transform_algorithm=algorithm,
            transform_n_nonzero_coefs=k,
            transform_alpha=alpha,
        )
        codes: np.ndarray = way.transform(x - model.b_dec)
        return codes

    if n > LARGEST_GRAM:
        return {OMP: omp}
    ways: dict[str, Way] = {
        OMP: partial(omp_gram, W @ W.T),
        CODER.format("omp"): partial(coder, "omp"),
    }
    for algorithm in ("lasso_lars", "threshold"):
        alpha = _penalty(partial(coder, algorithm, x[:FITTED_TO]), k)
        ways[CODER.format(algorithm)] = partial(coder, algorithm, alpha=alpha)
    return ways


def dense(codes: Any) -> np.ndarray:
    """Codes (batch, n) of any way as an array.

    Chapter 17.
    """
    return codes.to_dense() if isinstance(codes, SparseCodes) else np.asarray(codes)


def _penalty(codes: Callable[..., np.ndarray], k: int) -> float:
    """The penalty with which about k units are active, by halving, for numbers around one."""
    low, high = 1e-4, 1e3
    for _ in range(12):
        middle = float(np.sqrt(low * high))
        too_many = np.count_nonzero(codes(alpha=middle), axis=1).mean() > k
        low, high = (middle, high) if too_many else (low, middle)
    return high


def _keras(model: KSparseAutoencoder) -> Way:
    """The twin's `encode` as a graph that is traced once for each size of batch."""
    import tensorflow

    from ksae_lab.keras import KSparseAutoencoder as Twin

    with contextlib.suppress(RuntimeError):  # it has begun, and keeps the threads that it has
        tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    twin = Twin.from_numpy(model)
    graph = tensorflow.function(twin.encode)
    return lambda x: graph(tensorflow.constant(x)).numpy()


def _onnx(model: KSparseAutoencoder) -> dict[str, Way]:
    """The graph up to the code, in float32, and with weights and images in bytes."""
    import onnxruntime
    from onnx.utils import extract_model
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from ksae_lab.engine import byte_product
    from ksae_lab.export import onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        whole, encoder, small = (str(Path(folder, f"{name}.onnx")) for name in "abc")
        onnx.write(model, whole)
        extract_model(whole, encoder, ["x"], ["code"])
        quantize_dynamic(
            encoder,
            small,
            per_channel=True,
            weight_type=QuantType.QInt8,
            # Without VNNI it adds pairs of products up in 16 bits, which 8 bits overflow.
            reduce_range=not byte_product.available(),
        )
        sessions = {
            name: onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
            for name, path in ((ONNX, encoder), (ONNX_INT8, small))
        }
    return {name: partial(_run, session) for name, session in sessions.items()}


def _run(session: Any, x: np.ndarray) -> np.ndarray:
    codes: np.ndarray = session.run(["code"], {"x": x})[0]
    return codes
