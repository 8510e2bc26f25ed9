"""What can be asked for on the command line, and what is said where it cannot be done.

What a command does stands in the modules beside this one, which are imported when there is work:
`--help` answers at once.
"""

import argparse
import shlex
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import ksae_lab
from ksae_lab.experiments.sentences import one_line

PROGRAM = "ksae"
ALL_CORES = -1  # as joblib says it

A_MODEL = "folder of a training, or card of a model (.json)"
SOME_DATA = "name of a data set, or path of a file or folder"


def main(argv: list[str] | None = None) -> int:
    """Do what the arguments ask; the exit code is 0, 2 for what cannot be done, 130 for Ctrl-C.

    Lab 2.
    """
    arguments = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _said_plainly
            arguments.run(arguments)
    except KeyboardInterrupt:
        print(_how_to_go_on(arguments), file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has gone, `head` say
        sys.stderr.close()
        return 0
    except (ValueError, OSError, FloatingPointError, MemoryError, ImportError) as error:
        print(one_line(error) or type(error).__name__, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="The lab of the K-Sparse book.")
    parser.add_argument("--version", action="version", version=ksae_lab.__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, module: str, about: str) -> argparse.ArgumentParser:
        new = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        new.set_defaults(name=name, run=_later(module, name))
        return new

    train = command("train", "training", "train the model that an experiment describes")
    train.add_argument(
        "experiment",
        nargs="?",
        help="YAML or JSON file, or the name of an example; without it, the book's settings",
    )
    train.add_argument("--out", required=True, metavar="FOLDER", help="where the results go")
    train.add_argument("--resume", action="store_true", help="go on with the training in FOLDER")
    train.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="threads for products of matrices; 1 if left: with more, the last bits depend on them",
    )
    _settings(train)
    _said(train)

    sweep = command("sweep", "training", "train every combination that a sweep's file lists")
    sweep.add_argument("experiment", help="YAML or JSON file, or the name of an example")
    sweep.add_argument("--out", required=True, metavar="FOLDER", help="where runs and table go")
    sweep.add_argument(
        "--jobs",
        type=int,
        default=ALL_CORES,
        metavar="N",
        help="runs at a time; one for each core if left",
    )
    sweep.add_argument("--table", metavar="FILE", help="one more table, as .csv or .parquet")
    _settings(sweep)
    sweep.add_argument("--quiet", action="store_true", help="show no bar")

    table = command("table", "training", "make what is missing of a lab's tables")
    table.add_argument("lab", help="name of a lab, or of a chapter with tables, such as transfer")
    table.add_argument("table", nargs="?", help="one of its tables; all if left")

    evaluate = command("evaluate", "using", "measure a trained model")
    evaluate.add_argument("model", help=A_MODEL)
    evaluate.add_argument(
        "--data",
        metavar="DATA",
        help="name of a data set, for its test images, or file, for all its images; "
        "without it, the test images of the data that the model was trained on",
    )
    _said(evaluate)

    encode = command("encode", "using", "write the codes of data")
    _applied(encode, "FILE", "codes, one row for each sample: .npz (z, y), .csv or .parquet")

    reconstruct = command("reconstruct", "using", "write what the codes of data lead back to")
    _applied(
        reconstruct, "FILE", "some samples above their reconstructions (.png), or all (.npz, .csv)"
    )
    reconstruct.add_argument(
        "--count", type=int, default=12, metavar="N", help="samples of a picture; 12 if left"
    )

    atoms = command("atoms", "using", "draw the dictionary: what each unit adds to an image")
    atoms.add_argument("model", help=A_MODEL)
    atoms.add_argument("--out", required=True, metavar="FILE", help="picture, .png")
    atoms.add_argument(
        "--shape", metavar="H,W", help="height and width of an image, where nobody has said it"
    )
    atoms.add_argument("--force", action="store_true", help="replace FILE if it is there")

    show = command("show", "using", "say what a model is and how it was trained, in ten lines")
    show.add_argument("model", help=A_MODEL)
    _said(show)

    data = command("data", "around", "list the data sets, or describe one")
    data.add_argument("data", nargs="?", help=SOME_DATA)
    _said(data)

    example = command("example", "around", "list the example experiments, or write one")
    example.add_argument("example", nargs="?", help="its name, such as quickstart")
    example.add_argument("--out", metavar="FILE", help="where it goes; the screen if left")

    export = command("export", "around", "write a model for other programs")
    export.add_argument("model", help=A_MODEL)
    export.add_argument("--to", required=True, choices=["saelens", "onnx", "keras"])
    export.add_argument("--out", required=True, metavar="PATH", help="folder, .onnx or .keras file")

    take = command("import", "around", "take a model from a folder of SAELens")
    take.add_argument("folder", help="with cfg.json and sae_weights.safetensors")
    take.add_argument("--out", required=True, metavar="CARD", help="card of the model, .json")

    measure = command("benchmark", "benchmarking", "measure what training costs on this machine")
    measure.add_argument(
        "benchmarks",
        nargs="*",
        metavar="BENCHMARK",
        help="speed, scale, quality, memory, convergence, inference; all if left",
    )
    measure.add_argument("--json", metavar="FILE", help="where machine and rows go, .json")
    measure.add_argument("--plots", metavar="FOLDER", help="where a picture of each goes")
    measure.add_argument("--quick", action="store_true", help="small sizes, a minute in all")
    measure.add_argument("--force", action="store_true", help="replace files that are there")

    targets = command("targets", "benchmarking", "write the table of targets that a run has met")
    targets.add_argument("file", help="what `benchmark speed --json` wrote")
    return parser


