"""Encoders side by side: they find the same units, and what is told of them is what they took."""

import numpy as np
import pytest

from ksae_lab import pursuit
from ksae_lab.benchmarks import encoders, inference, ways


@pytest.fixture(scope="module")
def network():
    model, _ = ways.settled(40, 4, ways.digits(), 64, 20)
    return model, ways.digits(part="test")[:20]


@pytest.fixture
def alone(monkeypatch):
    """As if neither Keras nor onnxruntime were installed."""
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)


@pytest.mark.usefixtures("alone")
def test_all_ways_of_this_package_find_the_models_units(network):
    model, x = network
    own = model.encode(x)
    found = encoders.encoders(model)
    assert len(found) == 5
    for name, way in found.items():
        told = inference.judged(model, own, way, x)
        assert told["active"] == 4 and told["error"] == pytest.approx(model.error(x), rel=1e-3)
        assert told["same_units"] == (pytest.approx(1, abs=0.05) if name == encoders.INT8 else 1)


@pytest.mark.slow
def test_so_do_keras_and_onnxruntime(network, keras):
    model, x = network
    found = encoders.encoders(model)
    for name in (encoders.KERAS, encoders.ONNX, encoders.ONNX_INT8):
        near = {"atol": 0.15 if name == encoders.ONNX_INT8 else 1e-5}
        np.testing.assert_allclose(
            encoders.dense(found[name](x)).sum(axis=1),
            model.encode(x).sum(axis=1),
            rtol=0.05,
            **near,
        )


def test_searches_draw_better_with_as_many_units(network):
    model, x = network
    own = model.encode(x)
    found = encoders.searches(model, x)
    told = {name: inference.judged(model, own, way, x) for name, way in found.items()}
    assert len(told) == 4
    omp, coder = told[encoders.OMP], told[encoders.CODER.format("omp")]
    assert omp["active"] == 4 and omp["error"] < model.error(x)
    assert coder["error"] == pytest.approx(omp["error"], rel=1e-4)
    centred = x - model.b_dec
    codes = next(pursuit(centred, model.W_dec, 4, start=own))
    assert omp["error"] == pytest.approx(np.mean((codes @ model.W_dec - centred) ** 2), rel=0.2)
    for algorithm in ("lasso_lars", "threshold"):
        assert 2 < told[encoders.CODER.format(algorithm)]["active"] <= 4.001


def test_without_room_for_a_gram_matrix_omp_is_given_the_dictionary(network, monkeypatch):
    model, x = network
    expected = encoders.searches(model, x)[encoders.OMP](x)
    monkeypatch.setattr(encoders, "LARGEST_GRAM", 39)
    found = encoders.searches(model, x)
    assert list(found) == [encoders.OMP]
    np.testing.assert_allclose(found[encoders.OMP](x), expected, atol=1e-3)


def test_what_is_told_of_times_is_in_milliseconds_and_codes_a_second():
    told = inference.told(np.linspace(0.001, 0.003, 101), 64)
    assert told["median_ms"] == pytest.approx(2) and told["p99_ms"] == pytest.approx(2.98)
    assert told["codes_per_second"] == pytest.approx(32_000)
    assert inference.told(np.array([0.001] * 99), 1)["p99_ms"] is None


@pytest.mark.usefixtures("alone")
def test_a_quick_run_has_a_row_for_every_way_and_batch(monkeypatch):
    monkeypatch.setattr(inference, "QUICK_SIZES", ((30, 3),))
    rows = list(inference.rows(quick=True))
    named = {(row["batch"], row["way"]) for row in rows}
    assert len(named) == len(rows) == 2 * (1 + 5 + 4)
    for row in rows:
        first = row["way"] == ways.PRODUCT
        assert (row["ratio_to_product"] == 1) == first and first == ("error" not in row)
        assert row["codes_per_second"] == pytest.approx(1e3 * row["batch"] / row["median_ms"])
    omp = next(row for row in rows if row["way"] == encoders.OMP)
    assert omp["steps"] == inference.QUICK_SEARCHES
