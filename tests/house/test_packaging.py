"""What is published: the wheel holds the package, and the version is said in one place."""

import re
import zipfile

import yaml

import ksae_lab
from tests.repo import ROOT, name, sources


def test_the_wheel_holds_the_package_its_face_and_the_mark_that_it_is_typed(tmp_path, monkeypatch):
    from hatchling.build import build_wheel

    monkeypatch.chdir(ROOT)  # the project that hatchling builds
    wheel = tmp_path / build_wheel(str(tmp_path))
    files = {file for file in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in file}
    assert files >= {"ksae_lab/py.typed", "ksae_lab/__init__.pyi"}
    examples = {f"ksae_lab/examples/{path.name}" for path in ROOT.glob("experiments/*.yaml")}
    package = {name(path) for path in sources() if name(path).startswith("ksae_lab/")}
    assert files == package | examples
    assert wheel.name.split("-")[1] == ksae_lab.__version__


def test_the_version_is_said_in_the_package_and_the_citation_agrees():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ksae_lab.__version__
    says = re.compile(rf"version_*\W+{re.escape(ksae_lab.__version__)}\b", re.I)
    files = [path for path in sources() if path.suffix in {".py", ".toml", ".cff", ".yml", ".md"}]
    places = {name(path) for path in files if says.search(path.read_text(encoding="utf-8"))}
    assert places == {"ksae_lab/__init__.py", "CITATION.cff"}
