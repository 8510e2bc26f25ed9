"""Lab 6's table: what it trains, what its rows hold, and what it chose."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import entropy, gmean

from ksae_lab.data.datasets import load_dataset
from ksae_lab.models.krotov_hopfield import KrotovHopfield
from tests.labs.imported import module
from tests.repo import ROOT

winners = module("winners")

EPOCHS, RATE, SEED = 40, 0.1, 3


@pytest.fixture(scope="module")
def digits():
    """A few digits only, in an order that the classes do not show in."""
    whole = load_dataset()
    return replace(
        whole, x_train=whole.x_train[:250], x_val=whole.x_val[:40], x_test=whole.x_test[:30]
    )


def trained(x, n_winners, delta, rounds):
    """The units after the same batches, the last one of each epoch being short."""
    rng = np.random.default_rng(SEED)
    net = KrotovHopfield(784, 100, n_winners, n_winners + 1, delta=delta, rng=rng)
    for rate in np.linspace(RATE, 0, EPOCHS, endpoint=False):
        order = rng.permutation(250)
        for batch in (order[:100], order[100:200], order[200:]):
            net.learn(x[batch], rate, rounds)
    return net


def code_by_overlaps(W, x, k):
    """The k largest of x · w, those below zero left out."""
    z = np.zeros((len(x), len(W)))
    for row, image in enumerate(x):
        h = [image @ w for w in W]
        for unit in np.argsort(h)[-k:]:
            z[row, unit] = max(h[unit], 0)
    return z


def error_by_overlaps(W, k, x_train, x):
    """Least squares with a ridge: the ridge as a hundred more images, all empty."""
    z = code_by_overlaps(W, x_train, k)
    more = np.sqrt(0.1 * len(x_train)) * np.eye(100)
    decoder, *_ = np.linalg.lstsq(
        np.concatenate([z, more]), np.concatenate([x_train, np.zeros((100, 784))])
    )
    return np.mean((code_by_overlaps(W, x, k) @ decoder - x) ** 2)


def error_by_omp(W, k, x):
    """Take the prototype that fits best what is left, and fit all that were taken anew."""
    atoms = W / np.linalg.norm(W, axis=1)[:, None]
    left = x.copy()
    for row, image in enumerate(x):
        taken = []
        for _ in range(k):
            taken.append(np.argmax(np.abs(atoms @ left[row])))
            part, *_ = np.linalg.lstsq(atoms[taken].T, image)
            left[row] = image - atoms[taken].T @ part
    return np.mean(left**2)


def firsts(W, x, rounds):
    """Who wins, image by image and round by round: (images, rounds)."""
    who = np.zeros((len(x), rounds), int)
    for row, left in enumerate(x):
        for turn in range(rounds):
            who[row, turn] = np.argmax(W @ left)
            w = W[who[row, turn]]
            left = left - (left @ w) / (w @ w) * w
    return who


@pytest.mark.parametrize(
    ("variant", "means"),
    [("1 winner", (1, 0.4, 1)), ("5 winners", (5, 0.4, 1)), ("3 rounds", (1, 0, 3))],
)
def test_a_row_is_what_the_training_gives(digits, variant, means):
    row = winners.train_and_measure(digits, variant, RATE, SEED, EPOCHS)
    W = trained(digits.x_train, *means).W.astype(float)
    x, x_val, x_test = (a.astype(float) for a in (digits.x_train, digits.x_val, digits.x_test))
    h = np.maximum(x @ W.T, 0)
    who = firsts(W, x, means[2])
    counts = np.array([(who[:, 0] == unit).sum() for unit in range(100)])
    expected = {
        "busiest": counts.max() / 250,
        "entropy": entropy(counts, base=2),
        "speaking": np.mean([sum(a) ** 2 / sum(a * a) for a in h]),
        "cosine": np.mean(1 - pdist(W, "cosine")),
        "never_first": 100 - len(set(who[:, 0])),
        "dead": 100 - len(set(who.flat)),
    }
    both = {
        name: [error_by_overlaps(W, k, x, images) for k in (5, 10, 20)]
        + [error_by_omp(W, k, images) for k in (5, 10, 20)]
        for name, images in (("validation", x_val), ("test", x_test))
    }
    names = [f"{code}_{k}" for code in ("overlaps", "omp") for k in (5, 10, 20)]
    expected |= {"validation": gmean(both["validation"])}
    expected |= dict(zip(names, both["test"], strict=True))
    seconds = row.pop("seconds")
    assert seconds >= 0
    assert row == pytest.approx(expected, rel=1e-4)
    # What a mistake could hide behind: everybody wins, or nobody else does.
    assert 0 < row["never_first"] < 99
    assert (row["dead"] < row["never_first"]) == (means[2] > 1)


def test_each_round_is_won_with_what_the_round_before_left(digits):
    net = KrotovHopfield(784, 100, rng=np.random.default_rng(0), dtype=np.float64)
    net.W[:50] = digits.x_train[:50]  # of many lengths, so that what is taken out matters
    x = digits.x_val.astype(float)
    who = firsts(net.W, x, 3)
    expected = [np.bincount(turn, minlength=100) for turn in who.T]
    np.testing.assert_array_equal(winners.wins(net, x, 3), expected)


@pytest.fixture(scope="module")
def table():
    """The stored table, with the rate in a column of its own."""
    table = pd.read_csv(ROOT / "notebooks" / "winners" / "table.csv", comment="#")
    names = table.variant.str.split(", rate ", expand=True)
    return table.assign(units=names[0], rate=names[1].astype(float))


def test_the_rates_are_those_that_the_validation_images_chose(table):
    tried = table[table.seed == winners.CHOICE_SEED]
    assert winners.CHOICE_SEED not in winners.SEEDS
    chosen = tried.loc[tried.groupby("units").validation.idxmin()]
    rates = {name: rate for name, (_, _, _, rate) in winners.VARIANTS.items()}
    assert dict(zip(chosen.units, chosen.rate, strict=True)) == rates


def test_settings_that_differ_have_another_hash(monkeypatch):
    before = {winners.settings(variant, rate) for variant, rate, _ in winners.plan()}
    assert len(before) == len(winners.VARIANTS) * len(winners.RATES)
    monkeypatch.setattr(winners, "EPOCHS", 81)
    assert not before & {winners.settings(variant, rate) for variant, rate, _ in winners.plan()}


def test_a_verdict_takes_differences_seed_by_seed(monkeypatch):
    """What both sides owe to a seed's luck is no part of it."""
    rng = np.random.default_rng(0)
    each = {(name, seed): rng.normal(size=40) for name in winners.VARIANTS for seed in range(5)}
    lucky = {key: {"omp_5": of + 10 * key[1]} for key, of in each.items()}
    monkeypatch.setattr(winners, "of_digits", lambda *of: lucky[of])
    row = winners.verdict("3 rounds", "omp_5")
    found = [each["3 rounds", seed] - each["1 round", seed] for seed in range(5)]
    assert row["difference"] == pytest.approx(np.mean(found))
    assert row["half_width"] < 1


def test_every_variant_but_the_controls_has_a_verdict_in_each_error():
    jobs = {job.variant for job in winners.verdict_jobs()}
    others = set(winners.VARIANTS) - set(winners.CONTROLS.values())
    assert jobs == {
        f"{v}: {c}_{k}" for v in others for c in ("overlaps", "omp") for k in (5, 10, 20)
    }
