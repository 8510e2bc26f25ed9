"""Tables that grow row by row: what is measured, what is kept, and what stands above them."""

import contextlib
from functools import partial

import numpy as np
import pandas as pd
import pytest

from ksae_lab.data.datasets import load_dataset
from ksae_lab.experiments import tables
from ksae_lab.experiments.build import build
from ksae_lab.experiments.tables import Job, complete, fill


def jobs_of(rows, measure=dict):
    """A job for each (name, k, seed); the hash of its settings is k, many times."""
    return [Job(name, seed, f"{k}" * 64, partial(measure, k, seed)) for name, k, seed in rows]


@pytest.fixture
def run(tmp_path):
    """Fill a table with rows (name, k, seed); returns it, and which were measured."""

    def run(rows, stop_after=None):
        done = []

        def measure(k, seed):
            if len(done) == stop_after:
                raise KeyboardInterrupt
            done.append((k, seed))
            return {"test": k + seed / 10, "model": "third", "third": k / 3}

        table = tmp_path / "a_lab" / "table.csv"
        with contextlib.suppress(KeyboardInterrupt):
            fill(table, jobs_of(rows, measure))
        return pd.read_csv(table, comment="#"), done

    return run


ROWS = [("two", 2, 3), ("two", 2, 5), ("four", 4, 3), ("four", 4, 5)]


def test_an_interrupted_table_is_completed_and_equals_an_uninterrupted_one(run):
    part, done = run(ROWS, stop_after=3)
    assert len(part) == len(done) == 3
    whole, done = run(ROWS)
    assert done == [(4, 5)], "only what was missing"
    assert whole["test"].tolist() == [2.3, 2.5, 4.3, 4.5]
    assert run(ROWS)[1] == []


def test_a_row_with_other_settings_is_measured_again(run):
    run(ROWS)
    table, done = run([*ROWS[:2], ("four", 5, 3), ("four", 5, 5)])
    assert done == [(5, 3), (5, 5)]
    assert table["test"].tolist() == [2.3, 2.5, 5.3, 5.5]


def test_rows_stand_in_the_order_of_the_jobs_and_what_nobody_asks_for_goes(run):
    run(ROWS[:3])
    table, done = run([ROWS[3], ROWS[1]])
    assert done == [(4, 5)]
    assert table["test"].tolist() == [4.5, 2.5]
    table, done = run([ROWS[1]])
    assert (table["test"].tolist(), done) == ([2.5], [])


def test_a_table_is_complete_with_these_rows_and_no_others(run, tmp_path):
    path = tmp_path / "a_lab" / "table.csv"
    assert not complete(path, jobs_of(ROWS))
    run(ROWS)
    assert complete(path, jobs_of(ROWS))
    assert not complete(path, jobs_of(ROWS[:3]))
    assert not complete(path, jobs_of([*ROWS, ("six", 6, 3)]))
    assert not complete(path, jobs_of([*ROWS[:3], ("four", 5, 5)]))


def test_two_rows_of_one_name_are_refused(run):
    with pytest.raises(ValueError, match=r"\('two', 3\) is asked for twice"):
        run([*ROWS, ("two", 9, 3)])


def test_a_file_of_another_shape_is_left_alone(run, tmp_path):
    path = tmp_path / "a_lab" / "table.csv"
    path.parent.mkdir()
    path.write_text("method,k\nJPEG,3\n")
    with pytest.raises(ValueError, match="does not begin with variant, seed and settings"):
        run(ROWS)
    assert path.read_text() == "method,k\nJPEG,3\n"


def test_numbers_have_six_digits_and_words_stay(run, tmp_path):
    run(ROWS[:1])
    assert (tmp_path / "a_lab" / "table.csv").read_text().endswith(",2.3,third,0.666667\n")


def test_rows_that_stay_keep_every_letter(run, tmp_path):
    run(ROWS[:3])
    path = tmp_path / "a_lab" / "table.csv"
    text = path.read_text().replace("2.3,third,0.666667", "2.30,,0.0")
    path.write_text(text)
    run(ROWS)
    assert path.read_text().startswith(text)


def test_the_lines_above_say_what_made_it(run, tmp_path):
    run(ROWS[:1])
    command, versions, *_ = (tmp_path / "a_lab" / "table.csv").read_text().splitlines()
    assert command == "# make table LAB=a_lab TABLE=table"
    assert f"numpy {np.__version__}" in versions and "ksae-lab" in versions


PLAN = """
model: {n_units: 20, k: 2}
training: {epochs: 1, batch_size: 500}
sweep:
  k: {k=2: {}, k=4: {model: {k: 4}}}
  curriculum: {fixed: {}, falling: {curriculum: {k_start: 10}, training: {epochs: 3}}}
  seed: [3, 5]
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def test_a_variant_is_named_after_its_levels(plan):
    experiments = tables.expand(plan)
    levels = [f"{k}, {falls}" for k in ("k=2", "k=4") for falls in ("fixed", "falling")]
    assert list(experiments) == [(name, seed) for name in levels for seed in (3, 5)]
    one = experiments["k=4, falling", 5]
    assert (one.model.k, one.seed, one.training.epochs) == (4, 5, 3)


def test_a_row_is_what_the_training_gives(plan):
    digits, seen = load_dataset(), []

    def extra(model, experiment, dataset):
        seen.append(experiment)
        return {"first": model.W_dec[0, 0], "images": len(dataset.x_train)}

    [job] = [
        job
        for job in tables.training_jobs(plan, extra)
        if (job.variant, job.seed) == ("k=4, fixed", 3)
    ]
    experiment = tables.expand(plan)["k=4, fixed", 3]
    row = job.measure()
    training = build(experiment, digits)
    training.fit()
    model = training.model
    for column, x in {
        "test": digits.x_test,
        "validation": digits.x_val,
        "training": digits.x_train,
    }.items():
        assert row[column] == pytest.approx(model.error(x), rel=1e-5)
    for column, x in {"active": digits.x_test, "validation_active": digits.x_val}.items():
        assert row[column] == pytest.approx(np.count_nonzero(model.encode(x)) / len(x))
    assert row["dead"] == (model.encode(digits.x_train) == 0).all(axis=0).sum()
    assert (row["first"], row["images"], seen) == (model.W_dec[0, 0], 3500, [experiment])
    assert job.settings == experiment.hash
