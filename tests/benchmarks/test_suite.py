"""The benchmarks as a command: what is refused before the work, what a row has, what is kept."""

import json
import os

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ksae_lab.benchmarks import (
    convergence,
    machine,
    memory,
    plots,
    quality,
    scale,
    speed,
    suite,
    ways,
)
from ksae_lab.commands.main import main
from ksae_lab.engine import byte_product

CARD = {
    "processor": "P",
    "cores": 2,
    "gflops_float32_product": 30.0,
    "gbs_in_place": 8.0,
    "peers": {name: machine.ABSENT for name in machine.PEERS},
}


def row(benchmark="speed", way="plain", **more):
    sizes = {"n": 100, "k": 10, "d": 784, "batch": 128}
    own = {"benchmark": benchmark, **sizes, "way": way, "median_ms": 2.0, "ratio_to_product": 4.0}
    return own | more


@pytest.fixture
def made_up(monkeypatch):
    """Benchmarks whose rows are made up; the list says which have been asked for."""
    asked = []

    def rows(name):
        def made(quick):
            asked.append((name, quick))
            yield row(name)
            yield row(name, "engine")

        return made

    for name, module in (("speed", speed), ("quality", quality)):
        monkeypatch.setattr(module, "rows", rows(name))
    monkeypatch.setattr(machine, "card", lambda: dict(CARD))
    return asked


