"""All that decides how a training goes: every setting with its unit and its range."""

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, model_validator
from pydantic_core import core_schema

from ksae_lab.data.scaling import SCALINGS
from ksae_lab.models.sparse_dream import INITS
from ksae_lab.nn.activations import ACTIVATIONS
from ksae_lab.nn.penalties import PENALTIES
from ksae_lab.nn.relaxations import RELAXATIONS
from ksae_lab.nn.topk import By

Settings = dict[str, Any]  # by key, section in section, as a file has them


def _one_of(names: Iterable[str]) -> GetPydanticSchema:
    """What `Literal` says of names that are written out, for those that a table holds."""
    return GetPydanticSchema(lambda *_: core_schema.literal_schema([*names]))


class _Section(BaseModel):
    # Strict: "10" is no number, and true is not 1.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Model(_Section):
    """The network: a `KSparseAutoencoder` and how it starts.

    Lab 2.
    """

    n_units: int = Field(100, ge=1, le=100_000, description="units of the code")
    k: int = Field(10, ge=1, description="active units of one image")
    activation: Annotated[str, _one_of(ACTIVATIONS)] = Field("relu", description="φ of the encoder")
    by: By = Field("value", description="what the selection ranks")
    tied: bool = Field(False, description="one matrix for encoder and decoder")
    start: Literal["data", "mean", "random"] = Field(
        "data",
        description="data: each unit at an image; mean: units at random, b_dec at the mean image; "
        "random: b_dec at zero, too",
    )


class Dream(_Section):
    """A network that has no k: a `SparseDream`, how it starts, and how its units are woken.

    Lab 5.
    """

    n_units: int = Field(100, ge=1, le=100_000, description="units of the code")
    penalty: Annotated[str, _one_of(PENALTIES)] = Field(
        "tanh", description="penalty on an activity"
    )
    sparsity: float = Field(1.0, ge=0, le=1000, description="λ, weight of the penalty")
    sparsity_start: float | None = Field(
        None, ge=0, le=1000, description="λ at first, rising for half the training; null for λ"
    )
    norm_weight: float = Field(
        1.0, ge=0, le=1000, description="ρ, what keeps prototypes at length 1"
    )
    init: Annotated[str, _one_of(INITS)] = Field("repaired", description="where training starts")
    inhibition: float = Field(
        0.01, ge=0, le=1, description="what units take off each other at first"
    )
    wake_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of S and b that dead units forget in a step; null for none",
    )
    frozen: list[Literal["W", "S", "b"]] = Field([], description="parameters that do not learn")


class Optimizer(_Section):
    """The rule that takes the steps, see `ksae_lab.training.optimizers`.

    Lab 2.
    """

    name: Literal["sgd", "rmsprop", "adagrad", "adam"] = Field("adam", description="the rule")
    learning_rate: float = Field(0.002, gt=0, le=1000, description="size of a step")
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last step; sgd only")
    lazy: bool = Field(False, description="leave alone what a batch did not reach")
    decay_from: float | None = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of training after which the learning rate falls to 0; null for never",
    )


class Curriculum(_Section):
    """From many active units to few, see `ksae_lab.training.schedules.k_curriculum`.

    Lab 2.
    """

    k_start: int = Field(ge=1, description="active units at first")
    finish: float = Field(0.5, gt=0, lt=1, description="share of training after which k is reached")


class AuxK(_Section):
    """Dead units reconstruct the residual, see `ksae_lab.nn.auxiliary_losses.AuxK`.

    Lab 2.
    """

    k_aux: int = Field(ge=1, description="dead units that may be active")
    weight: float = Field(1 / 32, gt=0, le=1000, description="weight in the loss")


class DeCov(_Section):
    """Units that are active together cost, see `ksae_lab.nn.auxiliary_losses.DeCov`.

    Lab 2.
    """

    weight: float = Field(gt=0, le=1_000_000, description="weight in the loss")


class Resets(_Section):
    """Dead units start again, see `ksae_lab.training.dead_units.ResetDeadUnits`.

    Lab 2.
    """

    every: int = Field(ge=1, description="epochs from one reset to the next")
    until: float = Field(0.5, ge=0, le=1, description="share of training after which none is reset")


class Selection(_Section):
    """A soft selection in training, in place of the mask, see `ksae_lab.nn.relaxations`.

    Lab 2.
    """

    name: Annotated[str, _one_of(RELAXATIONS)] = Field(description="the relaxation")
    temperature: float = Field(gt=0, le=1000, description="its temperature at first")
    end: float | None = Field(None, gt=0, le=1000, description="and at the end; null for no change")
    samples: int = Field(10, ge=2, le=1000, description="draws of noise; perturbed only")


