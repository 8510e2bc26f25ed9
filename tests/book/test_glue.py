"""What one notebook quotes of another."""

import json

import pytest

from ksae_lab.book.glue import glued


@pytest.fixture
def notebook(tmp_path):
    def output(name, text):
        return {
            "data": {"application/papermill.record/text/plain": text},
            "metadata": {"scrapbook": {"name": name}},
        }

    cells = [
        {"source": "prose"},
        {"outputs": [{"text": "0.5"}, output("few", "'0.0242'")]},
        {"outputs": [output("many", ["'12,345'"]), output("word", "'black'")]},
    ]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return path


def test_a_number_is_what_was_glued(notebook):
    assert glued(notebook, "few") == 0.0242
    assert glued(str(notebook), "many") == 12345


def test_what_is_no_number_or_not_there_is_an_error(notebook):
    with pytest.raises(ValueError, match="has glued no number 'fewer'; run it, or fix"):
        glued(notebook, "fewer")
    with pytest.raises(ValueError, match="could not convert"):
        glued(notebook, "word")
    with pytest.raises(FileNotFoundError):
        glued(notebook.with_name("b.ipynb"), "few")
