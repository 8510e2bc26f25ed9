"""What cannot be done on the command line is said in one sentence, with exit code 2."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ksae_lab import Foldiak, KSparseAutoencoder, save_model
from ksae_lab.commands.main import main
from ksae_lab.experiments import archive

SMALL = "--set data=own.npz --set model.n_units=6 --set model.k=2 --set training.epochs=1"
SETTINGS = {
    "data": "own.npz",
    "model": {"n_units": 6, "k": 2},
    "training": {"epochs": 2, "batch_size": 10},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, a finished training, one that was stopped, and plain models."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    np.savez(folder / "own.npz", x=rng.normal(size=(40, 9)))
    np.savez(folder / "other.npz", x=rng.normal(size=(40, 9)))
    np.savez(folder / "wide.npz", x=rng.normal(size=(40, 8)))
    np.savez(folder / "wild.npz", x=1000 * rng.normal(size=(40, 9)))
    np.savez(folder / "dark.npz", x=rng.integers(0, 17, (40, 8, 8), dtype=np.uint8))
    (folder / "words.csv").write_text("a,b\n" + "1,x\n" * 20)
    (folder / "own.json").write_text(json.dumps(SETTINGS))
    (folder / "numbered.yaml").write_text("sweep: {1: [2]}")
    (folder / "missing.yaml").write_text(
        "sweep: {how: {none: {}, null: {seed: 1}, two: {seed: 2}}}"
    )
    (folder / "two.yaml").write_text("sweep: {seed: [0, 1]}")
    (folder / "mine").mkdir()
    (folder / "mine" / "history.csv").write_text("my own\n")
    (folder / "tables").mkdir()
    for name in ("table.csv", "mine.csv", "mine.parquet"):
        (folder / "tables" / name).write_text("my own\n")
    if hasattr(os, "mkfifo"):
        for name in ("pipe.npz", "pipe.yaml", "pipe.json", "sae/cfg.json", "waits/model.json"):
            (folder / name).parent.mkdir(exist_ok=True)
            os.mkfifo(folder / name)
    save_model(KSparseAutoencoder(9, 6, 2, rng=rng), folder / "plain.json")
    save_model(Foldiak(9, 6, 1 / 8, rng=rng), folder / "foldiak.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "own.json", "--out", "done", "--quiet"]) == 0
        assert main(["train", *shlex.split(SMALL), "--out", "small", "--quiet"]) == 0
        unit = shlex.split(f"{SMALL} --set scaling=unit")
        assert main(["train", *unit, "--out", "unit", "--quiet"]) == 0
    return folder


@pytest.fixture
def refused(folder, monkeypatch, capsys):
    """The sentence of a command in that folder which cannot be done."""

    def refused(*words):
        monkeypatch.chdir(folder)
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert (code, out, err.count("\n")) == (2, "", 1), (code, out, err)
        assert err.rstrip().endswith((".", "?")) and "Traceback" not in err
        return err

    return refused


BAD = {
    "train '' --out x": "The path is empty",
    "train nothing --out x": "There is no file nothing",
    "train own.json --out ''": "The folder is empty; give its name",
    "train own.json --out ~nosuchuser/x": "a user who has no home here",
    "train own.json --out mine": "mine holds a history.csv and no training that it could be of",
    "train own.json --out done": "done holds a training, finished",
    "train own.json --out x --threads 0": "--threads is 0; give 1 or more",
    "train own.json --out x --set k=3": "`k` is not known at the top level; did you mean `model.k`",
    "train own.json --out x --set model.k=ten": "`model.k` is 'ten'; it should be a valid integer",
    "train own.json --out x --set model.k=0": "`model.k` is 0; it should be greater than",
    "train own.json --out x --set model.k=7": "`model.k` is 7; choose it up to `model.n_units`, 6",
    "train own.json --out x --set model=5": "`model` is 5; it should be a section",
    "train own.json --out x --set model.k": "'model.k' changes nothing; write it as model.k=5",
    "train own.json --out x --set =5": "'=5' changes nothing",
    "train own.json --out x --set model..k=5": "'model..k=5' changes nothing",
    "train own.json --out x --set 'model.k=[1'": "is no value for model.k",
    "train own.json --out x --set scaling=zscore": "`scaling` is 'zscore'; it should be 'none'",
    "train own.json --out x --set seed=-1": "`seed` is -1; it should be greater than or equal to 0",
    "train own.json --out x --set optimizer.learning_rate=-1": "`optimizer.learning_rate` is -1",
    "train own.json --out x --set optimizer.name=adamw": "`optimizer.name` is 'adamw'",
    "train own.json --out x --set training.epochs=1.5": "`training.epochs` is 1.5",
    "train own.json --out x --set data=wild.npz": "(a standard deviation), where training is used",
    "train own.json --out x --set data=dark.npz": "bytes and none exceeds 16, where 255 would be",
    "train own.json --out x --set data=words.csv": "column 'b' of words.csv is of type",
    "train own.json --out x --set data=nothing.npy": "There is no file 'nothing.npy'",
    "train own.json --out x --set data=mnits": "no data set or file 'mnits' (did you mean mnist",
    "train own.json --out x --set data=~nosuchuser/a.npz": "a user who has no home here",
    "train two.yaml --out x": "two.yaml: it lists many runs; give it to `sweep`",
    "sweep own.json --out x": "own.json says nothing to vary",
    "sweep numbered.yaml --out x": "numbered.yaml: 1 is no name of what varies",
    "sweep missing.yaml --out x": "the level 'none' of how would be read as a missing value",
    "sweep two.yaml --out x --jobs 0": "--jobs is 0; give 1 or more, or -1",
    "sweep two.yaml --out x --jobs -3": "--jobs is -3; give 1 or more, or -1",
    "sweep two.yaml --out x --table ''": "The path is empty; give its name",
    "sweep two.yaml --out x --table t.xls": "t.xls ends neither in .csv nor in .parquet",
    "sweep two.yaml --out ''": "The folder is empty",
    "sweep two.yaml --out tables": "tables/table.csv is there, and no table of a sweep",
    "sweep two.yaml --out x --table tables/mine.csv": "mine.csv is there, and no table of a sweep",
    "sweep two.yaml --out x --table tables/mine.parquet": "mine.parquet is there, and no table",
    "evaluate ''": "The path is empty",
    "evaluate done --data wide.npz": "have shape (40, 8); expected (batch, 9)",
    "evaluate done --data wild.npz": "say how they are scaled",
    "evaluate foldiak.json --data own.npz": "Foldiak cannot be evaluated here",
    "evaluate plain.json": "does not say what it was trained on; name data to use",
    "encode done --out codes.txt": "codes.txt ends in none of .npz, .csv, .parquet",
    "encode done --out ''": "The name of the file is empty",
    "encode done --out mine": "mine ends in none of",
    "encode done --out own.npz": "own.npz is there already; choose another name, or say --force",
    "encode done --out x.npz --data wide.npz": "expected (batch, 9)",
    "encode nothing --out x.npz": "There is no file nothing/model.json",
    "encode plain.json --out x.npz": "does not say what it was trained on",
    "encode foldiak.json --out x.npz --data own.npz": "Foldiak neither encodes nor reconstructs",
    "reconstruct done --out x.png": "no images and cannot be drawn; give an --out such as x.csv",
    "reconstruct done --out x.csv --count 0": "--count is 0; give 1 or more",
    "reconstruct done --out x.gif": "x.gif ends in none of",
    "atoms done --out x.png": "nobody has said what image they are",
    "atoms done --out x.png --shape 3": "--shape is '3'; give height and width, such as 28,28",
    "atoms done --out x.png --shape a,b": "--shape is 'a,b'",
    "atoms done --out x.png --shape 0,9": "--shape is '0,9'",
    "atoms done --out x.png --shape 4,4": "The model is of 9 numbers",
    "atoms foldiak.json --out x.png": "Foldiak neither encodes nor reconstructs",
    "show nothing": "There is no file nothing/model.json",
    "show own.json": "own.json is damaged or no card",
    "data mnits": "no data set or file 'mnits'",
    "data dark.npz": "none exceeds 16",
    "example nothing": "There is no example 'nothing'",
    "example quickstart --out x.txt": "x.txt ends in none of .yaml",
    "example quickstart --out two.yaml": "two.yaml is there already",
    "export done --to onnx --out x.txt": "x.txt has no name that ends in .onnx",
    "export done --to onnx --out ''": "The path is empty",
    "export done --to saelens --out mine": "mine holds something else; remove it",
    "export foldiak.json --to onnx --out x.onnx": "Foldiak",
    "export unit --to onnx --out x.onnx": "The scaling 'unit' of a KSparseAutoencoder cannot be",
    "import nothing --out x.json": "nothing",
    "import mine --out x.json": "mine",
    "import mine --out x.txt": "x.txt ends in none of .json",
    "table nothing": "There are no tables of 'nothing'",
}


@pytest.mark.parametrize("command", BAD)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_one_sentence_says_what_is_wrong(refused, folder, command):
    assert BAD[command] in refused(*shlex.split(command))
    assert not (folder / "x").exists() or not list((folder / "x").glob("*.json"))
    for mine in [folder / "mine" / "history.csv", *(folder / "tables").iterdir()]:
        assert mine.read_text() == "my own\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
@pytest.mark.parametrize(
    ("command", "said"),
    {
        "evaluate done --data pipe.npz": "is no plain file",
        "train pipe.yaml --out x": "cannot be read as text; give the path of a YAML",
        "train own.json --out waits --resume": "cannot be read (no plain file)",
        "sweep pipe.yaml --out x": "cannot be read as text",
        "show pipe.json": "cannot be read (no plain file)",
        "evaluate waits": "cannot be read (no plain file)",
        "import sae --out x.json": "cannot be read (no plain file)",
        "export done --to saelens --out sae": "sae holds something else",
        "targets pipe.json": "cannot be read (no plain file)",
    }.items(),
)
def test_a_fifo_is_not_waited_for(refused, command, said):
    assert said in refused(*shlex.split(command))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_nor_are_weights_in_one(folder, tmp_path, refused):
    shutil.copytree(folder / "small", tmp_path / "run")
    (weights,) = (tmp_path / "run").glob("*.safetensors")
    weights.unlink()
    os.mkfifo(weights)
    assert "cannot be read (no plain file)" in refused("evaluate", tmp_path / "run")


@pytest.mark.parametrize(
    "command",
    [
        "train own.json --out NAME",
        "train NAME --out x",
        "train --set data=NAME --out x",
        "evaluate NAME",
        "evaluate done --data NAME",
        "encode done --out NAME.npz",
        "data NAME",
        "example quickstart --out NAME.yaml",
        "export done --to onnx --out NAME.onnx",
        "export done --to saelens --out NAME",
        "import NAME --out x.json",
        "sweep two.yaml --out NAME",
        "sweep two.yaml --out x --table NAME.csv",
        "targets NAME",
    ],
)
def test_a_name_that_is_too_long_is_said_to_be(refused, command):
    said = refused(*shlex.split(command.replace("NAME", 300 * "a")))
    assert "is no path (File name too long); give" in said and "Errno" not in said


def damaged(card, where, value):
    """A card with a right checksum in which one place says something else, or is missing."""
    *above, last = where
    inner = card
    for key in above:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    own = {"format", "version", "libraries", "weights", "checksum"}
    return {key: of for key, of in card.items() if key not in own}


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("facts",), None),
        (("facts",), [1]),
        (("facts", "metrics"), [1]),
        (("facts", "metrics"), {}),
        (("facts", "metrics"), None),
        (("facts", "config"), None),
        (("facts", "config"), "mine"),
        (("facts", "config", "data"), None),
        (("facts", "data"), None),
        (("facts", "data"), 7),
        (("facts", "data", "sha256"), None),
        (("facts", "data", "image"), 3),
        (("facts", "experiment"), None),
        (("model",), None),
        (("model",), [1]),
        (("model", "class"), "Nothing"),
        (("model", "k", "k"), 0),
        (("model", "k", "k"), 99),
        (("model", "n_units"), "six"),
    ],
)
def test_a_card_made_by_hand(folder, tmp_path, monkeypatch, capsys, where, value):
    shutil.copytree(folder / "small", tmp_path / "run")
    arrays, card = archive.read(tmp_path / "run" / "model.json")
    archive.write(tmp_path / "run" / "model.json", arrays, damaged(card, where, value))
    monkeypatch.chdir(folder)
    for words in (
        ["train", *shlex.split(SMALL), "--out", tmp_path / "run", "--resume"],
        ["evaluate", tmp_path / "run"],
        ["show", tmp_path / "run"],
        ["show", tmp_path / "run", "--json"],
        ["encode", tmp_path / "run", "--out", tmp_path / "codes.npz", "--force"],
        ["atoms", tmp_path / "run", "--out", tmp_path / "a.png", "--shape", "3,3", "--force"],
    ):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        if code:  # not every command needs what is missing
            assert (code, out, err.count("\n")) == (2, "", 1), (words, out, err)
            assert str(tmp_path / "run") in err


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("epoch",), None),
        (("epoch",), "two"),
        (("rng",), None),
        (("rng",), {"state": 1}),
        (("history",), None),
        (("history",), [1]),
        (("history", "training"), None),
        (("seconds",), None),
        (("seconds",), "long"),
        (("facts", "data"), None),
        (("facts", "experiment"), "mine"),
    ],
)
def test_a_checkpoint_made_by_hand(stopped, tmp_path, refused, where, value):
    shutil.copytree(stopped, tmp_path / "run")
    arrays, card = archive.read(tmp_path / "run" / "checkpoint.json")
    archive.write(tmp_path / "run" / "checkpoint.json", arrays, damaged(card, where, value))
    err = refused("train", "own.json", "--out", tmp_path / "run", "--resume")
    assert str(tmp_path / "run") in err


@pytest.mark.parametrize("name", ["model/W_dec", "optimizer/steps", "optimizer/m/b_dec"])
@pytest.mark.parametrize("change", ["missing", "shape"])
def test_a_checkpoint_whose_arrays_are_others(stopped, tmp_path, refused, name, change):
    shutil.copytree(stopped, tmp_path / "run")
    arrays, card = archive.read(tmp_path / "run" / "checkpoint.json")
    array = arrays.pop(name)
    if change == "shape":
        arrays[name] = np.stack([array, array, array])[..., None]
    archive.write(tmp_path / "run" / "checkpoint.json", arrays, damaged(card, ("seconds",), 1.0))
    err = refused("train", "own.json", "--out", tmp_path / "run", "--resume")
    assert str(tmp_path / "run") in err


@pytest.fixture(scope="module")
def stopped(folder, tmp_path_factory):
    """A training that was stopped after its first epoch."""
    from ksae_lab.experiments import checkpoints

    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write = checkpoints.Checkpoint.write

        def stop(self, trainer):
            write(self, trainer)
            if trainer.epoch == 1:
                raise KeyboardInterrupt

        patch.setattr(checkpoints.Checkpoint, "write", stop)
        patch.setattr(checkpoints, "PAUSE", 0.0)
        assert main(["train", "own.json", "--out", str(out), "--quiet"]) == 130
    assert (out / "checkpoint.json").exists()
    return out


def test_cost_made_by_hand(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    words = ["sweep", "two.yaml", *shlex.split(SMALL), "--out", str(tmp_path), "--jobs", "1"]
    assert main(words) == 0
    for cost in tmp_path.rglob("cost.json"):
        cost.write_text("[1]")
    capsys.readouterr()
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and "does not say what it should" in err and err.count("\n") == 1


@pytest.mark.slow
def test_no_home_directory_is_no_error(tmp_path):
    program = """
import os, pwd, sys
os.environ.pop("HOME", None)
pwd.getpwuid = lambda uid: {}[uid]
from ksae_lab.commands.main import main
sys.exit(main(["data", "mnist5k"]))
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "KSAE_LAB_CACHE")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "") and "3500 train" in done.stdout
    assert [file.name for file in tmp_path.rglob("*.bin")] == ["mnist5k.bin"]


@pytest.mark.filterwarnings("default::RuntimeWarning")
def test_all_units_dead_is_said_plainly(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = shlex.split(f"{SMALL} --set optimizer.learning_rate=1000 --set training.epochs=9")
    assert main(["train", *words, "--out", str(tmp_path / "out")]) == 0
    err = capsys.readouterr().err
    assert err.startswith("All units are dead") and err.count("\n") == 1
