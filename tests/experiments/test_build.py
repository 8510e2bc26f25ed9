"""A training that is done in one call."""

import numpy as np
import pytest

from ksae_lab.data.datasets import load_dataset
from ksae_lab.experiments.build import build, trained
from ksae_lab.experiments.settings import Experiment


@pytest.fixture
def few():
    """Sixty rows of numbers."""
    return load_dataset(np.random.default_rng(0).random((60, 16), np.float32), "none")


def test_what_is_trained_in_one_call_is_what_a_training_gives(few, capsys):
    """The same weights as by `fit`, and nothing on the screen."""
    settings = Experiment(model={"n_units": 8, "k": 2}, training={"epochs": 2, "batch_size": 16})
    run = build(settings, few)
    run.quiet = True
    run.fit()
    model = trained(build(settings, few))
    np.testing.assert_array_equal(model.W_dec, run.model.W_dec)
    assert capsys.readouterr() == ("", "")


def test_a_model_of_another_kind_is_refused_before_it_trains(few):
    """A dream is no k-sparse network, and keeps its weights."""
    run = build(Experiment(dream={"n_units": 8}), few)
    before = run.model.W.copy()
    with pytest.raises(TypeError, match="SparseDream; expected a KSparseAutoencoder"):
        trained(run)
    np.testing.assert_array_equal(run.model.W, before)
