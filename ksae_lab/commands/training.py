"""The commands that train: one experiment, a sweep, the tables of a lab."""

import argparse
import sys

import numpy as np

from ksae_lab.commands.output import say
from ksae_lab.experiments import config, examples


def train_(arguments: argparse.Namespace) -> None:
    """Train one experiment, and print what came of it.

    Lab 2.
    """
    from threadpoolctl import threadpool_limits

    from ksae_lab.experiments import train

    if arguments.threads < 1:
        raise ValueError(f"--threads is {arguments.threads}; give 1 or more.")
    given = arguments.experiment
    path = None if given is None else examples.find(given)
    experiment = config.load(path, arguments.set)
    quiet = arguments.quiet or not sys.stderr.isatty()  # a bar in a log file is a thousand lines
    # Training itself says if the loss runs away.
    with threadpool_limits(arguments.threads), np.errstate(over="ignore", invalid="ignore"):
        result = train.train(experiment, arguments.out, resume=arguments.resume, quiet=quiet)
    say(result, arguments)
    if not arguments.json and not arguments.quiet:
        print(f"Finished: {arguments.out}")


def sweep_(arguments: argparse.Namespace) -> None:
    """Train what is missing of a sweep, and say how many runs there are.

    Chapter 13.
    """
    import joblib

    from ksae_lab.experiments import sweep

    if arguments.jobs == 0 or arguments.jobs < -1:
        raise ValueError(f"--jobs is {arguments.jobs}; give 1 or more, or -1 for all cores.")
    plan = sweep.load(examples.find(arguments.experiment), arguments.set)
    if arguments.table is not None:  # whatever is wrong with it shows before the work
        sweep.check_free(arguments.table)
        sweep.write(sweep.table(plan, arguments.out), arguments.table)
    jobs = min(joblib.effective_n_jobs(arguments.jobs), len(plan))
    with joblib.parallel_config("loky", n_jobs=jobs):
        result = sweep.run(plan, arguments.out, quiet=arguments.quiet or not sys.stderr.isatty())
    if arguments.table is not None:
        sweep.write(result, arguments.table)
    failed = result[result["error"].notna()]
    print(
        f"Finished: {len(result) - len(failed)} of {len(plan)} runs; {arguments.out}/{sweep.TABLE}"
    )
    if len(failed):
        hint = "its error stands in the table; the same command tries again"
        raise ValueError(f"{len(failed)} failed, the first with {failed['error'].iloc[0]} ({hint})")


def table_(arguments: argparse.Namespace) -> None:
    """Fill the tables of a lab, and say what was done.

    Lab 2.
    """
    from ksae_lab.experiments import labs

    for line in labs.find(arguments.lab).fill(arguments.table):
        print(line)
