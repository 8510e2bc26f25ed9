"""The README's figure is the chapter's, and the chapter's only."""

import pytest

from tools import headline


def test_the_readmes_figure_is_the_one_that_the_chapter_drew():
    drawn = headline.figure(headline.NOTEBOOK, headline.FIGURE)
    assert headline.HEADLINE.read_bytes() == drawn, "run python -m tools.headline"
    readme = (headline.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"({headline.HEADLINE.relative_to(headline.ROOT)})" in readme


def test_a_figure_that_is_not_there_is_said():
    with pytest.raises(ValueError, match="has drawn no figure 'fig-nothing'"):
        headline.figure(headline.NOTEBOOK, "fig-nothing")
