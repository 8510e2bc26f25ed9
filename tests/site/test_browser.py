"""Every page of the built site in Chromium: on a phone and a desktop, light and dark."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.repo import CHAPTERS, PAGES
from tests.site.built import SITE, require_site

BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
# No sandbox, because containers run as root; and no browser business of its own over the network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 900}}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="The browser tests need Chromium: apt-get install chromium, or let .ci/run do it.",
)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    require_site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=SIZES)
def page(request, browser, address):
    """One tab for all pages, and whatever it complains about; a new tab costs as much as a page."""
    with browser.new_context(viewport=SIZES[request.param], color_scheme="dark") as context:
        page = context.new_page()
        page.complaints = complaints_of(page, address)
        yield page


def complaints_of(page: Page, home: str) -> list[str]:
    """A list that fills with whatever the browser complains about, or asks from elsewhere."""
    complaints = []

    def on_console(message):
        if message.type in ("error", "warning"):
            complaints.append(f"console {message.type}: {message.text}")

    def on_request(request):
        if not request.url.startswith((home, "data:", "blob:")):
            complaints.append(f"asks another host: {request.url}")

    def on_response(response):
        if response.status >= 400:
            complaints.append(f"{response.status}: {response.url}")

    page.on("console", on_console)
    page.on("request", on_request)
    page.on("response", on_response)
    page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
    page.on("requestfailed", lambda request: complaints.append(f"request failed: {request.url}"))
    return complaints


def wait_for_maths(page: Page) -> None:
    if page.locator(".math").count():
        page.wait_for_function("window.MathJax?.startup?.promise")
        page.evaluate("MathJax.startup.promise.then(() => true)")


RAW_MATHS = r"""() => {
    const article = document.querySelector("article").cloneNode(true);
    article.querySelectorAll("code, pre, script, mjx-container").forEach(e => e.remove());
    return article.textContent.match(/\$[^$\n]+\$|\\\(|\\\[|\\begin/g) ?? [];
}"""


@pytest.mark.parametrize("name", PAGES)
def test_page_is_sound(name, page, address):
    page.complaints.clear()
    page.emulate_media(color_scheme="dark")
    page.goto(f"{address}{name}.html")
    wait_for_maths(page)
    # Folded solutions can hold wide things too.
    page.evaluate("document.querySelectorAll('button.toggle-button').forEach(b => b.click())")

    assert page.evaluate(RAW_MATHS) == []
    assert page.locator("mjx-merror, [data-mjx-error]").all_inner_texts() == []
    assert page.evaluate("[...document.images].filter(i => !i.alt.trim()).map(i => i.src)") == []
    # A reader's machine may turn light at dawn while the page is open; then the page turns, too.
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_selector(f"html[data-theme={scheme}]")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.viewport_size["width"], "the page scrolls sideways"
    assert not page.complaints, "\n".join(page.complaints)


PICTURE = "box => box.querySelector('canvas').toDataURL()"


def test_the_film_stands_still_until_it_is_asked_to_move(browser, address):
    page = browser.new_page()
    page.goto(f"{address}book/dream_awake.html")
    film = page.locator(".film")
    film.scroll_into_view_if_needed()
    slider, button = film.locator("input"), film.locator("button")
    first = film.evaluate(PICTURE)
    page.wait_for_timeout(1200)
    assert film.evaluate(PICTURE) == first, "it moved unasked"
    assert film.locator("canvas").get_attribute("aria-label")

    button.click()
    page.wait_for_function("document.querySelector('.film input').value == '3'")
    button.click()
    paused = film.evaluate(PICTURE)
    assert paused != first and button.inner_text() == "Play"
    page.wait_for_timeout(1200)
    assert film.evaluate(PICTURE) == paused, "it moved after Stop"

    button.click()
    page.wait_for_function("document.querySelector('.film button').textContent == 'Play'")
    last = slider.get_attribute("max")
    assert slider.input_value() == last == "9", "it plays to the end, and stops there"
    slider.focus()
    page.keyboard.press("Home")
    assert film.evaluate(PICTURE) == first, "the keyboard reaches every frame"
    page.close()


def test_who_asks_for_less_motion_gets_the_slider_alone(browser, address):
    with browser.new_context(reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(f"{address}book/dream_awake.html")
        assert page.locator(".film button").is_hidden()
        assert page.locator(".film input").is_visible()
        first = page.locator(".film").evaluate(PICTURE)
        page.locator(".film input").focus()
        page.keyboard.press("End")
        assert page.locator(".film").evaluate(PICTURE) != first


def test_search_finds_a_word(browser, address):
    page = browser.new_page()
    complaints = complaints_of(page, address)
    page.goto(f"{address}search.html?q=mask")
    page.wait_for_selector("#search-results li a")
    page.close()
    assert not complaints, "\n".join(complaints)


def test_the_site_reads_from_a_folder(browser):
    """Without a server: the front door opens, and maths is set in the shipped fonts.

    Console messages are not asked for here. Chromium refuses the theme's early hints for its icon
    font to a page from a folder, says so, and loads the font a moment later all the same.
    """
    require_site()
    page = browser.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{SITE.as_uri()}/index.html")
    page.wait_for_url(f"**/{PAGES[0]}.html")

    page.goto(f"{SITE.as_uri()}/{CHAPTERS[0]}.html")
    wait_for_maths(page)
    page.evaluate("document.fonts.ready.then(() => true)")
    fonts = page.evaluate("[...document.fonts].map(f => `${f.family} ${f.status}`)")
    page.close()
    assert "MJXTEX loaded" in fonts
    assert [url for url in requests if not url.startswith((SITE.as_uri(), "data:"))] == []
