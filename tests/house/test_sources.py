"""The files of the repository work on any machine and are in the house style."""

import re
import shlex
import subprocess
import sys

import nbformat
import pytest
import yaml

from tests.repo import ROOT, name, sources

# In pieces, so that this file does not contain what it looks for.
LOCAL_PATH = re.compile(r"(?<![\w.:/-])/(?:" + "|".join(["work", "tmp", "home", "root"]) + r")\b")
REGISTRIES = ["pypi", "pythonhosted", "npmjs", "anaconda", "deb.debian", "conda-forge"]
REGISTRY = re.compile(
    rf"\b(?:{'|'.join(REGISTRIES)})\.(?:org|com)\b|\b(?:index|registry)-{'url'}\b"
)
UNFINISHED = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")

HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
RUFF = {h["id"]: h for r in HOOKS["repos"] for h in r["hooks"] if h["id"].startswith("ruff")}


def texts() -> dict[str, str]:
    """The text files that were written here: file and content."""
    found = {}
    for path in sources():
        if not name(path).startswith("book/_vendor/"):
            try:
                found[name(path)] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a picture or a font
    return found


def assert_nowhere(pattern: re.Pattern) -> None:
    found = [
        f"{file}:{number}: {line.strip()[:100]}"
        for file, text in texts().items()
        for number, line in enumerate(text.split("\n"), start=1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_file_names_a_path_of_one_machine():
    assert_nowhere(LOCAL_PATH)


def test_no_file_names_a_package_registry():
    assert_nowhere(REGISTRY)


def test_nothing_is_left_unfinished():
    assert_nowhere(UNFINISHED)


def test_the_lock_pins_every_package_and_names_no_source():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if not line.lstrip().startswith("#")]
    pinned = re.compile(r"[\w.-]+(?:\[[\w,-]+\])?==[\w.+!]+(?: ; .+)?")
    assert packages
    assert [line for line in packages if not pinned.fullmatch(line)] == []
    assert [line for line in lines if "://" in line] == []


def ruff(hook: dict, *arguments: str, given: str = "") -> tuple[int, str]:
    """What ruff says to these arguments after those that it has before a commit."""
    _, *entry = shlex.split(hook["entry"])
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *entry, "--no-cache", *arguments],
        cwd=ROOT,
        input=given,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


@pytest.mark.parametrize("hook", RUFF)
def test_ruff_has_nothing_to_say(hook):
    files = [file for file in map(name, sources()) if re.search(RUFF[hook]["files"], file)]
    code, words = ruff(RUFF[hook], *files)
    assert files and code == 0, words


def as_notebook(code: str) -> str:
    return nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]))


@pytest.mark.parametrize(
    ("hook", "file", "written", "most"),
    [
        ("ruff-check", "book/_ext/a.py", "{}\n".format, 100),
        ("ruff-check-notebooks", "book/a.ipynb", as_notebook, 72),
    ],
)
def test_ruff_says_when_a_line_is_too_long(hook, file, written, most):
    longest = f"# {'ab ' * most}"[: most - 1] + "c"
    stdin = ("--stdin-filename", file, "-")
    assert ruff(RUFF[hook], *stdin, given=written(longest))[0] == 0
    code, words = ruff(RUFF[hook], *stdin, given=written(longest + "c"))
    assert code == 1 and "E501" in words


@pytest.mark.parametrize("text", ["cd /" + "work/x", "open('/" + "tmp/a')", "/" + "home/me"])
def test_the_lint_sees_a_local_path(text):
    assert LOCAL_PATH.search(text)


@pytest.mark.parametrize("text", ["notebooks/" + "work/a", "https://a.org/" + "work/", "../tmp/"])
def test_the_lint_spares_other_paths(text):
    assert not LOCAL_PATH.search(text)


@pytest.mark.parametrize("text", [f"https://{REGISTRIES[0]}.org/simple", "--index-" + "url x"])
def test_the_lint_sees_a_registry(text):
    assert REGISTRY.search(text)
