"""What the benchmarks measure with, against closed forms: counts, turns, laws, the machine."""

import subprocess

import numpy as np
import pytest
import threadpoolctl

from ksae_lab import SGD, Adam, KSparseAutoencoder
from ksae_lab.benchmarks import counting, laws, machine, timing, ways
from ksae_lab.engine import byte_product


class Counted(float):
    """A number that counts what is done with it."""

    done = 0

    def __mul__(self, other):
        Counted.done += 1
        return Counted(float(self) * float(other))

    def __add__(self, other):
        Counted.done += 1
        return Counted(float(self) + float(other))


def multiplied(rows, inner, columns):
    """The operations of a product into sums that begin at zero, counted one by one."""
    Counted.done = 0
    left, right = np.ones((rows, inner)), np.ones((inner, columns))
    for i in range(rows):
        for j in range(columns):
            total = Counted(0)
            for p in range(inner):
                total = total + Counted(left[i, p]) * right[p, j]
    return Counted.done


def test_operations_are_those_that_are_done():
    batch, n, k, d = 3, 7, 2, 5
    assert counting.product_operations(batch, d, n) == multiplied(batch, d, n)
    # x W_enc, z W_dec, e W_decᵀ, zᵀ e, dhᵀ x
    shapes = ((batch, d, n), (batch, n, d), (batch, d, n), (n, batch, d), (n, batch, d))
    dense = sum(multiplied(*shape) for shape in shapes)
    assert counting.dense_step_operations(batch, n, d) == dense
    # Of the last four k rows or columns are left for each image.
    sparse = multiplied(batch, d, n) + 4 * sum(multiplied(1, d, k) for _ in range(batch))
    assert counting.sparse_step_operations(batch, n, k, d) == sparse


@pytest.mark.parametrize(("rule", "slots"), [(SGD(0.1), 1), (Adam(), 2)])
def test_bytes_are_those_of_model_and_optimizer(rule, slots):
    model = KSparseAutoencoder(12, 20, 3, rng=0)
    model.fit(np.random.default_rng(0).random((9, 12)), optimizer=rule, epochs=1, quiet=True)
    held = sum(a.nbytes for a in (*model.parameters.values(), *rule.memory.values()))
    assert counting.held_bytes(20, 12, slots) == held
    # Matrices alone, each byte read and written.
    biases = (1 + slots) * (model.b_enc.nbytes + model.b_dec.nbytes)
    assert counting.update_bytes(20, 12, slots) == 2 * (held - biases)


def test_every_way_is_given_every_batch_and_who_begins_goes_round():
    seen = []
    doing = {way: lambda x, way=way: seen.append((way, int(x[0]))) for way in "abc"}
    batches = [np.array([i]) for i in range(timing.WARM + 4)]
    seconds = timing.take_turns(doing, batches, "turns")
    assert {way: len(each) for way, each in seconds.items()} == dict.fromkeys("abc", 4)
    assert seen[:9] == [("a", 0), ("b", 0), ("c", 0)] + [("b", 1), ("c", 1), ("a", 1)] + [
        ("c", 2),
        ("a", 2),
        ("b", 2),
    ]
    assert sorted(seen) == [(way, i) for way in "abc" for i in range(len(batches))]
    with pytest.raises(ValueError, match="There are 3 batches; give more than 3"):
        timing.take_turns(doing, batches[:3], "turns")


def test_a_way_is_charged_its_own_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing, "perf_counter", lambda: clock[0])

    def taking(seconds):
        def do(x):
            clock[0] += seconds

        return do

    found = timing.take_turns({"a": taking(1.0), "b": taking(3.0)}, [np.empty(0)] * 5, "clock")
    np.testing.assert_array_equal(found["a"], [1, 1])
    np.testing.assert_array_equal(found["b"], [3, 3])


def test_a_summary_is_in_milliseconds():
    told = timing.summary(np.array([0.005, 0.001, 0.002, 0.004, 0.003]))
    assert told == pytest.approx({"median_ms": 3, "q25_ms": 2, "q75_ms": 4, "steps": 5})


# Laws


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 1.7])
def test_a_law_is_found_again(exponent):
    sizes = [100, 200, 400, 1600]
    law = laws.fit(sizes, [3e-3 * size**exponent for size in sizes])
    assert law.exponent == pytest.approx(exponent) and law.breaks == []
    assert law.low == pytest.approx(law.high) and law.local == pytest.approx([exponent] * 3)


def test_the_interval_holds_the_exponent_as_often_as_it_says():
    rng = np.random.default_rng(0)
    sizes = np.array([1, 2, 4, 8, 16, 32])
    held = 0
    for _ in range(400):
        law = laws.fit(sizes, sizes**1.2 * np.exp(0.1 * rng.normal(size=6)))
        held += law.low <= 1.2 <= law.high
    assert 0.92 < held / 400 < 0.98


def test_where_a_law_breaks_is_said():
    sizes = [1, 2, 4, 8, 16, 32, 64]
    law = laws.fit(sizes, [size if size <= 32 else 64 * 4 for size in sizes])
    assert law.breaks == [[32, 64]] and law.told()["local"][-1] == pytest.approx(3)


