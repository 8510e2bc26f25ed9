"""The command line: train an experiment, evaluate what came of it. `--help` says how."""

import argparse
import json
import shlex
import sys
from typing import Any

PROGRAM = "python -m ksae_lab"
ALL_CORES = -1  # as joblib says it


def main(argv: list[str] | None = None) -> int:
    """Do what the arguments ask; the exit code is 0, 2 for what cannot be done, 130 for Ctrl-C.

    Lab 2.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except KeyboardInterrupt:
        print(arguments.stopped(arguments), file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError, MemoryError, ImportError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="The lab of the K-Sparse book.")
    commands = parser.add_subparsers(required=True, metavar="command")

    train = commands.add_parser("train", help="train the model that an experiment file describes")
    train.add_argument("experiment", help="YAML or JSON file, such as experiments/quickstart.yaml")
    train.add_argument("--out", required=True, metavar="FOLDER", help="where the results go")
    train.add_argument("--resume", action="store_true", help="go on with the training in FOLDER")
    train.set_defaults(run=_train, stopped=_how_to_resume)

    sweep = commands.add_parser("sweep", help="train every combination that a sweep's file lists")
    sweep.add_argument("experiment", help="YAML or JSON file, such as experiments/sweep_quick.yaml")
    sweep.add_argument("--out", required=True, metavar="FOLDER", help="where runs and table go")
    sweep.add_argument(
        "--jobs",
        type=int,
        default=ALL_CORES,
        metavar="N",
        help="runs at a time; one for each core if left",
    )
    sweep.add_argument("--table", metavar="FILE", help="one more table, as .csv or .parquet")
    sweep.set_defaults(run=_sweep, stopped=_how_to_go_on)

    table = commands.add_parser("table", help="make what is missing of a lab's tables")
    table.add_argument("lab", help="name of a lab, or of a chapter with tables, such as transfer")
    table.add_argument("table", nargs="?", help="one of its tables; all if left")
    table.set_defaults(run=_fill, stopped=_how_to_fill)

    evaluate = commands.add_parser("evaluate", help="measure a trained model")
    evaluate.add_argument("model", help="folder of a training, or card of a model (.json)")
    evaluate.add_argument(
        "--data",
        metavar="DATA",
        help="name of a data set, for its test images, or file, for all its images; "
        "without it, the test images of the data that the model was trained on",
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON, not a table")
    evaluate.set_defaults(run=_evaluate, stopped=lambda arguments: "Stopped.")
    return parser


# The rest of the package is imported only when there is work: `--help` answers at once.


def _train(arguments: argparse.Namespace) -> None:
    import numpy as np

    from ksae_lab.experiments import config, train

    settings = config.load(arguments.experiment)
    with np.errstate(over="ignore", invalid="ignore"):  # training itself says if the loss runs away
        result = train.train(settings, arguments.out, resume=arguments.resume)
    print(_table(result))
    print(f"Finished: {arguments.out}")


def _how_to_resume(arguments: argparse.Namespace) -> str:
    again = shlex.join(["train", arguments.experiment, "--out", arguments.out, "--resume"])
    return f"Stopped; to go on from the last checkpoint: {PROGRAM} {again}"


def _sweep(arguments: argparse.Namespace) -> None:
    import joblib

    from ksae_lab.experiments import sweep

    plan = sweep.load(arguments.experiment)
    if arguments.table:  # whatever is wrong with it shows before the work
        sweep.write(sweep.table(plan, arguments.out), arguments.table)
    with joblib.parallel_config("loky", n_jobs=arguments.jobs):
        result = sweep.run(plan, arguments.out)
    if arguments.table:
        sweep.write(result, arguments.table)
    failed = result[result["error"].notna()]
    print(
        f"Finished: {len(result) - len(failed)} of {len(plan)} runs; {arguments.out}/{sweep.TABLE}"
    )
    if len(failed):
        hint = "its error stands in the table; the same command tries again"
        raise ValueError(f"{len(failed)} failed, the first with {failed['error'].iloc[0]} ({hint})")


def _how_to_go_on(arguments: argparse.Namespace) -> str:
    again = ["sweep", arguments.experiment, "--out", arguments.out]
    if arguments.jobs != ALL_CORES:
        again += ["--jobs", str(arguments.jobs)]
    if arguments.table:
        again += ["--table", arguments.table]
    return f"Stopped; to go on with what is missing: {PROGRAM} {shlex.join(again)}"


def _fill(arguments: argparse.Namespace) -> None:
    from ksae_lab.experiments import labs

    for line in labs.find(arguments.lab).fill(arguments.table):
        print(line)


def _how_to_fill(arguments: argparse.Namespace) -> str:
    again = ["table", arguments.lab, *([arguments.table] if arguments.table else [])]
    return f"Stopped; to go on with what is missing: {PROGRAM} {shlex.join(again)}"


def _evaluate(arguments: argparse.Namespace) -> None:
    from ksae_lab.experiments import train

    result = train.evaluate_saved(arguments.model, arguments.data)
    print(json.dumps(result) if arguments.json else _table(result))


def _table(result: dict[str, Any]) -> str:
    noise = "no error" if result["psnr"] is None else f"{result['psnr']:.2f} dB"
    rows = {
        "images": f"{result['images']:,}",
        "mean squared error": f"{result['mse']:.5f}",
        "PSNR": noise,
        "SSIM": f"{result['ssim']:.3f}",
        "active units": f"{result['active_units']:.1f} of {result['units']}",
        "dead units": f"{result['dead_units']} of {result['units']}",
    }
    return "\n".join(f"{name:<20}{value}" for name, value in rows.items())


if __name__ == "__main__":
    sys.exit(main())
