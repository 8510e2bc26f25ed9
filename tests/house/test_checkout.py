"""A checkout has the same bytes on every machine, whatever Git does to line ends there."""

import subprocess
from pathlib import Path

from ksae_lab.experiments import archive
from tests.repo import ROOT


def clone(into: Path, autocrlf: str) -> dict[str, bytes]:
    """Check out what is committed, under this setting of Git, and read all files of it."""
    setting = f"core.autocrlf={autocrlf}"
    subprocess.run(["git", "-c", setting, "clone", "--quiet", ROOT, into], check=True)
    files = [path for path in into.rglob("*") if path.is_file()]
    names = {path.relative_to(into).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if name[:5] != ".git/"}


def test_git_of_windows_checks_out_the_same_bytes(tmp_path):
    as_committed = clone(tmp_path / "lf", "false")
    assert ".gitattributes" in as_committed
    assert clone(tmp_path / "crlf", "true") == as_committed


def test_stored_models_fit_their_checksums_after_a_checkout_on_windows(tmp_path):
    cards = [name for name in clone(tmp_path / "crlf", "true") if name.endswith("/model.json")]
    assert cards
    for card in cards:
        archive.read(tmp_path / "crlf" / card)
