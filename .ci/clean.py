"""Forget the environment and everything compiled, and nothing that a user put anywhere.

Of a folder named by POTADLAB_CACHE or XDG_CACHE_HOME only what potadlab/core/_jit.py made goes:
folders named by a digest of 16 hex digits.  Needs nothing but Python: .venv may be gone.
"""

import os
import re
import shutil
from pathlib import Path

CACHES = [".mypy_cache", ".pytest_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis"]
MADE = [".venv", *CACHES, "build", "dist"]
DIGEST = re.compile("[0-9a-f]{16}")


def cache_roots() -> list[Path]:
    """Where compiled kernels may lie, in the order in which core/_jit.py tries."""
    chosen = os.environ.get("POTADLAB_CACHE")
    homes = [home for home in (os.environ.get("XDG_CACHE_HOME"), "~/.cache") if home]
    roots = [Path(chosen)] if chosen else []
    return [root.expanduser() for root in [*roots, *(Path(home) / "potadlab" for home in homes)]]


def compiled(roots: list[Path]) -> list[Path]:
    """The folders of compiled kernels below `roots`; no links."""
    found = [folder for root in roots if root.is_dir() for folder in root.iterdir()]
    return [each for each in found if DIGEST.fullmatch(each.name) and _is_folder(each)]


def made(checkout: Path) -> list[Path]:
    """The folders that the Makefile and the tools made in a checkout; no links."""
    found = [checkout / name for name in MADE]
    for place in ("potadlab", "tests"):
        found += (checkout / place).rglob("__pycache__")
    return [each for each in found if _is_folder(each)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


if __name__ == "__main__":
    for folder in [*made(Path(__file__).resolve().parents[1]), *compiled(cache_roots())]:
        shutil.rmtree(folder, ignore_errors=True)
