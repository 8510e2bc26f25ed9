"""The wheel alone, in an environment of its own: no TensorFlow, no pandas, and it trains."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo import ROOT

ABSENT = ("tensorflow", "keras", "pandas", "skimage", "PIL", "matplotlib", "mlxtend", "onnx")


@pytest.fixture(scope="module")
def ksae(tmp_path_factory):
    """The command of a fresh environment into which the built wheel was installed, and no more."""
    from hatchling.build import build_wheel

    folder = tmp_path_factory.mktemp("lean")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # the project that hatchling builds
        wheel = folder / build_wheel(str(folder))
    python = folder / "env" / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "--quiet", "--python", sys.executable, str(folder / "env")],
        [*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
        + ["--constraint", str(ROOT / "requirements.txt"), str(wheel)],
    ):
        subprocess.run(command, check=True)

    def ksae(*words):
        done = subprocess.run(
            [python.with_name("ksae"), *map(str, words)], cwd=folder, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    ksae.python, ksae.folder = python, folder
    return ksae


@pytest.mark.slow
def test_it_takes_less_than_300_megabytes(ksae):
    """As pip leaves it, with all modules compiled."""
    installed = ksae.folder / "env" / "lib"
    size = sum(file.stat().st_size for file in installed.rglob("*") if file.is_file())
    assert size < 300e6 and any(installed.rglob("scipy/__pycache__/*.pyc"))


@pytest.mark.slow
def test_it_trains_evaluates_and_encodes_without_what_it_does_not_need(ksae):
    program = f"import importlib.util as u; print([m for m in {ABSENT} if u.find_spec(m)])"
    found = subprocess.run([ksae.python, "-c", program], capture_output=True, text=True)
    assert found.stdout == "[]\n"
    words = ["--set", "data=digits", "--set", "training.epochs=3"]
    assert ksae("train", "quickstart", *words, "--out", "run")[::2] == (0, "")
    code, out, err = ksae("evaluate", "run", "--json")
    told = json.loads(out)
    assert (code, err, told["images"], told["ssim"]) == (0, "", 359, None) and told["psnr"] > 10
    code, out, _ = ksae("encode", "run", "--out", "codes.npz")
    assert code == 0 and out.startswith("1,797 codes of 100 units")
    examples = [*ROOT.glob("experiments/*.yaml")]
    assert ksae("example")[1].count("\n") == len(examples) + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("sweep sweep_quick --out s", "tables"),
        ("train --out t --set data=lfw_subset", "images"),
        ("train --out t --set data=mnist", "keras"),
        ("train --out t --set data=x.csv", "tables"),
        ("atoms run --out a.png", "images"),
        ("export run --to onnx --out m.onnx", "onnx"),
        ("export run --to keras --out m.keras", "keras"),
    ],
)
def test_what_is_missing_is_named(ksae, words, extra):
    Path(ksae.folder, "x.csv").write_text("1,2\n" * 20)
    if not Path(ksae.folder, "run").exists():
        first = ["--set", "data=digits", "--set", "training.epochs=1"]
        assert ksae("train", *first, "--out", "run")[0] == 0
    code, out, err = ksae(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"install ksae-lab[{extra}]" in err
