"""The figures as a table, those of one subject together."""

from itertools import groupby
from typing import Any

from rich import box
from rich.table import Table

from .measuring import Figures


def table(figures: Figures, caption: str) -> Any:
    """One row a figure; times of one subject with their ratio to the first of them."""
    shown = Table(box=box.SIMPLE, caption=caption, caption_justify="left")
    shown.add_column("figure")
    for head in ("median", "best", "unit", "to the first"):
        shown.add_column(head, justify="right")
    for _, group in groupby(sorted(figures, key=_subject), key=_subject):
        names = list(group)
        first = figures[names[0]].median
        for name in names:
            figure = figures[name]
            beside = len(names) > 1 and first and figure.unit in ("ns", "us", "ms")
            ratio = f"{figure.median / first:.2f}" if beside else ""
            shown.add_row(name, _short(figure.median), _short(figure.best), figure.unit, ratio)
        shown.add_section()
    return shown


def _subject(name: str) -> tuple[str, str, str]:
    """What is compared with one another: the same subject, measured in the same way."""
    parts = name.split(".")
    return parts[0], parts[-1] if parts[-1].endswith(("_ns", "per_op")) else "", ""


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
