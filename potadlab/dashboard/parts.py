"""The few shapes of widgets that all parts of the lab are made of."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ipywidgets as widgets

from ..units import format_size


def button(icon: str, tooltip: str, text: str = "", width: str = "34px") -> widgets.Button:
    """An icon, with words that say what it does."""
    layout = widgets.Layout(width=width, flex="0 0 auto", padding="0 4px")
    return widgets.Button(icon=icon, description=text, tooltip=tooltip, layout=layout)


def choice(
    options: Iterable[Any], value: Any, text: str, width: str, label: str = "initial"
) -> widgets.Dropdown:
    """A labelled menu."""
    menu = widgets.Dropdown(
        options=list(options),
        value=value,
        description=text,
        layout=widgets.Layout(width=width, flex="0 0 auto"),
        style={"description_width": label},
    )
    show_nothing(menu)
    return menu


def show_nothing(menu: widgets.Dropdown) -> None:
    """Show the entry that stands for nothing, where there is one: None alone would show a blank."""
    values = [one[1] if isinstance(one, tuple) else one for one in menu.options]
    if menu.value is None and None in values:
        menu.index = values.index(None)


def spec_box(options: Iterable[str], placeholder: str, text: str = "Allocator") -> widgets.Combobox:
    """Where an allocator with its options is written."""
    return widgets.Combobox(
        placeholder=placeholder,
        options=list(options),
        description=text,
        layout=widgets.Layout(width="270px", flex="0 0 auto"),
        style={"description_width": "initial"},
    )


def at_work() -> tuple[widgets.FloatProgress, widgets.Button]:
    """How far work has come, and Cancel; not shown before it begins."""
    progress = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="120px"))
    cancel = button("stop", "stop this work; all stays as it was", "Cancel", "84px")
    for each in (progress, cancel):
        each.layout.display = "none"
    return progress, cancel


def tick(text: str, tooltip: str, on: bool = False) -> widgets.Checkbox:
    """A choice of yes or no."""
    layout = widgets.Layout(width="auto", margin="0 8px 0 4px", flex="0 0 auto")
    return widgets.Checkbox(on, description=text, tooltip=tooltip, indent=False, layout=layout)


def html(text: str = "", **layout: str) -> widgets.HTML:
    """A place for words; padding, for a margin would make one of the full width too wide."""
    return widgets.HTML(text, layout=widgets.Layout(margin="0", padding="0 2px", **layout))


def on_clicks(
    act: Callable[[Callable[[], Any]], None],
    does: Mapping[widgets.Button, Callable[[], Any]],
) -> None:
    """Each button does its own, by way of `act`, which tells of errors."""
    for pressed, its in does.items():
        pressed.on_click(lambda _button, its=its: act(its))


def row(*children: widgets.Widget, **layout: str) -> widgets.HBox:
    """Widgets beside each other, as wide as the page."""
    kept = {"align_items": "center", "width": "100%", "overflow": "visible", **layout}
    return widgets.HBox(list(children), layout=widgets.Layout(**kept))


def sized(sizes: Iterable[int]) -> list[tuple[str, int]]:
    """Sizes as people read them, for a menu."""
    return [(format_size(size), size) for size in sizes]


def box(
    title: str, buttons: Iterable[widgets.Widget], *children: widgets.Widget, width: str
) -> widgets.VBox:
    """A titled part of the page, buttons beside its title."""
    head = widgets.HTML(f"<b>{title}</b>", layout=widgets.Layout(margin="0 8px 0 2px"))
    layout = widgets.Layout(
        flex=f"1 1 {width}", min_width="270px", padding="0 8px 0 0", overflow="hidden"
    )
    return widgets.VBox([row(head, *buttons), *children], layout=layout)
