"""An experiment as a file: every setting with its unit and its range, and no setting beside them.

The file is YAML or JSON. What it leaves out has the book's value; an unknown key is refused.
"""

import difflib
import hashlib
import json
import re
import reprlib
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ksae_lab.activations import ACTIVATIONS
from ksae_lab.penalties import PENALTIES
from ksae_lab.relaxed import RELAXATIONS
from ksae_lab.sparse_dream import INITS
from ksae_lab.topk import By


class _Section(BaseModel):
    # Strict: "10" is no number, and true is not 1.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Model(_Section):
    """The network: a `KSparseAutoencoder` and how it starts.

    Lab 2.
    """

    n_units: int = Field(100, ge=1, le=100_000, description="units of the code")
    k: int = Field(10, ge=1, description="units that may speak for one image")
    activation: Literal[tuple(ACTIVATIONS)] = Field("relu", description="φ of the encoder")
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
    penalty: Literal[tuple(PENALTIES)] = Field("tanh", description="price of an activity")
    sparsity: float = Field(1.0, ge=0, le=1000, description="λ, weight of the price")
    sparsity_start: float | None = Field(
        None, ge=0, le=1000, description="λ at first, rising for half the training; null for λ"
    )
    norm_weight: float = Field(
        1.0, ge=0, le=1000, description="ρ, what keeps prototypes at length 1"
    )
    init: Literal[INITS] = Field("repaired", description="where training starts")
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
    """The rule that takes the steps, see `ksae_lab.optimizers`.

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
    """From many active units to few, see `ksae_lab.schedules.k_curriculum`.

    Lab 2.
    """

    k_start: int = Field(ge=1, description="units that may speak at first")
    finish: float = Field(0.5, gt=0, lt=1, description="share of training after which k is reached")


class AuxK(_Section):
    """Dead units draw what is left over, see `ksae_lab.losses.AuxK`.

    Lab 2.
    """

    k_aux: int = Field(ge=1, description="dead units that may draw")
    weight: float = Field(1 / 32, gt=0, le=1000, description="weight in the loss")


class Diversity(_Section):
    """Units that speak together pay for it, see `ksae_lab.losses.Diversity`.

    Lab 2.
    """

    weight: float = Field(gt=0, le=1_000_000, description="weight in the loss")


class Resets(_Section):
    """Dead units start again, see `ksae_lab.upkeep.ResetDead`.

    Lab 2.
    """

    every: int = Field(ge=1, description="epochs from one reset to the next")
    until: float = Field(0.5, ge=0, le=1, description="share of training after which none is reset")


class Selection(_Section):
    """A soft selection in training, in place of the mask, see `ksae_lab.relaxed`.

    Lab 2.
    """

    name: Literal[tuple(RELAXATIONS)] = Field(description="the relaxation")
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
    dead_after: int | None = Field(
        None, ge=1, description="images without a word until a unit is dead; null for one epoch's"
    )


_FOR_K_SPARSE = ("model", "curriculum", "auxk", "diversity", "resets", "selection")


class Experiment(_Section):
    """All that decides how a training goes; equal experiments have equal results.

    Raises `pydantic.ValidationError` for a setting that is unknown, of the wrong type, out of range
    or at odds with another; `load` says the same in one sentence.

    Lab 2.
    """

    data: str = Field("mnist5k", min_length=1, description="name of a data set, or path of a file")
    fit_on: Literal["train", "train+validation"] = Field("train", description="images to learn")
    seed: int = Field(0, ge=0, lt=2**63, description="start of the random numbers")
    model: Model = Model()
    dream: Dream | None = None
    optimizer: Optimizer = Optimizer()
    curriculum: Curriculum | None = None
    auxk: AuxK | None = None
    diversity: Diversity | None = None
    resets: Resets | None = None
    selection: Selection | None = None
    training: Training = Training()

    @property
    def hash(self) -> str:
        """SHA-256 of all settings, in hexadecimal: the same for the same settings, however written.

        What is null is left out: a setting that the package learns later changes no earlier hash.

        Lab 2.
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


