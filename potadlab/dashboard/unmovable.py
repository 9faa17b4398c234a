"""A slider for the share of memory that may not move, and what huge pages each policy still gets.

Every policy is aged by the same load, which reacts (a closed loop); what was computed is kept.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import ipywidgets as widgets

from .. import ageing_ram
from ..ageing_ram import Aged, Ageing, RamLoad, check
from ..errors import BadSize, Cancelled, UnknownName
from ..report import ageing as report
from ..units import Size, Space
from ..views import ageing_ram as view
from ..views import theme
from . import words
from .bridge import Bridge
from .comparing import table
from .panel import one_line, replace_in_cell
from .parts import at_work, button, choice, html, row, spec_box, tick
from .stage import bring_bokeh, put_beside
from .work import LEFT, Worker

POLICIES = ("potad", "potad:groups=migratetype", "buddy", "llfree")
LOAD = RamLoad(read=0.3, huge=0.3, small=0.1, kernel=0.3)  # more kernel objects than usual
PERCENT_MAX, STEP = 50, 5
_FIRST = "; the first time on a machine each policy compiles, a minute or so"


class Unmovable:
    """Memory aged by a load that reacts, with a slider for the share of it that may not move.

    policies: allocators with their options, as `potadlab.age` takes them; load: what is asked, but
    for the share.  Show it by ending a cell with it.  Raises UnknownName, BadSize.
    """

    def __init__(
        self,
        policies: Sequence[str] = POLICIES,
        space: Size = "128MiB",
        *,
        percent: int = 10,
        turnovers: int = 20,
        seeds: int | Sequence[int] = 3,
        load: RamLoad = LOAD,
    ) -> None:
        self.space, self.load = Space.ram(space), load
        self._turnovers, self._seeds = turnovers, seeds
        for spec in policies:
            check(spec)
        self.kept: dict[str, dict[int, Aged]] = {}  # by policy and share in percent
        self.ageing: Ageing | None = None  # what is shown
        self.light, self._quiet = True, False
        self.plots: tuple[Any, ...] = ()
        self._drawn: tuple[Any, ...] = ()  # policies and measure that the figures are of
        bring_bokeh()
        self.bridge = Bridge(uuid.uuid4().hex, self._hear)
        self._make_widgets(percent)
        for spec in policies:
            self._offer(spec)
        self.worker = Worker(self._set_busy, self._failed)
        replace_in_cell(self)
        self._act(self.ask)

    def _make_widgets(self, percent: int) -> None:
        self.percent = widgets.IntSlider(
            percent, 0, PERCENT_MAX, STEP,
            description="Unmovable, %",
            tooltip="share of memory that kernel objects hold which stay where they are",
            continuous_update=False,
            style={"description_width": "initial"},
            layout=widgets.Layout(flex="1 1 300px", max_width="560px"),
        )  # fmt: skip
        measures = [(title, name) for name, (title, _, _) in view.MEASURES.items()]
        self.measure = choice(measures, "success", "Show", "330px")
        self.measure.tooltip = "what the figures are of"
        self.policies: dict[str, widgets.Checkbox] = {}
        self._ticks = row(flex_flow="row wrap")
        self.spec = spec_box(ageing_ram.ALLOCATORS, "buddy:migratetypes=off", "Policy")
        self.add = button("plus", "age memory under this policy too", "Add", "70px")
        self.progress, self.cancel = at_work()
        self.message = html(flex="1 1 200px")
        self.message.add_class("potadlab-message")
        self.figures = row(flex_flow="row wrap", min_height="290px", align_items="flex-start")
        self.table, self.told = html(width="100%"), html(width="100%")
        self.root = widgets.VBox(
            [
                widgets.HTML(words.STYLE, layout=widgets.Layout(display="none")),
                row(self.percent, self.measure, self.spec, self.add, flex_flow="row wrap"),
                self._ticks,
                row(self.progress, self.cancel, self.message, min_height="32px"),
                self.figures,
                self.table,
                self.told,
                self.bridge,
            ]
        )
        self.root.add_class("potadlab")
        self.percent.observe(lambda _change: self._act(self.ask), "value")
        self.measure.observe(lambda _change: self._act(self._draw), "value")
        self.add.on_click(lambda _button: self._act(self.join))
        self.cancel.on_click(lambda _button: self._act(self.leave))

    def _offer(self, spec: str) -> None:
        """A box to tick for a policy, ticked."""
        box = self.policies[spec] = tick(spec, f"age memory under {spec}", on=True)
        box.observe(lambda _change: self._act(self.ask), "value")
        self.kept[spec] = {}
        self._ticks.children = tuple(self.policies.values())

    # ---- what is asked ----

    def ask(self) -> None:
        """Show the ticked policies at the slider's share; the latest that is asked wins."""
        percent = self.percent.value
        names = [name for name, box in self.policies.items() if box.value]
        if not names:
            raise BadSize("no policy is ticked: tick one")
        if self.worker.busy:
            self.worker.leave()
        load = replace(self.load, unmovable=percent / 100)
        missing = [name for name in names if percent not in self.kept[name]]
        if not missing:
            return self._show(percent, load, names)

        def work() -> Ageing:
            return report.age(
                self.space, missing, turnovers=self._turnovers, seeds=self._seeds, load=load,
                progress=self._progress,
            ).ageing  # fmt: skip

        def then(found: Ageing) -> None:
            for run in found.runs:
                self.kept[run.allocator][percent] = run
            self.ageing = found
            self._show(percent, load, names)

        self.worker.do(f"ageing memory, {percent} % unmovable ...", work, then)

    def join(self) -> None:
        """Another policy."""
        spec = self.spec.value.strip()
        if not spec or spec in self.policies:
            raise UnknownName(f"{spec or 'nothing'} is there already: write another")
        check(spec)
        self._offer(spec)
        self.ask()

    def leave(self) -> None:
        """Wait no longer for what was asked; all is as it was."""
        self.worker.leave()
        self._back()

    def _back(self) -> None:
        """Slider and ticks as what is shown."""
        if self.ageing:
            self._quiet = True
            self.percent.value = round(100 * self.ageing.load.unmovable)
            shown = [run.allocator for run in self.ageing.runs]
            for name, box in self.policies.items():
                box.value = name in shown
            self._quiet = False

    def close(self) -> None:
        """Stop for good; what is shown stays."""
        if self.worker.busy:
            self.worker.leave()
        self.worker.close()
        for each in (self.percent, self.measure, self.spec, self.add, *self.policies.values()):
            each.disabled = True

    # ---- what is told ----

    def _act(self, act: Callable[[], None]) -> None:
        self.worker.in_loop(lambda: self._do(act))

    def _do(self, act: Callable[[], None]) -> None:
        if not self._quiet:
            act()

    def _failed(self, error: Exception) -> None:
        if not self.worker.busy and not isinstance(error, Cancelled):
            self._back()
        self.message.value = f'<span class="potadlab-error">{escape(one_line(error))}</span>'

    def _set_busy(self, busy: bool, what: str) -> None:
        for widget in (self.progress, self.cancel):
            widget.layout.display = "" if busy else "none"
        self.progress.value = 0
        self._say(what)

    def _progress(self, share: float, what: str) -> None:
        """Called from the thread; where nobody waits any longer, the work ends here."""
        if self.worker.left:
            raise Cancelled(LEFT)
        self.worker.from_thread(self._come_so_far, share, what)

    def _come_so_far(self, share: float, what: str) -> None:
        if self.worker.busy:
            self.progress.value = share
            self._say(f"{what} ...{'' if self.ageing else _FIRST}")

    def _say(self, text: str) -> None:
        self.message.value = f"<span>{escape(text)}</span>"

    # ---- what is shown ----

    def _show(self, percent: int, load: RamLoad, names: list[str]) -> None:
        assert self.ageing
        runs = tuple(self.kept[name][percent] for name in names)
        self.ageing = replace(self.ageing, load=load, runs=runs)
        self._draw()
        self.table.value = table(*report.rows(self.ageing))
        self.told.value = words.lines([report.headline(self.ageing), report.caption(self.ageing)])
        self._say(f"{percent} % of memory may not move: aged")

    def _draw(self) -> None:
        """The chosen measure over age, and by the shares that were asked for so far."""
        if self.ageing is None:
            return
        measure = self.measure.value
        percent = round(100 * self.ageing.load.unmovable)
        found = {run.allocator: self.kept[run.allocator] for run in self.ageing.runs}
        if self._drawn != (measure, *found):
            self._drawn = (measure, *found)
            self._rebuild(measure, percent, found)
        else:
            self.over_age.data = view.as_lists(view.columns(self.ageing, measure))
            self._mark.location = percent
            for name, runs in found.items():
                self.by_share[name].data = view.as_lists(view.share_columns(runs, measure))

    def _rebuild(self, measure: str, percent: int, found: dict[str, dict[int, Aged]]) -> None:
        assert self.ageing
        over, self.over_age = view.draw(self.ageing, measure)
        shares, self.by_share, self._mark = view.draw_shares(found, measure, percent, PERCENT_MAX)
        self.plots = over, shares
        self._dress()
        put_beside(self.figures, self.plots)

    def _dress(self) -> None:
        for plot in self.plots:
            theme.dress(plot, self.light)

    def _hear(self, message: dict[str, Any]) -> None:
        """The page's theme, at first and when it changes."""
        if message["type"] in ("ready", "theme"):
            self.worker.in_loop(lambda: self._wear(bool(message["light"])))

    def _wear(self, light: bool) -> None:
        if light != self.light:
            self.light = light
            self._dress()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.root._repr_mimebundle_(**options)
