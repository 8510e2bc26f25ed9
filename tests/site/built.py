"""Where the built site lies."""

import pytest

from tests.repo import ROOT

SITE = ROOT / "_build" / "html"


def require_site() -> None:
    """Fail with the remedy if nobody has built the book."""
    if not (SITE / "index.html").exists():
        pytest.fail("There is no built site to test. Run `make book` first.", pytrace=False)
