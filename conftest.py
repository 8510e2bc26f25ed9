"""What all tests share; at the root, because the notebooks to test are in several folders."""

import os
from unittest import mock

import pytest
from hypothesis import settings

from tools.execute import KERNEL_ENVIRONMENT

# Before any test starts a kernel or imports NumPy: the environment that made the stored outputs.
os.environ.update(KERNEL_ENVIRONMENT)

# How long an example takes is a matter of who else is at work on the machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["tests.notebooks.strict"]


@pytest.fixture
def cluster():
    """A Dask scheduler with two worker processes, which keep their memory as README.md says."""
    from distributed import LocalCluster

    memory = {"MALLOC_TRIM_THRESHOLD_": "33554432", "MALLOC_MMAP_THRESHOLD_": "33554432"}
    # What Dask sets for its workers it leaves in our environment, for all that is started later.
    with (
        mock.patch.dict(os.environ, memory),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        yield cluster
