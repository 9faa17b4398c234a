"""Memory in use for long, as a load that reacts: it asks, an allocator answers, and so on.

Page cache fills memory and is evicted, oldest first, once free memory falls below a watermark.
Processes come, fault memory in (some of it by huge blocks, which fall back to single granules),
and go.  Kernel objects come in bursts; most go, some stay for long.  Where a huge block is refused,
memory is reclaimed and one region emptied by moving what is movable in it (direct compaction);
after a failure that is put off for a while.  Each decision is a hash of the seed and the step, so
all allocators are asked alike as long as they answer alike.

`ask` and `answer` are the load, and know no allocator; `age` stands between.  A move is an
allocation elsewhere and a release, so that every allocator is moved in by the same verbs: what it
hands out inside the region that is being emptied is held back until that is done, as Linux
isolates free pages.  The region with the least to move is chosen, of those where all can move.

Linux's watermarks do not count what its per-CPU lists hold, and it shrinks these lists while memory
is short (ZONE_BELOW_HIGH, ZONE_RECLAIM_ACTIVE).  An allocator here sees no reclaim, so the load
does that for all: while less than twice the high watermark is free, front caches are drained
before each action, and whenever reclaim ends.

Not modelled: shrinkers of kernel objects, pinned and dirty pages, swap; Linux's compaction goes
from one end of a zone to the other, and does not look for the region with the least to move.
"""

from typing import NamedTuple

import numpy as np

from . import fragmentation
from ._jit import inlined, kernel, state
from .bits import largest_order, mixed
from .interface import allocate, drain, release
from .layout import NONE, Verb
from .lifetime import SITE, class_of, learn

FILE, ANON, HUGE, TABLE, SLAB, INODE = range(6)  # sites: who asks
SITES = 6
BY_NONE, BY_MIGRATETYPE, BY_KIND, BY_LIFETIME = range(4)  # policies of grouping
# the clock counts granules asked for; lifetimes: below a 64th of memory, below all, longer
SHORT, LONG = 64, 1

CHOOSE, WANT, RECLAIM, EXIT, SHRINK, COMPACT, MOVE, MOVED, HELD, DRAINED = range(10)  # phases

SETTINGS = np.dtype(
    [
        (name, "i8")
        for name in (
            "granules", "huge_order", "low", "high", "cpus", "seed", "policy",
            "read", "huge", "small",  # actions, of 65536: up to each; the rest are bursts
            "read_max", "small_max", "burst",  # granules, granules, objects at a time
            "process_max",  # granules
            "fresh_max", "kept_max",  # granules of kernel objects: before most go; for long
            "kept_one_in", "spared_one_in",  # objects that stay, evictions put off
            "compacting",
        )
    ]
)  # fmt: skip

NOW = np.dtype(
    [
        (name, "i8")
        for name in (
            "phase", "back", "clock", "until", "step", "free", "target",
            "cpu", "site", "order", "left", "process", "table",  # what is wanted
            "granule", "block",  # what is released or moved
            "oldest", "newest",  # page cache, through BLOCK.next
            "unused",  # blocks of the table, through BLOCK.next
            "fresh", "fresh_granules", "kept", "kept_granules",
            "leaving", "spared",
            "window", "cursor", "held", "emptied", "retried", "dry",
            "put_off", "put_off_shift",  # compaction, after it failed
            # counted since the start
            "tried", "at_once", "compacted", "migrated", "reclaimed", "killed", "refused",
        )
    ]
)  # fmt: skip

ALIVE = np.dtype(
    [("granule", "i8"), ("next", "i8"), ("born", "i8"), ("order", "i1"), ("site", "i1")]
)
PROCESS = np.dtype([("first", "i8"), ("granules", "i8"), ("target", "i8")])
REGION = np.dtype([("movable", "i8"), ("fixed", "i8")])  # live granules in 2**huge_order

