"""Allocators in the hand: ask all of them alike, see each split and merge, or each on a map.

What code does to the same allocators in other cells shows at once: they tell after every op.
"""

import html
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import BadAddress, BadSpace, NotLive
from ..kinds import KINDS
from ..potad import Allocator, Block, Claim
from ..units import format_size
from ..views import regions, steps, theme
from . import hand_words, words
from .canvas import POISON_COLOUR
from .hand_controls import HandControls
from .maps import Maps, Mark
from .panel import Panel, one_line
from .parts import on_clicks
from .pictures import ROWS, Held, MapPainter, StepsCanvas
from .work import Worker

_CHOSEN = steps.CHOSEN
_LOG_LINES = 200
_LISTED = 200  # blocks in the menu; the others are there to be clicked on

Group = dict[str, int]  # allocator: handle, of what one ask brought in each


class Hand(Panel):
    """One or more allocators over the same space, to ask, to pin, to split and to fail by hand.

    Up to 64 granules are shown step by step, more on a map.  Show it by ending a cell with it.
    Raises BadSpace for no allocator, for one given twice and for spaces that differ.
    """

    def __init__(self, *allocators: Allocator) -> None:
        self.allocators = _named(allocators)
        super().__init__()
        self.space = allocators[0].space
        self.small = self.space.granules <= steps.GRANULES_MAX
        self.held = {name: Held.now(each) for name, each in self.allocators.items()}
        self.log: list[str] = []
        self._groups: dict[tuple[str, int], Group] = {}
        self._claims: dict[tuple[str, int], Claim] = {}
        self._asking = False  # an op comes from here, not from code in a cell
        self._version = self._version_shown = 0  # of what the figures show, and when put up
        self.controls = HandControls(self.space, self._order_max(), self.small)
        self._set_stage(self.controls.figures)
        self.canvas: StepsCanvas | Maps
        self.worker = Worker(lambda _busy, _what: None, self._failed)
        self.root = self.controls.layout(self.bridge)
        if not self.small:
            self.window = regions.whole(self.space.granules)
            for work in (self.stage.pump(), self.stage.watch()):
                self.worker.spawn(work)
        self._connect()
        self._redraw()
        self._say_all()
        self._stops = [each.on_change(self._changed) for each in allocators]

    def close(self) -> None:
        """Listen to the allocators no more; the last pictures stay on the page."""
        if not self._closed:
            self._closed = True
            for stop in self._stops:
                stop()
            self.worker.close()
            self.stage.close()
            self.controls.disable()
            # widgets are kept, so that the last pictures stay; what they showed may be large
            self.allocators, self.held, self._claims, self._stops = {}, {}, {}, []

    def _order_max(self) -> int | None:
        """The largest order that any of them may hand out."""
        orders = [each.order_max for each in self.allocators.values()]
        known = [order for order in orders if order is not None]
        return max(known) if len(known) == len(orders) else None

    # ---- the page ---------------------------------------------------------------------------

    def _redraw(self) -> None:
        """New figures with all that is to be seen."""
        names, key = list(self.allocators), self.bridge.key
        painter = None
        if self.small:
            self.canvas = StepsCanvas(names, self.space, key)
        else:
            unit, pictures = self.space.granule_bytes, self.stage.pictures
            self.canvas = Maps(names, unit, key, pictures, self.screen)
            painter = MapPainter(self.canvas, self.space)
        self.canvas.dress(self.light)
        self._fill()
        self.stage.show(self.canvas, painter)
        self._version_shown = self._version

    def _hear_ready(self, message: dict[str, Any]) -> None:
        """A page has the figures as they were put up: if they have changed since, put up new."""
        super()._hear_ready(message)
        if message["targets"] == self.canvas.targets and self._version > self._version_shown:
            self._redraw()

    def _moment(self) -> tuple[Any, ...]:
        return self.window, self.controls.colouring.value, dict(self.held)

    def _end(self) -> int:
        return self.space.granules

    def _looked(self) -> None:
        self._fill()

    def _resized(self) -> None:
        self._redraw()

    def _dress(self) -> None:
        self._version += 1
        self.canvas.dress(self.light)
        self._say_legend()

    def _fill(self) -> None:
        """Bring the figures to what the allocators hold and what is chosen."""
        self._version += 1
        canvas = self.canvas
        if isinstance(canvas, StepsCanvas):
            for name in self.allocators:
                self._fill_steps(canvas, name)
        elif self.window:
            canvas.label(self.window)
            for name in self.allocators:
                shapes = [(*place, _CHOSEN) for place in self._outlined(name)]
                canvas.mark(name, self.window, shapes, self._points(name))
        self.stage.want()

    def _fill_steps(self, canvas: StepsCanvas, name: str) -> None:
        allocator, back = self.allocators[name], self.controls.back.value
        end = max(len(allocator.history) - back, 1)
        rows = allocator.history[max(end - ROWS, 0) : end]
        by = self.controls.colouring.value
        canvas.fill(name, rows, self.held[name], allocator.owners, by)
        places = [] if back else self._outlined(name)  # of the newest row only
        canvas.choose(name, [(*place, len(rows) - 1) for place in places])

    def _outlined(self, name: str) -> list[tuple[int, int]]:
        """(granule, granules) of the chosen block, and of what the same ask brought here."""
        unit = self.space.granule_bytes
        at = self._places().get(name)
        if at is None:
            return []
        found = self.allocators[name].lookup(at)
        return [(found.start // unit, found.size // unit)]

    def _points(self, name: str) -> list[Mark]:
        held = self.held[name]
        marks = [(int(at), "diamond", POISON_COLOUR) for at in held.failed]
        if self.selected and self.selected[0] == name:
            marks.append((self.selected[1], "circle", _CHOSEN))
        return marks

    # ---- what is chosen ---------------------------------------------------------------------

    def _under(self, x: float, y: float) -> int | None:
        if self.small:
            return steps.locate(x, y, self.space.granules)
        return super()._under(x, y)

    def _tapped(self, name: str, granule: int) -> None:
        wide = self.window.granules_per_cell if self.window else 1
        self.choose(name, self.held[name].cell(granule // wide * wide, wide).granule)

    def choose(self, name: str, granule: int) -> None:
        """Choose the block of an allocator that holds a granule, or the granule itself."""
        self.selected = name, granule
        self._fill()
        self._say_chosen()

    def _tip(self, name: str, granule: int) -> list[str]:
        wide = self.window.granules_per_cell if self.window else 1
        cell = self.held[name].cell(granule // wide * wide, wide)
        count = words.cell(cell) if wide > 1 else []
        return [*count, *self.describe(name, cell.granule)]

    def describe(self, name: str, granule: int) -> list[str]:
        """Lines on what an allocator has at a granule."""
        held, at_bytes = self.held[name], granule * self.space.granule_bytes
        title = f"{name}, at {words.address(at_bytes)}:"
        failed = ["this granule has failed"] if granule in held.failed else []
        try:
            found = self.allocators[name].lookup(at_bytes)
        except BadAddress:
            return [title, "out of service"]
        if found and found.kind != "poison":
            return [title, *hand_words.described(found, at_bytes), *failed]
        free = held.free_block(granule)
        if free:
            size = format_size(self.space.granule_bytes << free[1])
            start = words.address(free[0] * self.space.granule_bytes)
            return [title, f"free, in a free block of {size} from {start}"]
        return [title, *(failed or ["out of service"])]

    def _chosen_block(self) -> tuple[str, int, int] | None:
        """(allocator, handle, offset in bytes) of the block or claim that is chosen."""
        if self.selected is None:
            return None
        name, granule = self.selected
        at = granule * self.space.granule_bytes
        try:
            found = self.allocators[name].lookup(at)
        except BadAddress:
            return None
        if found is None or found.kind == "poison":
            return None
        return name, found.handle, at - (self._start(name, found.handle) or 0)

    def _start(self, name: str, handle: int) -> int | None:
        """Where a block, or a claim with all its chunks, begins, in bytes; None if it is gone."""
        claim = self._claims.get((name, handle))
        first = self.held[name].first_of(handle)
        if claim is not None or first is None:
            return claim.start if claim and first is not None else None
        return first * self.space.granule_bytes

    def _places(self) -> dict[str, int | None]:
        """Address of the chosen block, and of what the same ask brought in others; None: gone."""
        chosen = self._chosen_block()
        if chosen is None:
            return {}
        name, handle, offset = chosen
        group = self._groups.get((name, handle), {name: handle})
        return {other: self._alive(other, its, offset) for other, its in group.items()}

    def _alive(self, name: str, handle: int, offset: int) -> int | None:
        start = self._start(name, handle)
        if start is None:
            return None
        found = self.allocators[name].lookup(start + offset)
        return start + offset if found and found.handle == handle else None

    # ---- what is asked ----------------------------------------------------------------------

    def allocate(self) -> None:
        """A block of the size, kind and owner that are picked, in every allocator."""
        controls = self.controls
        size, kind, owner = controls.size.value, controls.kind.value, controls.owner.value
        got = self._each(
            f"allocate {format_size(size)} ({kind}, {owner})",
            {name: lambda a: a.allocate(size, kind=kind, owner=owner) for name in self.allocators},
            str,
        )
        self._join({name: [block.handle] for name, block in got.items()})
        self._choose_first(got)

    def claim(self) -> None:
        """Contiguous memory of the size and alignment that are picked, in every allocator."""
        controls = self.controls
        size, align = controls.claim_size.value, controls.align.value
        options = {"owner": controls.owner.value, "migrate": controls.migrate.value}
        moving = ", may migrate" if controls.migrate.value else ""
        got: dict[str, Claim] = self._each(
            f"claim {size} at {format_size(align)}{moving}",
            {name: lambda a: a.claim(size, align=align, **options) for name in self.allocators},
            hand_words.claimed,
        )
        for name, claim in got.items():
            self._claims[name, claim.handle] = claim
        self._join({name: [claim.handle] for name, claim in got.items()})
        self._choose_first(got)

    def release(self) -> None:
        """Give the chosen block back: a block, or one chunk of a claim."""
        self._of_block("release", lambda a, at: a.release(_start(a, at)), hand_words.released)

    def release_claim(self) -> None:
        """Give back the claim that the chosen chunk is of."""
        chosen = self._chosen_block()
        group = self._groups.get(chosen[:2], {}) if chosen else {}
        claims = {name: self._claims.get((name, handle)) for name, handle in group.items()}
        known = {name: claim for name, claim in claims.items() if claim}
        if not known:
            raise NotLive("no claim made here is chosen: click on one of its chunks")
        acts = {name: lambda a, claim=claim: a.release(claim) for name, claim in known.items()}
        self._each("release the claim", acts, hand_words.released)

    def pin(self) -> None:
        """get_user_pages on the chosen address."""
        self._of_block("pin", lambda a, at: a.pin(at), lambda _done: "pinned")

    def unpin(self) -> None:
        """Take one pin of the chosen block away."""
        self._of_block(
            "unpin",
            lambda a, at: a.unpin(at),
            lambda gone: "unpinned" + (", and released as was asked before" if gone else ""),
        )

    def split(self) -> None:
        """Make the chosen block into blocks of the size that is picked."""
        size = self.controls.piece.value
        got: dict[str, list[Block]] = self._of_block(
            f"split into {format_size(size)}",
            lambda a, at: a.split(_start(a, at), size),
            lambda pieces: f"{len(pieces)} blocks of {format_size(size)}",
        )
        self._join({name: [piece.handle for piece in pieces] for name, pieces in got.items()})

    def fail(self) -> None:
        """The memory at the chosen address fails, in every allocator."""
        soft, at = self.controls.soft.value, self._address()
        what = "soft failure" if soft else "failure"
        acts = {name: lambda a: a.fail(at, soft=soft) for name in self.allocators}
        self._each(f"{what} of {words.address(at)}", acts, hand_words.told)

    def unpoison(self) -> None:
        """The failed granule at the chosen address works again, in every allocator."""
        at = self._address()
        acts = {name: lambda a: a.unpoison(at) for name in self.allocators}
        self._each(f"unpoison {words.address(at)}", acts, hand_words.unpoisoned)

    def _address(self) -> int:
        if self.selected is None:
            raise NotLive("nothing is chosen: click on a figure first")
        return self.selected[1] * self.space.granule_bytes

    def _of_block(
        self, what: str, act: Callable[[Any, int], Any], tell: Callable[[Any], str]
    ) -> dict[str, Any]:
        """Do it to the chosen block, and to what the same ask brought in the other allocators."""
        if self._chosen_block() is None:
            raise NotLive(f"{what}: no live block is chosen: click on one")
        places = {name: at for name, at in self._places().items() if at is not None}
        acts = {name: lambda a, at=at: act(a, at) for name, at in places.items()}
        there = ", ".join(f"{words.address(at)} in {name}" for name, at in places.items())
        return self._each(f"{what} at {there}", acts, tell)

    def _each(
        self, what: str, acts: Mapping[str, Callable[[Any], Any]], tell: Callable[[Any], str]
    ) -> dict[str, Any]:
        """Ask each allocator; a line in the log for each answer or refusal; what was got."""
        lines, got = [f"{what}:"], {}
        self.say("at work ...")
        self._asking = True
        try:
            for name, act in acts.items():
                before = self.held[name]
                try:
                    got[name] = act(self.allocators[name])
                    said = tell(got[name])
                except Exception as error:  # one refuses, the others are asked all the same
                    said = f"refused: {one_line(error)}"
                self.held[name] = Held.now(self.allocators[name])
                said = "; ".join(filter(None, [said, before.turned_into(self.held[name])]))
                lines.append(f"  {name}: {said}")
        finally:
            self._asking = False
            self.say("")
            self._note(lines)
            self._refresh()
        return got

    def _join(self, handles: dict[str, list[int]]) -> None:
        """Remember as one what one ask brought in several allocators."""
        for each in zip(*handles.values(), strict=True):
            group = dict(zip(handles, each, strict=True))
            for name, handle in group.items():
                self._groups[name, handle] = group

    def _choose_first(self, got: Mapping[str, Block | Claim]) -> None:
        """What was just got is chosen, so that it can be given back without a search."""
        for name, one in list(got.items())[:1]:
            self.choose(name, one.start // self.space.granule_bytes)

    def _changed(self, allocator: Allocator) -> None:
        """An allocator did an op."""
        if self._asking or self._closed:
            return
        name = next(name for name, each in self.allocators.items() if each is allocator)
        before, after = self.held[name], Held.now(allocator)
        self.held[name] = after
        last = allocator.history[-1] if allocator.history else None
        live = f"now {len(after.live):,} live block{'' if len(after.live) == 1 else 's'}"
        said = live if last is None else last.words if last.ok else f"{last.words}: refused"
        self._note(
            [f"{name}, by code: " + "; ".join(filter(None, [said, before.turned_into(after)]))]
        )
        self._refresh()

    def _refresh(self) -> None:
        slider, longest = self.controls.back, max(len(a.history) for a in self.allocators.values())
        self._quiet = True
        slider.max, slider.value = max(longest - 1, 0), 0
        self._quiet = False
        self._fill()
        self._say_all()

    # ---- what is said -----------------------------------------------------------------------

    def say(self, text: str, error: bool = False) -> None:
        """The message line."""
        mark = ' class="potadlab-error"' if error else ""
        self.controls.message.value = f"<span{mark}>{html.escape(text)}</span>"

    def _failed(self, error: Exception) -> None:
        self._note([f"refused: {one_line(error)}"])
        super()._failed(error)

    def _note(self, lines: list[str]) -> None:
        self.log = [*lines, *self.log][:_LOG_LINES]
        self._say_log()

    def _say_log(self) -> None:
        rows = self.log or ["What is done and what is refused is told here, the newest first."]
        self.controls.log.value = f'<div class="potadlab-log">{words.lines(rows)}</div>'

    def _say_all(self) -> None:
        self._say_legend()
        self._say_log()
        self._say_numbers()
        self._say_chosen()

    def _say_legend(self) -> None:
        by = self.controls.colouring.value
        rows = theme.legend_map(by, self.light)
        if by == theme.BY_SIZE:
            unit, end = self.space.granule_bytes, self.space.granules
            rows = [*theme.legend_sizes(unit, unit * end), *rows]
        elif by == theme.BY_KIND:
            present = np.zeros(len(KINDS), bool)
            for held in self.held.values():
                present[held.live["kind"]] = True
            rows = [*theme.legend_kinds(present), *rows]
        self.controls.legend.value = words.keys("", rows)

    def _say_numbers(self) -> None:
        self.controls.numbers.value = hand_words.table(self.allocators, self.held)

    def _say_chosen(self) -> None:
        lines = ["Click on a figure, or take a block from the menu."]
        if self.selected:
            lines = self.describe(*self.selected)
            for name, at in self._places().items():
                if name != self.selected[0]:
                    there = "gone" if at is None else f"at {words.address(at)}"
                    lines.append(f"its like in {name}: {there}")
        self.controls.described.value = f'<div class="potadlab-block">{words.lines(lines)}</div>'
        chosen = self._chosen_block()
        live, claimed = chosen is not None, bool(chosen and chosen[:2] in self._claims)
        for button in self.controls.of_block:
            button.disabled = not live
        self.controls.release_claim.disabled = not claimed
        self.controls.fail.disabled = self.controls.unpoison.disabled = self.selected is None
        self._list_blocks()

    def _list_blocks(self) -> None:
        """The menu of live blocks, for hands without a mouse."""
        rows: list[tuple[str, tuple[str, int] | None]] = []
        for name, held in self.held.items():
            for block in held.blocks[:_LISTED]:
                size = format_size(self.space.granule_bytes << int(block["order"]))
                at = words.address(int(block["granule"]) * self.space.granule_bytes)
                owner = words.short(self.allocators[name].owner(int(block["owner"])), 20)
                failed = block["granule"] in held.failed and block["handle"] < 0
                what = "failed" if failed else owner
                rows.append((f"{name}: {size} at {at}, {what}", (name, int(block["granule"]))))
        menu, self._quiet = self.controls.block, True
        options = [("none", None), *dict.fromkeys(rows)]
        if tuple(options) != menu.options:
            menu.options = options
        values = [value for _, value in options]
        menu.value = self.selected if self.selected in values else None
        self._quiet = False

    # ---- widgets to all that ----------------------------------------------------------------

    def _connect(self) -> None:
        controls = self.controls
        clicks = {
            controls.allocate: self.allocate,
            controls.claim: self.claim,
            controls.release: self.release,
            controls.release_claim: self.release_claim,
            controls.pin: self.pin,
            controls.unpin: self.unpin,
            controls.split: self.split,
            controls.fail: self.fail,
            controls.unpoison: self.unpoison,
            controls.closer: lambda: self.zoom(1),
            controls.wider: lambda: self.zoom(-1),
            controls.whole: self.show_whole,
        }
        on_clicks(self._act, clicks)
        controls.block.observe(lambda _change: self._act(self._pick), "value")
        controls.back.observe(lambda _change: self._act(self._fill), "value")
        controls.colouring.observe(lambda _change: self._act(self._recolour), "value")

    def _pick(self) -> None:
        if self.controls.block.value is not None:
            self.choose(*self.controls.block.value)

    def _recolour(self) -> None:
        self._say_legend()
        self._fill()


def _named(allocators: tuple[Allocator, ...]) -> dict[str, Any]:
    """Each allocator by the name it is shown under; raises BadSpace for what cannot be shown."""
    like = "as in pl.lab.Hand(pl.Potad(space), pl.Buddy(space))"
    if not allocators or not all(isinstance(each, Allocator) for each in allocators):
        raise BadSpace(f"Hand shows allocators: give it one or more, {like}")
    if any(each.space != allocators[0].space for each in allocators):
        spaces = ", ".join(each.space.name for each in allocators)
        raise BadSpace(f"Hand shows allocators over one space, not over {spaces}: use a Hand each")
    if len({id(each) for each in allocators}) < len(allocators):
        raise BadSpace(f"Hand was given the same allocator twice: make another one, {like}")
    found: dict[str, Any] = {}
    for each in allocators:
        name, many = type(each).__name__.lower(), 1
        while (name if many == 1 else f"{name} {many}") in found:
            many += 1
        found[name if many == 1 else f"{name} {many}"] = each
    return found


def _start(allocator: Allocator, at_bytes: int) -> int:
    """First byte of the block that holds an address."""
    found = allocator.lookup(at_bytes)
    return at_bytes if found is None else found.start
