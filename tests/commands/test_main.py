"""The command line: what it prints where, with which exit code, and never a traceback."""

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import threadpoolctl

from ksae_lab.commands.main import main
from ksae_lab.experiments import archive, saved_models, saved_runs, sweep, train
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.krotov_hopfield import KrotovHopfield
from ksae_lab.training import loop
from tests.repo import ROOT

SETTINGS = """
data: {images}
model: {{n_units: 12, k: 3}}
training: {{epochs: 2, batch_size: 10}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, an experiment on them, and what came of it in runs/one."""
    folder = tmp_path_factory.mktemp("folder")
    images = folder / "own.npy"
    np.save(images, np.random.default_rng(0).uniform(size=(40, 28, 28)))
    (folder / "own.yaml").write_text(SETTINGS.format(images=images))
    assert main(["train", str(folder / "own.yaml"), "--out", str(folder / "runs" / "one")]) == 0
    rng = np.random.default_rng(0)
    saved_models.save_model(KSparseAutoencoder(49, 5, 2, rng=rng), folder / "small.json")
    saved_models.save_model(KSparseAutoencoder(784, 5, 2, rng=rng), folder / "plain.json")
    saved_models.save_model(KrotovHopfield(784, 5, rng=rng), folder / "prototypes.json")
    (folder / "broken.json").write_bytes((folder / "plain.json").read_bytes()[:-9])
    (folder / "typo.yaml").write_text("optimizer: {learnig_rate: 1}")
    (folder / "wild.yaml").write_text(
        SETTINGS.format(images=images) + "optimizer: {name: sgd, learning_rate: 1000}\n"
    )
    for name, axis in {
        "two.yaml": "seed: [0, 1]",
        "half.yaml": "optimizer.name: [sgd], optimizer.learning_rate: [0.01, 1000.0]",
    }.items():
        (folder / name).write_text(SETTINGS.format(images=images) + f"sweep: {{{axis}}}\n")
    (folder / "nowhere.yaml").write_text("data: nothing.npz")
    np.save(folder / "big.npy", np.zeros((20, 32, 32)))
    np.savez(folder / "nameless.npz", images=np.zeros((20, 784)))
    (folder / "cut.npz").write_bytes((folder / "nameless.npz").read_bytes()[:99])
    return folder


@pytest.fixture
def run(folder, capsys, monkeypatch):
    """Run a command in that folder, without the bar; gives exit code, stdout and stderr."""
    monkeypatch.setattr(loop, "trange", partial(loop.trange, disable=True))
    monkeypatch.setattr(sweep, "tqdm", partial(sweep.tqdm, disable=True))

    def run(*arguments):
        monkeypatch.chdir(folder)
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def test_train_prints_a_table(folder, run, tmp_path):
    code, out, err = run("train", "own.yaml", "--out", tmp_path / "one")
    found = archive.read(tmp_path / "one" / "model.json")[1]["facts"]["metrics"]
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "images                8",
        f"mean squared error    {found['mse']:.5f}",
        f"variance unexplained  {found['fvu']:.4f}",
        f"PSNR                  {found['psnr']:.2f} dB",
        f"SSIM                  {found['ssim']:.3f}",
        f"active units          {found['active_units']:.1f} of 12",
        f"dead units            {found['dead_units']} of 12",
        f"Finished: {tmp_path / 'one'}",
    ]
    assert run("train", "own.yaml", "--out", tmp_path / "one", "--resume") == (0, out, "")


def test_evaluate_prints_the_same_as_table_or_json(folder, run):
    found = saved_runs.find(folder / "runs" / "one").evaluate()
    code, table, _ = run("evaluate", "runs/one")
    assert code == 0
    assert f"{found['mse']:.5f}" in table
    code, out, err = run("evaluate", "runs/one", "--json")
    assert (code, json.loads(out), err) == (0, found, "")


def test_evaluate_takes_all_of_the_readers_own_images(folder, run):
    for model in ("runs/one", "runs/one/model.json"):
        code, out, _ = run("evaluate", model, "--data", "own.npy", "--json")
        assert (code, json.loads(out)["images"]) == (0, 40)
    code, out, _ = run("evaluate", "plain.json", "--data", "own.npy", "--json")
    assert (code, json.loads(out)["units"]) == (0, 5)


def test_no_error_at_all_has_a_word_and_a_null(folder, run):
    np.save(folder / "black.npy", np.zeros((20, 784)))
    rng = np.random.default_rng(0)
    saved_models.save_model(KSparseAutoencoder(784, 5, 2, rng=rng), folder / "black.json")
    _, out, _ = run("evaluate", "black.json", "--data", "black.npy")
    assert "PSNR                no error" in out
    _, out, _ = run("evaluate", "black.json", "--data", "black.npy", "--json")
    assert json.loads(out)["psnr"] is None


def test_sweep_says_how_many_are_finished_and_leaves_one_more_table(run, tmp_path):
    out, table = tmp_path / "out", tmp_path / "two.parquet"
    found = run("sweep", "two.yaml", "--out", out, "--jobs", 1, "--table", table)
    assert found == (0, f"Finished: 2 of 2 runs; {out}/table.csv\n", "")
    assert pd.read_parquet(table)["seed"].tolist() == [0, 1]


