"""The role ``{given}`` marks a number that this book did not measure.

What was measured is glued from a run. What was chosen (a learning rate) or published by others
is typed, and a reader should be able to tell which is which; so should the lint.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole
from sphinx.writers.html5 import HTML5Translator

TOOLTIP = "a constant, not measured here"


class Given(nodes.inline):
    """A constant in a page."""


class GivenRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [Given(self.rawtext, self.text)], []


def visit_given(translator: HTML5Translator, node: Given) -> None:
    translator.body.append(translator.starttag(node, "span", "", CLASS="given", title=TOOLTIP))


def depart_given(translator: HTML5Translator, node: Given) -> None:
    translator.body.append("</span>")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(Given, html=(visit_given, depart_given))
    app.add_role("given", GivenRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
