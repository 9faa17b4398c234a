"""`potadlab lab`: a private notebook, the right kernel, a server that only this machine reaches."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from listening import elsewhere
from loops import WAIT_S

from potadlab import cli, launch
from potadlab.bundled import notebook, notebooks
from potadlab.errors import CannotRecord, PotadError


def test_a_changed_notebook_is_set_aside_not_lost(tmp_path):
    source = notebook("lab")
    copy = launch.fresh_copy(source, tmp_path)
    fresh = json.loads(copy.read_text())
    assert fresh["cells"] == json.loads(source.read_text())["cells"]
    book = json.loads(copy.read_text())
    book["cells"][-1]["source"] = ["mine"]
    copy.write_text(json.dumps(book))
    launch.fresh_copy(source, tmp_path)
    assert json.loads(copy.read_text()) == fresh
    (aside,) = set(tmp_path.iterdir()) - {copy}
    assert json.loads(aside.read_text()) == book


def test_a_notebook_that_only_ran_is_replaced(tmp_path):
    copy = launch.fresh_copy(notebook("lab"), tmp_path)
    book = json.loads(copy.read_text())
    book["cells"][-1]["execution_count"] = 7
    copy.write_text(json.dumps(book))
    launch.fresh_copy(notebook("lab"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lab.ipynb"]


def test_live_opens_at_its_own_notebook(tmp_path, monkeypatch):
    arguments = launch.server_arguments(tmp_path, 8888, browser=False, notebook=launch.LIVE)
    assert "--LabApp.default_url=/lab/tree/live.ipynb" in arguments
    assert notebook("live").name == launch.LIVE


def test_live_says_at_once_what_is_missing(monkeypatch, capsys):
    def refuse():
        raise CannotRecord("recording needs root")

    monkeypatch.setattr("potadlab.traces.recording.check", refuse)
    monkeypatch.setattr(launch, "open_lab", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(SystemExit) as stopped:
        cli.main(["lab", "--live"])
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "potadlab: recording needs root\n"


def test_the_kernel_is_this_python(tmp_path):
    folder = launch.write_kernelspec(tmp_path)
    spec = json.loads((folder / "kernels" / "python3" / "kernel.json").read_text())
    assert spec["argv"][0] == sys.executable


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    copy = launch.fresh_copy(notebook("lab"), tmp_path / "books")
    launch.write_kernelspec(tmp_path / "kernels")
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(before) == 2
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        launch.fresh_copy(notebook("lab"), copy.parent)
    with pytest.raises(OSError, match="full"):
        launch.write_kernelspec(tmp_path / "kernels")
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_taken_port_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PotadError, match=f"port {port} is taken"):
            launch.port_to_use(port)


@pytest.fixture
def lab(tmp_path):
    """A running lab: its address, its token, the folder that is its user's."""
    environment = {
        **os.environ,
        "XDG_DATA_HOME": str(tmp_path),
        "JUPYTER_CONFIG_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "potadlab", "lab", "--no-browser"]
    told = tmp_path / "told.txt"
    with told.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, env=environment)
    try:
        yield (*wait_for_address(told, process), tmp_path)
        assert elsewhere(process.pid) == []
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)


def wait_for_address(told: Path, process: subprocess.Popen) -> tuple[str, str]:
    end = time.monotonic() + WAIT_S  # the core is compiled first, if it is not yet
    while time.monotonic() < end:
        assert process.poll() is None, told.read_text()
        found = re.search(
            r"(http://127\.0\.0\.1:\d+)/lab/tree/lab\.ipynb\?token=(\w+)", told.read_text()
        )
        if found and answers(found[1]):
            return found[1], found[2]
        time.sleep(0.2)
    raise AssertionError(told.read_text())


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}/api", timeout=5).status == 200
    except OSError:
        return False


def test_the_lab_serves_a_copy_behind_a_token(lab):
    address, token, folder = lab
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{address}/api/contents", timeout=60)
    page = (
        urllib.request.urlopen(f"{address}/lab/tree/lab.ipynb?token={token}", timeout=60)
        .read()
        .decode()
    )
    assert '"name": "potadlab"' in page  # the extension that runs the notebook
    there = {path.stem for path in (folder / "potadlab" / "notebooks").glob("*.ipynb")}
    assert there == set(notebooks())
    request = urllib.request.Request(
        f"{address}/api/kernelspecs", headers={"Authorization": f"token {token}"}
    )
    specs = json.load(urllib.request.urlopen(request, timeout=60))["kernelspecs"]
    assert specs["python3"]["spec"]["argv"][0] == sys.executable


def test_the_app_listens_here_only_shows_no_code_and_serves_no_file(tmp_path):
    arguments = launch.app_arguments(tmp_path, 8899)
    for wanted in (
        "--Voila.ip=127.0.0.1",
        "--Voila.auto_token=True",
        "--VoilaConfiguration.strip_sources=True",
        "--VoilaConfiguration.file_allowlist=[]",
    ):
        assert wanted in arguments


@pytest.mark.parametrize(
    ("app", "served"), [(False, "lab/tree/lab.ipynb"), (True, "")], ids=["lab", "app"]
)
def test_a_link_is_in_the_address_that_is_told(tmp_path, monkeypatch, capsys, app, served):
    monkeypatch.setattr(launch, "user_folder", lambda: tmp_path)
    monkeypatch.setattr(launch, "_serve", lambda *_: None)
    monkeypatch.setattr(launch, "_serve_app", lambda *_: None)
    monkeypatch.setenv("JUPYTER_TOKEN", "")
    monkeypatch.setenv("JUPYTER_PATH", "")
    link = (
        "http://127.0.0.1:1/lab/tree/lab.ipynb?token=old&potadlab=mixed_owners&of=potad&of=buddy"
        "&show=potad&ops=1159608&at=7&first=0&columns=256&cell=128&lie=rows&colour=size"
    )
    command = ["lab", "--no-browser", *(["--app"] if app else []), link]
    monkeypatch.setattr(cli.parts, "compile_core", lambda: None)
    with pytest.raises(SystemExit) as stopped:
        cli.main(command)
    assert not stopped.value.code
    told = capsys.readouterr().err
    assert re.search(rf"127\.0\.0\.1:\d+/{served}\?potadlab=mixed_owners&of=potad\S+&token=", told)
    assert "old" not in told


def test_a_broken_link_is_one_line_at_once(monkeypatch, capsys):
    monkeypatch.setattr(launch, "open_lab", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(SystemExit) as stopped:
        cli.main(["lab", "?potadlab=mixed_owners&at=<b>"])
    assert stopped.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("potadlab: this link is not understood")
    assert told.count("\n") == 1
