"""Open JupyterLab on the dashboard: private copies of the notebooks, this environment's kernel.

Or Voila on the same copies: the dashboard alone, without code.  The server listens on localhost,
asks for a token, and keeps its workspace apart from the user's other Jupyter.  The notebook shown
is a copy, so that saving it never changes the installed or committed one.
"""

import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
import webbrowser
from pathlib import Path

import platformdirs

from .bundled import notebooks
from .errors import PotadError
from .files import write

LAB, LIVE = "lab.ipynb", "live.ipynb"
_EXTENSIONS = Path(__file__).parent / "labextension"
_APP = Path(__file__).parent / "app"  # Voila's page as it is here
_APP_WITHOUT = ("jupyterlab-jupytext", "jupyterlab_pygments")  # for editors; one fails there
_IDLE_S = 3600  # then the kernel of a page that was closed ends, if the page did not say so
_OPENED_AFTER_S = 2.0
_PORTS_TRIED = 100
_PORT_FIRST = 8888  # Jupyter's own habit


def user_folder() -> Path:
    """Where the lab keeps what belongs to the user: notebooks, the kernel's address."""
    return Path(platformdirs.user_data_dir("potadlab", appauthor=False))


def open_lab(
    port: int | None, browser: bool, notebook: str = LAB, *, app: bool = False, link: str = ""
) -> None:
    """Serve the lab until it is stopped, open at a notebook; print its address first.

    app: the notebook's outputs only, served by Voila.  link: the query that the page opens with.
    Raises PotadError if the port is taken or the user's folder cannot be written.
    """
    try:
        folder = user_folder() / "notebooks"
        for source in notebooks().values():
            fresh_copy(source, folder)
        kernels = write_kernelspec(user_folder() / "jupyter")
    except OSError as error:
        raise PotadError(
            f"{user_folder()}: {error.strerror}; set XDG_DATA_HOME to a folder that can be written"
        ) from error
    token = secrets.token_hex(16)
    port = port_to_use(port)
    os.environ["JUPYTER_TOKEN"] = token  # not an argument: those show in `ps`
    os.environ["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, [str(kernels), str(_APP), os.environ.get("JUPYTER_PATH")])
    )
    query = f"{link}&token={token}" if link else f"token={token}"
    url = f"http://127.0.0.1:{port}/{'' if app else f'lab/tree/{notebook}'}?{query}"
    stop = "Stop it with Ctrl-C." if app else "Stop it with Ctrl-C, twice."
    sys.stderr.write(f"In a few seconds the lab opens at\n    {url}\n{stop}\n")
    sys.stderr.flush()
    if app:
        _serve_app(app_arguments(folder, port, notebook), url if browser else "")
    else:
        _serve(server_arguments(folder, port, browser, notebook, link))


def _serve(arguments: list[str]) -> None:
    from jupyterlab.labapp import LabApp

    logging.captureWarnings(True)  # Jupyter's warnings of its own old settings help nobody here
    LabApp.launch_instance(arguments)


def _serve_app(arguments: list[str], url: str) -> None:
    """Voila itself would open its browser at an address without the token."""
    from voila.app import Voila

    logging.captureWarnings(True)
    if url:
        threading.Timer(_OPENED_AFTER_S, webbrowser.open, [url]).start()
    Voila.launch_instance(arguments)


def app_arguments(folder: Path, port: int, notebook: str = LAB) -> list[str]:
    """Voila's arguments: localhost only, behind the token, no code shown or run, no file served."""
    return [
        str(folder / notebook),
        "--no-browser",
        "--Voila.ip=127.0.0.1",
        f"--Voila.port={port}",
        "--Voila.port_retries=0",
        "--Voila.auto_token=True",  # JUPYTER_TOKEN; without this it would ask for none
        "--Voila.log_level=ERROR",
        "--VoilaConfiguration.template=potadlab",
        "--VoilaConfiguration.allow_template_override=NO",
        "--VoilaConfiguration.strip_sources=True",
        "--VoilaConfiguration.file_allowlist=[]",
        *(f"--VoilaConfiguration.extension_denylist={name}" for name in _APP_WITHOUT),
        f"--MappingKernelManager.cull_idle_timeout={_IDLE_S}",
        "--MappingKernelManager.cull_interval=60",
    ]


def server_arguments(
    folder: Path, port: int, browser: bool, notebook: str = LAB, link: str = ""
) -> list[str]:
    """JupyterLab's arguments: localhost only, quiet, the notebook runs when the page opens."""
    query = f"?{link}" if link else ""
    arguments = [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab/tree/{notebook}{query}",
        f"--LabApp.workspaces_dir={folder.parent / 'workspaces'}",
        f"--LabApp.extra_labextensions_path={_EXTENSIONS}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--Application.log_level=ERROR",
    ]
    if not browser:
        arguments.append("--no-browser")
    if os.geteuid() == 0:  # containers
        arguments.append("--allow-root")
    return arguments


def fresh_copy(source: Path, folder: Path) -> Path:
    """Copy the notebook `source` into `folder`; one the user has edited is set aside, not lost."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / source.name
    if copy.exists() and _cells(copy) != _cells(source):
        aside = copy.with_stem(f"{copy.stem}-{time.strftime('%Y%m%d-%H%M%S')}")
        copy.rename(aside)
        sys.stderr.write(f"Your earlier notebook is kept as {aside}\n")
    book = json.loads(source.read_text(encoding="utf-8"))
    book["metadata"].pop("jupytext", None)  # or Jupytext would pair the copy with a file of its own
    write(copy, json.dumps(book, indent=1))
    return copy


def _cells(path: Path) -> list[str] | None:
    """What was typed into a notebook, without what running it added; None if unreadable."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells]
    except (ValueError, KeyError, TypeError):
        return None


def write_kernelspec(folder: Path) -> Path:
    """Make `python3` mean this interpreter, whatever kernels are installed; return `folder`."""
    spec = folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True, exist_ok=True)
    launcher = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    launcher.append("--IPKernelApp.log_level=40")  # its warning about TCP: all is on localhost
    kernel = {"argv": launcher, "display_name": "Python (potadlab)", "language": "python"}
    write(spec, json.dumps(kernel))
    return folder


def port_to_use(port: int | None) -> int:
    """The port asked for, else the first free one from 8888; raises PotadError if it is taken."""
    if port is None:
        tries = range(_PORT_FIRST, _PORT_FIRST + _PORTS_TRIED)
        free = next((number for number in tries if _is_free(number)), None)
        if free is None:
            raise PotadError(f"ports {tries[0]} to {tries[-1]} are all taken: choose one by --port")
        return free
    if not _is_free(port):
        raise PotadError(f"port {port} is taken on this machine: choose another by --port")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
