"""What all tests share; at the root, because the notebooks to test are in several folders.

There are two tiers. What is marked `slow` is for `make test` alone, the rest is `make check`.
"""

import os
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
from hypothesis import settings

from tools.execute import KERNEL_ENVIRONMENT

# Before any test starts a kernel or imports NumPy: the environment that made the stored outputs.
os.environ.update(KERNEL_ENVIRONMENT)

# How long an example takes is a matter of who else is at work on the machine, and which ones are
# drawn must not decide whether a commit passes; `--hypothesis-profile search` draws new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("same")

pytest_plugins = ["tests.notebooks.strict"]

ROOT = Path(__file__).parent
TESTS = ROOT / "tests"
# Slow as they stand: these train, compile, or start TensorFlow, kernels or a browser.
SLOW_FOLDERS = [ROOT / "book", ROOT / "notebooks"]
SLOW_ROOMS = ("engine", "export", "keras", "labs", "notebooks", "site", "sklearn")
SLOW_FOLDERS += [TESTS / room for room in SLOW_ROOMS]
# And a test that uses one of these: TensorFlow is imported, or processes are started.
SLOW_FIXTURES = {"tf", "keras", "cluster"}
LONGEST = ROOT / "notebooks" / "dream_sweep" / "lab.ipynb"  # trains for a minute


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import from a slow folder where no test of it is wanted."""
    unwanted = config.option.markexpr == "not slow" and collection_path in SLOW_FOLDERS
    return True if unwanted else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and put it first: a long file that came last would be waited for."""
    for item in items:
        fixtures = getattr(item, "fixturenames", [])  # a notebook's cell has none
        if not SLOW_FIXTURES.isdisjoint(fixtures) or any(
            folder in item.path.parents for folder in SLOW_FOLDERS
        ):
            item.add_marker(pytest.mark.slow)
    # Workers take whole files, in this order. Notebooks have the longest ones.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(
        key=lambda item: (
            item.path != LONGEST,
            item.path.suffix != ".ipynb",
            item.path not in slow,
        )
    )


@pytest.fixture(scope="session")
def tf() -> ModuleType:
    """TensorFlow, which judges our gradients; it takes five seconds to import."""
    import tensorflow

    return tensorflow


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    """Keras, and with it TensorFlow."""
    from ksae_lab._keras_import import import_keras

    return import_keras()


@pytest.fixture
def cluster():
    """A Dask scheduler with two worker processes, which keep their memory as README.md says."""
    from distributed import LocalCluster

    memory = {"MALLOC_TRIM_THRESHOLD_": "33554432", "MALLOC_MMAP_THRESHOLD_": "33554432"}
    # What Dask sets for its workers it leaves in our environment, for all that is started later.
    with (
        mock.patch.dict(os.environ, memory),
        # Any free port: another test may have a cluster of its own at the same time.
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
    ):
        yield cluster
