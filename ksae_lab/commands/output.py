"""What commands print and write."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ksae_lab._optional import optional
from ksae_lab.data.paths import user_path
from ksae_lab.experiments import archive

NEEDS = {".csv": ("pandas",), ".parquet": ("pandas", "pyarrow"), ".png": ("PIL.Image",)}


def say(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Print what `evaluate` says: a table, JSON, or nothing where quiet is asked for alone.

    Lab 2.
    """
    if arguments.json:
        print(json.dumps(result))
    elif not arguments.quiet:
        print(table(result))


def table(result: dict[str, Any]) -> str:
    """What `evaluate` says, a line for each number that there is.

    Lab 2.
    """
    images = result["ssim"] is not None or result["psnr"] is not None
    rows = {
        "images" if images else "samples": f"{result['images']:,}",
        "mean squared error": f"{result['mse']:.5f}",
        "variance unexplained": None if result["fvu"] is None else f"{result['fvu']:.4f}",
        "PSNR": None if result["psnr"] is None else f"{result['psnr']:.2f} dB",
        "SSIM": None if result["ssim"] is None else f"{result['ssim']:.3f}",
        "active units": f"{result['active_units']:.1f} of {result['units']}",
        "dead units": f"{result['dead_units']} of {result['units']}",
    }
    if images and result["psnr"] is None and not result["mse"]:
        rows["PSNR"] = "no error"
    return lines({name: value for name, value in rows.items() if value is not None})


def lines(rows: dict[str, str]) -> str:
    """Names and what belongs to them, in two columns.

    Lab 2.
    """
    width = max(map(len, rows)) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in rows.items())


def free(given: str, endings: tuple[str, ...], force: bool) -> Path:
    """The path of a file to be written, once it is sure that it can be: before the work.

    Raises `ValueError` for another ending, a folder, and a file that is there, unless `force`; and
    `ImportError` where the package for such files is missing.

    Lab 2.
    """
    path = user_path(given, "name of the file")
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path} ends in none of {', '.join(endings)}; choose one of them.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file.")
    if path.exists() and not force:
        raise ValueError(f"{path} is there already; choose another name, or say --force.")
    for module in NEEDS.get(path.suffix.lower(), ()):
        optional(module, path)
    return path


def write_rows(
    path: Path, key: str, rows: np.ndarray, names: Sequence[str], labels: np.ndarray | None
) -> None:
    """Write rows (n, columns) with their labels (n,), as .npz, there under `key`, .csv or .parquet.

    Raises `OSError` if the disk refuses.

    Lab 2.
    """
    if path.suffix == ".npz":
        archive.put_arrays(path, {key: rows} | ({} if labels is None else {"y": labels}))
        return
    frame = optional("pandas", path).DataFrame(rows, columns=list(names))
    if labels is not None:
        frame["label"] = labels
    if path.suffix == ".csv":
        archive.put(path, frame.to_csv(index=False, float_format="%.7g").encode())
        return
    archive.put(path, frame.to_parquet(index=False))
