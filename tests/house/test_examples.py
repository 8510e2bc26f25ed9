"""The programs shown in README.md and on the page "How to use this book" run as they stand."""

import re
import subprocess
import sys

import pytest

from tests.repo import ROOT

BLOCK = re.compile(r"```python\n(.*?)```", re.S)


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def test_readme_trains_a_network():
    (program,) = blocks("README.md")
    program += "\nassert network.loss(digits.x_val, digits.x_val) < 0.04"
    run(program)


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
