"""The widgets of allocators in the hand, and where they stand; what they do is in hand.py."""

import ipywidgets as widgets

from ..kinds import KINDS
from ..units import Space, format_size
from ..views import theme
from . import words
from .parts import box, button, choice, html, row, sized, tick

_NOT_ASKED = ("poison", "descriptor")  # kinds that nobody allocates


def _text(value: str, text: str, width: str) -> widgets.Text:
    """Told when left, not key by key: a click could overtake keys that wait for a busy kernel."""
    return widgets.Text(
        value,
        description=text,
        continuous_update=False,
        layout=widgets.Layout(width=width, flex="0 0 auto"),
        style={"description_width": "initial"},
    )


class HandControls:
    """Every widget by name."""

    def __init__(self, space: Space, order_max: int | None, small: bool) -> None:
        unit, whole = space.granule_bytes, space.granules.bit_length() - 1
        highest = whole if order_max is None else min(whole, order_max)
        sizes = [unit << order for order in range(highest + 1)]
        aligns = [unit << order for order in range(whole + 1)]
        kinds = [kind.name for kind in KINDS if kind.name not in _NOT_ASKED]
        self.size = choice(sized(sizes), sizes[min(1, highest)], "Size", "120px")
        self.kind = choice(kinds, "anon", "Kind", "135px")
        self.owner = _text("me", "Owner", "140px")
        self.allocate = button("plus", "allocate a block in every allocator", "Allocate", "92px")
        self.claim_size = _text(format_size(3 * unit), "Claim", "115px")
        self.align = choice(sized(aligns), unit, "aligned to", "155px")
        self.migrate = tick("may migrate", "movable memory in the way may be moved elsewhere")
        self.claim = button("object-group", "claim contiguous memory", "Claim", "80px")
        self._of_block(sizes)
        self.colouring = choice(theme.COLOURINGS, theme.BY_SIZE, "Colour by", "160px")
        self.back = widgets.IntSlider(
            0, 0, 0, description="Steps back", readout=True,
            layout=widgets.Layout(width="230px", display="" if small else "none"),
            style={"description_width": "initial"},
        )  # fmt: skip
        self.closer = button("search-plus", "zoom in on the chosen block, or the middle")
        self.wider = button("search-minus", "zoom out")
        self.whole = button("arrows-alt", "show all memory")
        self.zoom = widgets.HBox([self.closer, self.wider, self.whole])
        self.zoom.layout.display = "none" if small else ""
        self.legend, self.message, self.described = html(), html(flex="1 1 120px"), html()
        self.numbers, self.log = html(width="100%"), html(width="100%")
        height = "380px" if small else "210px"
        self.figures = widgets.VBox(layout=widgets.Layout(width="100%", min_height=height))

    def _of_block(self, sizes: list[int]) -> None:
        self.block = choice([("none", None)], None, "Block", "270px")
        self.release = button("minus", "give the chosen block back", "Release", "86px")
        self.release_claim = button("times", "give the whole claim back", "Release claim", "118px")
        self.pin = button("lock", "get_user_pages: the chosen block stays", "Pin", "60px")
        self.unpin = button("unlock", "take one pin away", "Unpin", "74px")
        self.piece = choice(sized(sizes), sizes[0], "into", "110px")
        self.split = button("cut", "make the chosen block into smaller ones", "Split", "70px")
        self.fail = button("bolt", "the memory at the chosen address fails", "Fail", "66px")
        self.soft = tick("soft", "it is only about to fail: move the block away first")
        self.unpoison = button("medkit", "the failed granule works again", "Unpoison", "96px")

    @property
    def of_block(self) -> tuple[widgets.Button, ...]:
        """Buttons that need a chosen place."""
        return (
            self.release, self.release_claim, self.pin, self.unpin, self.split, self.fail,
            self.unpoison,
        )  # fmt: skip

    def layout(self, *unseen: widgets.Widget) -> widgets.VBox:
        """All of it, in the width there is; `unseen` widgets come along."""
        asking = (self.size, self.kind, self.owner, self.allocate)
        claiming = (self.claim_size, self.align, self.migrate, self.claim)
        split, failing = (self.split, self.piece), (self.fail, self.soft, self.unpoison)
        giving = (self.release, self.release_claim, self.pin, self.unpin)
        seeing = (self.colouring, self.back, self.zoom, self.legend)
        held = box("Chosen", [], self.described, width="28%")
        told = box("Log", [self.message], self.log, width="40%")
        numbers = box("Memory", [], self.numbers, width="30%")
        root = widgets.VBox(
            [
                widgets.HTML(words.STYLE, layout=widgets.Layout(display="none")),
                row(*asking, *claiming, flex_flow="row wrap"),
                row(self.block, *giving, *split, *failing, flex_flow="row wrap"),
                row(*seeing, flex_flow="row wrap"),
                self.figures,
                row(held, numbers, told, align_items="flex-start", flex_flow="row wrap"),
                *unseen,
            ],
            layout=widgets.Layout(width="100%"),
        )
        root.add_class("potadlab")
        return root

    def disable(self) -> None:
        """Nothing works any more."""
        for widget in (self.allocate, self.claim, self.block, *self.of_block):
            widget.disabled = True
