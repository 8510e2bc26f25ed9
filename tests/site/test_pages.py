"""The files of the built site: all pages, all links, and an API page that leads to the chapters."""

import ast
import re
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from tests.repo import CHAPTERS, LABS, PAGES, PUBLIC_MODULES, ROOT
from tests.site.built import SITE, require_site


@pytest.fixture(scope="module", autouse=True)
def site():
    require_site()


@pytest.fixture(scope="module")
def soups():
    return {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in SITE.rglob("*.html")
        if "_static" not in path.parts
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_the_toc_was_built_with_a_title(page, soups):
    assert (SITE / f"{page}.html").is_file()
    title = soups[SITE / f"{page}.html"].select_one("article h1")
    assert title is not None and title.text.strip("# \n")


def test_the_front_door_leads_to_the_first_page():
    door = (SITE / "index.html").read_text(encoding="utf-8")
    assert f"url={PAGES[0]}.html" in door


def test_no_link_is_dead(soups):
    ids = {path: {tag["id"] for tag in soup.select("[id]")} for path, soup in soups.items()}
    dead = []
    for path, soup in soups.items():
        for href in {a["href"] for a in soup.select("a[href]")}:
            link = urlsplit(href)
            if link.scheme:
                continue
            target = (path.parent / unquote(link.path)).resolve() if link.path else path
            anchor = unquote(link.fragment)
            if not target.is_file() or (anchor and anchor not in ids.get(target, {anchor})):
                dead.append(f"{path.relative_to(SITE)}: {href}")
    assert not dead, "\n".join(sorted(dead))


def public_names() -> list[str]:
    """Each public function and class of the package, as ksae_lab.module.name."""
    return [
        ".".join([*module.relative_to(ROOT).with_suffix("").parts, node.name])
        for module in PUBLIC_MODULES
        for node in ast.parse(module.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]


def test_docstrings_reach_the_page_as_they_stand(soups):
    """A first sentence with a colon was once taken apart into a type and a description."""
    text = " ".join(soups[SITE / "book" / "api" / "nn.html"].select_one("article").text.split())
    assert "All arrays, parameters and buffers: what must be kept beside the settings." in text


@pytest.mark.parametrize("name", public_names())
def test_the_page_of_its_room_links_each_function_to_its_chapter(name, soups):
    room = name.split(".")[1]
    entry = soups[SITE / "book" / "api" / f"{room}.html"].find(id=name)
    assert entry is not None, f"{name} is not on book/api/{room}.md; add its module there"

    links = {
        a.text.lower(): (SITE / "book" / "api" / a["href"]).resolve()
        for a in entry.find_next_sibling("dd").select("a.internal")
        if re.fullmatch(r"(chapter|lab) \d+", a.text, re.IGNORECASE)
    }
    assert links, f"the docstring of {name} names no chapter or lab"
    for text, target in links.items():
        kind, number = text.split()
        page = {"chapter": CHAPTERS, "lab": LABS}[kind][int(number) - 1]
        assert target == SITE / f"{page}.html"
