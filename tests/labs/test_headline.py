"""The README's figures are the chapters', and the chapters' only."""

import pytest

from tools import headline


@pytest.mark.parametrize("picture", headline.FIGURES, ids=lambda picture: picture.stem)
def test_the_readmes_figure_is_the_one_that_the_chapter_drew(picture):
    drawn = headline.figure(*headline.FIGURES[picture])
    assert picture.read_bytes() == drawn, "run python -m tools.headline"
    readme = (headline.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"({picture.relative_to(headline.ROOT)})" in readme


def test_a_figure_that_is_not_there_is_said():
    notebook, _ = next(iter(headline.FIGURES.values()))
    with pytest.raises(ValueError, match="has drawn no figure 'fig-nothing'"):
        headline.figure(notebook, "fig-nothing")
