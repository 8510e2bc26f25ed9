"""The networks of a sweep, for tables that measure them: what trained each, and where it lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.experiments import saved_models, sweep
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.train import MODEL
from ksae_lab.models.k_sparse import KSparseAutoencoder

ALL_CORES = -1  # as joblib says it


@dataclass(frozen=True)
class Network:
    """A k-sparse network of a sweep: its experiment, and the card of its model.

    Chapter 14.
    """

    experiment: Experiment
    card: Path

    @property
    def k(self) -> int:
        """How many units may be active."""
        return self.experiment.model.k

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return self.experiment.model.n_units

    @property
    def seed(self) -> int:
        """The seed of its training."""
        return self.experiment.seed

    @property
    def settings(self) -> str:
        """The hash of all its settings."""
        return self.experiment.hash

    def model(self) -> KSparseAutoencoder:
        """The trained model; `FileNotFoundError` if the sweep has not come to it."""
        return saved_models.load_model(self.card)


@dataclass(frozen=True)
class Sweep:
    """The file of a sweep and the folder of its runs, which may have yet to be trained.

    Chapter 14.
    """

    plan: str | Path
    out: str | Path

    @cached_property
    def runs(self) -> list[sweep.Planned]:
        """The runs, in the file's order; raises what `sweep.load` raises."""
        return sweep.load(self.plan)

    @cached_property
    def networks(self) -> list[Network]:
        """The network of each run."""
        return [Network(run.experiment, run.folder(self.out) / MODEL) for run in self.runs]

    @property
    def data(self) -> str:
        """The name of the images that all runs see; `ValueError` if they see several kinds."""
        names = {run.experiment.data for run in self.runs}
        if len(names) > 1:
            raise ValueError(f"{self.plan} has runs on {', '.join(sorted(names))}; leave one.")
        return names.pop()

    @cached_property
    def dataset(self) -> Dataset:
        """The images of all runs; raises what `data` and `load_dataset` raise."""
        return load_dataset(self.data)

    def by_k_and_seed(
        self, n_units: int | None = None, seeds: Sequence[int] | None = None
    ) -> dict[tuple[int, int], Network]:
        """The networks, of so many units and with these seeds if that is given, by (k, seed).

        Raises `ValueError` if two of them have the same k and seed.
        """
        result: dict[tuple[int, int], Network] = {}
        for network in self.networks:
            if n_units not in (None, network.n_units) or (seeds and network.seed not in seeds):
                continue
            if (network.k, network.seed) in result:
                raise ValueError(
                    f"{self.plan} varies more than k and seed; leave the rest fixed, "
                    "or choose networks by their number of units."
                )
            result[network.k, network.seed] = network
        return result

    def train(self) -> None:
        """Do what is missing of the sweep, on all cores.

        Raises what `sweep.run` raises, and `ValueError` if a run failed.
        """
        import joblib

        with joblib.parallel_config("loky", n_jobs=ALL_CORES):
            errors = sweep.run(self.runs, self.out)["error"].dropna()
        if len(errors):
            raise ValueError(
                f"{self.plan}: {len(errors)} of {len(self.runs)} runs failed, "
                f"the first with {errors.iloc[0]} "
                "(the same command tries again)."
            )

    def write(self, table: Path) -> None:
        """Write the sweep's own table, one row a run, beside what reads it."""
        sweep.write(sweep.table(self.runs, self.out), table)
