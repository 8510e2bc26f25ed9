"""One lab, one folder: what the runner finds there, what it does, and what it leaves alone."""

import shutil

import pandas as pd
import pytest

from ksae_lab.__main__ import main
from ksae_lab.experiments import labs

PLAN = """
model: {n_units: 12, k: 2}
training: {epochs: 1, batch_size: 500}
sweep:
  k: {k=2: {}, k=4: {model: {k: 4}}}
  seed: [0]
"""
MEASURE = '''
"""What the networks of a sweep weigh."""

from functools import partial

from ksae_lab.experiments.tables import Job


def weight(network):
    return {"weight": float(abs(network.model().W_dec).sum())}


def jobs(tiny):
    for network in tiny.networks:
        yield Job(f"k={network.k}", network.seed, network.settings, partial(weight, network))


def note(path, tiny):
    path.write_text(f"{len(tiny.networks)} networks, {len(tiny.dataset.x_train)} images")


TABLES = {"weights.csv": jobs}
FILES = {"note.txt": note}
'''


@pytest.fixture
def root(tmp_path):
    """A repository with one lab, which is one folder, and one sweep."""
    lab = tmp_path / "notebooks" / "weighing"
    lab.mkdir(parents=True)
    (lab / "choice.yaml").write_text(PLAN)
    (lab / "measure.py").write_text(MEASURE)
    (tmp_path / "notebooks" / "words").mkdir()
    (tmp_path / "book" / "tables" / "chapter").mkdir(parents=True)
    (tmp_path / "book" / "tables" / "chapter" / "table.yaml").write_text(PLAN)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(PLAN)
    return tmp_path


@pytest.fixture
def trained(root, ran):
    """The same, and its sweep is one that has been trained."""
    shutil.copy(ran.plan, root / "experiments" / "tiny.yaml")
    shutil.copytree(ran.out, root / "runs" / "tiny")
    return root


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.*") if path.is_file()}


def test_a_lab_is_a_folder_that_says_how_tables_are_made(root):
    found = labs.every(root)
    assert list(found) == ["weighing", "chapter"]
    assert list(found["weighing"].tables) == ["choice.csv", "weights.csv"]
    assert list(found["weighing"].files) == ["note.txt"]
    with pytest.raises(ValueError, match="no tables of 'words'; choose from weighing, chapter"):
        labs.find("words", root)


def test_a_folder_fills_its_tables_and_then_there_is_nothing_to_do(trained):
    folder = trained / "notebooks" / "weighing"
    said = list(labs.find("weighing", trained).fill())
    assert said == [
        f"{folder / 'choice.csv'} has its 2 rows.",
        f"{folder / 'weights.csv'} has its 4 rows.",
        f"{folder / 'note.txt'} is made.",
    ]
    choice = pd.read_csv(folder / "choice.csv", comment="#")
    assert list(choice.variant) == ["k=2", "k=4"] and (choice.test > 0).all()
    weights = pd.read_csv(folder / "weights.csv", comment="#")
    networks = labs.find("weighing", trained).sweeps["tiny"].networks
    expected = [abs(network.model().W_dec).sum() for network in networks]
    assert weights.weight.tolist() == pytest.approx(expected, rel=1e-4)
    assert (folder / "note.txt").read_text() == "4 networks, 3500 images"

    before = contents(folder)
    said = list(labs.find("weighing", trained).fill())
    assert all(line.endswith("is complete; there is nothing to do.") for line in said)
    assert contents(folder) == before


def test_a_finished_table_needs_neither_the_sweeps_networks_nor_its_images(trained, monkeypatch):
    list(labs.find("weighing", trained).fill())
    shutil.rmtree(trained / "runs")
    monkeypatch.setattr("ksae_lab.experiments.networks.load_dataset", None)
    assert len(list(labs.find("weighing", trained).fill())) == 3


def test_one_table_of_several(trained):
    folder = trained / "notebooks" / "weighing"
    [line] = labs.find("weighing", trained).fill("weights")
    assert line == f"{folder / 'weights.csv'} has its 4 rows."
    assert not (folder / "choice.csv").exists() and not (folder / "note.txt").exists()
    with pytest.raises(ValueError, match="no table 'wights'; choose from choice, weights, note"):
        list(labs.find("weighing", trained).fill("wights"))


def test_a_table_of_trainings_needs_no_sweep(root, monkeypatch):
    monkeypatch.setattr("ksae_lab.experiments.networks.Sweep.train", None)
    assert len(list(labs.find("chapter", root).fill())) == 1


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("notebooks/weighing/choice.yaml", "sweep: {sed: [0]}", "`sed` is not known"),
        ("notebooks/weighing/choice.csv", "method\nJPEG\n", "does not begin with variant"),
        ("experiments/tiny.yaml", "seed: 3", "says nothing to vary"),
        ("experiments/tiny.yaml", "data: none.npz\nsweep: {seed: [0]}", "none.npz"),
    ],
)
def test_what_cannot_work_is_said_before_the_work(root, monkeypatch, file, content, message):
    worked = []
    monkeypatch.setattr("ksae_lab.experiments.networks.Sweep.train", lambda _: worked.append(1))
    monkeypatch.setattr("ksae_lab.experiments.labs.fill", lambda *_: worked.append(1))
    (root / file).write_text(content)
    with pytest.raises((ValueError, OSError), match=message):
        list(labs.find("weighing", root).fill())
    assert worked == []


@pytest.mark.slow
def test_the_sweep_is_trained_first(root):
    list(labs.find("weighing", root).fill("note"))
    assert (root / "notebooks" / "weighing" / "note.txt").exists()
    assert len(list((root / "runs" / "tiny").rglob("model.json"))) == 2


def test_the_command(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    assert main(["table", "weighing", "weights"]) == 0
    assert capsys.readouterr().out == "notebooks/weighing/weights.csv has its 4 rows.\n"
    assert main(["table", "weighing", "weights"]) == 0
    out = capsys.readouterr().out
    assert out == "notebooks/weighing/weights.csv is complete; there is nothing to do.\n"
    assert main(["table", "nothing"]) == 2
    assert "choose from weighing, chapter" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(trained, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(trained)
    monkeypatch.setattr("ksae_lab.experiments.labs.fill", interrupt)
    assert main(["table", "weighing", "weights"]) == 130
    assert "ksae table weighing weights" in capsys.readouterr().err