class Training(_Section):
    """How long, and how many images at a time.

    Lab 2.
    """

    epochs: int = Field(80, ge=1, le=100_000, description="passes through the images")
    batch_size: int = Field(64, ge=1, le=1_000_000, description="images of one step")
    noise: float = Field(0.0, ge=0, le=1, description="grey levels of noise on what it sees")
    shifts: float | None = Field(
        None, gt=0, le=1, description="share of the images that move by a pixel; null for none"
    )
    engine: Literal["sparse", "auto"] | None = Field(
        None,
        description="sparse: steps for the price of what is active; auto: where that pays; "
        "null: plain steps",
    )
    dead_after: int | None = Field(
        None,
        ge=1,
        description="images for which a unit is inactive until it is dead; null for one epoch's",
    )


_FOR_K_SPARSE = ("model", "curriculum", "auxk", "diversity", "resets", "selection")


class Experiment(_Section):
    """All that decides how a training goes; equal experiments have equal results.

    Raises `pydantic.ValidationError` for a setting that is unknown, of the wrong type, out of range
    or at odds with another; `ksae_lab.experiments.config.load` says the same in one sentence.

    Lab 2.
    """

    data: str = Field(
        "mnist5k", min_length=1, description="name of a data set, or path of a file or folder"
    )
    scaling: Annotated[str, _one_of(SCALINGS)] | None = Field(
        None, description="what is done to the numbers first; null: bytes are divided by 255"
    )
    fit_on: Literal["train", "train+validation"] = Field("train", description="images to learn")
    seed: int = Field(0, ge=0, lt=2**63, description="start of the random numbers")
    model: Model = Model()
    dream: Dream | None = None
    optimizer: Optimizer = Optimizer()
    curriculum: Curriculum | None = None
    auxk: AuxK | None = None
    diversity: DeCov | None = None
    resets: Resets | None = None
    selection: Selection | None = None
    training: Training = Training()

    @property
    def hash(self) -> str:
        """SHA-256 of all settings, in hexadecimal: the same for the same settings, however written.

        What is null is left out: a setting that the package learns later changes no earlier hash.
        """
        settings = json.dumps(self.model_dump(mode="json", exclude_none=True), sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()

    @model_validator(mode="after")
    def _settings_agree(self) -> "Experiment":
        if self.dream:
            defaults = {name: Experiment.model_fields[name].default for name in _FOR_K_SPARSE}
            if alien := [name for name in defaults if getattr(self, name) != defaults[name]]:
                raise ValueError(
                    f"`{alien[0]}` is for the k-sparse network; leave it or `dream` out"
                )
            return self
        n, k, epochs = self.model.n_units, self.model.k, self.training.epochs
        if k > n:
            raise ValueError(f"`model.k` is {k}; choose it up to `model.n_units`, {n}")
        if self.optimizer.momentum and self.optimizer.name != "sgd":
            raise ValueError(
                f"`optimizer.momentum` is for sgd; leave it out with {self.optimizer.name}"
            )
        if self.curriculum and not k <= self.curriculum.k_start <= n:
            raise ValueError(
                f"`curriculum.k_start` is {self.curriculum.k_start}; "
                f"choose it from `model.k`, {k}, to `model.n_units`, {n}"
            )
        if self.curriculum and self.curriculum.finish * epochs > epochs - 1:
            raise ValueError(
                f"`curriculum.finish` is {self.curriculum.finish}, which leaves no whole epoch of "
                f"`training.epochs`, {epochs}, at `model.k`; finish earlier or train longer"
            )
        if self.auxk and self.auxk.k_aux > n:
            raise ValueError(
                f"`auxk.k_aux` is {self.auxk.k_aux}; choose it up to `model.n_units`, {n}"
            )
        return self


def flat(settings: Settings) -> Settings:
    """Settings by their whole names, such as "model.k", each a scalar; so they fit into a row.

    Chapter 13.
    """
    row: Settings = {}
    for key, value in settings.items():
        inner = value if isinstance(value, dict) else {}
        row |= {f"{key}.{name}": of for name, of in inner.items()} or {key: value}
    return row


def merged(base: Settings, changes: Settings | None) -> Settings:
    """`base` with `changes`, section by section; a scalar, a list or null replaces what was there.

    Chapter 13.
    """
    result = dict(base)
    for key, value in (changes or {}).items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result


def nested(name: str, value: object) -> Settings:
    """{"model": {"k": 5}} for "model.k" and 5.

    Chapter 13.
    """
    settings: Any = value
    for key in reversed(name.split(".")):
        settings = {key: settings}
    return settings