def load(path: str | Path) -> Experiment:
    """The experiment that a YAML or JSON file describes.

    Raises `FileNotFoundError` for a missing file, and `ValueError`, in one sentence with the key's
    path, for a file that cannot be read or a setting that is not as `Experiment` asks.

    Lab 2.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}; give that of an experiment.") from None
    except (OSError, UnicodeDecodeError):
        raise ValueError(
            f"{path} cannot be read as text; give the path of a YAML or JSON file."
        ) from None
    try:
        if path.suffix == ".json":
            settings = json.loads(text, object_pairs_hook=_unique)
        else:
            settings = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}, line {mark.line + 1}, column {mark.column + 1}"
        raise ValueError(f"{where}: {_one_line(error.problem)}; mend it.") from None
    except Exception as error:  # both readers have a dozen ways to fail
        raise ValueError(
            f"{path} is neither YAML nor JSON ({_one_line(error)}); mend it."
        ) from None
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds no settings; begin with a line such as `data: mnist5k`.")
    try:
        return Experiment.model_validate(settings)
    except ValidationError as error:
        raise ValueError(f"{path}: {_one_line(_sentence(error.errors()[0]))}") from None


def dump(experiment: Experiment) -> str:
    """The experiment as YAML with every key written out: `load` gives the same experiment back.

    Lab 2.
    """
    settings = experiment.model_dump(mode="json")
    return yaml.dump(settings, Dumper=_Dumper, sort_keys=False)


def _sentence(error: dict) -> str:
    """What pydantic found, said as the rest of the package says it."""
    if error["type"] == "value_error":  # from `_settings_agree`
        return f"{error['ctx']['error']}."
    *above, key = error["loc"]
    key = str(key)
    path = ".".join([*above, key])
    section = Experiment.model_fields[above[0]] if above else None
    known = _keys(section.annotation) if section else _keys(Experiment)
    if error["type"] in ("extra_forbidden", "invalid_key"):
        near = difflib.get_close_matches(key, known, n=1)
        elsewhere = [
            f"{name}.{key}"
            for name, field in Experiment.model_fields.items()
            if key in _keys(field.annotation)
        ]
        where = f"in {above[0]}" if above else "at the top level"
        hint = f"choose from {', '.join(known)}."
        if near or elsewhere:
            hint = f"did you mean `{[*near, *elsewhere][0]}`?"
        return f"`{key}` is not known {where}; {hint}"
    description = known[key].description if key in known else None
    meant = f" ({description})" if description else ""
    if error["type"] == "missing":
        return f"`{path}` is missing; give a value{meant}."
    value = reprlib.repr(error["input"])
    if error["type"] == "model_type":
        keys = ", ".join(_keys(Experiment.model_fields[key].annotation))
        return f"`{path}` is {value}; it should be a section with keys of its own: {keys}."
    should = error["msg"].removeprefix("Input ").removeprefix("String ")
    return f"`{path}` is {value}; it {should}{meant}."


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _keys(annotation: object) -> dict:
    """The fields of a section, or of an optional one; none for a plain value."""
    for kind in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind.model_fields
    return {}


def _unique(pairs: list[tuple[str, object]]) -> dict:
    if twice := _twice([key for key, _ in pairs]):
        raise ValueError(f"`{twice[0]}` stands there twice")
    return dict(pairs)


def _twice(names: list) -> list:
    return [name for i, name in enumerate(names) if name in names[:i]]


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        mapping = super().construct_mapping(node, deep)
        for name in _twice([key.value for key, _ in node.value]):
            mark = [key.start_mark for key, _ in node.value if key.value == name][-1]
            raise yaml.constructor.ConstructorError(
                problem=f"`{name}` stands there twice", problem_mark=mark
            )
        return mapping


class _Dumper(yaml.SafeDumper):
    pass


# What is no word, as YAML 1.2 and JSON have it: 1e-3 is a number, `no` and 010 are words.
_NUMBER = r"[-+]?(?:0|[1-9][0-9]*)"
_PLAIN = {
    "null": "null|~|",
    "bool": "true|false",
    "int": _NUMBER,
    "float": rf"(?:{_NUMBER}(?:\.[0-9]*)?|[-+]?\.[0-9]+)(?:[eE][-+]?[0-9]+)?",
}
for _kind in (_Loader, _Dumper):
    _kind.yaml_implicit_resolvers = {}
    for _tag, _pattern in _PLAIN.items():
        _kind.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), None
        )
