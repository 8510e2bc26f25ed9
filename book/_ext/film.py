"""The directive ``{film}`` lets the frames of a figure play, one after the other.

A figure of equal frames, in rows from left to right, is a film strip: on paper, in a notebook and
without JavaScript it stays one. On the site its page gets a viewer that shows a single frame, cut
from the very same picture, with a slider and a button to play and stop. Nothing moves unasked.

    ```{film} fig-waking 3 4
    What the frames show, for who hears the page.
    ```
"""

from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Film(SphinxDirective):
    required_arguments = 3  # the figure's name on this page, its columns, its rows
    has_content = True

    def run(self) -> list[nodes.Node]:
        figure, columns, rows = self.arguments
        label = escape(" ".join(self.content), quote=True)
        up = "../" * self.env.docname.count("/")
        html = (
            f'<div class="film" data-figure="{figure}" data-columns="{int(columns)}" '
            f'data-rows="{int(rows)}" data-label="{label}"></div>'
            f'<script defer src="{up}_static/film.js"></script>'
        )
        return [nodes.raw("", html, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("film", Film)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