@pytest.mark.parametrize(
    ("sizes", "times", "said"),
    [
        ([1, 2], [1, 2], "There are 2 sizes and 2 times; give 3 of each"),
        ([1, 2, 3], [1, 2], "There are 3 sizes and 2 times"),
        ([1, 2, 3], [1, 2, 0], "is not above 0"),
    ],
)
def test_a_law_needs_three_positive_points(sizes, times, said):
    with pytest.raises(ValueError, match=said):
        laws.fit(sizes, times)


# The machine


@pytest.fixture
def small(monkeypatch):
    """Speeds are measured of less than they should be: a matter of milliseconds."""
    monkeypatch.setattr(machine, "SHAPE", (8, 16, 32))
    monkeypatch.setattr(machine, "MOVED", 2**16)


def test_the_card_says_what_the_machine_is(small, monkeypatch):
    monkeypatch.setattr(machine, "PEERS", ("numpy", "no-such-package"))
    with threadpoolctl.threadpool_limits(1):
        card = machine.card()
    assert card["processor"] and card["gflops_float32_product"] > 0 and card["gbs_in_place"] > 0
    assert card["peers"] == {"numpy": np.__version__, "no-such-package": "absent"}
    assert card["blas"] and {pool["threads"] for pool in card["blas"]} == {1}
    assert card["instruction_sets"] == "unknown" or set(card["instruction_sets"]) == set(
        machine.SETS
    )
    git = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, cwd=machine.__file__[:-10])
    assert card["commit"].removesuffix("-dirty") == head.stdout.strip()


def test_speeds_are_operations_and_bytes_by_the_clock(small, monkeypatch):
    monkeypatch.setattr(machine, "_median", lambda do: do(None) or 1e-3)
    product = np.matmul
    monkeypatch.setattr(machine.np, "matmul", lambda *a, out: product(*a, out=out) is None)
    assert machine.measured_gflops() == pytest.approx(2 * 8 * 16 * 32 / 1e-3 / 1e9)
    assert machine.measured_gbs() == pytest.approx(2 * 2**16 / 1e-3 / 1e9)


def test_a_product_that_leaves_terms_out_is_seen(small, monkeypatch):
    product = np.matmul

    def lazy(a, b, out):
        product(a[:, :-1], b[:-1], out=out)

    monkeypatch.setattr(machine.np, "matmul", lazy)
    with pytest.raises(FloatingPointError, match="do not trust this BLAS"):
        machine.measured_gflops()


# The ways


def test_digits_of_other_sizes_keep_pixels_whole():
    x = ways.digits()
    for d in (98, 1568):
        found = ways.digits(d)
        assert found.shape == (len(x), d) and found.flags.c_contiguous
    np.testing.assert_allclose(ways.digits(1568).sum(axis=1), 2 * x.sum(axis=1), rtol=1e-5)


def test_all_ways_start_at_one_point_with_optimizers_of_their_own():
    x = ways.digits()
    model, adam = ways.network(20, 3, x), Adam()
    taken = ways.steps(model, adam, ["plain", "plain"][:1]) | ways.steps(model, adam, ["engine"])
    taken["plain"]((x[:9],))
    np.testing.assert_array_equal(taken["engine"].model.W_dec, model.W_dec)
    assert (taken["plain"].model.W_dec != model.W_dec).any() and adam.steps == 0


def test_peers_take_part_where_they_are(monkeypatch):
    names = ["plain", "torch, dense"]
    monkeypatch.setattr(ways, "find_spec", lambda name: None)
    assert ways.at_hand(names) == ["plain"]
    monkeypatch.setattr(ways, "find_spec", lambda name: name == "torch")
    assert ways.at_hand(names) == names


@pytest.mark.parametrize("there", [True, False])
def test_screening_takes_part_where_the_processor_multiplies_bytes(monkeypatch, there):
    monkeypatch.setattr(byte_product, "available", lambda: there)
    names = [ways.PLAIN, ways.SCREENED]
    assert ways.at_hand(names) == names[: 1 + there]
    monkeypatch.setattr(ways, "find_spec", lambda name: None)
    assert ways.at_hand(names) == [ways.PLAIN]


@pytest.mark.parametrize("way", [ways.DENSE, ways.AUTOCAST, ways.BY_HAND])
def test_the_rivals_learn_what_the_plain_step_learns(way):
    pytest.importorskip("torch", reason="PyTorch is a peer, and no dependency")
    x = ways.digits()
    model, adam = ways.settled(60, 40, x, 64, 20)
    adam.epsilon = 1e-14  # PyTorch adds it elsewhere
    taken = ways.steps(model, adam, ["plain", way])
    exact = way == ways.DENSE
    for batch in ways.batches(x, 64, 8):
        plain, rival = (step((batch,))[0] for step in taken.values())
        assert rival == pytest.approx(plain, rel=1e-5 if exact else 0.02)
    for step in taken.values():
        step.flush()
    ours, theirs = (step.model for step in taken.values())
    for name, w in ours.parameters.items():
        moved = np.linalg.norm(w - model.parameters[name])
        assert np.linalg.norm(theirs.parameters[name] - w) < (1e-4 if exact else 0.02) * moved
