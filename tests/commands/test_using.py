"""Commands that use a model, against the model itself: codes, reconstructions, pictures, words."""

import json

import joblib
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from PIL import Image

from ksae_lab import KSparseAutoencoder, load_dataset, load_model, save_model
from ksae_lab.commands import pictures
from ksae_lab.commands.main import main
from ksae_lab.experiments import config, examples

SIDE = pictures.SIDE + pictures.GAP


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three trainings: of small pictures in bytes, of numbers in a table, of colours."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    np.savez(
        folder / "bytes.npz",
        x=rng.integers(0, 256, (50, 8, 8), dtype=np.uint8),
        y=np.arange(50) % 2,
    )
    frame = pd.DataFrame(1000 + 50 * rng.normal(size=(60, 4)), columns=list("abcd"))
    frame["label"] = ["up", "down"] * 30
    frame.to_csv(folder / "table.csv", index=False)
    np.save(folder / "colours.npy", rng.random((30, 4, 6, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small = ["--set", "model.n_units=6", "--set", "model.k=2", "--set", "training.epochs=3"]
        for data, scaling in (
            ("bytes.npz", "null"),
            ("table.csv", "standardise"),
            ("colours.npy", "null"),
        ):
            settings = ["--set", f"data={data}", "--set", f"scaling={scaling}", *small]
            name = data.partition(".")[0]
            assert main(["train", *settings, "--out", f"runs/{name}", "--quiet"]) == 0
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """A command in that folder that succeeds; gives what it printed."""

    def run(*words):
        monkeypatch.chdir(folder)
        assert main([str(word) for word in words]) == 0, capsys.readouterr().err
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


def read_png(path):
    with Image.open(path) as picture:
        return np.asarray(picture) / 255


def tile(picture, row, column, height, width):
    """The top left pixel of each of a tile's numbers, drawn a few times as large."""
    times = -(-pictures.SIDE // max(height, width))
    top = pictures.GAP + row * (height * times + pictures.GAP)
    left = pictures.GAP + column * (width * times + pictures.GAP)
    return picture[top : top + height * times : times, left : left + width * times : times]


def test_quiet_training_prints_nothing(run, tmp_path):
    words = ["--set", "data=bytes.npz", "--set", "training.epochs=1", "--set", "model.k=3"]
    assert run("train", *words, "--out", tmp_path / "one", "--quiet") == ""
    out = run("train", *words, "--out", tmp_path / "two", "--json")
    assert json.loads(out)["active_units"] == 3


def test_what_is_stored_takes_and_gives_the_readers_own_numbers(folder):
    frame = pd.read_csv(folder / "table.csv")
    x = frame[list("abcd")].to_numpy()
    model = load_model(folder / "runs" / "table" / "model.json")
    assert np.abs(model.reconstruct(x) - x).mean() < np.abs(x - x.mean(axis=0)).mean() < 60
    x = np.load(folder / "bytes.npz")["x"].reshape(50, 64)
    model = load_model(folder / "runs" / "bytes" / "model.json")
    assert 64 < model.reconstruct(x).mean() < 192
    np.testing.assert_array_equal(model.encode(x), model.coder.encode(x / np.float32(255)))


@pytest.mark.parametrize("ending", ["npz", "csv", "parquet"])
@pytest.mark.parametrize("data", [None, "table.csv"])
def test_codes_are_those_of_the_model_in_the_order_of_the_data(run, folder, tmp_path, ending, data):
    path = tmp_path / f"codes.{ending}"
    words = [] if data is None else ["--data", data]
    assert "60 codes of 6 units, 1." in run("encode", "runs/table", *words, "--out", path)
    frame = pd.read_csv(folder / "table.csv")
    model = load_model(folder / "runs" / "table" / "model.json")
    expected = model.encode(frame[list("abcd")].to_numpy())
    if ending == "npz":
        found = np.load(path)
        z, y = found["z"], found["y"]
    else:
        table = pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)
        z, y = table[[f"unit_{i}" for i in range(6)]].to_numpy(), table["label"]
    np.testing.assert_allclose(z, expected, rtol=1e-6)
    assert list(y) == list(frame.label)


def test_reconstructions_are_in_the_units_of_the_data(run, folder, tmp_path):
    run("reconstruct", "runs/table", "--out", tmp_path / "back.csv")
    frame = pd.read_csv(folder / "table.csv")
    back = pd.read_csv(tmp_path / "back.csv")
    x = frame[list("abcd")].to_numpy()
    expected = load_model(folder / "runs" / "table" / "model.json").reconstruct(x)
    assert list(back.columns) == [*"abcd", "label"]
    np.testing.assert_allclose(back[list("abcd")], expected, rtol=1e-6)


def test_a_picture_shows_images_above_their_reconstructions(run, folder, tmp_path):
    run("reconstruct", "runs/bytes", "--out", tmp_path / "back.png", "--count", 5)
    picture = read_png(tmp_path / "back.png")
    x = np.load(folder / "bytes.npz")["x"]
    model = load_model(folder / "runs" / "bytes" / "model.json")
    x_hat = np.clip(model.reconstruct(x[:5].reshape(5, 64)), 0, 255).reshape(5, 8, 8)
    for i in range(5):
        for row, images in enumerate((x, x_hat)):
            found = tile(picture, row, i, 8, 8)
            np.testing.assert_allclose(found, (images[i] / 255)[..., None].repeat(3, -1), atol=0.01)


def test_colours_stay_colours(run, folder, tmp_path):
    run("reconstruct", "runs/colours", "--out", tmp_path / "back.png", "--count", 3)
    picture = read_png(tmp_path / "back.png")
    x = np.load(folder / "colours.npy")
    for i in range(3):
        np.testing.assert_allclose(tile(picture, 0, i, 4, 6), x[i], atol=0.01)


def test_atoms_are_blue_below_zero_and_orange_above(run, folder, tmp_path):
    run("atoms", "runs/bytes", "--out", tmp_path / "atoms.png")
    picture = read_png(tmp_path / "atoms.png")
    W = load_model(folder / "runs" / "bytes" / "model.json").coder.W_dec.reshape(6, 8, 8)
    for i in range(6):
        found = tile(picture, i // 3, i % 3, 8, 8)
        share = W[i] / np.abs(W[i]).max()
        np.testing.assert_allclose(1 - found.min(axis=-1), np.abs(share), atol=0.01)
        clear = np.abs(share) > 0.05
        np.testing.assert_array_equal((found[..., 0] > found[..., 2])[clear], (share > 0)[clear])


def test_atoms_of_whatever_shape_is_said(run, folder, tmp_path):
    rng = np.random.default_rng(0)
    save_model(KSparseAutoencoder(30, 4, 2, rng=rng), tmp_path / "plain.json")
    run("atoms", tmp_path / "plain.json", "--shape", "5,6", "--out", tmp_path / "a.png")
    times = -(-pictures.SIDE // 6)
    assert read_png(tmp_path / "a.png").shape == (
        2 * (5 * times + pictures.GAP) + pictures.GAP,
        2 * (6 * times + pictures.GAP) + pictures.GAP,
        3,
    )


def test_a_file_is_replaced_only_by_force(run, folder, tmp_path, capsys):
    path = tmp_path / "codes.npz"
    path.write_bytes(b"mine")
    assert main(["encode", str(folder / "runs" / "bytes"), "--out", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err and path.read_bytes() == b"mine"
    run("encode", "runs/bytes", "--out", path, "--force")
    assert np.load(path)["z"].shape == (50, 6)


def test_show_tells_what_a_model_is_in_few_lines(run):
    out = run("show", "runs/table")
    assert len(out.splitlines()) <= 12
    for words in ("standardise", "k=2", "table.csv", "3 epochs", "variance unexplained"):
        assert words in out
    told = json.loads(run("show", "runs/table", "--json"))
    assert told["settings"]["model"]["k"] == 2 and told["parameters"] == 4 * 6 * 2 + 6 + 4 + 8


def test_data_lists_what_there_is_and_describes_one(run):
    assert {"mnist5k", "digits", "lfw_subset"} <= {
        line.split()[0] for line in run("data").splitlines()
    }
    told = json.loads(run("data", "bytes.npz", "--json"))
    dataset = load_dataset("bytes.npz")
    assert told["samples"] == {"train": 35, "val": 5, "test": 10}
    assert (told["image"], told["scaling"], told["classes"]) == ([8, 8], "0-255", 2)
    assert told["most"] == dataset.x_train.max()
    assert "8 x 8" in run("data", "bytes.npz")


def test_every_example_is_written_as_it_stands(run, tmp_path):
    listed = run("example")
    for name, path in examples.every().items():
        assert name in listed
        assert run("example", name) == path.read_text()
    run("example", "quickstart", "--out", tmp_path / "own.yaml")
    assert config.load(tmp_path / "own.yaml") == config.load(examples.every()["quickstart"])


def test_an_example_is_trained_by_its_name_with_other_settings(run, tmp_path):
    words = ["--set", "data=bytes.npz", "--set", "training={epochs: 1}", "--set", "seed=7"]
    run("train", "quickstart", *words, "--out", tmp_path / "out")
    found = config.load(tmp_path / "out" / "experiment.yaml")
    assert (found.data, found.training.epochs, found.seed, found.model.n_units) == (
        "bytes.npz",
        1,
        7,
        100,
    )


def test_a_sweep_takes_other_settings_too(run, tmp_path):
    (tmp_path / "two.yaml").write_text("sweep: {seed: [0, 1]}")
    words = ["--set", "data=bytes.npz", "--set", "training.epochs=1"]
    out = run("sweep", tmp_path / "two.yaml", *words, "--out", tmp_path / "out", "--jobs", 1)
    assert "2 of 2 runs" in out
    assert set(pd.read_csv(tmp_path / "out" / "table.csv").data) == {"bytes.npz"}


@pytest.mark.parametrize(("words", "jobs"), [([], 2), (["--jobs", 1000], 2), (["--jobs", 1], 1)])
def test_there_are_no_more_jobs_than_runs(run, tmp_path, monkeypatch, words, jobs):
    asked, config = [], joblib.parallel_config

    def noted(backend, n_jobs):
        asked.append(n_jobs)
        return config("sequential")

    monkeypatch.setattr(joblib, "parallel_config", noted)
    monkeypatch.setattr("joblib._parallel_backends.cpu_count", lambda *_: 64)
    (tmp_path / "two.yaml").write_text("sweep: {seed: [0, 1]}")
    more = ["--set", "data=bytes.npz", "--set", "training.epochs=1", "--out", tmp_path / "out"]
    run("sweep", tmp_path / "two.yaml", *more, *words)
    assert asked == [jobs]


# Other programs


def test_a_model_leaves_with_its_scaling_in_its_weights(run, folder, tmp_path):
    import onnxruntime

    run("export", "runs/table", "--to", "onnx", "--out", tmp_path / "model.onnx")
    x = pd.read_csv(folder / "table.csv")[list("abcd")].to_numpy(np.float32)
    model = load_model(folder / "runs" / "table" / "model.json")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    code, x_hat = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(code, model.encode(x), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(x_hat, model.reconstruct(x), rtol=1e-5)


def test_a_folder_of_saelens_comes_back_as_a_model(run, folder, tmp_path):
    run("export", "runs/bytes", "--to", "saelens", "--out", tmp_path / "sae")
    run("import", tmp_path / "sae", "--out", tmp_path / "back.json")
    x = np.load(folder / "bytes.npz")["x"].reshape(50, 64).astype(np.float32)
    model = load_model(folder / "runs" / "bytes" / "model.json")
    back = load_model(tmp_path / "back.json")
    np.testing.assert_allclose(back.reconstruct(x), model.reconstruct(x), rtol=1e-4, atol=1e-2)
    sparsity = safetensors.numpy.load_file(tmp_path / "sae" / "sparsity.safetensors")["sparsity"]
    expected = (model.encode(x) != 0).mean(axis=0)
    np.testing.assert_allclose(10**sparsity, expected, atol=1e-6)


@pytest.mark.slow
def test_a_model_becomes_a_file_of_keras(run, folder, tmp_path, keras):
    run("export", "runs/bytes", "--to", "keras", "--out", tmp_path / "model.keras")
    x = np.load(folder / "bytes.npz")["x"].reshape(50, 64).astype(np.float32)
    twin = keras.saving.load_model(tmp_path / "model.keras")
    model = load_model(folder / "runs" / "bytes" / "model.json")
    np.testing.assert_allclose(twin(x), model.reconstruct(x), rtol=1e-4, atol=1e-2)
