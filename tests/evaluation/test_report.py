"""The row of numbers for a trained model, against scikit-image, scikit-learn and SciPy."""

from math import comb, log2

import numpy as np
import pytest
from scipy.stats import entropy
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import mean_squared_error

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation import report
from ksae_lab.evaluation.report import evaluate
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.krotov_hopfield import KrotovHopfield


@pytest.fixture(scope="module")
def x():
    return load_dataset().x_test[:50]


@pytest.fixture(scope="module")
def model(x):
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(784, 30, 3, rng=rng)
    model.init_from_data(x, rng)
    model.b_enc[[4, 9]] = -100  # these two never speak
    return model


def test_every_number_against_another_source(model, x, monkeypatch):
    found = evaluate(model, x)
    x_hat, z = model.reconstruct(x), model.encode(x)
    counts = (z != 0).sum(axis=0)
    pairs = [(a.reshape(28, 28), b.reshape(28, 28)) for a, b in zip(x, x_hat, strict=True)]
    ssim = {"gaussian_weights": True, "use_sample_covariance": False, "sigma": 1.5}
    assert found == {
        "images": 50,
        "mse": pytest.approx(mean_squared_error(x, x_hat), rel=1e-5),
        "fvu": pytest.approx(mean_squared_error(x, x_hat) / x.var(axis=0).mean(), rel=1e-5),
        "psnr": pytest.approx(
            np.mean([peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]), rel=1e-5
        ),
        "ssim": pytest.approx(
            np.mean([structural_similarity(a, b, data_range=1, **ssim) for a, b in pairs])
        ),
        "units": 30,
        "active_units": (z != 0).sum() / 50,
        "dead_units": (counts == 0).sum(),
        "busiest_unit": counts.max() / 50,
        "selection_entropy": pytest.approx(entropy(counts, base=2)),
        "code_bits": pytest.approx(
            np.mean([log2(comb(30, active)) + 8 * active for active in (z != 0).sum(axis=1)])
        ),
    }
    assert 2 <= found["dead_units"] < 30
    monkeypatch.setattr(report, "BATCH", 8)
    assert evaluate(model, x) == pytest.approx(found)


def test_what_has_no_value_is_none(x):
    model = KSparseAutoencoder(784, 5, 2, rng=np.random.default_rng(0))
    found = evaluate(model, np.zeros_like(x))
    assert (found["mse"], found["ssim"]) == (0, 1)
    assert found["psnr"] is found["fvu"] is found["selection_entropy"] is None


def test_only_what_fits_is_evaluated(x):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="KrotovHopfield cannot be evaluated here: it does not"):
        evaluate(KrotovHopfield(784, 3, rng=rng), x)
    with pytest.raises(ValueError, match=r"shape \(50, 784\); expected \(batch, 49\)"):
        evaluate(KSparseAutoencoder(49, 3, 1, rng=rng), x)
    with pytest.raises(ValueError, match="no images to evaluate"):
        evaluate(KSparseAutoencoder(784, 3, 1, rng=rng), x[:0])


def test_bytes_are_measured_as_the_numbers_that_they_are(x):
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(784, 5, 2, rng=rng, dtype=np.float64)
    images = np.uint8(255 * x)
    found, as_floats = evaluate(model, images), evaluate(model, images.astype(np.float64))
    assert found == as_floats
    assert found["mse"] == pytest.approx(mean_squared_error(images, model.reconstruct(images)))
    # Both take white for 1: of bytes they would say something, and it would be wrong.
    assert found["psnr"] is found["ssim"] is None
