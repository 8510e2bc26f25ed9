"""The networks of a sweep: where they lie, and which sweeps can be tables."""

import numpy as np
import pytest

from ksae_lab.experiments import sweep
from ksae_lab.experiments.networks import Sweep


@pytest.fixture
def planned(tmp_path):
    def planned(axes):
        plan = tmp_path / "plan.yaml"
        plan.write_text(f"model: {{n_units: 12, k: 3}}\nsweep: {axes}\n")
        return Sweep(plan, tmp_path / "runs")

    return planned


def test_networks_are_known_by_k_and_seed(ran):
    networks = ran.by_k_and_seed()
    assert list(networks) == [(2, 0), (2, 3), (8, 0), (8, 3)]
    assert list(ran.by_k_and_seed(seeds=(3,))) == [(2, 3), (8, 3)]
    network = networks[8, 3]
    assert (network.k, network.n_units, network.seed) == (8, 12, 3)
    assert network.settings == network.experiment.hash
    model = network.model()
    assert (model.k, len(model.W_dec)) == (8, 12)
    assert ran.dataset.name == ran.data == "mnist5k"


def test_a_sweep_over_more_than_k_and_seed_is_refused_unless_the_units_say_which(planned):
    with pytest.raises(ValueError, match="varies more than k and seed"):
        planned("{training.epochs: [1, 2]}").by_k_and_seed()
    two_sizes = planned("{model.n_units: [12, 13], seed: [0, 1]}")
    with pytest.raises(ValueError, match="varies more than k and seed"):
        two_sizes.by_k_and_seed()
    assert [network.n_units for network in two_sizes.by_k_and_seed(13).values()] == [13, 13]


def test_a_missing_network_is_named(planned):
    with pytest.raises(FileNotFoundError, match=r"model\.json"):
        planned("{seed: [0]}").networks[0].model()


def test_a_sweep_on_several_data_sets_has_no_images(planned):
    with pytest.raises(ValueError, match="runs on fashion_mnist, mnist5k"):
        _ = planned("{data: [mnist5k, fashion_mnist]}").dataset


def test_a_sweep_that_is_trained_is_not_trained_again(ran, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in ran.out.rglob("model.json")}
    assert len(before) == 4
    ran.train()
    assert {path: path.stat().st_mtime_ns for path in ran.out.rglob("model.json")} == before
    ran.write(tmp_path / "table.csv")
    written = (tmp_path / "table.csv").read_bytes()
    assert written == (ran.out / sweep.TABLE).read_bytes()


def test_a_run_that_fails_is_said(planned, tmp_path):
    np.save(tmp_path / "own.npy", np.random.default_rng(0).uniform(size=(40, 28, 28)))
    optimizer = "optimizer.name: [sgd], optimizer.learning_rate: [0.01, 1000.0]"
    failing = planned(f"{{data: [{tmp_path / 'own.npy'}], {optimizer}}}")
    with pytest.raises(ValueError, match=r"1 of 2 runs failed, the first with FloatingPointError"):
        failing.train()
