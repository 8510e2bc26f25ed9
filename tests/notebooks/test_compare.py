"""The comparison of outputs itself, without a kernel: what it lets pass and what it does not."""

import base64
import io

import numpy as np
import pytest
from nbformat.v4 import new_output
from PIL import Image

from tests.notebooks.compare import figure_difference, output_differences, text_difference
from tests.notebooks.tolerance import Tolerance


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        ("loss 0.1234", "loss 0.1235"),
        ("[ 0.5  0.2]", "[ 0.4  0.2]"),
        ("loss:  9.99", "loss: 10.00"),
        ("loss 9.99, 10 units", "loss 10.00, 10 units"),
        ("1.20e-03", "1.21e-03"),
        ("<td>0.50</td>", "<td>0.51</td>"),
        ("a -0.0 b", "a 0.0 b"),
        ("a **.5** b", "a **.6** b"),
    ],
)
def test_one_unit_in_the_last_digit_is_near(stored, fresh):
    assert text_difference(stored, fresh, Tolerance()) == ""
    assert text_difference(stored, fresh, None) != ""


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        ("loss 0.1234", "loss 0.1236"),
        ("12 units, 0.5", "13 units, 0.5"),
        ("shape (28, 28)", "shape (28, 29)"),
        ("28x28 0.5", "28x27 0.5"),
        ("loss 0.1", "cost 0.1"),
        ("loss 0.1", "loss 0.1 0.1"),
        ("0.1\n0.2", "0.1 0.2"),
        ("0.5", "0.5412"),
        ("0.5", "nan"),
        ("version 1.0.4", "version 1.0.5"),
        ("1.0", "1"),
        ("1e3", "2e3"),
        ("12e5", "13e5"),
        ("[ 5. 10.]", "[ 6. 10.]"),
        ("[ 0.0  0.2]", "[-0.1  0.2]"),
    ],
)
def test_more_than_that_is_not_near(stored, fresh):
    assert text_difference(stored, fresh, Tolerance()) != ""


def test_a_relative_tolerance_is_each_float_s_own():
    twentieth = Tolerance.from_tags(["nbval-rtol:5e-2"])
    assert text_difference("0.85 of 10, 99.8%", "0.89 of 10, 95.0%", twentieth) == ""
    for fresh in ("0.90 of 10, 99.8%", "0.85 of 11, 99.8%", "0.85 of 10, 94.7%"):
        assert text_difference("0.85 of 10, 99.8%", fresh, twentieth) != ""
    assert text_difference("0.4", "0.5", twentieth) == ""


def test_units_are_those_of_each_last_digit():
    three = Tolerance.from_tags(["nbval-near:3", "nbval-rtol:5e-2"])
    assert text_difference("3.7, 0.2500, 12.00", "3.4, 0.2503, 11.40", three) == ""
    for fresh in ("3.3, 0.2500, 12.00", "3.7, 0.2370, 12.00", "3.7, 0.2500, 11.39"):
        assert text_difference("3.7, 0.2500, 12.00", fresh, three) != ""


@pytest.mark.parametrize(
    ("stored", "fresh"), [("0.3", "0.4"), ("0.00", "0.01"), ("-0.0002", "-0.0001"), ("0.8", "1.1")]
)
def test_no_number_moves_by_more_than_a_quarter_of_itself(stored, fresh):
    for tags in (["nbval-near:9"], ["nbval-rtol:0.25"]):
        assert text_difference(stored, fresh, Tolerance.from_tags(tags)) != ""
    assert text_difference("0.8", "1.0", Tolerance.from_tags(["nbval-near:9"])) == ""


@pytest.mark.parametrize(
    "tag",
    [
        "nbval-nearly",
        "nbval-near:",
        "nbval-near:.5",
        "nbval-atol:2",
        "nbval-rtol",
        "nbval-rtol:0.3",
    ],
)
def test_a_tag_that_is_not_known_or_too_wide_is_refused(tag):
    with pytest.raises(ValueError, match=tag):
        Tolerance.from_tags(["hide-input", tag])
    assert Tolerance.from_tags(["hide-input"]) is None


def test_of_several_outputs_each_is_compared_and_so_is_the_name_of_a_glued_one():
    def outputs(*values, name="loss"):
        glued = {"scrapbook": {"name": name}}
        return [
            new_output("display_data", data={"text/plain": value}, metadata=glued)
            for value in values
        ]

    def differences(fresh):
        return output_differences(outputs("0.1", "0.2"), fresh, None, sanitize=str)

    assert differences(outputs("0.1", "0.2")) == []
    for fresh in (outputs("0.1", "0.3"), outputs("0.1"), outputs("0.1", "0.2", name="error")):
        assert differences(fresh) != []


def picture(pixels: np.ndarray) -> str:
    """Encode grey levels or RGBA in [0, 1], shape (height, width[, 4]), as base64 PNG."""
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.round(255 * pixels))).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


def page_with_line(row: float) -> np.ndarray:
    """A white page with a black line one pixel thick, drawn with antialiasing at any height."""
    page = np.ones((480, 640))
    upper, share = int(row), row % 1
    page[upper, 20:620], page[upper + 1, 20:620] = share, 1 - share
    return page


def test_jitter_of_antialiasing_passes_and_a_moved_line_fails():
    line = picture(page_with_line(100))
    assert figure_difference(line, picture(page_with_line(100.2))) == ""
    assert "figure changed" in figure_difference(line, picture(page_with_line(101)))


def test_one_small_bar_is_enough_to_fail():
    with_bar = page_with_line(100)
    with_bar[90:100, 48:58] = 0.4
    assert "worst block" in figure_difference(picture(page_with_line(100)), picture(with_bar))


def test_a_faint_change_of_the_whole_picture_fails():
    assert "figure changed" in figure_difference(
        picture(np.full((64, 64), 0.5)), picture(np.full((64, 64), 0.55))
    )


@pytest.mark.parametrize("ink", [0.0, 1.0])
def test_ink_on_a_transparent_page_is_seen_whatever_its_colour(ink):
    """Black ink shows only on white and white ink only on black."""
    empty = np.zeros((64, 64, 4))
    drawn = empty.copy()
    drawn[20:40, 20:24] = [ink, ink, ink, 1]
    assert "figure changed" in figure_difference(picture(empty), picture(drawn))
    hidden = empty.copy()
    hidden[..., :3] = ink
    assert figure_difference(picture(empty), picture(hidden)) == ""


def test_another_size_fails():
    assert "64 x 32" in figure_difference(picture(np.ones((32, 64))), picture(np.ones((32, 65))))


def test_what_a_clock_says_may_be_any_number_but_words_and_sizes_may_not_change():
    timing = Tolerance(timing=True)
    assert text_difference("plain 12.5 ms, 80%", "plain 103.1 ms, 7%", timing) == ""
    for stored, fresh in [("0.5 ms", "0.5 s"), ("0.5 and 7", "0.5"), ("0.5", "nan")]:
        assert text_difference(stored, fresh, timing) != ""
    white, black, smaller = (
        picture(np.full(shape, ink)) for shape, ink in (((9, 9), 1), ((9, 9), 0), ((9, 8), 1))
    )
    assert figure_difference(white, black, timing) == ""
    assert "became one of" in figure_difference(white, smaller, timing)
    for strict in (None, Tolerance()):
        assert figure_difference(white, black, strict) != ""
