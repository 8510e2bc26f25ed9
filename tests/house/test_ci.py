"""What runs before a commit and on the host of the repository is what `make` runs, and exists."""

import re
import shlex
import sysconfig
from pathlib import Path

import yaml

from tests.repo import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.M))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text(encoding="utf-8"))


def test_hooks_fetch_nothing_and_call_what_is_installed():
    tools = []
    for repo in HOOKS["repos"]:
        assert repo["repo"] == "local"
        for hook in repo["hooks"]:
            program, *arguments = shlex.split(hook["entry"])
            tools.append(" ".join([Path(program).name, *arguments[:1]]))
            if program == "make":
                assert arguments[0] in TARGETS
            else:
                assert program == f".venv/bin/{Path(program).name}"
                assert Path(sysconfig.get_path("scripts"), Path(program).name).exists()
    assert tools == [*2 * ["ruff check", "ruff format"], "mypy", "make check"]


def test_the_quick_tests_of_the_host_are_those_of_make_check():
    (command,) = re.findall(r"^check:.*\n\t\$\(BIN\)/(pytest .*)$", MAKEFILE, re.M)
    steps = WORKFLOW["jobs"]["package"]["steps"]
    assert steps[-1]["run"] == f"python -m {command}"


def test_the_host_tries_other_systems_and_the_oldest_and_newest_dependencies():
    tried = WORKFLOW["jobs"]["package"]["strategy"]["matrix"]["include"]
    assert {"macos-latest", "windows-latest"} < {each["os"] for each in tried}
    assert {"lowest-direct", "highest"} == {each["resolution"] for each in tried}
    supported = re.search(r'requires-python = ">=(3\.\d+)', (ROOT / "pyproject.toml").read_text())
    (oldest,) = [each for each in tried if each["resolution"] == "lowest-direct"]
    assert supported and oldest["python"] == supported[1]
