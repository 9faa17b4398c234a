"""Habits that hold the architecture, as tests: each message says what to do instead."""

import ast
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest

from potadlab.core import _jit

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "potadlab"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))]
TREES = {path: ast.parse(path.read_text()) for path in MODULES}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEXTS = [
    *SOURCES,
    *NOTEBOOKS,
    *(path for place in ("*.md", "*/*.md", "notebooks/*.py") for path in sorted(ROOT.glob(place))),
    *sorted(PACKAGE.rglob("*.js")),
    *(
        ROOT / name
        for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run", ".ci/clean.py")
    ),
]
FUNCTION_LINES_MAX = 50
DECORATORS = {"kernel", "generic", "machine"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def places(path: Path, nodes: Iterator[ast.AST]) -> list[str]:
    return [f"{name_of(path)}:{node.lineno}" for node in nodes]


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def is_long(node: ast.AST) -> bool:
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return isinstance(node, functions) and code_lines(node) > FUNCTION_LINES_MAX


def is_print(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"


def is_numba(node: ast.AST) -> bool:
    """An import of Numba, or of our own decorators."""
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] == "numba" for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        module = (node.module or "").split(".")
        names = {alias.name for alias in node.names}
        return module[0] == "numba" or (module[-1] == "_jit" and bool(names & DECORATORS))
    return False


def offenders(is_one, modules=MODULES) -> list[str]:
    return [
        place for path in modules for place in places(path, filter(is_one, ast.walk(TREES[path])))
    ]


def test_functions_are_short():
    assert not offenders(is_long), "name the steps, and make each a function"


def test_modules_say_what_they_are():
    silent = [name_of(p) for p, tree in TREES.items() if tree.body and not ast.get_docstring(tree)]
    assert not silent, "begin with one sentence of what it is for"


def test_nothing_is_unpickled():
    """A trace, a session, a link may be anyone's; core/_jit.py only names an error of Numba's."""
    loading = re.compile(r"\b(c?[pP]ickle|shelve|marshal|dill|joblib)\.loads?\b|allow_pickle=True")
    found = [name_of(path) for path in MODULES if loading.search(path.read_text())]
    assert not found, "read JSON or Parquet"


def test_nothing_listens_for_others():
    wide = re.compile(r"""["']0\.0\.0\.0["']|\bip=["']?["']|--\w+\.ip=(?!127\.0\.0\.1)""")
    found = [name_of(path) for path in MODULES if wide.search(path.read_text())]
    assert not found, "127.0.0.1 only"


def test_the_library_does_not_print():
    assert not offenders(is_print), "return it, or give it to `progress`"


def test_numba_stays_in_core():
    outside = [path for path in MODULES if PACKAGE / "core" not in path.parents]
    assert not offenders(is_numba, outside), "the digest of the cache covers core/ only"


def test_decorators_of_numba_stand_in_one_file():
    decorating = re.compile(r"@(numba\.)?(njit|jit|vectorize|guvectorize|cfunc|jitclass)\b")
    found = [name_of(path) for path in MODULES if decorating.search(path.read_text())]
    assert not found, "use `kernel` and `generic` of core/_jit.py: they know the cache"


def test_nothing_is_left_undone():
    marks = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "NotImplemented" + "Error"]))
    found = [name_of(path) for path in SOURCES if marks.search(path.read_text())]
    assert not found, "finish it, or open an issue"


def test_no_machine_is_named():
    machine = re.compile(
        r"(?<![\w.])/(work|root|home/\w+)/|https?://[\w.-]*(pypi|pythonhosted|npmjs)"
    )
    found = [name_of(path) for path in TEXTS if machine.search(path.read_text())]
    assert not found, "these places exist on one machine only"


# ---- make clean: what the user put there stays -----------------------------------------------


@pytest.fixture
def clean():
    return runpy.run_path(str(ROOT / ".ci" / "clean.py"))


def test_clean_takes_only_what_was_compiled(clean, tmp_path):
    for name in ("0123456789abcdef", "thesis", "0123456789abcde", "0123456789ABCDEF"):
        (tmp_path / name).mkdir()
    (tmp_path / "fedcba9876543210").symlink_to(tmp_path / "thesis")
    (tmp_path / ("a" * 16)).write_text("a file")
    found = clean["compiled"]([tmp_path, tmp_path / "nowhere"])
    assert [path.name for path in found] == ["0123456789abcdef"]


def test_clean_takes_only_what_was_made_in_a_checkout(clean, tmp_path):
    for name in (".venv/lib", "mine", "potadlab/core/__pycache__", "tests/__pycache__", "datasets"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "build").symlink_to(tmp_path / "mine")
    names = {str(path.relative_to(tmp_path)) for path in clean["made"](tmp_path)}
    assert names == {".venv", "potadlab/core/__pycache__", "tests/__pycache__"}


@pytest.mark.parametrize("variable", ["POTADLAB_CACHE", "XDG_CACHE_HOME"])
def test_clean_looks_where_kernels_are_kept(clean, tmp_path, monkeypatch, variable):
    monkeypatch.delenv("POTADLAB_CACHE", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    assert clean["cache_roots"]()[0] == _jit._cache_root()


def test_make_deletes_no_folder_that_someone_names():
    assert "rm -r" not in (ROOT / "Makefile").read_text()


# ---- notebooks -------------------------------------------------------------------------------


@pytest.fixture(params=NOTEBOOKS, ids=name_of)
def path(request):
    return request.param


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_notebooks_have_no_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    run = [n for n, cell in enumerate(cells) if cell.get("outputs") or cell.get("execution_count")]
    assert not run, "clear all outputs before saving"


def test_notebooks_are_clients(path):
    cells = json.loads(path.read_text())["cells"]
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    defining = [code for code in codes if re.search(r"^(def|class) ", code, re.MULTILINE)]
    assert not defining, "a helper wants a test and a module"


def test_notebooks_are_paired(path):
    pair = path.with_suffix(".py")
    assert pair.exists(), f"jupytext --sync {name_of(path)}"
    sides = [
        [(cell.cell_type, cell.source) for cell in jupytext.read(side).cells]
        for side in (path, pair)
    ]
    assert sides[0] == sides[1], f"{path.name} and {pair.name} differ: jupytext --sync"


def test_readme_shows_pictures_that_tests_take():
    shown = set(re.findall(r"\(pictures/(\w+)\.png\)", (ROOT / "README.md").read_text()))
    taking = "".join(path.read_text() for path in (ROOT / "tests" / "browser").glob("test_*.py"))
    assert shown == set(re.findall(r'picture\(page, "(\w+)"', taking))
    assert shown == {path.stem for path in (ROOT / "pictures").iterdir()}, "make pictures"
    for name in shown:
        content = (ROOT / "pictures" / f"{name}.png").read_bytes()
        assert len(content) < 300_000, f"{name} is large"
        wide, high = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
        assert (content[:4], wide, high) == (b"\x89PNG", 1280, 720), name
