"""The table of targets says what was measured, and whether it is enough."""

import json

import pytest

from ksae_lab.benchmarks import suite, targets, ways
from ksae_lab.commands.main import main
from tests.repo import ROOT

MACHINE = {"gbs_in_place": 10.0}


def rows(n=4096, k=32, batch=256, **times):
    """Rows of one size: milliseconds by way, the keys with _ for what a way's name has."""
    names = {
        "product": ways.PRODUCT,
        "engine": ways.ENGINE,
        "screened": ways.SCREENED,
        "dense": ways.DENSE,
        "autocast": ways.AUTOCAST,
        "by_hand": ways.BY_HAND,
    }
    own = {"benchmark": "speed", "n": n, "k": k, "d": 784, "batch": batch}
    return [
        own | {"way": names[key], "median_ms": ms, "update_bytes": 50_000_000}
        for key, ms in times.items()
    ]


def test_ratios_are_by_the_engines_faster_way_and_the_fastest_rival():
    (found,) = targets.verdicts(
        rows(product=10.0, engine=20.0, screened=16.0, dense=80.0, autocast=40.0, by_hand=24.0)
    )
    assert (found.engine, found.rival) == (ways.SCREENED, ways.BY_HAND)
    assert (found.dense.measured, found.named.measured) == (5.0, 2.5)
    assert (found.strongest.measured, found.product.measured) == (1.5, 1.6)
    assert (found.dense.met, found.strongest.met, found.product.met) == (True, True, True)
    assert not found.missed


@pytest.mark.parametrize(
    ("changed", "part"),
    [({"dense": 60.7}, "dense"), ({"by_hand": 23.9}, "strongest"), ({"product": 7.9}, "product")],
)
def test_a_target_that_is_just_missed_is_not_met(changed, part):
    times = {"product": 8.0, "engine": 16.0, "dense": 60.8, "autocast": 40.0, "by_hand": 24.0}
    (found,) = targets.verdicts(rows(**times))
    assert [getattr(found, each).met for each in ("dense", "strongest", "product")] == [True] * 3
    (found,) = targets.verdicts(rows(**times | changed))
    assert getattr(found, part).met is False and found.missed


def test_what_nobody_measured_is_neither_met_nor_missed():
    (found,) = targets.verdicts(rows(n=100, k=10, batch=128, engine=1.0))
    assert (found.dense.met, found.strongest.met, found.product) == (None, None, None)
    assert not found.missed and found.rival is None
    assert targets.verdicts(rows(n=100, k=10, batch=64, engine=1.0)) == []
    assert targets.verdicts(rows(dense=1.0)) == []


def test_the_table_shows_targets_numbers_and_what_forbids_more():
    result = {
        "machine": MACHINE,
        "rows": rows(n=100, k=10, batch=128, engine=1.0, dense=2.0)
        + rows(product=10.0, engine=30.0, dense=150.0, autocast=60.0),
    }
    lines = targets.markdown(result).splitlines()
    assert len(lines) == 6 and lines[0].count("|") == lines[2].count("|") == lines[3].count("|")
    assert lines[2] == (
        "| 100, 10 | 2.00 × (≥ 2 ×) | not measured (≥ 2 ×) | 2.00 × (≥ 2 ×), torch, dense | – |"
    )
    assert lines[3] == (
        "| 4,096, 32 | 5.00 × (≥ 3.8 ×) | 2.00 × (≥ 1.5 ×) "
        "| 2.00 × (≥ 1.5 ×), torch, autocast and bags | 3.00 (≤ 2, **not met**) |"
    )
    assert lines[5] == (
        "- At n = 4,096 the step takes 30.00 ms and the targets ask for 20.00 ms; the product "
        "takes 10.00 ms and the update moves 50 MB at the 10.0 GB/s of memory, in all 15.00 ms, "
        "which does not forbid it."
    )


@pytest.mark.parametrize(
    ("times", "asked", "least", "said"),
    [
        ({"engine": 30.0, "product": 14.0, "dense": 60.8}, 16, 19, "which forbids it"),
        ({"engine": 30.0, "product": 10.0, "dense": 200.0, "by_hand": 24.0}, 16, 15, "not forbid"),
        ({"screened": 30.0, "product": 10.0, "by_hand": 24.0}, 16, 5, "not forbid"),
        ({"screened": 30.0, "product": 10.0, "by_hand": 6.0}, 4, 5, "which forbids it"),
    ],
)
def test_a_roofline_forbids_what_asks_for_less_time(times, asked, least, said):
    measured = rows(**times)
    (found,) = targets.verdicts(measured)
    sentence = targets.roofline(found, measured, MACHINE)
    assert f"ask for {asked:.2f} ms" in sentence and f"in all {least:.2f} ms" in sentence
    assert said in sentence


def test_numbers_are_rounded_against_us():
    assert str(targets.Found(1.1999, 1.2)) == "1.19 × (≥ 1.2 ×, **not met**)"
    assert str(targets.Found(0.7501, 0.75, at_most=True)) == "0.76 (≤ 0.75, **not met**)"
    assert str(targets.Found(2.3, 2.3)) == "2.30 × (≥ 2.3 ×)"


def test_targets_are_those_of_the_issue():
    assert [(t.n, t.k, t.batch, t.dense, t.strongest, t.product) for t in targets.TARGETS] == [
        (100, 10, 128, 2, 2, None),
        (1000, 25, 256, 2.5, 1.2, None),
        (4096, 32, 256, 3.8, 1.5, 2),
        (16384, 32, 256, 6, 2.4, 1.25),
        (65536, 32, 256, 10, 4, 0.75),
    ]


def test_the_command_prints_the_table(tmp_path, capsys):
    result = {"machine": MACHINE, "rows": rows(product=10.0, engine=30.0)}
    (tmp_path / "out.json").write_text(json.dumps(result))
    assert main(["targets", str(tmp_path / "out.json")]) == 0
    assert capsys.readouterr().out == targets.markdown(result)


@pytest.mark.parametrize("path", sorted(ROOT.glob("experiments/benchmarks/speed.json")))
def test_readme_shows_the_table_of_the_stored_run(path):
    assert targets.markdown(suite.read(path)) in (ROOT / "README.md").read_text(encoding="utf-8")
