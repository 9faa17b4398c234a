"""`potadlab lab --app`: the dashboard without code, opened by a link, from localhost alone."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from listening import elsewhere
from loops import WAIT_S
from pages import Page, keep

from potadlab.dashboard import Dashboard

IMAGE = """(name) => {
  for (const each of [...Bokeh.documents].reverse()) {
    const map = each.get_model_by_name(name);
    if (map) return Array.from(map.renderers[0].data_source.data.image[0]);
  }
}"""


@pytest.fixture(scope="module")
def board():
    """A dashboard without a page, to say what is to be seen; Playwright's loop is not its own."""
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(Dashboard, "mixed_owners").result()
    yield made
    made.close()


@pytest.fixture(scope="module")
def link(board):
    board.go(300_000)
    board.zoom(2, granule=int(board.session.runs["potad"].live(300_000)["granule"][500]))
    board.keeping.link.click()
    return board.keeping.address.value


@pytest.fixture(scope="module")
def app(link, chromium, tmp_path_factory):
    """The running app, and a file of what it tells."""
    home = tmp_path_factory.mktemp("app")
    environment = {**os.environ, "XDG_DATA_HOME": str(home), "JUPYTER_CONFIG_DIR": str(home)}
    command = [sys.executable, "-m", "potadlab", "lab", "--app", "--no-browser", link]
    told = home / "told.txt"
    with told.open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, env=environment)
    try:
        server.told = told
        yield server
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(WAIT_S)


@pytest.fixture(scope="module")
def address(app):
    return _address(app.told, app)


def _address(told, server):
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        assert server.poll() is None, told.read_text()
        found = re.search(r"http://127\.0\.0\.1:\d+/\?\S+", told.read_text())
        if found and _answers(found[0].partition("?")[0]):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(told.read_text())


def _answers(url):
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def page(address, browser):
    shown = Page(browser.new_page())
    shown.asked = []
    shown.page.on("request", lambda request: shown.asked.append(request.url))
    shown.page.goto(address)
    shown.page.wait_for_selector(".potadlab .bk-Figure")
    yield shown
    keep(shown, "app_last")
    shown.close()


def test_it_opens_at_the_moment_of_the_link_and_paints_it(page, board):
    page.says("op 300,000 of")
    for at, name in enumerate(("potad", "buddy")):
        painted = board.stage.painter.paint(*board._moment()).buffers[at]
        page.page.wait_for_function(
            f"([name, painted]) => ({IMAGE})(name)?.join() === painted",
            arg=[f"map {name}", ",".join(map(str, painted))],
        )
    keep(page, "app")


def test_it_plays(page):
    before = page.page.evaluate(IMAGE, "map potad")
    page.press("Play")
    page.page.wait_for_function(
        f"([name, before]) => ({IMAGE})(name).join() !== before",
        arg=["map potad", ",".join(map(str, before))],
    )
    page.says("frames per s")
    page.press("Pause")
    page.page.wait_for_function(
        "!document.querySelector('.potadlab').innerText.includes('op 300,000 of')"
    )


def test_it_shows_no_code_and_asks_no_other_host(page, address):
    assert "import potadlab" not in page.page.content()
    host = address.partition("/?")[0]
    elsewhere = [url for url in page.asked if not url.startswith((host, "data:", "blob:"))]
    assert [url for url in elsewhere if not url.startswith(host.replace("http", "ws"))] == []
    assert page.console == []


def answer(url: str) -> tuple[int, str]:
    """Status, and the address after redirections."""
    try:
        with urllib.request.urlopen(url, timeout=60) as found:
            return found.status, found.url
    except urllib.error.HTTPError as error:
        return error.code, error.url


def test_it_listens_on_localhost_only(page, address, app):
    assert elsewhere(app.pid) == []


@pytest.mark.parametrize("path", ["/", "/voila/files/lab.ipynb", "/voila/api/shutdown/x"])
def test_it_asks_for_the_token(address, path):
    status, url = answer(address.partition("/?")[0] + path)
    assert status in (403, 404, 405) or "/login?" in url