def _said_plainly(message: Warning | str, *where: Any, **more: Any) -> None:
    """A warning without the place in the code that it comes from."""
    print(message, file=sys.stderr)


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value for a setting, such as model.k=5; may be repeated",
    )


def _said(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    parser.add_argument("--quiet", action="store_true", help="print no more than is asked for")


def _applied(parser: argparse.ArgumentParser, metavar: str, what: str) -> None:
    parser.add_argument("model", help=A_MODEL)
    parser.add_argument(
        "--data", metavar="DATA", help=f"{SOME_DATA}; what the model was trained on if left"
    )
    parser.add_argument("--out", required=True, metavar=metavar, help=what)
    parser.add_argument("--force", action="store_true", help=f"replace {metavar} if it is there")


def _later(module: str, name: str) -> Callable[[argparse.Namespace], Any]:
    """The function of that name (and an underscore) in a module of this room, not yet imported."""

    def run(arguments: argparse.Namespace) -> None:
        getattr(import_module(f"ksae_lab.commands.{module}"), f"{name}_")(arguments)

    return run


def _how_to_go_on(arguments: argparse.Namespace) -> str:
    """What is said after Ctrl-C: the command that does the rest, where there is one."""
    if arguments.name == "train":
        again = ["train", *([arguments.experiment] if arguments.experiment else [])]
        again += ["--out", arguments.out, *_again(arguments)]
        if arguments.threads != 1:  # the last bits depend on them
            again += ["--threads", str(arguments.threads)]
        again.append("--resume")
        return f"Stopped; to go on from the last checkpoint: {PROGRAM} {shlex.join(again)}"
    if arguments.name == "sweep":
        again = ["sweep", arguments.experiment, "--out", arguments.out, *_again(arguments)]
        if arguments.jobs != ALL_CORES:
            again += ["--jobs", str(arguments.jobs)]
        if arguments.table:
            again += ["--table", arguments.table]
    elif arguments.name == "table":
        again = ["table", arguments.lab, *([arguments.table] if arguments.table else [])]
    elif arguments.name == "benchmark" and arguments.json:
        return f"Stopped; {arguments.json} holds what was measured."
    else:
        return "Stopped."
    return f"Stopped; to go on with what is missing: {PROGRAM} {shlex.join(again)}"


def _again(arguments: argparse.Namespace) -> list[str]:
    return [word for change in arguments.set for word in ("--set", change)]
