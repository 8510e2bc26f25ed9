"""An experiment as a file, YAML or JSON, with no unknown key.

What the file leaves out has the book's value; what is wrong in it is said in one sentence.
"""

import difflib
import json
import re
import reprlib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ksae_lab.data.paths import content, user_path
from ksae_lab.experiments.sentences import one_line
from ksae_lab.experiments.settings import Experiment, Settings, merged, nested


def load(path: str | Path | None, changes: Sequence[str] = ()) -> Experiment:
    """The experiment that a YAML or JSON file describes; without a file, the book's settings.

    Each of `changes` gives a setting another value, such as "model.k=5".

    Raises `FileNotFoundError` for a missing file, and `ValueError`, in one sentence with the key's
    path, for a file that cannot be read or a setting that is not as `Experiment` asks.

    Lab 2.
    """
    settings = {} if path is None else read(path)
    if "sweep" in settings:
        raise ValueError(f"{path}: it lists many runs; give it to `sweep`.")
    return check(changed(settings, changes), "these settings" if path is None else str(path))


def changed(settings: Settings, changes: Sequence[str]) -> Settings:
    """The settings with other values, each change such as "model.k=5" or "curriculum=null".

    Raises `ValueError` for what is no such change.

    Lab 2.
    """
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not all(name.split(".")):
            raise ValueError(f"{change!r} changes nothing; write it as model.k=5.")
        try:
            settings = merged(settings, nested(name, yaml.load(value, _Loader)))
        except yaml.YAMLError:
            raise ValueError(f"{value!r} is no value for {name}; write it as in a file.") from None
    return settings


def read(path: str | Path) -> Settings:
    """The settings in a YAML or JSON file, by key, not yet checked by `check`.

    Raises `FileNotFoundError` for a missing file, and `ValueError`, in one sentence, for a file
    that cannot be read.

    Chapter 13.
    """
    path = user_path(path)
    try:
        text = content(path).decode("utf-8-sig")
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
        where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else path
        raise ValueError(f"{where}: {one_line(error.problem)}; fix it.") from None
    except Exception as error:  # both readers have a dozen ways to fail
        raise ValueError(f"{path} is neither YAML nor JSON ({one_line(error)}); fix it.") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds no settings; begin with a line such as `data: mnist5k`.")
    return settings


def check(settings: Settings, where: str) -> Experiment:
    """The experiment that settings, by key, describe; `where` begins what is said if they do not.

    Raises `ValueError`, in one sentence with the key's path.

    Chapter 13.
    """
    try:
        return Experiment.model_validate(settings)
    except ValidationError as error:
        raise ValueError(f"{where}: {one_line(_sentence(error.errors()[0]))}") from None


def dump(experiment: Experiment) -> str:
    """The experiment as YAML with every key written out: `load` gives the same experiment back.

    Lab 2.
    """
    settings = experiment.model_dump(mode="json")
    return yaml.dump(settings, Dumper=_Dumper, sort_keys=False)


def _sentence(error: ErrorDetails) -> str:
    """What pydantic found, said as the rest of the package says it."""
    if error["type"] == "value_error":  # from `_settings_agree`
        return f"{error['ctx']['error']}."
    *above, key = map(str, error["loc"])
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


def _keys(annotation: object) -> dict[str, FieldInfo]:
    """The fields of a section, or of an optional one; none for a plain value."""
    for kind in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind.model_fields
    return {}


def _unique(pairs: list[tuple[str, object]]) -> Settings:
    if twice := _twice([key for key, _ in pairs]):
        raise ValueError(f"`{twice[0]}` is there twice")
    return dict(pairs)


def _twice(names: list[str]) -> list[str]:
    return [name for i, name in enumerate(names) if name in names[:i]]


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep)
        for name in _twice([key.value for key, _ in node.value]):
            mark = [key.start_mark for key, _ in node.value if key.value == name][-1]
            raise yaml.constructor.ConstructorError(
                problem=f"`{name}` is there twice", problem_mark=mark
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