def test_sweep_with_a_failed_run_tells_its_error(run, tmp_path):
    code, out, err = run("sweep", "half.yaml", "--out", tmp_path, "--jobs", 1)
    assert (code, out) == (2, f"Finished: 1 of 2 runs; {tmp_path}/table.csv\n")
    assert err.startswith("1 failed, the first with FloatingPointError: The loss is")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("two.xls", "two.xls ends neither in .csv nor in .parquet"),
        ("own.npy/two.csv", "own.npy/two.csv cannot be written"),
        ("two.parquet", "two.parquet needs pyarrow; install ksae-lab[parquet], or choose .csv."),
    ],
)
def test_sweep_refuses_a_table_before_it_trains(run, tmp_path, monkeypatch, table, sentence):
    for engine in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, engine, None)  # as if they were not installed
    code, out, err = run("sweep", "two.yaml", "--out", tmp_path / "out", "--table", table)
    assert (code, out) == (2, "")
    assert sentence in err and err.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("train nothing.yaml --out a", "There is no file nothing.yaml"),
        ("train typo.yaml --out a", "typo.yaml: `learnig_rate` is not known in optimizer; did"),
        ("train nowhere.yaml --out a", "There is no file 'nothing.npz'"),
        ("train own.npy --out a", "own.npy cannot be read as text"),
        ("train own.yaml --out own.npy", "own.npy/experiment.yaml cannot be written"),
        ("train own.yaml --out runs/one", "runs/one holds a training, finished; resume it or"),
        ("train wild.yaml --out runs/one --resume", "`optimizer.learning_rate` was 0.002 and is"),
        ("train wild.yaml --out wild", "the last step was too large"),
        ("evaluate nothing", "There is no file nothing/model.json; give the path of a card"),
        ("evaluate runs", "There is no file runs/model.json; give the path of a card"),
        ("evaluate broken.json", "broken.json is damaged or no JSON; copy or write it again"),
        ("evaluate own.npy", "own.npy/model.json cannot be read (Not a directory); give the path"),
        ("evaluate plain.json", "plain.json does not say what it was trained on; name data"),
        ("evaluate prototypes.json --data own.npy", "KrotovHopfield cannot be evaluated here"),
        ("evaluate small.json --data own.npy", "have shape (40, 784); expected (batch, 49)"),
        ("evaluate runs/one --data big.npy", "have shape (20, 1024); expected (batch, 784)"),
        ("evaluate runs/one --data nameless.npz", "nameless.npz has no array named x"),
        ("evaluate runs/one --data cut.npz", "cut.npz cannot be read: it is damaged"),
        ("evaluate runs/one --data nothing.npy", "There is no file 'nothing.npy'"),
        ("evaluate runs/one --data mnits", "There is no data set or file 'mnits' (did you mean"),
        ("evaluate runs/one --data runs", "runs is a folder without images; give the path"),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_one_sentence_and_exit_code_2(run, arguments, sentence):
    code, out, err = run(*arguments.split())
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert err.rstrip().endswith((".", "?"))


@pytest.mark.parametrize("arguments", [[], ["train"], ["train", "a.yaml"], ["evaluate"], ["fly"]])
def test_wrong_arguments_show_the_usage(run, capsys, arguments):
    with pytest.raises(SystemExit) as left:
        run(*arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ksae")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["train", "own.yaml", "--out", "a b"],
            "Stopped; to go on from the last checkpoint: "
            "ksae train own.yaml --out 'a b' --resume\n",
        ),
        (
            ["sweep", "two.yaml", "--out", "a b", "--jobs", "1", "--table", "a.csv"],
            "Stopped; to go on with what is missing: "
            "ksae sweep two.yaml --out 'a b' --jobs 1 --table a.csv\n",
        ),
        (
            ["train", "own.yaml", "--out", "a", "--set", "seed=1", "--threads", "2", "--quiet"],
            "Stopped; to go on from the last checkpoint: "
            "ksae train own.yaml --out a --set seed=1 --threads 2 --resume\n",
        ),
        (["evaluate", "runs/one"], "Stopped.\n"),
    ],
)
def test_ctrl_c_says_how_to_go_on(run, monkeypatch, arguments, said):
    def stop(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "load_dataset", stop)
    monkeypatch.setattr(saved_runs, "load_dataset", stop)
    assert run(*arguments) == (130, "", said)


def test_help_comes_without_the_rest_of_the_package():
    for arguments in (["--help"], ["train", "--help"], ["evaluate", "--help"]):
        process = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "ksae_lab", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert process.stdout.startswith("usage: ksae")
        imported = {line.split("|")[-1].strip() for line in process.stderr.splitlines()}
        assert "argparse" in imported
        assert not imported & {"numpy", "pydantic", "yaml", "tqdm", "safetensors"}


def test_it_runs_as_a_program(folder):
    command = [sys.executable, "-m", "ksae_lab", "evaluate", folder / "small.json"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (2, "")
    assert "does not say what it was trained on" in process.stderr


@pytest.mark.parametrize(("words", "threads"), [([], 1), (["--threads", "3"], 3)])
def test_products_take_one_thread_unless_more_are_asked_for(run, monkeypatch, words, threads):
    asked = []

    class Limits(threadpoolctl.threadpool_limits):
        def __init__(self, limits):
            asked.append(limits)
            super().__init__(limits)

    monkeypatch.setattr(threadpoolctl, "threadpool_limits", Limits)
    monkeypatch.setattr(train, "train", lambda *given, **more: {})
    assert run("train", "own.yaml", "--out", "x", "--json", *words)[0] == 0
    assert asked == [threads]


def test_there_is_no_bar_in_a_log_file(folder, tmp_path):
    environment = {name: of for name, of in os.environ.items() if name != "TQDM_DISABLE"}
    for words in (["train", "own.yaml"], ["sweep", "two.yaml", "--jobs", "1"]):
        command = [sys.executable, "-m", "ksae_lab", *words, "--out", tmp_path / words[0]]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stderr == "" and "Finished" in done.stdout