def test_rows_and_machine_go_to_the_file_as_they_come(made_up, tmp_path, capsys):
    path = tmp_path / "new" / "out.json"
    assert main(["benchmark", "quality", "speed", "--quick", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert made_up == [("quality", True), ("speed", True)]
    assert [r["benchmark"] for r in result["rows"]] == ["quality"] * 2 + ["speed"] * 2
    assert result["machine"] == CARD | {"quick": True, "finished": ["quality", "speed"]}
    assert result == suite.read(path)
    out = capsys.readouterr().out
    assert "torch absent" in out and f"Written: {path}" in out
    assert out.index("\nquality\n") < out.index("\nspeed\n")


def test_what_was_measured_before_ctrl_c_is_kept(made_up, monkeypatch, tmp_path, capsys):
    def stopped(quick):
        yield row()
        raise KeyboardInterrupt

    monkeypatch.setattr(speed, "rows", stopped)
    path = tmp_path / "out.json"
    assert main(["benchmark", "quality", "speed", "--json", str(path)]) == 130
    assert capsys.readouterr().err == f"Stopped; {path} holds what was measured.\n"
    result = suite.read(path)
    assert len(result["rows"]) == 3 and result["machine"]["finished"] == ["quality"]


BAD = {
    "benchmark sped": "There is no benchmark 'sped'; choose from speed, scale, quality, memory",
    "benchmark speed --json there.json": "there.json is there already; choose another name, or say",
    "benchmark speed --json out.txt": "out.txt ends in none of .json",
    "benchmark speed --json ''": "The name of the file is empty",
    "benchmark speed --plots there.json": "there.json is a file; give a folder",
    "benchmark speed --plots drawn": "speed.png is there already",
    "targets nothing.json": "There is no file nothing.json",
    "targets there.json": "there.json holds no machine and rows",
    "targets quick.json": "No row is of the sizes of the targets",
}


@pytest.mark.parametrize("command", BAD)
def test_what_cannot_be_done_is_refused_before_the_work(
    command, made_up, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("mine")
    (tmp_path / "quick.json").write_text(json.dumps({"machine": CARD, "rows": []}))
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "speed.png").write_text("mine")
    words = [word.strip("'") for word in command.split()]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert BAD[command] in err and err.count("\n") == 1 and (out, made_up) == ("", [])
    assert (tmp_path / "there.json").read_text() == "mine"


def test_force_replaces_what_is_there(made_up, tmp_path):
    path = tmp_path / "out.json"
    path.write_text("mine")
    assert main(["benchmark", "speed", "--json", str(path), "--force"]) == 0
    assert len(suite.read(path)["rows"]) == 2


def test_a_row_without_its_fields_is_an_error(made_up, monkeypatch):
    monkeypatch.setattr(speed, "rows", lambda quick: iter([{"benchmark": "speed", "n": 1}]))
    with pytest.raises(ValueError, match="A row of speed lacks k, d, batch, way, median_ms"):
        suite.run(["speed"], True, lambda result: None)


def test_without_a_name_all_are_run_once_and_every_name_has_a_module_and_a_picture():
    everyone = ["speed", "scale", "quality", "memory", "convergence", "inference"]
    assert suite.chosen([]) == everyone == list(plots.PLOTS)
    assert suite.chosen(["memory", "speed", "memory"]) == ["memory", "speed"]


def test_codes_are_drawn_by_way_batch_and_size():
    ways_of_coding, batches, sizes = ("NumPy", "int8"), (1, 256), (60, 90)
    rows = [
        row("inference", way, batch=batch, n=n, median_ms=n * batch + i)
        for i, way in enumerate(ways_of_coding)
        for batch in batches
        for n in sizes
    ]
    axes = plots.draw("inference", rows).axes
    assert [ax.get_title() for ax in axes] == ["Codes of 1 at a time", "Codes of 256 at a time"]
    lines = [[list(line.get_xdata()) for line in ax.lines] for ax in axes]
    assert lines == [[[60, 61], [90, 91]], [[15360, 15361], [23040, 23041]]]


def test_the_table_shows_what_there_is():
    rows = [row(touched=0.25, loss=None), row(way="engine", median_ms=None, touched=[2, None])]
    lines = suite.table("speed", rows).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "n k d batch way median_ms ratio_to_product touched",
        "100 10 784 128 plain 2 4 0.25",
        "100 10 784 128 engine 4 2 –",
    ]
    assert len(set(map(len, lines))) == 1


# The benchmarks themselves, as small as they can be


@pytest.mark.slow
def test_a_quick_run_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "QUICK_SIZES", ((100, 10, 32),))
    monkeypatch.setattr(machine, "MOVED", 2**20)
    path, folder = tmp_path / "out.json", tmp_path / "plots"
    words = ["--quick", "--json", str(path), "--plots", str(folder)]
    assert main(["benchmark", "speed", *words]) == 0
    rows = suite.read(path)["rows"]
    assert [r["way"] for r in rows] == [ways.PRODUCT, *ways.at_hand()]
    product = rows[0]["median_ms"]
    for r in rows:
        assert r["ratio_to_product"] == pytest.approx(r["median_ms"] / product)
        assert r["q25_ms"] <= r["median_ms"] <= r["q75_ms"] and r["steps"] == speed.QUICK_STEPS
    losses = [r["loss"] for r in rows[1:]]
    assert losses == pytest.approx([losses[0]] * len(losses), rel=0.02)  # they learn the same
    assert (folder / "speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_quality_is_paired_by_seed(monkeypatch):
    monkeypatch.setattr(quality, "QUICK_SIZES", ((40, 4),))
    monkeypatch.setattr(quality, "QUICK_EPOCHS", 1)
    *trained, told = quality.rows(quick=True)
    assert [(r["seed"], r["way"]) for r in trained] == [
        (seed, way) for seed in (0, 1) for way in ("plain", "engine")
    ]
    assert trained[0]["test_error"] != trained[2]["test_error"]
    for plain, engine in (trained[:2], trained[2:]):
        # One start and the same batches: far nearer to each other than seeds are.
        assert engine["train_error"] == pytest.approx(plain["train_error"], rel=0.02)
    assert abs(told["test_percent"]) < 2 and told["seeds"] == 2
    figure = plots.draw("quality", [*trained, told])
    assert len(figure.axes[0].containers) == 2


@pytest.mark.slow
def test_of_one_seed_the_start_and_the_batches_are_the_same(monkeypatch):
    seeds, network = [], ways.network

    def noted(n, k, x, seed):
        seeds.append(seed)
        return network(n, k, x, seed)

    monkeypatch.setattr(ways, "network", noted)
    monkeypatch.setattr(quality, "ENGINES", {"plain": "plain", "engine": "plain"})
    monkeypatch.setattr(quality, "QUICK_SIZES", ((20, 2),))
    monkeypatch.setattr(quality, "QUICK_EPOCHS", 1)
    *trained, told = quality.rows(quick=True)
    assert seeds == [0, 0, 1, 1]
    assert trained[0]["train_error"] != trained[2]["train_error"]
    assert told["train_percent"] == told["test_percent"] == 0


def test_differences_are_in_percent_of_the_plain_error_with_students_interval():
    rows = [
        row("quality", way, seed=seed, train_error=error, test_error=2 * error)
        for seed, errors in enumerate(((0.01, 0.0101), (0.02, 0.0206)))
        for way, error in zip(("plain", "engine"), errors, strict=True)
    ]
    told = quality.differences(rows)
    assert told["train_percent"] == pytest.approx(2) == told["test_percent"]
    # Of 1 and 3 the standard error is 1, and with one degree of freedom t is 12.7062.
    assert told["train_high"] - told["train_percent"] == pytest.approx(12.7062, rel=1e-5)


def test_the_clock_of_a_curve_stands_while_errors_are_measured(monkeypatch):
    clock = [0.0]

    class Step:
        """Takes a second, and half of one to flush; to measure its error takes an hour."""

        def __init__(self, model, adam):
            self.model, self.left = self, 1.0

        def __call__(self, batch):
            clock[0] += 1
            self.left *= 0.99

        def flush(self):
            clock[0] += 0.5

        def error(self, x):
            clock[0] += 3600
            return self.left

    monkeypatch.setattr(convergence, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(convergence, "COMPARED", ("plain",))
    monkeypatch.setitem(ways.MAKERS, "plain", Step)
    (curve,) = convergence.curves(10, 2, 0, 2).values()
    steps = -(-len(ways.digits()) // convergence.BATCH)
    assert [seconds for seconds, _ in curve] == [0, steps + 0.5, 2 * steps + 1]
    assert [error for _, error in curve[1:]] == pytest.approx([0.99**steps, 0.99 ** (2 * steps)])


@pytest.mark.slow
def test_time_to_quality_shows_how_all_ways_learn(monkeypatch):
    monkeypatch.setattr(convergence, "QUICK_SIZES", ((40, 4),))
    rows = list(convergence.rows(quick=True))
    assert [r["way"] for r in rows] == ways.at_hand(convergence.COMPARED)
    for r in rows:
        seconds, errors = zip(*r["curve"], strict=True)
        assert len(seconds) == 1 + convergence.QUICK_EPOCHS and list(seconds) == sorted(seconds)
        assert errors[0] == rows[0]["curve"][0][1] and errors[-1] < errors[0]
    assert rows[0]["times_as_fast"] == [1, 1, 1]
    assert rows[0]["levels"] == pytest.approx([rows[0]["error"] * f for f in convergence.LEVELS])
    figure = plots.draw("convergence", rows)
    assert len(figure.axes[0].lines) == len(rows) and not plt.get_fignums()


def test_a_level_is_reached_at_the_first_end_of_an_epoch_at_or_below_it():
    curve = [(0.0, 0.5), (1.0, 0.3), (2.0, 0.2), (3.0, 0.25)]
    assert convergence.reached(curve, 0.2) == 2.0 and convergence.reached(curve, 0.45) == 1.0
    assert convergence.reached(curve, 0.1) is None


@pytest.mark.slow
def test_scale_varies_one_size_at_a_time(monkeypatch):
    monkeypatch.setattr(scale, "QUICK_SIZES", {"d": (10, 20, 800), "images": (40, 80, 160)})
    rows = list(scale.rows(quick=True))
    by_d = [r for r in rows if r["varies"] == "d" and "exponent" not in r]
    assert [r["d"] for r in by_d] == [10] * 3 + [20] * 3 + [800] * 3
    assert {(r["n"], r["k"], r["batch"]) for r in by_d} == {(256, 8, 32)}
    told = [r for r in rows if "exponent" in r]
    assert [(r["varies"], r["way"], r["d"]) for r in told] == [
        ("d", "plain", None),
        ("d", "engine", None),
        ("d", "product", None),
        ("images", "plain", 98),
        ("images", "engine", 98),
    ]
    assert len(plots.draw("scale", rows).axes) == 2


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own():
    n, k, d, batch = 512, 8, 784, memory.BATCH
    r = memory.elsewhere(n, k, "plain")
    assert r["held_bytes"] == 3 * 4 * (2 * n * d + n + d)
    assert r["kept_bytes"] < 100_000
    # Code, mask and gradient (batch, n), and the gradients of two matrices (n, d), at once.
    assert r["working_bytes"] > r["batch_n_bytes"] + 2 * 4 * n * d
    assert r["batch_n_bytes"] == 4 * batch * n and r["batch_k_bytes"] == 4 * batch * k
    if os.path.exists("/proc/self/clear_refs"):
        assert r["process_bytes"] == pytest.approx(r["working_bytes"], rel=0.25)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="only Linux says it")
def test_an_earlier_peak_of_the_process_is_forgotten():
    size = 2**27
    np.ones(size, np.uint8)
    before = memory._process("VmRSS", forget_peak=True)
    assert memory._process("VmHWM") - before < size / 4
    np.ones(size, np.uint8)
    assert memory._process("VmHWM") - before > size * 3 / 4


def test_the_law_of_memory_is_that_of_what_was_measured(monkeypatch):
    def made_up(n, k, way):
        grows = 12 * n if way == "plain" else 5000
        sizes = {"working_bytes": grows, "batch_n_bytes": 4 * n, "batch_k_bytes": 4 * k}
        return row("memory", way, **{"n": n, "k": k, **sizes})

    monkeypatch.setattr(memory, "elsewhere", made_up)
    monkeypatch.setattr(byte_product, "available", lambda: True)
    rows = list(memory.rows(quick=True))
    told = {r["way"]: r["exponent"] for r in rows if r["n"] is None}
    assert told == pytest.approx({"plain": 1, "engine": 0, "engine, screened": 0}, abs=1e-9)
    assert len(plots.draw("memory", rows).axes[0].lines) == 5


@pytest.mark.slow
def test_a_process_that_fails_is_told():
    with pytest.raises(OSError, match="measures nobody at n = 64 has failed: KeyError"):
        memory.elsewhere(64, 4, "nobody")
