"""The programs shown in README.md and on the page "How to use this book" run as they stand."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.repo import ROOT

BLOCK = re.compile(r"```python\n(.*?)```", re.S)


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def test_readme_trains_a_network():
    (program,) = blocks("README.md")
    program += "\nassert model.error(digits.x_val) < 0.025"
    program += "\nassert np.count_nonzero(codes, axis=1).max() == 10"
    run(program)


def test_readme_trains_and_evaluates_from_the_command_line(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\.venv/bin/python (-m ksae_lab .*)$", readme, re.M)
    assert [command.split()[2] for command in commands] == ["train", "evaluate", "evaluate"]
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    x = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "my_images.npz", x=x)
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command.split()], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 20


def test_how_to_use_selects():
    program = blocks("book/how_to_use.md")[0]
    call, claimed = re.search(r"^(top_k_mask.*)  # (array.*)$", program, re.M).groups()
    run(f"{program}\nfrom numpy import array\nassert ({call} == {claimed}).all()")


@pytest.mark.parametrize("name", ["mnist5k", "mnist", "my_images.npz"])
def test_how_to_use_names_data_sets_that_exist(name):
    from ksae_lab.data import NAMES

    assert f'load_dataset("{name}")' in blocks("book/how_to_use.md")[1]
    assert name in NAMES or name.endswith(".npz")


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
