"""The real JupyterLab, as `potadlab lab` starts it, and a Chromium to drive it."""

import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pages import WAIT_S

from potadlab.bundled import notebook
from potadlab.launch import port_to_use, server_arguments, write_kernelspec

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab."""

    url: str
    folder: Path
    pid: int

    def address(self, name: str) -> str:
        """Of a notebook in a workspace of its own: JupyterLab would open those of others beside."""
        base, _, token = self.url.partition("?")
        return f"{base}lab/workspaces/{Path(name).stem}/tree/{name}?{token}"


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a browser; without one, skip and say how to get one (or fail, where required)."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    words = f"no browser ({', '.join(NAMES)}); on Debian and Ubuntu: apt-get install chromium"
    if os.environ.get("POTADLAB_BROWSER") == "required":
        pytest.fail(words)
    pytest.skip(words)


@pytest.fixture(scope="session")
def lab(chromium, tmp_path_factory) -> Iterator[Lab]:
    """JupyterLab on a free port of localhost, with folders of its own."""
    with running_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@contextmanager
def running_lab(home: Path) -> Iterator[Lab]:
    """JupyterLab as `potadlab lab` starts it, with all its folders in `home`."""
    folder = home / "notebooks"
    folder.mkdir()
    shutil.copy(notebook("lab"), folder)
    port, token = port_to_use(None), secrets.token_hex(16)
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")
    places = {name: str(home / name.lower()) for name in folders}
    kernels = str(write_kernelspec(home / "jupyter"))
    environment = {**os.environ, **places, "JUPYTER_TOKEN": token, "JUPYTER_PATH": kernels}
    options = [
        *server_arguments(folder, port, browser=False),
        "--LabApp.expose_app_in_browser=True",
    ]
    log = (home / "server.log").open("w")
    command = [sys.executable, "-m", "jupyterlab", *options]
    server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api", server, Path(log.name))
        yield Lab(f"http://127.0.0.1:{port}/?token={token}", folder, server.pid)
    finally:
        server.terminate()
        server.wait(WAIT_S)
        log.close()


def _wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"JupyterLab does not answer: {log.read_text()}")


@pytest.fixture(scope="session")
def browser(chromium, tmp_path_factory):
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")),
            executable_path=chromium,
            headless=True,
            args=list(FLAGS),
            viewport={"width": 1280, "height": 720},
        )
        context.set_default_timeout(1000 * WAIT_S)
        yield context
        context.close()
