"""Chapter 18's tables: the truth finds itself, and a network is told what its world says."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ksae_lab.evaluation import recovery
from tests.labs.imported import module
from tests.repo import ROOT

measure = module("ground_truth")
FOLDER = ROOT / "book" / "tables" / "ground_truth"
SMALL = measure.World(n=12, k=2, samples=300)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(measure, "UPDATES", 30)
    monkeypatch.setattr(measure, "TEST", 50)


def test_the_truth_is_found_whole_and_noise_is_not():
    _, _, test = measure.made(SMALL, 0)
    row = measure.judged(-2 * test.W, test.z, test)
    assert row == {"found": 1, "cosine": pytest.approx(1), "precision": 1, "recall": 1, "f1": 1}
    rng = np.random.default_rng(1)
    assert measure.judged(rng.normal(size=(12, 64)), test.z, test)["found"] == 0


def test_all_parts_have_one_dictionary_and_other_samples():
    training, validation, test = measure.made(SMALL, 0)
    assert (training.W == test.W).all() and (validation.x != test.x).any()
    assert (measure.made(SMALL, 1)[0].W != training.W).any()


def test_a_network_is_told_what_its_world_says():
    recipe = measure.Recipe("random", 0.004, 3)
    model = measure.trained(SMALL, recipe, 0)
    assert model.k == 2 and len(model.W_dec) == 12
    told = measure.trained(replace(SMALL, told_n=20, told_k=3), recipe, 0)
    assert told.k == 3 and len(told.W_dec) == 20


def test_a_row_holds_what_a_network_finds(monkeypatch):
    recipe = measure.Recipe("data", 0.004, 1)
    monkeypatch.setattr(measure, "chosen", lambda: recipe)
    row, model = measure.of_network(SMALL, 0), measure.trained(SMALL, recipe, 0)
    _, _, test = measure.made(SMALL, 0)
    found = recovery.match(model.W_dec.astype(float), test.W)
    assert row["found"] == np.mean(found.cosines >= 0.95)
    z = found.codes(model.encode(test.x.astype(np.float32)))
    assert row["f1"] == pytest.approx(recovery.support(z, test.z).f1)
    assert row["ceiling"] == 1 and 0 <= row["dead"] < 1


@pytest.mark.parametrize("name", measure.RIVALS)
def test_a_rival_finds_atoms(name, monkeypatch):
    monkeypatch.setattr(measure, "ALPHAS", (0.4,))
    monkeypatch.setattr(measure, "PASSES", 4)
    monkeypatch.setattr(measure, "ROUNDS", 10)
    row = measure.of_rival(name, SMALL, 0)
    assert row["cosine"] > 0.7 and row["recall"] > 0.5


def test_what_was_chosen_is_what_validation_samples_prefer():
    tried = pd.read_csv(FOLDER / "choice.csv", comment="#").set_index("validation")
    chosen = measure.chosen()
    best = tried.loc[min(tried.index)]
    assert (chosen.start, chosen.rate, chosen.times) == (best.start, best.rate, best.times)
    assert set(tried.seed) == {measure.TRIAL} and measure.TRIAL not in measure.SEEDS


def test_worlds_differ_from_the_first_in_one_thing_or_in_how_pairs_come():
    for name, world in measure.WORLDS.items():
        changed = {key for key, value in vars(world).items() if value != getattr(measure.BASE, key)}
        two = "nested" in name or ("k = " in name and "told n" in name)
        assert len(changed) == (2 if two else name != "as it is"), name
