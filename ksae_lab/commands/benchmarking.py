"""The commands that measure: the benchmarks, and the table of targets that one of them fills."""

import argparse
from pathlib import Path
from typing import Any

from ksae_lab._optional import optional
from ksae_lab.benchmarks import machine, suite, targets
from ksae_lab.commands.output import free, lines
from ksae_lab.data.paths import user_path
from ksae_lab.experiments import archive


def benchmark_(arguments: argparse.Namespace) -> None:
    """Run benchmarks, and print each one's table as soon as it has it.

    Chapter 17.
    """
    names = suite.chosen(arguments.benchmarks)
    given, folder, force = arguments.json, arguments.plots, arguments.force
    path = None if given is None else free(given, (".json",), force)
    plots = {} if folder is None else _plots(folder, names, force)
    shown: list[str] = []

    def done(result: dict[str, Any]) -> None:
        if path:
            suite.write(result, path)
        if not shown:
            print(_about(result["machine"]))
            shown.append("machine")
        for name in result["machine"]["finished"]:
            if name not in shown:
                rows = [row for row in result["rows"] if row["benchmark"] == name]
                print(f"\n{name}\n{suite.table(name, rows)}", flush=True)
                if name in plots:
                    _draw(name, rows, plots[name])
                shown.append(name)

    suite.run(names, arguments.quick, done)
    for file in (path, *plots.values()):
        if file:
            print(f"Written: {file}")


def targets_(arguments: argparse.Namespace) -> None:
    """Print the table of targets as Markdown.

    Chapter 17.
    """
    print(targets.markdown(suite.read(user_path(arguments.file, "name of the file"))), end="")


def _plots(folder: str, names: list[str], force: bool) -> dict[str, Path]:
    """Where the pictures go, once it is sure that they can be drawn and written."""
    place = user_path(folder, "folder")
    if place.exists() and not place.is_dir():
        raise ValueError(f"{place} is a file; give a folder for the pictures.")
    optional("matplotlib", "--plots")
    return {name: free(str(place / f"{name}.png"), (".png",), force) for name in names}


def _draw(name: str, rows: list[dict[str, Any]], path: Path) -> None:
    import io

    from ksae_lab.benchmarks import plots

    picture = io.BytesIO()
    plots.draw(name, rows).savefig(picture, format="png")
    archive.put(path, picture.getvalue())


def _about(card: dict[str, Any]) -> str:
    """The machine in a few lines."""
    peers = card["peers"]
    return lines(
        {
            "processor": f"{card['processor']}, {card['cores']} cores, of which one is used",
            "float32 product": f"{card['gflops_float32_product']:.1f} GFLOP/s",
            "memory": f"{card['gbs_in_place']:.1f} GB/s, read and written in place",
            "peers": ", ".join(f"{name} {peers[name]}" for name in machine.PEERS),
        }
    )
