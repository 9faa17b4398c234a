"""Every notebook runs from top to bottom, from any folder, in a fresh kernel of this Python."""

from pathlib import Path

import nbclient
import nbformat
import pytest
from loops import WAIT_S

from potadlab.launch import write_kernelspec

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(write_kernelspec(tmp_path / "jupyter")))
    book = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    done = nbclient.NotebookClient(book, timeout=WAIT_S, resources=place).execute()
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    told = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert not [text for text in told if "Error" in text or "Traceback" in text]
