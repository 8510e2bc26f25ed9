"""Chapter 15's tables, against the same things done by hand."""

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.probe import best_probe
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.build import build
from ksae_lab.models.compression import prune
from tests.labs.imported import module

classes, compression, denoising, labels = (
    module("code_use", name) for name in ("classes", "compression", "denoising", "labels")
)


@pytest.fixture(scope="module")
def digits():
    return load_dataset()


def test_noise_is_as_strong_as_asked_and_the_same_for_all():
    x = np.full((200, 784), 0.5, np.float32)
    spoilt = denoising.noisy(x, 0.3, 1, 0)
    assert (spoilt - x).std() == pytest.approx(0.3, rel=0.01)
    assert spoilt.dtype == np.float32
    np.testing.assert_array_equal(spoilt, denoising.noisy(x, 0.3, 1, 0))
    assert not np.allclose(spoilt, denoising.noisy(x, 0.3, 1, 1))
    assert not np.allclose(spoilt, denoising.noisy(x, 0.3, 2, 0))


def test_the_shrunk_components_are_the_best_linear_answer(digits):
    """A ridge regression from very many noisy copies of the digits to the clean ones."""
    sigma, x = 0.4, digits.x_train.astype(float)
    shrunk = denoising.shrunk({}, digits, sigma, 0)["all"]
    mean, n = x.mean(axis=0), len(x)
    # Noise in expectation is a ridge: Σ (x + ε)(x + ε)ᵀ = X Xᵀ + n σ² I.
    linear = Ridge(n * sigma**2, fit_intercept=False).fit(x - mean, x - mean)
    spoilt = denoising.noisy(digits.x_val, sigma, 0, 0).astype(float)
    expected = linear.predict(spoilt - mean) + mean
    np.testing.assert_allclose(shrunk(spoilt), expected, atol=1e-3)


def test_denoising_takes_what_validation_prefers(ran, digits):
    networks = ran.by_k_and_seed()
    row, errors = denoising.denoise(networks, digits, 0.4, "k-sparse", 3)
    assert errors.shape == (1000,) and row["test"] == errors.mean()
    models = {k: networks[k, 3].model() for k in (2, 8)}
    spoilt = denoising.noisy(digits.x_val, 0.4, 3, 0)
    errors = {k: model.error(spoilt, digits.x_val) for k, model in models.items()}
    best = min(errors, key=errors.get)
    test = models[best].error(denoising.noisy(digits.x_test, 0.4, 3, 1), digits.x_test)
    assert row == {"setting": best, "validation": errors[best], "test": pytest.approx(test)}
    nothing, _ = denoising.denoise(networks, digits, 0.4, "nothing", 3)
    assert nothing["test"] == pytest.approx(0.16, rel=0.01)
    # k components keep k / 784 of the noise, and lose what the others would have told.
    x = digits.x_test.astype(float)
    pca = PCA(10, svd_solver="full").fit(digits.x_train.astype(float))
    lost = np.mean((pca.inverse_transform(pca.transform(x)) - x) ** 2)
    kept = denoising.components({}, digits, 0.4, 0)["10"]
    found = np.mean((kept(denoising.noisy(digits.x_test, 0.4, 3, 1)) - x) ** 2)
    assert found == pytest.approx(lost + 0.16 * 10 / 784, rel=0.02)


def test_networks_are_trained_again_with_the_noise_to_come(ran, digits, monkeypatch):
    monkeypatch.setattr(denoising, "TRAINED_KS", (8,))
    monkeypatch.setattr(denoising, "EPOCHS", 2)
    networks = ran.by_k_and_seed()
    experiment = networks[8, 3].experiment
    [(k, clean)] = denoising.trained_for_it(networks, digits, 0.8, 3).items()
    spoilt = denoising.noisy(digits.x_test, 0.8, 3, 1)
    assert k == 8
    by_hand = experiment.model_dump() | {
        "training": experiment.training.model_dump() | {"noise": 0.8, "epochs": 2}
    }
    training = build(type(experiment).model_validate(by_hand), digits)
    training.fit()
    np.testing.assert_array_equal(clean(spoilt), training.model.reconstruct(spoilt))
    assert not np.array_equal(clean(spoilt), networks[8, 3].model().reconstruct(spoilt))


def test_few_labels_are_as_many_of_each_class(digits):
    few = labels.some(digits.y_train, 1000, np.random.default_rng(0))
    assert len(set(few)) == 1000, "none twice"
    np.testing.assert_array_equal(np.bincount(digits.y_train[few]), 100)
    other = labels.some(digits.y_train, 1000, np.random.default_rng(1))
    assert set(few) != set(other)