SAMPLE = np.dtype(
    [
        (name, "i8")
        for name in (
            "clock", "tried", "at_once", "compacted", "migrated", "reclaimed", "killed", "refused",
            "free", "unusable", "fragmentation", "available", "largest_order", "spoilt", "fixed",
        )
    ]
)  # fmt: skip


@state
class Load(NamedTuple):
    settings: np.ndarray  # SETTINGS[1]
    now: np.ndarray  # NOW[1]
    blocks: np.ndarray  # ALIVE[]
    at: np.ndarray  # i8[granule]  1 + index of the block that starts here
    regions: np.ndarray  # REGION[]
    processes: np.ndarray  # PROCESS[]
    fresh: np.ndarray  # i8[]  kernel objects of the bursts
    kept: np.ndarray  # i8[]  and those that stay
    held: np.ndarray  # i8[:, 2]  granule, order: handed out inside the region being emptied
    kinds: np.ndarray  # i8[site]
    migratetypes: np.ndarray  # i8[site]
    sites: np.ndarray  # SITE[site]  lifetimes learnt
    file_orders: np.ndarray  # i8[8]
    slab_orders: np.ndarray  # i8[2, 8]


def new(settings: dict[str, int], processes: int, kinds, migratetypes, file_orders, slab_orders):
    """A load with nothing alive yet; kinds, migratetypes: of each site."""
    made, now = np.zeros(1, SETTINGS), np.zeros(1, NOW)
    for name, value in settings.items():
        made[name] = value
    granules, huge = settings["granules"], 1 << settings["huge_order"]
    blocks = np.zeros(granules, ALIVE)
    blocks["next"] = np.arange(1, granules + 1)
    blocks["next"][-1] = NONE
    now["free"] = granules
    now["oldest"], now["newest"], now["process"], now["window"] = NONE, NONE, NONE, NONE
    people = np.zeros(processes, PROCESS)
    people["first"] = NONE
    load = Load(
        made,
        now,
        blocks,
        np.zeros(granules, np.int64),
        np.zeros(-(-granules // huge), REGION),
        people,
        np.zeros(granules, np.int64),
        np.zeros(granules, np.int64),
        np.zeros((huge, 2), np.int64),
        np.array(kinds, np.int64),
        np.array(migratetypes, np.int64),
        np.zeros(SITES, SITE),
        np.array(file_orders, np.int64),
        np.array(slab_orders, np.int64),
    )
    for process in range(processes):
        _start_process(load, process)
    return load


@kernel
def age(state, load):
    """Let the load run until its clock says `until`."""
    now = load.now[0]
    none = np.int64(NONE)
    while True:
        verb = ask(load)
        if verb == Verb.ALLOCATE:
            site, order, cpu = now["site"], now["order"], now["cpu"]
            if now["phase"] == MOVE:
                block = load.blocks[now["block"]]
                site, order = np.int64(block["site"]), np.int64(block["order"])
            group, kind = _group(load, site), load.kinds[site]
            answer(load, allocate(state, order, kind, none, none, cpu, group))
        elif verb == Verb.RELEASE:
            order = release(state, now["granule"], now["cpu"])
            assert order >= 0
        elif verb == Verb.DRAIN:
            drain(state)
        else:
            return


@kernel
def ask(load):
    """The next verb, its particulars in `now`; NONE once the clock has come to `until`."""
    now = load.now[0]
    while True:
        phase = now["phase"]
        verb = np.int64(NONE)
        if phase == CHOOSE:
            if now["clock"] >= now["until"]:
                return np.int64(NONE)
            verb = _choose(load)
        elif phase == WANT:
            verb = _want(load)
        elif phase == RECLAIM:
            verb = _reclaim(load)
        elif phase == EXIT:
            verb = _exit(load)
        elif phase == SHRINK:
            verb = _shrink(load)
        elif phase == COMPACT:
            _begin_to_empty(load)
        elif phase == MOVE:
            verb = _move(load)
        elif phase == MOVED:
            now["phase"], verb = MOVE, np.int64(Verb.RELEASE)
        elif phase == HELD:
            verb = _let_go(load)
        else:
            _after_emptying(load)
        if verb != NONE:
            return verb


@kernel
def answer(load, granule):
    """What came of an ALLOCATE."""
    now = load.now[0]
    if now["phase"] == MOVE:
        _moved_to(load, granule)
    elif granule == NONE:
        _refused(load)
    else:
        _served(load, granule)


# ---- chance ---------------------------------------------------------------------------------


@inlined
def _number(load, step, salt):
    """A number from the seed and the step alone, not negative."""
    settings = load.settings[0]
    once = mixed(np.uint64(step * 8 + salt), np.uint64(settings["seed"]))
    return np.int64(mixed(once, np.uint64(0xD1B5_4A32_D192_ED03)) >> np.uint64(2))


@inlined
def _group(load, site):
    policy = load.settings[0]["policy"]
    if policy == BY_MIGRATETYPE:
        return 1 + load.migratetypes[site]
    if policy == BY_KIND:
        return 1 + load.kinds[site]
    if policy == BY_LIFETIME:
        granules = load.settings[0]["granules"]
        return np.int64(class_of(load.sites[site], granules // SHORT, granules // LONG))
    return np.int64(0)


# ---- what is done next ----------------------------------------------------------------------


@kernel
def _choose(load):
    """One action: a file is read, a process faults, a burst of kernel objects."""
    settings, now = load.settings[0], load.now[0]
    now["step"] += 1
    number = _number(load, now["step"], 0)
    pick, number = number & 0xFFFF, number >> 16
    now["cpu"] = now["step"] % settings["cpus"]
    now["phase"], now["process"], now["table"] = WANT, NONE, 0
    now["retried"], now["dry"] = 0, 0
    if pick < settings["read"]:
        now["site"], now["order"] = FILE, load.file_orders[number & 7]
        pages = 1 + (number >> 3) % settings["read_max"]
        now["left"] = max(pages >> now["order"], np.int64(1))
    elif pick < settings["huge"]:
        now["site"], now["order"], now["left"], now["table"] = HUGE, settings["huge_order"], 1, 1
        now["process"] = number % len(load.processes)
        now["tried"] += 1
    elif pick < settings["small"]:
        now["site"], now["order"] = ANON, 0
        now["process"] = number % len(load.processes)
        now["left"] = 1 + (number >> 8) % settings["small_max"]
    elif now["fresh_granules"] >= settings["fresh_max"]:
        now["phase"] = SHRINK
    else:
        now["site"] = SLAB + (number & 1)
        now["order"] = load.slab_orders[number & 1, (number >> 1) & 7]
        now["left"] = settings["burst"]
    return np.int64(Verb.DRAIN if now["free"] < 2 * settings["high"] else NONE)


@kernel
def _want(load):
    settings, now = load.settings[0], load.now[0]
    size = np.int64(1) << now["order"]
    if now["left"] == 0:
        _go_on(load)
        return np.int64(NONE)
    if now["free"] < settings["low"] + size and now["dry"] == 0:  # kswapd
        _reclaim_to(now, max(settings["high"], settings["low"] + size), WANT)
        return np.int64(NONE)
    return np.int64(Verb.ALLOCATE)


@inlined
def _go_on(load):
    """All that was wanted is there."""
    now = load.now[0]
    now["phase"] = CHOOSE
    if now["table"] != 0:  # every region of a process needs a page table, huge or not
        now["phase"], now["table"] = WANT, 0
        now["site"], now["order"], now["left"] = TABLE, 0, 1
    elif now["process"] != NONE:
        process = load.processes[now["process"]]
        if process["granules"] >= process["target"]:
            now["phase"], now["back"], now["leaving"] = EXIT, CHOOSE, now["process"]


@kernel
def _refused(load):
    settings, now = load.settings[0], load.now[0]
    if now["site"] == HUGE:
        if now["retried"] != 0 or not _may_compact(load):
            _fall_back(load)
            return
        now["retried"] = 1
        gap = np.int64(2) << settings["huge_order"]  # compact_gap
        _reclaim_to(now, settings["low"] + gap, COMPACT)
    elif now["order"] > 0:
        if now["site"] == FILE:
            now["left"] <<= now["order"]
        now["order"] = 0
    elif now["dry"] == 0:
        _reclaim_to(now, now["free"] + 32, WANT)  # SWAP_CLUSTER_MAX
    else:
        _kill(load)


@inlined
def _fall_back(load):
    now = load.now[0]
    now["site"], now["order"] = ANON, 0
    now["left"] = np.int64(1) << load.settings[0]["huge_order"]


@kernel
def _kill(load):
    """Out of memory: the largest process goes; without one, the request does."""
    now, largest = load.now[0], np.int64(0)
    for process in range(len(load.processes)):
        if load.processes[process]["granules"] > load.processes[largest]["granules"]:
            largest = np.int64(process)
    if load.processes[largest]["granules"] == 0:
        now["refused"] += 1
        now["left"] -= 1
        return
    now["killed"] += 1
    now["phase"], now["leaving"], now["dry"] = EXIT, largest, 0
    now["back"] = CHOOSE if now["process"] == largest else WANT  # what it asked for itself is void


# ---- reclaim, exit, kernel objects ----------------------------------------------------------


@inlined
def _reclaim_to(now, target, back):
    now["phase"], now["target"], now["back"] = RECLAIM, target, back


@kernel
def _reclaim(load):
    """Evict the oldest page cache; some of it is spared and counts as newest again."""
    settings, now = load.settings[0], load.now[0]
    if now["free"] >= now["target"] or now["oldest"] == NONE:
        now["dry"] = now["free"] < now["target"]
        now["phase"] = now["back"]
        return np.int64(Verb.DRAIN)
    index = now["oldest"]
    block = load.blocks[index]
    now["oldest"] = block["next"]
    if now["oldest"] == NONE:
        now["newest"] = NONE
    if _number(load, block["born"] + now["spared"], 1) % settings["spared_one_in"] == 0:
        now["spared"] += 1
        _append_file(load, index)
        return np.int64(NONE)
    now["reclaimed"] += np.int64(1) << np.int64(block["order"])
    _forget(load, index)
    return np.int64(Verb.RELEASE)


@inlined
def _append_file(load, index):
    now = load.now[0]
    load.blocks[index]["next"] = NONE
    if now["newest"] == NONE:
        now["oldest"] = index
    else:
        load.blocks[now["newest"]]["next"] = index
    now["newest"] = index


@kernel
def _exit(load):
    now = load.now[0]
    process = load.processes[now["leaving"]]
    index = process["first"]
    if index == NONE:
        _start_process(load, now["leaving"])
        now["phase"] = now["back"]
        return np.int64(NONE)
    process["first"] = load.blocks[index]["next"]
    _forget(load, index)
    return np.int64(Verb.RELEASE)


@kernel
def _start_process(load, place):
    process, settings = load.processes[place], load.settings[0]
    number = _number(load, load.now[0]["clock"] + place, 2)
    process["granules"], process["target"] = 0, 1 + number % settings["process_max"]


@kernel
def _shrink(load):
    """Most objects of the bursts go, in no order; too many of those that stay, at random."""
    settings, now = load.settings[0], load.now[0]
    if now["kept_granules"] > settings["kept_max"]:
        place = _number(load, now["step"] + now["kept"], 3) % now["kept"]
        index = load.kept[place]
        now["kept"] -= 1
        load.kept[place] = load.kept[now["kept"]]
        now["kept_granules"] -= np.int64(1) << np.int64(load.blocks[index]["order"])
        _forget(load, index)
        return np.int64(Verb.RELEASE)
    if now["fresh"] == 0:
        now["phase"] = CHOOSE
        return np.int64(NONE)
    number = _number(load, now["step"] + now["fresh"], 4)
    place = number % now["fresh"]
    index = load.fresh[place]
    size = np.int64(1) << np.int64(load.blocks[index]["order"])
    now["fresh"] -= 1
    load.fresh[place] = load.fresh[now["fresh"]]
    now["fresh_granules"] -= size
    if (number >> 32) % settings["kept_one_in"] == 0:
        load.kept[now["kept"]] = index
        now["kept"] += 1
        now["kept_granules"] += size
        return np.int64(NONE)
    _forget(load, index)
    return np.int64(Verb.RELEASE)


# ---- emptying a region ----------------------------------------------------------------------


@inlined
def _may_compact(load):
    """compaction_deferred: after a failure, not for 1, 2, 4, ... up to 64 times."""
    now = load.now[0]
    if load.settings[0]["compacting"] == 0:
        return False
    if now["put_off"] > 0:
        now["put_off"] -= 1
        return False
    return True


@kernel
def _begin_to_empty(load):
    settings, now = load.settings[0], load.now[0]
    size, least = np.int64(1) << settings["huge_order"], np.int64(0)
    now["window"] = NONE
    for place in range(settings["granules"] >> settings["huge_order"]):
        region, start = load.regions[place], np.int64(place) << settings["huge_order"]
        if region["fixed"] > 0 or region["movable"] == 0:
            continue
        if region["movable"] == size and _order_at(load, start) == settings["huge_order"]:
            continue
        if now["window"] == NONE or region["movable"] < least:
            now["window"], least = start, region["movable"]
    now["held"], now["emptied"] = 0, now["window"] != NONE
    now["cursor"] = now["window"]
    now["phase"] = MOVE if now["window"] != NONE else DRAINED


@inlined
def _order_at(load, granule):
    """Order of the block that starts here, or NONE."""
    index = load.at[granule]
    return np.int64(load.blocks[index - 1]["order"]) if index != 0 else np.int64(NONE)


@kernel
def _move(load):
    now = load.now[0]
    end = now["window"] + (np.int64(1) << load.settings[0]["huge_order"])
    while now["cursor"] < end and load.at[now["cursor"]] == 0:
        now["cursor"] += 1
    if now["cursor"] >= end:
        now["phase"] = HELD
        return np.int64(NONE)
    now["block"] = load.at[now["cursor"]] - 1
    return np.int64(Verb.ALLOCATE)


@kernel
def _moved_to(load, granule):
    settings, now = load.settings[0], load.now[0]
    block = load.blocks[now["block"]]
    order = np.int64(block["order"])
    if granule == NONE:
        now["phase"], now["emptied"] = HELD, 0
        return
    if granule >> settings["huge_order"] == now["window"] >> settings["huge_order"]:
        load.held[now["held"], 0], load.held[now["held"], 1] = granule, order
        now["held"] += 1
        now["free"] -= np.int64(1) << order
        return
    now["granule"] = block["granule"]
    _count(load, block, -1)
    load.at[block["granule"]] = 0
    block["granule"] = granule
    load.at[granule] = now["block"] + 1
    _count(load, block, 1)
    now["migrated"] += np.int64(1) << order
    now["phase"] = MOVED


@kernel
def _let_go(load):
    now = load.now[0]
    if now["held"] == 0:
        now["phase"] = DRAINED
        return np.int64(Verb.DRAIN)
    now["held"] -= 1
    now["granule"] = load.held[now["held"], 0]
    now["free"] += np.int64(1) << load.held[now["held"], 1]
    return np.int64(Verb.RELEASE)


@kernel
def _after_emptying(load):
    now = load.now[0]
    now["phase"] = WANT
    if now["emptied"] != 0:
        now["put_off_shift"] = 0
        return
    now["put_off"] = np.int64(1) << now["put_off_shift"]
    now["put_off_shift"] = min(now["put_off_shift"] + 1, np.int64(6))
    _fall_back(load)


# ---- what lives -----------------------------------------------------------------------------


@kernel
def _served(load, granule):
    now = load.now[0]
    site, order, index = now["site"], now["order"], now["unused"]
    size, block = np.int64(1) << order, load.blocks[index]
    now["unused"] = block["next"]
    block["granule"], block["order"], block["site"] = granule, order, site
    block["born"] = now["clock"]
    load.at[granule] = index + 1
    now["free"] -= size
    now["clock"] += size
    now["left"] -= 1
    _count(load, block, 1)
    if site == FILE:
        _append_file(load, index)
    elif now["process"] != NONE:
        process = load.processes[now["process"]]
        block["next"], process["first"] = process["first"], index
        process["granules"] += size
    else:
        load.fresh[now["fresh"]] = index
        now["fresh"] += 1
        now["fresh_granules"] += size
    if site == HUGE:
        now["compacted"] += now["retried"]
        now["at_once"] += 1 - now["retried"]


@kernel
def _forget(load, index):
    """The block is to be released: it is known no more."""
    now, block = load.now[0], load.blocks[index]
    now["granule"] = block["granule"]
    load.at[block["granule"]] = 0
    now["free"] += np.int64(1) << np.int64(block["order"])
    _count(load, block, -1)
    learn(load.sites[block["site"]], now["clock"] - block["born"])
    block["next"] = now["unused"]
    now["unused"] = index


@inlined
def _count(load, block, sign):
    order = np.int64(block["order"])
    region = load.regions[block["granule"] >> load.settings[0]["huge_order"]]
    if load.migratetypes[block["site"]] == 1:
        region["movable"] += sign << order
    else:
        region["fixed"] += sign << order


@kernel
def measure(load, sample, free_blocks):
    """What has come so far, and how free memory lies now; free_blocks: i8[64], filled."""
    settings, now = load.settings[0], load.now[0]
    free_blocks[:] = 0
    granule, start, end = np.int64(0), np.int64(0), settings["granules"]
    while granule <= end:
        if granule == end or load.at[granule] != 0:
            while start < granule:
                order = largest_order(start, granule - start)
                free_blocks[order] += 1
                start += np.int64(1) << order
            if granule == end:
                break
            granule += np.int64(1) << _order_at(load, granule)
            start = granule
        else:
            granule += 1
    order = settings["huge_order"]
    sample["clock"], sample["free"] = now["clock"], now["free"]
    sample["tried"], sample["at_once"] = now["tried"], now["at_once"]
    sample["compacted"], sample["migrated"] = now["compacted"], now["migrated"]
    sample["reclaimed"], sample["killed"] = now["reclaimed"], now["killed"]
    sample["refused"] = now["refused"]
    sample["unusable"] = fragmentation.unusable_index(free_blocks, order)
    sample["fragmentation"] = fragmentation.fragmentation_index(free_blocks, order)
    sample["available"] = fragmentation.blocks_available(free_blocks, order)
    sample["largest_order"] = NONE
    for k in range(len(free_blocks)):
        if free_blocks[k] > 0:
            sample["largest_order"] = k
    sample["spoilt"], sample["fixed"] = 0, 0
    size = np.int64(1) << order
    for place in range(len(load.regions)):
        fixed = load.regions[place]["fixed"]
        sample["fixed"] += fixed
        sample["spoilt"] += 0 < fixed < size


@kernel
def check(load):
    """Assert that what the load believes is of one piece."""
    settings, now = load.settings[0], load.now[0]
    live, granule = np.int64(0), np.int64(0)
    while granule < settings["granules"]:
        if load.at[granule] == 0:
            granule += 1
            continue
        block = load.blocks[load.at[granule] - 1]
        size = np.int64(1) << np.int64(block["order"])
        assert block["granule"] == granule
        assert granule & (size - 1) == 0
        for inner in range(granule + 1, granule + size):
            assert load.at[inner] == 0
        live += size
        granule += size
    assert now["free"] == settings["granules"] - live
    counted = np.int64(0)
    for place in range(len(load.regions)):
        counted += load.regions[place]["movable"] + load.regions[place]["fixed"]
    assert counted == live
    assert now["held"] == 0
