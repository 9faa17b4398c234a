"""What the dashboard does in a real browser: frames, lag, zoom, memory of the page, time to start.

    python tests/browser/measure.py [--minutes 10] [--blocks 1000000] [--page 1280x720]

Not a test: it needs a quiet machine, and says how busy it was beside each figure.  Frames and lag
are counted where they are painted: the page answers two animation frames after it has drawn.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import playwright.sync_api
from conftest import FLAGS, NAMES, running_lab
from pages import WAIT_S, Page, opened

PLAY_S = 30
WHEEL_STEPS = 40

TRACE = """\
import numpy as np
import potadlab as pl
from potadlab.core.layout import BLOCK, NONE, OP, Verb
from potadlab.kinds import KIND

blocks, ops, seconds = {blocks}, 1_200_000, 30
rng = np.random.default_rng(1)
start = np.zeros(blocks, BLOCK)
start["granule"], start["order"] = np.arange(blocks) * 4, rng.integers(0, 3, blocks)
start["handle"], start["owner"], start["time_ns"] = np.arange(blocks), 0, -1
kinds = [KIND[name] for name in ("anon", "file", "folio", "slab", "ptdesc")]
start["kind"] = rng.choice(kinds, blocks)
made = np.zeros(ops, OP)
made["time_ns"] = np.arange(ops) * (seconds * 10**9 // ops)
made["granule"], made["into"], made["owner"], made["migratetype"] = NONE, NONE, 0, 255
gone = rng.permutation(blocks)[: ops // 2]
made["verb"][::2], made["handle"][::2] = Verb.RELEASE, gone
made["order"][::2] = start["order"][gone]
made["verb"][1::2], made["handle"][1::2] = Verb.ALLOCATE, blocks + np.arange(ops // 2)
made["order"][1::2], made["kind"][1::2] = start["order"][gone], start["kind"][gone]
made["granules"] = 1 << made["order"].astype(np.int64)
space = pl.Space.ram(f"{{blocks * 16 // 1024 + 1024}}MiB")
handles = blocks + ops // 2
trace = pl.Trace("measured", None, {{}}, made, handles, ["all"], 1, 4096, "", space, start, 0, 0)
dashboard = pl.lab.Dashboard(trace, ["potad", "buddy"])
dashboard"""

WATCH = """(id) => {
  const source = Bokeh.documents.map((each) => each.get_model_by_id(id)).find((one) => one);
  window.measured = { turned: 0, painted: 0 };
  document.addEventListener("wheel", () => (measured.turned = performance.now()), true);
  source.change.connect(() => requestAnimationFrame(() => requestAnimationFrame(
    () => (measured.painted = performance.now()))));
}"""


def say(what: str) -> None:
    sys.stdout.write(f"{what}  [load {os.getloadavg()[0]:.1f}]\n")
    sys.stdout.flush()


def started(lab, context) -> None:
    """From an address to a painted map; kernels compiled, JupyterLab in the browser's cache."""
    warming = context.new_page()
    warming.goto(lab.url)
    warming.wait_for_function("window.jupyterapp?.shell")
    warming.close()
    page, before = Page(context.new_page()), time.monotonic()
    page.page.goto(lab.address("lab.ipynb"))
    page.page.wait_for_selector(".potadlab .bk-Figure")
    page.says("ready to play")
    page.until("dashboard.stage.settled and dashboard.frame_stats()['shown']")
    say(f"ready: {time.monotonic() - before:.1f} s")
    page.run("dashboard.close()")
    page.close()


def played(page) -> None:
    page.page.get_by_label("Colour by").select_option(label="size")
    page.press("Play")
    page.page.wait_for_timeout(PLAY_S * 500)
    page.run("dashboard.stage.flow.forget()")
    page.page.wait_for_timeout(PLAY_S * 500 - 1000)
    found = page.python("dashboard.frame_stats()")
    live = page.python(
        "[len(run.live(dashboard.index)) for run in dashboard.session.runs.values()]"
    )
    page.press("Pause")
    say(
        f"two maps of {live[0]:,} and {live[1]:,} blocks: {found['fps']:.1f} frames per s; lag "
        f"p50 {found['lag_ms_p50']:.0f}, p95 {found['lag_ms_p95']:.0f}, "
        f"worst {found['lag_ms_worst']:.0f} ms of {found['shown']} frames"
    )
    page.until("dashboard.stage.settled")


def zoomed(page) -> None:
    page.page.evaluate(WATCH, page.python("dashboard.stage.canvas.images['buddy'].id"))
    page.page.mouse.move(*page.map_point("buddy", 0.4, 0.4))
    window = "[dashboard.window.first, dashboard.window.end]"
    sharp, ends = [], 0
    for step in range(WHEEL_STEPS):
        page.page.mouse.wheel(0, -100 if step % 10 < 5 else 100)
        page.page.wait_for_timeout(120)
        before = page.python(window)
        page.page.mouse.wheel(0, -100 if step % 10 < 5 else 100)
        page.page.wait_for_timeout(900)
        if page.python(window) == before:  # as close or as wide as it goes: nothing to paint
            ends += 1
            continue
        sharp.append(page.page.evaluate("measured.painted - measured.turned"))
    late = [ms for ms in sharp if ms <= 0]
    p50, p95 = np.percentile([ms for ms in sharp if ms > 0], [50, 95])
    say(
        f"sharp after the last wheel step: p50 {p50:.0f}, p95 {p95:.0f} ms; "
        f"{len(late)} of {len(sharp)} not in 0.9 s; {ends} more at an end of the zoom"
    )


def long_played(page, minutes: float) -> None:
    """Memory of the page while it plays, over and over."""
    tools = page.page.context.new_cdp_session(page.page)
    tools.send("Performance.enable")
    sizes, until = [], time.monotonic() + 60 * minutes
    page.press("Play")
    while time.monotonic() < until:
        page.page.wait_for_timeout(20_000)
        if page.python("not dashboard.playing"):
            page.press("Play")
        tools.send("HeapProfiler.collectGarbage")
        metrics = {
            one["name"]: one["value"] for one in tools.send("Performance.getMetrics")["metrics"]
        }
        sizes.append((metrics["JSHeapUsedSize"] / 2**20, metrics["Nodes"], rss_mib()))
        if len(sizes) % 6 == 1:
            say("heap {:.0f} MiB, {:.0f} nodes, browser {:.0f} MiB".format(*sizes[-1]))
    heap = np.array([one[0] for one in sizes])
    slope = np.polyfit(np.arange(len(heap)) / 3, heap, 1)[0] if len(heap) > 1 else 0.0
    say(
        f"memory over {minutes:g} min: heap {heap.min():.0f} to {heap.max():.0f} MiB, "
        f"{slope:+.2f} MiB a minute; browser {sizes[0][2]:.0f} to {sizes[-1][2]:.0f} MiB"
    )


def rss_mib() -> float:
    """Of all processes below this one that are browsers."""
    parents, sizes = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            told = dict(
                line.split(":", 1) for line in status.read_text().splitlines() if ":" in line
            )
        except OSError:
            continue
        parents[int(told["Pid"])] = int(told["PPid"])
        if "chrom" in told["Name"]:
            sizes[int(told["Pid"])] = int(told.get("VmRSS", "0 kB").split()[0]) / 1024

    def ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return sum(size for pid, size in sizes.items() if ours(pid))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--minutes", type=float, default=10)
    asked.add_argument("--blocks", type=int, default=1_000_000)
    asked.add_argument("--page", default="1280x720", help="its size in pixels")
    given = asked.parse_args()
    width, height = map(int, given.page.split("x"))
    browser = next(filter(None, map(shutil.which, NAMES)))
    with (
        tempfile.TemporaryDirectory() as home,
        running_lab(Path(home)) as lab,
        playwright.sync_api.sync_playwright() as driver,
    ):
        context = driver.chromium.launch_persistent_context(
            f"{home}/profile", executable_path=browser, headless=True, args=list(FLAGS),
            viewport={"width": width, "height": height},
        )  # fmt: skip
        context.set_default_timeout(WAIT_S * 1000)
        started(lab, context)
        page = opened(lab, context, "measured", TRACE.format(blocks=given.blocks))
        page.says("ready to play")
        page.until("dashboard.stage.settled")
        played(page)
        zoomed(page)
        long_played(page, given.minutes)
        context.close()


if __name__ == "__main__":
    main()