def side(name, k, seed, digits):
    """PCA as a side of the table of few labels."""
    pca = PCA(k, svd_solver="full").fit(digits.x_train)
    return labels.Side(name, seed, f"{k}", lambda: pca.transform)


def test_more_labels_are_better_and_rows_of_a_seed_share_them(digits, monkeypatch, tmp_path):
    monkeypatch.setattr(labels, "DRAWS", 2)
    monkeypatch.setattr(labels, "LABELS", (10, 300))
    uncached = labels.mistakes.func
    monkeypatch.setattr(labels, "mistakes", uncached)
    drawn = []
    some = labels.some
    monkeypatch.setattr(labels, "some", lambda *a: drawn.append(some(*a)) or drawn[-1])
    five = side("five", 5, 1, digits)
    row = labels.few_labels(five, digits)
    assert row["error_300"] < row["error_10"] < 0.9
    assert not np.array_equal(drawn[0], drawn[1])
    first = [*drawn]
    ten = side("ten", 10, 1, digits)
    shares = labels.of_side(ten, digits)
    for before, after in zip(first, drawn[4:], strict=True):
        np.testing.assert_array_equal(before, after)
    assert shares.shape == (2, 1000) and set(np.unique(shares)) <= {0, 0.5, 1}
    found = labels.verdict([ten], [five], 300, digits)
    expected = difference(shares[1:] - labels.of_side(five, digits)[1:], np.zeros((1, 1000)))
    assert (found["difference"], found["p"]) == (expected.mean, expected.p)
    assert found["network"] == pytest.approx(shares[1].mean())


def test_pca_as_a_network_is_pca(digits):
    model = compression.pca_as_network(digits.x_train, 6)
    pca = PCA(6, svd_solver="full").fit(digits.x_train)
    x = digits.x_test
    np.testing.assert_allclose(
        model.reconstruct(x), pca.inverse_transform(pca.transform(x)), atol=1e-5
    )


def test_a_compressed_row_is_of_the_changed_network(ran, digits):
    networks = ran.by_k_and_seed()
    row = compression.compressed(networks[2, 0].model, lambda model: prune(model, 0.9), digits)
    model = prune(networks[2, 0].model(), 0.9)
    assert row["mse"] == pytest.approx(model.error(digits.x_test))
    z, z_test = model.encode(digits.x_train), model.encode(digits.x_test)
    assert row["active"] == pytest.approx(np.count_nonzero(z_test) / 1000)
    assert row["test"] == pytest.approx(
        best_probe(
            (z, digits.y_train),
            (model.encode(digits.x_val), digits.y_val),
            (z_test, digits.y_test),
        ).test
    )


def test_shares_and_favourites(digits):
    y = np.array([0, 0, 1, 2])
    z = np.array([[1.0, 0, 0, -1], [3, 0, 2, 0], [0, 0, 1, 3], [0, 0, 1, 0]])
    expected = [[1, 0, 0], [np.nan] * 3, [0.5, 0.25, 0.25], [0.25, 0.75, 0]]
    np.testing.assert_allclose(classes.shares(z, y), expected)

    # A unit that knows its class, one that says the same always, one that is silent.
    def encode(x):
        y = digits.y_train if len(x) == len(digits.x_train) else digits.y_test
        return np.column_stack([y == 4, np.ones(len(y)), np.zeros(len(y))]).astype(float)

    row = classes.favourites(encode, digits)
    counts = np.bincount(digits.y_train)
    always = np.mean(digits.y_test == counts.argmax())
    assert row["units"] == 2
    assert (row["highest"], row["lowest"]) == pytest.approx((1, always))
    assert row["share"] == pytest.approx((1 + always) / 2)
    assert row["entropy"] == pytest.approx(entropy(counts, base=2) / 2)


def test_favourites_come_from_training_digits(digits):
    """Noise has no favourites in new digits, however few it spoke for."""
    rng = np.random.default_rng(0)

    def encode(x):
        return (rng.random((len(x), 300)) < 0.02).astype(float)

    assert classes.favourites(encode, digits)["share"] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("use", "rows"),
    [(classes, 10), (compression, 2 * 6 + 10 * 3), (denoising, 4 * 7 * 2), (labels, 14)],
)
def test_every_row_is_planned_once(ran, monkeypatch, use, rows):
    for part in (compression, labels):
        monkeypatch.setattr(part, "KS", (2, 8))
    monkeypatch.setattr(use, "SEEDS", (0, 3))
    monkeypatch.setattr(denoising, "TRAINED_SEEDS", (0, 3))
    jobs = list(use.jobs(ran))
    assert len(jobs) == len({(job.variant, job.seed) for job in jobs}) == rows
    assert {job.seed for job in jobs} == {0, 3}
