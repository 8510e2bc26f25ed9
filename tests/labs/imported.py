"""The Python files of the labs, for their tests."""

import functools
from types import ModuleType

from ksae_lab.experiments import labs
from tests.repo import ROOT


@functools.cache
def module(lab: str, name: str = "measure") -> ModuleType:
    """A Python file of a lab, imported as the runner does."""
    modules = {module.__name__: module for module in labs.find(lab, ROOT).modules}
    return modules[f"{lab}.{name}"]
