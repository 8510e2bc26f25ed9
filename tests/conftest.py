"""What tests of several rooms start from."""

import pytest
import yaml

from ksae_lab.experiments import sweep
from ksae_lab.experiments.networks import Sweep

PLAN = {
    "model": {"n_units": 12},
    "training": {"epochs": 1, "batch_size": 500},
    "sweep": {"model.k": [2, 8], "seed": [0, 3]},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A sweep of four small networks, all trained."""
    folder = tmp_path_factory.mktemp("sweep")
    plan = folder / "plan.yaml"
    plan.write_text(yaml.safe_dump(PLAN))
    sweep.run(sweep.load(plan), folder)
    return Sweep(plan, folder)
