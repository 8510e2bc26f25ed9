"""Tables that grow row by row: what is measured, what is kept, and what stands above them."""

import contextlib
from functools import partial

import numpy as np
import pandas as pd
import pytest

from tools.tables import Job, fill, provenance


@pytest.fixture
def run(tmp_path):
    """Fill a table with jobs (k, seed); returns it, and which jobs were done."""

    def run(jobs, stop_after=None):
        done = []

        def measure(k, seed):
            if len(done) == stop_after:
                raise KeyboardInterrupt
            done.append((k, seed))
            return {"test": k + seed / 10, "model": "third", "third": k / 3}

        table = tmp_path / "table.csv"
        with contextlib.suppress(KeyboardInterrupt):
            fill(
                table,
                provenance("-m tools.this table.csv"),
                [Job(name, seed, f"{k}" * 64, partial(measure, k, seed)) for name, k, seed in jobs],
            )
        return pd.read_csv(table, comment="#"), done

    return run


JOBS = [("two", 2, 3), ("two", 2, 5), ("four", 4, 3), ("four", 4, 5)]


def test_an_interrupted_table_is_completed_and_equals_an_uninterrupted_one(run):
    part, done = run(JOBS, stop_after=3)
    assert len(part) == len(done) == 3
    whole, done = run(JOBS)
    assert done == [(4, 5)], "only what was missing"
    assert whole["test"].tolist() == [2.3, 2.5, 4.3, 4.5]
    assert run(JOBS)[1] == []


def test_a_row_with_other_settings_is_measured_again(run):
    run(JOBS)
    table, done = run([*JOBS[:2], ("four", 5, 3), ("four", 5, 5)])
    assert done == [(5, 3), (5, 5)]
    assert table["test"].tolist() == [2.3, 2.5, 5.3, 5.5]


def test_numbers_have_six_digits_and_words_stay(run, tmp_path):
    run(JOBS[:1])
    assert (tmp_path / "table.csv").read_text().endswith(",2.3,third,0.666667\n")


def test_the_lines_above_say_what_made_it(run, tmp_path):
    run(JOBS[:1])
    command, versions, *_ = (tmp_path / "table.csv").read_text().splitlines()
    assert command == "# python -m tools.this table.csv"
    assert f"numpy {np.__version__}" in versions and "ksae-lab" in versions
