"""The widgets and where they stand; what they do is in lab.py."""

from collections.abc import Iterable

import ipywidgets as widgets

from ..clock import SECONDS, Clock
from ..units import KIB, MIB
from ..views import theme
from . import words
from .parts import at_work, box, button, choice, html, row, sized, tick

OWN_FILE = "a file of my own ..."
SPEEDS = (0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0)
FASTEST = 0.0  # no speed: the whole trace in so many pictures, each as soon as the last is seen
FASTEST_PICTURES = 240
SLIDER_STEPS = 2000
CLAIM_BYTES = tuple(4 * KIB << shift for shift in range(19))
ALIGN_BYTES = tuple(4 * KIB << shift for shift in range(19))


class Controls:
    """Every widget by name, and `root`, which holds them."""

    def __init__(self, traces: Iterable[str], allocators: Iterable[str], shown: Iterable[str]):
        names = list(traces)
        self.trace = choice([*names, OWN_FILE], None, "Trace", "250px")
        self.path = widgets.Text(
            placeholder="path of a .parquet trace on this machine, then Enter",
            layout=widgets.Layout(width="330px", display="none"),
            continuous_update=False,
        )
        self.open = button("folder-open", "open the file at this path, again if need be")
        self.open.layout.display = "none"
        self.allocators: dict[str, widgets.Checkbox] = {}
        self._maps = widgets.HBox(
            [widgets.Label("Maps", layout=widgets.Layout(margin="2px 6px"))],
            layout=widgets.Layout(align_items="center", flex="0 0 auto"),
        )
        for name in allocators:
            self.add_allocator(name, name in shown)
        self.colouring = choice(theme.ALL_COLOURINGS, theme.BY_SIZE, "Colour by", "160px")
        self.lie = choice([("rows", False), ("Hilbert curve", True)], False, "in", "130px")
        self.lie.tooltip = "how addresses lie on a map"
        self.worst = tick(
            "worst", "a cell shows the worst that is in it, not what fills most of it"
        )
        self.closer = button("search-plus", "zoom in on the chosen block, or the middle")
        self.wider = button("search-minus", "zoom out")
        self.whole = button("arrows-alt", "show all memory")
        self._transport()
        self._by_hand()
        self.legend, self.status = html(width="100%"), html()
        self.status.add_class("potadlab-status")
        self.message = html(flex="1 1 200px")
        self.message.add_class("potadlab-message")
        self.progress, self.cancel = at_work()
        self.tabs = widgets.Tab(layout=widgets.Layout(width="100%", margin="2px 0"))
        self.figures = widgets.VBox(layout=widgets.Layout(width="100%"))
        self.figures.add_class("potadlab-figures")
        self.leave_room(False)

    def leave_room(self, room: bool) -> None:
        """Room for low figures, or for all: nothing jumps when they are put up anew."""
        self.figures.layout.min_height = "275px" if room else "322px"

    def add_allocator(self, name: str, shown: bool) -> None:
        """A box to tick for the map of an allocator."""
        box = widgets.Checkbox(
            shown,
            description=name,
            indent=False,
            layout=widgets.Layout(width="auto", margin="0 10px 0 0"),
        )
        self.allocators[name] = box
        self._maps.children = (*self._maps.children, box)

    def _transport(self) -> None:
        self.back = button("step-backward", "one op back")
        self.play = button("play", "play", "Play", "80px")
        self.forward = button("step-forward", "one op forward")
        self.speed = choice(_speeds(SECONDS), 1.0, "Speed", "160px")
        self.time = widgets.FloatSlider(
            min=0,
            max=1,
            step=1 / SLIDER_STEPS,
            readout=False,
            description="Time",
            style={"description_width": "initial"},
            layout=widgets.Layout(flex="1 1 200px", min_width="120px"),
        )
        self.time.add_class("potadlab-time")
        self.now = html(flex="0 0 auto")
        self.now.layout.margin = "0 4px 0 8px"  # the slider's knob is wider than its track
        self.now.add_class("potadlab-status")

    def tell_clock(self, clock: Clock) -> None:
        """Moments are named so."""
        kept = self.speed.value
        self.speed.options = _speeds(clock)
        self.speed.value = kept
        self.time.description = "Time" if clock.timed else "Ops"

    def _by_hand(self) -> None:
        self.block = html(width="100%")
        self.fail = button("bolt", "the memory at this address fails", "Fail this address", "150px")
        self.soft = tick("soft", "it is only about to fail: what can move is moved away first")
        self.size = choice(sized(CLAIM_BYTES), 8 * MIB, "Size", "120px")
        self.align = choice(sized(ALIGN_BYTES), MIB, "aligned to", "160px")
        self.migrate = tick("may migrate", "movable memory in the way may be moved elsewhere")
        self.claim = button("object-group", "claim so much in a row", "Claim this", "110px")
        self.undo = button("undo", "back to the run without the last op by hand", "Undo", "80px")
        self.log = html(width="100%")

    def layout(
        self,
        finding: Iterable[widgets.Widget],
        tabs: Iterable[tuple[str, widgets.Widget]],
        *unseen: widgets.Widget,
    ) -> widgets.VBox:
        """All of it, in the width there is; `finding`: widgets of the second line."""
        titled = {"Here": self._bottom(), **dict(tabs)}
        self.tabs.children, self.tabs.titles = list(titled.values()), list(titled)
        zoom = widgets.HBox([self.closer, self.wider, self.whole])
        told = (self.progress, self.cancel, self.message)
        file = (self.trace, self.path, self.open)
        top = row(*file, self._maps, *told, flex_flow="row wrap")
        look = row(self.colouring, self.lie, self.worst, *finding, zoom, flex_flow="row wrap")
        steps = (self.back, self.play, self.forward)
        transport = row(*steps, self.time, self.now, self.speed, flex_flow="row wrap")
        root = widgets.VBox(
            [
                widgets.HTML(words.STYLE, layout=widgets.Layout(display="none")),
                top,
                look,
                transport,
                self.figures,
                self.legend,
                self.tabs,
                *unseen,
            ],
            layout=widgets.Layout(width="100%"),
        )
        root.add_class("potadlab")
        return root

    def _bottom(self) -> widgets.HBox:
        block = box("Block", [self.fail, self.soft], self.block, width="30%")
        pickers = row(self.size, self.align, self.migrate, flex_flow="row wrap")
        claim = box("Claim", [self.claim, self.undo], pickers, width="26%")
        log = box("Log", [self.status], self.log, width="44%")
        return row(block, claim, log, align_items="flex-start", flex_flow="row wrap")

    def enable(self, on: bool) -> None:
        """All that changes what is shown works, or waits."""
        waiting = (self.back, self.play, self.forward, self.time, self.claim)
        for widget in (*waiting, *self.files, *self.allocators.values()):
            widget.disabled = not on

    def show_work(self, on: bool) -> None:
        """Progress, from its beginning, and the way to end it."""
        for widget in (self.progress, self.cancel):
            widget.layout.display = "" if on else "none"
        self.progress.value = 0

    def offer_sizes(self, granule_bytes: int) -> None:
        """Claims of what is no smaller than a granule."""
        for picker, sizes in ((self.size, CLAIM_BYTES), (self.align, ALIGN_BYTES)):
            fitting, chosen = [size for size in sizes if size >= granule_bytes], picker.value
            picker.options = sized(fitting)
            picker.value = chosen if chosen in fitting else fitting[0]

    @property
    def files(self) -> tuple[widgets.Widget, ...]:
        """All that opens a trace."""
        return self.trace, self.path, self.open


def _speeds(clock: Clock) -> list[tuple[str, float]]:
    """What play may do in a second."""
    speeds = [(f"{speed:g} {clock.unit} per s", speed) for speed in SPEEDS]
    return [*speeds, ("as fast as it can", FASTEST)]
