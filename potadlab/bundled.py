"""What comes with potadlab (datasets, notebooks, examples), from a checkout or a wheel."""

from pathlib import Path

from .errors import UnknownName

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """Where the bundled `name`, such as "datasets", lies; never the current directory.

    A wheel carries them inside the package; in a checkout they stand beside it.  (Beside an
    installed package could stand anything: there is a package called `datasets`.)
    """
    inside = _PACKAGE / "_bundled" / name
    if inside.is_dir() or not (_PACKAGE.parent / "pyproject.toml").is_file():
        return inside
    return _PACKAGE.parent / name


def datasets() -> dict[str, Path]:
    """Bundled traces by name, in alphabetical order; their snapshots are found from the path."""
    files = sorted(folder("datasets").glob("*.parquet"))
    return {file.stem: file for file in files if not file.stem.endswith(".before")}


def dataset(name: str) -> Path:
    """One bundled trace.  Raises UnknownName, which lists those there are."""
    return _one(datasets(), name, "dataset")


def memory_maps() -> dict[str, Path]:
    """Bundled memory maps of real machines by name, in alphabetical order."""
    files = sorted(folder("datasets").glob("*.map.txt"))
    return {file.name.removesuffix(".map.txt"): file for file in files}


def examples() -> dict[str, Path]:
    """Bundled example modules by name: Python to copy and to change."""
    return {file.stem: file for file in sorted((folder("notebooks") / "examples").glob("*.py"))}


def notebooks() -> dict[str, Path]:
    """Bundled notebooks by name, in alphabetical order."""
    return {file.stem: file for file in sorted(folder("notebooks").glob("*.ipynb"))}


def notebook(name: str) -> Path:
    """One bundled notebook, as "lab".  Raises UnknownName, which lists those there are."""
    return _one(notebooks(), name, "notebook")


def _one(files: dict[str, Path], name: str, what: str) -> Path:
    if name not in files:
        known = ", ".join(sorted(files)) or "none"
        raise UnknownName(f"no bundled {what} {name!r}: there is {known}")
    return files[name]
