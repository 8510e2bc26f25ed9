"""The programs shown in README.md and on the page "How to use this book" run as they stand."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.repo import ROOT

BLOCK = re.compile(r"```python\n(.*?)```", re.S)


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_readme_trains_a_network():
    program, _ = blocks("README.md")
    program += "\nassert model.error(digits.x_val) < 0.025"
    program += "\nassert np.count_nonzero(codes, axis=1).max() == 10"
    run(program)


def test_readme_sends_a_sweep_to_a_cluster(tmp_path, cluster):
    _, program = blocks("README.md")
    (tmp_path / "sweep.yaml").write_text(
        "model: {n_units: 20, k: 2}\ntraining: {epochs: 1}\nsweep: {seed: [0, 1]}\n"
    )
    for shown, here in {
        "scheduler:8786": cluster.scheduler_address,
        "experiments/k_sweep.yaml": tmp_path / "sweep.yaml",
        "/shared/k_sweep": tmp_path / "out",
    }.items():
        assert program.count(shown) == 1
        program = program.replace(shown, str(here))
    run(program)
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert table["seed"].tolist() == [0, 1] and table["error"].isna().all()


@pytest.mark.slow
def test_readme_works_on_the_command_line(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\.venv/bin/ksae (.*)$", readme, re.M)
    verbs = [command.split()[0] for command in commands]
    trained = ["train", "encode", "atoms", "export", "train", "evaluate", "evaluate", "sweep"]
    assert verbs == [*trained, "targets"]
    x = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "my_images.npz", x=x)
    outputs = []
    for verb, command in zip(verbs, commands, strict=True):
        words = command.replace("experiments/", f"{ROOT}/experiments/").split()
        words = [sys.executable, "-m", "ksae_lab", *words]
        if verb in ("train", "sweep"):  # what they learn is told elsewhere
            words += ["--set", "training.epochs=2"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert "200 codes of 64 units" in outputs[1] and "64 atoms of 25 x 25" in outputs[2]
    assert json.loads(outputs[6])["images"] == 20
    assert "Finished: 6 of 6 runs" in outputs[7]


def test_how_to_use_selects():
    program = blocks("book/how_to_use.md")[0]
    call, claimed = re.search(r"^(top_k_mask.*)  # (array.*)$", program, re.M).groups()
    run(f"{program}\nfrom numpy import array\nassert ({call} == {claimed}).all()")


@pytest.mark.parametrize("name", ["mnist5k", "mnist", "my_images.npz"])
def test_how_to_use_names_data_sets_that_exist(name):
    from ksae_lab.data.datasets import NAMES

    assert f'load_dataset("{name}")' in blocks("book/how_to_use.md")[1]
    assert name in NAMES or name.endswith(".npz")


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
